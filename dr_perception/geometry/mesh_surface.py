"""The surface that a mesh bounds, whatever its arrays look like.

Files and users split vertices where texture coordinates, colours or normals jump, write triangles one by one,
repeat faces, keep faces without area and turn some the wrong way. Edges and outlines belong to the surface,
attributes to the corners of its faces: a `MeshSurface` has the surface, and says where the corners are in the
mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh, face_areas, merge_places
from dr_perception.geometry.mesh_slivers import flip_slivers
from dr_perception.geometry.mesh_winding import wrongly_turned

__all__ = ["MeshSurface", "faces_in_mesh", "mesh_surface"]

_RESOLUTION = 1e-6
"""Part of the bounding-box diagonal below which nothing is told apart.

Seen from ten diagonals away, this is what float32 rounds coordinates by: a face that is no higher is seen
from neither side.
"""

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class MeshSurface:
    """The surface of a mesh of V vertices and F faces: P places and F' faces."""

    place: Ints
    """Place of each vertex of the mesh, -1 for vertices of no face of the surface, shape (V,)."""
    positions: NDArray[np.float64]
    """Where the places are, the mean of their vertices [m], shape (P, 3)."""
    faces: Ints
    """Places of the corners, counter-clockwise from outside where the surface has one, shape (F', 3)."""
    corner: Ints
    """Corner of the mesh that each corner is: three times its face plus 0, 1 or 2, shape (F', 3)."""

    def corners(self, of_faces: NDArray) -> NDArray:
        """What the corners of the mesh's faces have, shape (F, 3, ...), for those of the surface."""
        return of_faces.reshape(-1, *of_faces.shape[2:])[self.corner]

    @property
    def is_plain(self) -> bool:
        """Whether places are the vertices themselves."""
        return np.array_equal(self.place, np.arange(len(self.positions)))


def mesh_surface(mesh: Mesh) -> MeshSurface:
    """Find the surface of a mesh.

    - Vertices closer than 1e-6 of the bounding-box diagonal are one place.
    - Of faces on the same three places the first is kept, whichever way they are turned: it is what a
      z-buffer shows of them.
    - Faces no higher than that distance become part of the face beyond their longest edge, or are left out;
      faces up to ten times as high become part of it where that leaves none as low.
    - Faces that are turned unlike their neighbours are turned over, and so are closed parts that enclose a
      negative volume, unless they are hollows of other parts.

    Args:
        mesh: Any mesh.

    Returns:
        Its surface.

    Raises:
        ValueError: No face covers anything.
    """
    resolution = _RESOLUTION * float(np.linalg.norm(np.ptp(mesh.vertices[np.unique(mesh.faces)], axis=0)))
    first, label = merge_places(mesh.vertices, resolution)
    places = first[label][mesh.faces].astype(np.int32)
    kept = np.flatnonzero((places != np.roll(places, 1, axis=1)).all(axis=1))
    kept = kept[_first_of_equal(places[kept])]
    faces: Ints = places[kept]
    corner: Ints = (3 * kept[:, None] + np.arange(3)).astype(np.int32)
    if len(kept):
        turned = wrongly_turned(mesh.vertices, faces, mesh.faces[kept])
        faces[turned], corner[turned] = faces[turned][:, ::-1], corner[turned][:, ::-1]
        faces, corner = flip_slivers(mesh.vertices, faces, corner, _looks(mesh), resolution)
    if not len(faces):
        raise ValueError(f"the mesh has no surface: all {len(places)} faces are degenerate")
    used, index = np.unique(faces, return_inverse=True)
    faces = index.reshape(-1, 3).astype(np.int32)
    place = np.full(len(mesh.vertices), -1, dtype=np.int32)
    place[mesh.faces.reshape(-1)[corner]] = faces
    positions = mesh.vertices[used] + _mean_offsets(mesh.vertices, used, place)
    return MeshSurface(place, positions, faces, corner)


def faces_in_mesh(surface: MeshSurface, mesh: Mesh) -> tuple[Ints, NDArray[np.float32]]:
    """Where the faces of a surface lie in the faces of its mesh.

    Args:
        surface: The surface.
        mesh: The mesh that it was found for.

    Returns:
        The face of the mesh that each face is, or was divided from, shape (F',), and barycentric coordinates
        in that one of its three corners, shape (F', 3, 3).
    """
    faces, local = surface.corner // 3, surface.corner % 3
    # A sliver that became part of a neighbour has no inside: the largest face that a corner is from has one.
    largest = np.argmax(face_areas(mesh)[faces], axis=1)
    face: Ints = faces[np.arange(len(faces)), largest]
    weights = np.eye(3, dtype=np.float32)[local]
    foreign = np.argwhere(faces != face[:, None])
    if len(foreign):
        row, corner = foreign.T
        point = mesh.vertices[mesh.faces.reshape(-1)[surface.corner[row, corner]]]
        weights[row, corner] = _barycentric(mesh.vertices[mesh.faces[face[row]]], point)
    return face, weights


def _barycentric(triangles: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates of the points (n, 3), each in the plane of one of the triangles (n, 3, 3)."""
    a, b, c = (triangles[:, i] for i in range(3))
    normal = np.cross(b - a, c - a)
    double = np.einsum("ij,ij->i", normal, normal)
    v = np.einsum("ij,ij->i", np.cross(points - a, c - a), normal) / double
    w = np.einsum("ij,ij->i", np.cross(b - a, points - a), normal) / double
    return np.stack([1.0 - v - w, v, w], axis=1)


def _first_of_equal(faces: Ints) -> NDArray[np.intp]:
    """Rows of the faces that have no earlier one on the same three places, in their order."""
    return np.sort(np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1])


def _looks(mesh: Mesh) -> NDArray[np.float32]:
    """What each corner has besides its place, shape (3 F, k)."""
    parts = [np.zeros((3 * len(mesh.faces), 0), np.float32)]
    if mesh.corner_uv is not None:
        parts.append(mesh.corner_uv.reshape(-1, 2))
    if mesh.vertex_colors is not None:
        parts.append(mesh.vertex_colors[mesh.faces.reshape(-1)].astype(np.float32))
    if mesh.vertex_attributes is not None:
        parts.append(mesh.vertex_attributes[mesh.faces.reshape(-1)])
    return np.hstack(parts)


def _mean_offsets(vertices: NDArray[np.float64], first: NDArray, place: Ints) -> NDArray[np.float64]:
    """Mean of the vertices of each place less its first vertex: exactly zero where they are equal."""
    members = np.flatnonzero(place >= 0)
    place = place[members]
    offsets = vertices[members] - vertices[first[place]]
    count = np.bincount(place)
    return np.stack([np.bincount(place, weights=offsets[:, i]) / count for i in range(3)], axis=1)
