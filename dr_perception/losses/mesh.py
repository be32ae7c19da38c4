"""Regularisers of fitted meshes, against collapse and folds; differentiable by ``wp.Tape``."""

import numpy as np
import warp as wp

from dr_perception.geometry.mesh import Mesh, merge_places
from dr_perception.geometry.mesh_topology import edges_of_faces


@wp.kernel
def gather_places(
    vertices: wp.array[wp.vec3],
    place: wp.array[wp.int32],
    part: wp.array[wp.float32],
    # output
    places: wp.array[wp.vec3],
):
    """Mean of the vertices of every place; a thread takes one vertex, ``part`` is one over their number."""
    i = wp.tid()
    wp.atomic_add(places, place[i], part[i] * vertices[i])


@wp.kernel
def average_neighbors(
    vertices: wp.array[wp.vec3],
    rest: wp.array[wp.vec3],
    ends: wp.array[wp.vec2i],
    share: wp.array[wp.float32],
    # output
    mean: wp.array[wp.vec3],
):
    """Mean displacement of the neighbours of every vertex; a thread takes one directed edge."""
    i = ends[wp.tid()][0]
    j = ends[wp.tid()][1]
    wp.atomic_add(mean, i, share[i] * (vertices[j] - rest[j]))


@wp.kernel
def laplacian_sums(
    vertices: wp.array[wp.vec3],
    rest: wp.array[wp.vec3],
    place: wp.array[wp.int32],
    part: wp.array[wp.float32],
    share: wp.array[wp.float32],
    mean: wp.array[wp.vec3],
    scale: float,
    # output
    total: wp.array[wp.float64],
):
    """Squared difference of a vertex' displacement from the mean displacement of its place's neighbours."""
    i = wp.tid()
    p = place[i]
    if share[p] > 0.0:
        d = vertices[i] - rest[i] - mean[p]
        wp.atomic_add(total, 0, wp.float64(scale * part[i] * wp.dot(d, d)))


@wp.kernel
def edge_sums(
    vertices: wp.array[wp.vec3],
    pairs: wp.array[wp.vec2i],
    rest_length: wp.array[wp.float32],
    scale: float,
    # output
    total: wp.array[wp.float64],
):
    """Squared relative change of the length of an edge."""
    e = wp.tid()
    pair = pairs[e]
    stretch = wp.length(vertices[pair[1]] - vertices[pair[0]]) / rest_length[e] - 1.0
    wp.atomic_add(total, 0, wp.float64(scale * stretch * stretch))


@wp.kernel
def fold_sums(
    vertices: wp.array[wp.vec3],
    faces: wp.array[wp.vec3i],
    beside: wp.array[wp.vec2i],
    rest_cosine: wp.array[wp.float32],
    scale: float,
    # output
    total: wp.array[wp.float64],
):
    """Squared change of the cosine between the normals of two faces that share an edge."""
    e = wp.tid()
    f = faces[beside[e][0]]
    g = faces[beside[e][1]]
    n = wp.cross(vertices[f[1]] - vertices[f[0]], vertices[f[2]] - vertices[f[0]])
    m = wp.cross(vertices[g[1]] - vertices[g[0]], vertices[g[2]] - vertices[g[0]])
    lengths = wp.length(n) * wp.length(m)
    if lengths > 0.0:
        bend = wp.dot(n, m) / lengths - rest_cosine[e]
        wp.atomic_add(total, 0, wp.float64(scale * bend * bend))


