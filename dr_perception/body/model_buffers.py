"""Device arrays of one mesh: vertices, faces, face planes and edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.appearance import Appearance, baked_arrays, upload_baked
from dr_perception.body.model_mesh import ModelMesh
from dr_perception.geometry.mesh import Mesh, face_areas, face_normals
from dr_perception.geometry.mesh_topology import edges

CREASE_COSINE = float(np.cos(np.radians(35.0)))
"""Faces whose normals differ by more meet in a crease."""


def corner_normals(mesh: Mesh) -> NDArray[np.float64]:
    """Unit normals at the corners of every face (F, 3, 3).

    The mean, weighted by area, over the faces around the vertex that turn away from this one by less than the
    crease angle of 35 degrees.

    Faces that nobody ever saw have no say in the normals of others.

    A curved surface gets the normals of the curve rather than of its facets, which would seem to fix a turn
    that nothing fixes.
    """
    unit = face_normals(mesh)
    weighted = unit * face_areas(mesh)[:, None]
    vertex = mesh.faces.reshape(-1)
    order = np.argsort(vertex, kind="stable")
    start = np.searchsorted(vertex[order], np.arange(len(mesh.vertices) + 1))
    valence = np.diff(start)[vertex]
    corner = np.repeat(np.arange(len(vertex)), valence)
    within = np.arange(len(corner)) - np.repeat(np.cumsum(valence) - valence, valence)
    neighbour = order[start[vertex[corner]] + within] // 3
    same = np.einsum("ij,ij->i", unit[corner // 3], unit[neighbour]) > CREASE_COSINE
    if mesh.unseen_faces is not None:
        same &= mesh.unseen_faces[corner // 3] == mesh.unseen_faces[neighbour]
    total = np.zeros((len(vertex), 3))
    np.add.at(total, corner[same], weighted[neighbour[same]])
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0.0, total / np.maximum(length, 1e-30), np.repeat(unit, 3, axis=0)).reshape(
        -1, 3, 3
    )


class ModelBuffers:
    """A mesh on a device, with the topology that visibility and contours need.

    Attributes:
        vertices: ``wp.vec3`` (V,), metres.
        faces: ``wp.vec3i`` (F,), counter-clockwise seen from outside.
        vertex_instance: ``int`` (V,), all zero: one instance.
        mesh: Vertices, faces, edges, planes and normals as kernels take them, bound once.
        baked: Brightness on the faces; empty unless ``has_texture``.
        closed: Whether every edge has two faces, so that back faces are never seen.
    """

    def __init__(
        self, mesh: Mesh, device: wp.DeviceLike = "cpu", appearance: Appearance | None = None
    ) -> None:
        """Upload a mesh in metres, with brightness baked onto its faces if it has any."""
        self._upload(mesh_arrays(mesh, appearance), device)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], device: wp.DeviceLike) -> ModelBuffers:
        """Upload what `mesh_arrays` made."""
        buffers = cls.__new__(cls)
        buffers._upload(arrays, device)
        return buffers

    def _upload(self, arrays: Mapping[str, NDArray[Any]], device: wp.DeviceLike) -> None:
        self.baked = upload_baked(arrays, device)
        self.has_texture = "brightness" in arrays
        self.num_vertices = len(arrays["vertices"])
        self.num_faces = len(arrays["faces"])
        self.num_edges = len(arrays["edges"])
        self.closed = bool((arrays["edges"][:, 3] >= 0).all())
        self.device = wp.get_device(device)
        self.vertices = wp.array(arrays["vertices"], dtype=wp.vec3, device=device)
        self.faces = wp.array(arrays["faces"], dtype=wp.vec3i, device=device)
        self.vertex_instance = wp.zeros(self.num_vertices, dtype=int, device=device)
        self.mesh = ModelMesh()
        self.mesh.vertices, self.mesh.faces = self.vertices, self.faces
        self.mesh.edges = wp.array(arrays["edges"], dtype=wp.vec4i, device=device)
        self.mesh.planes = wp.array(arrays["planes"], dtype=wp.vec4, device=device)
        self.mesh.corner_normals = wp.array(arrays["corner_normals"], dtype=wp.vec3, device=device)
        unseen = arrays.get("unseen", np.zeros(0, np.int32))
        self.mesh.unseen = wp.array(unseen, dtype=int, device=device)


def mesh_arrays(mesh: Mesh, appearance: Appearance | None = None) -> dict[str, NDArray[Any]]:
    """What `ModelBuffers` uploads of a mesh in metres and of brightness baked onto its faces."""
    topology = edges(mesh)
    normals = face_normals(mesh)
    offsets = np.einsum("ij,ij->i", normals, mesh.vertices[mesh.faces[:, 0]])
    arrays: dict[str, NDArray[Any]] = {
        "vertices": mesh.vertices.astype(np.float32),
        "faces": mesh.faces.astype(np.int32),
        "planes": np.column_stack([normals, offsets]).astype(np.float32),
        "corner_normals": corner_normals(mesh).reshape(-1, 3).astype(np.float32),
        "edges": np.column_stack([topology.vertices, topology.faces]).astype(np.int32),
    }
    if mesh.unseen_faces is not None and mesh.unseen_faces.any():
        arrays["unseen"] = mesh.unseen_faces.astype(np.int32)
    return arrays if appearance is None else arrays | baked_arrays(appearance)
