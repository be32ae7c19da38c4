"""Level-of-detail meshes: fewer faces within a stated geometric error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.body.collapse import collapse_edges
from dr_perception.body.nearest import Surface
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.mesh_measure import sample_surface
from dr_perception.geometry.mesh_winding import weld_outwards

_SURFACE_SAMPLES = 4000
_LEAST_STEP = 0.8
"""A mesh of more than this share of the faces is not worth another measurement: few of its edges can go."""
_MIN_FACES = 64


def simplify(mesh: Mesh, max_error_m: float) -> Mesh:
    """Return a mesh of fewer faces that stays within a geometric error of the original.

    Quadric edge collapse halves the number of faces until the two-sided distance
    between the surfaces, measured at area-uniform samples (99.5th percentile), would exceed ``max_error_m``.
    Colours and textures are left out: the result serves visibility and geometry only, and is welded and
    turned outwards whatever the mesh is. Faces that come from unseen ones are unseen.

    Args:
        mesh: Mesh in metres.
        max_error_m: Allowed distance between the surfaces in metres.

    Raises:
        ValueError: If ``max_error_m`` is not positive.
    """
    if not max_error_m > 0.0:
        raise ValueError(f"max_error_m must be positive, got {max_error_m}")
    best = weld_outwards(Mesh(vertices=mesh.vertices, faces=mesh.faces, unseen_faces=mesh.unseen_faces))
    original = Surface(mesh)
    target = len(best.faces) // 2
    while target >= _MIN_FACES:
        candidate = collapse_edges(best, target)
        if (
            len(candidate.faces) > _LEAST_STEP * len(best.faces)
            or (candidate.unseen_faces is not None and candidate.unseen_faces.all())
            or _distance(mesh, original, candidate) > max_error_m
        ):
            break
        best = candidate
        target = len(candidate.faces) // 2
    return best


def surface_distance(a: Mesh, b: Mesh) -> float:
    """Two-sided distance between surfaces in metres.

    99.5th percentile over samples of either on the other.
    """
    return _distance(a, Surface(a), b)


def _distance(a: Mesh, surface_a: Surface, b: Mesh) -> float:
    rng = np.random.default_rng(0)
    return max(_one_sided(a, Surface(b), rng), _one_sided(b, surface_a, rng))


def _one_sided(source: Mesh, target: Surface, rng: np.random.Generator) -> float:
    points = np.concatenate([sample_surface(source, _SURFACE_SAMPLES, rng)[0], _subset(source.vertices, rng)])
    return float(np.percentile(target.nearest(points).distance_m, 99.5))


def _subset(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    if len(points) <= _SURFACE_SAMPLES:
        return points
    return points[rng.choice(len(points), _SURFACE_SAMPLES, replace=False)]
