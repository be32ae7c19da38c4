"""Views of meshes and what they yield, for tests of several rooms."""

from __future__ import annotations

import numpy as np

from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.geometry import Mesh
from dr_perception.view.model_view import ModelView, ViewSettings


def make_view(mesh: Mesh, T, **settings) -> tuple[ModelView, PoseArrays]:
    """A view of a batch of poses (P, 4, 4), not drawn yet."""
    buffers = ModelBuffers(mesh)
    poses = PoseArrays(len(T), "cpu")
    poses.set(np.asarray(T))
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    return ModelView(buffers, radius, poses, len(T), ViewSettings(**settings)), poses


def surface(view: ModelView, problem: int = 0):
    n = view.pull_counts()[0, problem]
    return view.surface.samples.numpy()[problem][:n]


def contour(view: ModelView, problem: int = 0):
    n = view.pull_counts()[1, problem]
    assert n <= view.contour.samples.shape[1], "the test needs room for every sample"
    return view.contour.samples.numpy()[problem][:n]