class MeshRegularizer:
    """How far moved vertices are from a smooth deformation of the mesh they started from.

    The sum of three dimensionless means: squared Laplacian of the displacement over the squared mean edge
    length (uniform weights, Desbrun et al. 1999; of the displacement, so that the shape itself is free of
    charge), squared relative change of edge lengths (against collapse), and squared change of the cosine
    between neighbouring face normals (against folds).

    Vertices at one place, split where texture coordinates or normals jump, are one vertex with the neighbours
    of all of them: a split mesh costs what the welded one does, and seams that open cost smoothness.

    Args:
        mesh: The mesh at rest.
        laplacian: Weight of the smoothness of the displacement.
        edge: Weight of the edge lengths.
        fold: Weight of the angles between faces.
        device: Warp device.

    Raises:
        ValueError: When an edge has length zero or a weight is negative.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        laplacian: float = 1.0,
        edge: float = 1.0,
        fold: float = 1.0,
        device: str | None = None,
    ) -> None:
        if min(laplacian, edge, fold) < 0:
            raise ValueError(f"weights must not be negative, got {laplacian}, {edge}, {fold}")
        first, place = merge_places(mesh.vertices, 0.0)
        rest, faces = mesh.vertices[first], place[mesh.faces].astype(np.int32)
        topology = edges_of_faces(faces)
        pairs = np.unique(topology.vertices, axis=0)
        lengths = np.linalg.norm(rest[pairs[:, 1]] - rest[pairs[:, 0]], axis=1)
        if lengths.min() == 0:
            raise ValueError(f"edge {first[pairs[lengths.argmin()]].tolist()} has length zero")
        both = topology.faces[topology.faces[:, 1] >= 0]
        normals = _unit_normals(rest, faces)
        cosine = np.sum(normals[both[:, 0]] * normals[both[:, 1]], axis=1)
        ends = np.concatenate([pairs, pairs[:, ::-1]])
        count = np.bincount(ends[:, 0], minlength=len(rest))
        self._device = wp.get_device(device)
        self._rest, self._rest_places = self._array(mesh.vertices, wp.vec3), self._array(rest, wp.vec3)
        self._place = self._array(place, wp.int32)
        self._part = self._array(1.0 / np.bincount(place)[place], wp.float32)
        self._ends = self._array(ends, wp.vec2i)
        self._share = self._array(np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0), wp.float32)
        self._pairs, self._lengths = self._array(pairs, wp.vec2i), self._array(lengths, wp.float32)
        self._faces, self._beside = self._array(faces, wp.vec3i), self._array(both, wp.vec2i)
        self._cosine = self._array(cosine, wp.float32)
        self._scales = (
            laplacian / (len(rest) * float(np.mean(lengths)) ** 2),
            edge / len(pairs),
            fold / max(len(both), 1),
        )

    def __call__(self, vertices: wp.array) -> wp.array:
        """Return the cost of ``vertices`` (V,) vec3 [m], shape (1,) float64."""
        if vertices.shape[0] != self._rest.shape[0]:
            raise ValueError(f"expected {self._rest.shape[0]} vertices, got {vertices.shape[0]}")
        total = wp.zeros(1, dtype=wp.float64, device=self._device, requires_grad=True)
        places = self._add_up(gather_places, [vertices, self._place, self._part])
        mean = self._add_up(average_neighbors, [places, self._rest_places, self._ends, self._share])
        smooth = [self._rest, self._place, self._part, self._share, mean]
        launches = (
            (laplacian_sums, vertices, vertices.shape[0], smooth),
            (edge_sums, places, self._pairs.shape[0], [self._pairs, self._lengths]),
            (fold_sums, places, self._beside.shape[0], [self._faces, self._beside, self._cosine]),
        )
        for (kernel, moved, count, tables), scale in zip(launches, self._scales, strict=True):
            if scale > 0 and count > 0:
                inputs = [moved, *tables, scale]
                wp.launch(kernel, dim=count, inputs=inputs, outputs=[total], device=self._device)
        return total

    def _add_up(self, kernel: wp.Kernel, inputs: list[wp.array]) -> wp.array:
        """Sums at the places; a thread takes a row of the last but one input."""
        sums = wp.zeros(self._rest_places.shape, dtype=wp.vec3, device=self._device, requires_grad=True)
        rows = inputs[-2].shape[0]
        wp.launch(kernel, dim=rows, inputs=inputs, outputs=[sums], device=self._device)
        return sums

    def _array(self, values: np.ndarray, dtype: type) -> wp.array:
        return wp.array(values, dtype=dtype, device=self._device)


def _unit_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    n = np.cross(b - a, c - a)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-30)
