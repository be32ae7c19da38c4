"""Device arrays of one mesh: vertices, faces, face planes and edges."""

from __future__ import annotations

import numpy as np
import warp as wp

from dr_perception.geometry.mesh import Mesh, face_normals
from dr_perception.geometry.mesh_topology import edges


class ModelBuffers:
    """A mesh on a device, with the topology that visibility and contours need.

    Attributes:
        vertices: ``wp.vec3`` (V,), metres.
        faces: ``wp.vec3i`` (F,), counter-clockwise seen from outside.
        vertex_instance: ``int`` (V,), all zero: one instance.
        planes: ``wp.vec4`` (F,), outward unit normal n and offset d of each face's plane ``n . p = d``.
        edges: ``wp.vec4i`` (E,), two vertices and the two faces of each edge; the second face is -1 where it is open.
        closed: Whether every edge has two faces, so that back faces are never seen.
    """

    def __init__(self, mesh: Mesh, device: wp.DeviceLike = "cpu") -> None:
        """Upload a mesh in metres."""
        topology = edges(mesh)
        normals = face_normals(mesh)
        offsets = np.einsum("ij,ij->i", normals, mesh.vertices[mesh.faces[:, 0]])
        self.num_vertices = len(mesh.vertices)
        self.num_faces = len(mesh.faces)
        self.num_edges = len(topology.vertices)
        self.closed = bool((topology.faces >= 0).all())
        self.device = wp.get_device(device)
        self.vertices = wp.array(mesh.vertices.astype(np.float32), dtype=wp.vec3, device=device)
        self.faces = wp.array(mesh.faces.astype(np.int32), dtype=wp.vec3i, device=device)
        self.vertex_instance = wp.zeros(self.num_vertices, dtype=int, device=device)
        planes = np.column_stack([normals, offsets]).astype(np.float32)
        self.planes = wp.array(planes, dtype=wp.vec4, device=device)
        joined = np.column_stack([topology.vertices, topology.faces]).astype(np.int32)
        self.edges = wp.array(joined, dtype=wp.vec4i, device=device)
