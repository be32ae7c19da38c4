"""Nearest points of a mesh."""

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dr_perception.device.threads import separate_threads
from dr_perception.geometry.mesh import Mesh


@wp.kernel(enable_backward=False)
def query_nearest(
    mesh: wp.uint64,
    points: wp.array[wp.vec3],
    reach: wp.array[float],
    # output
    face: wp.array[int],
    weights: wp.array[wp.vec3],
    distance: wp.array[float],
):
    """Face, barycentric weights and distance of the surface point nearest to each point."""
    i = wp.tid()
    found = wp.mesh_query_point_no_sign(mesh, points[i], reach[i])
    u = found.u
    v = found.v
    face[i] = found.face
    weights[i] = wp.vec3(u, v, 1.0 - u - v)
    distance[i] = wp.length(wp.mesh_eval_position(mesh, found.face, u, v) - points[i])


@dataclass(frozen=True)
class Nearest:
    """Points of a surface."""

    face: NDArray[np.int32]
    """Faces that they lie on (N,)."""
    weights: NDArray[np.float32]
    """Their barycentric weights of the corners (N, 3)."""
    distance_m: NDArray[np.float32]
    """How far they are from what they are nearest to (N,)."""


class Surface:
    """A mesh with a hierarchy of boxes, to look points up in; on the CPU, whatever device the tracker uses.

    The hierarchy takes about 100 bytes a face and goes with the object.
    """

    def __init__(self, mesh: Mesh) -> None:
        """Build the hierarchy of a mesh."""
        corners = mesh.vertices[np.unique(mesh.faces)]
        self._corners = cKDTree(corners)
        separate_threads()
        self._rounding_m = 1.0e-5 * float(np.abs(corners).max())
        vertices = wp.array(mesh.vertices.astype(np.float32), dtype=wp.vec3, device="cpu")
        faces = wp.array(mesh.faces.reshape(-1).astype(np.int32), dtype=int, device="cpu")
        self._mesh = wp.Mesh(vertices, faces)

    def nearest(self, points: NDArray[np.floating]) -> Nearest:
        """Surface points nearest to points (N, 3) [m]."""
        where = wp.array(np.ascontiguousarray(points, np.float32), dtype=wp.vec3, device="cpu")
        n = len(where)
        # The surface is no farther than the nearest of its corners, which spares most of the hierarchy.
        reach = np.asarray(self._corners.query(points)[0]) * 1.0001 + self._rounding_m
        within = wp.array(reach.astype(np.float32), dtype=float, device="cpu")
        face = wp.zeros(n, dtype=int, device="cpu")
        weights = wp.zeros(n, dtype=wp.vec3, device="cpu")
        distance = wp.zeros(n, dtype=float, device="cpu")
        wp.launch(
            query_nearest,
            n,
            inputs=[self._mesh.id, where, within],
            outputs=[face, weights, distance],
            device="cpu",
        )
        return Nearest(face.numpy(), weights.numpy(), distance.numpy())
