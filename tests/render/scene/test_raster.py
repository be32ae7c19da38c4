"""The z-buffer of a scene is that of the plain rasteriser, and the box around it leaves nothing out."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Mesh
from dr_perception.raster.renders import Renders
from dr_perception.raster.zbuffer import clear_keys, rasterize_pinhole
from dr_perception.render import Renderer, RenderOptions, Scene
from dr_perception.render.workspace import SceneArrays, Workspace

OPTIONS = RenderOptions(channels=("silhouette",))


def _draw(
    mesh: Mesh, T_cam_obj: np.ndarray, options: RenderOptions = OPTIONS
) -> tuple[SceneArrays, Workspace]:
    renderer = Renderer("cpu")
    renderer.render(Scene.of(mesh, T_cam_obj), CAMERA, options)
    (arrays,) = renderer._arrays.values()
    ((work, _),) = renderer._workspaces.values()
    return arrays, work


@pytest.mark.parametrize("mesh", [box(), torus(), torus(rows=150, columns=90)], ids=["box", "ring", "dense"])
@pytest.mark.parametrize(
    "T_cam_obj",
    [pose(0.3), pose(0.3, (2.0, -1.0, 0.5)), pose(0.05), pose(1.5), pose(0.3, x=0.12), pose(-0.4)],
    ids=["facing", "turned", "through the near plane", "far", "at the border", "behind"],
)
@pytest.mark.parametrize("crop", [None, (20, 15, 40, 30)])
def test_faces_and_depths_are_those_of_the_plain_rasteriser(
    mesh: Mesh, T_cam_obj: np.ndarray, crop: tuple[int, int, int, int] | None
) -> None:
    options = RenderOptions(channels=("silhouette",), crop=crop)
    arrays, w = _draw(mesh, T_cam_obj, options)
    keys = wp.empty_like(w.keys)
    wp.launch(clear_keys, keys.shape, outputs=[keys], device="cpu")
    renders = Renders()
    renders.cameras, renders.viewports, renders.keys = w.ideal_cameras, w.viewports, keys
    inputs = [w.p_cam, w.screen, arrays.faces, options.near, int(w.cull.numpy()[0]), 0]
    wp.launch(rasterize_pinhole, (1, arrays.num_faces), inputs=inputs, outputs=[renders], device="cpu")
    np.testing.assert_array_equal(w.keys.numpy(), keys.numpy())
    seen = keys.numpy() != np.iinfo(np.uint64).max
    np.testing.assert_array_equal(w.face_index.numpy() >= 0, seen)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_face_from_beyond_the_border_to_behind_the_camera_is_drawn_between(side: float) -> None:
    corners = [[0.4 * side, -0.1, 0.3], [0.4 * side, 0.1, 0.3], [-0.5 * side, 0.0, -0.3]]
    _, w = _draw(Mesh(np.array(corners), np.array([[0, 1, 2]])), np.eye(4))
    assert (w.grid.numpy()[0, :2, 0] * side > 0).all()
    assert (w.face_index.numpy() >= 0).sum() > 100


@pytest.mark.parametrize("T_cam_obj", [pose(0.3), pose(0.3, (2.0, -1.0, 0.5)), pose(0.8)])
def test_facing_tells_front_from_back_and_leaves_out_what_is_uncertain(T_cam_obj: np.ndarray) -> None:
    mesh = torus()
    _, w = _draw(mesh, T_cam_obj)
    p = mesh.vertices[mesh.faces] @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    towards = -np.einsum("ij,ij->i", normal, p[:, 0])
    facing = w.facing.numpy()[0]
    certain = facing != 0
    assert certain.mean() > 0.8
    np.testing.assert_array_equal(facing[certain], np.sign(towards[certain]))
