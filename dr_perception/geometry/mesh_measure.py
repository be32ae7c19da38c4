"""Sizes of a mesh and points on its surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh, face_areas, face_normals

__all__ = ["bounding_sphere", "diameter", "sample_surface", "surface_spread"]

_BLOCK_SIZE = 16
_MAX_BLOCKS = 1024
_BATCH_PAIRS = 1 << 14
_SPREAD_SAMPLES = 1000


def sample_surface(
    mesh: Mesh, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Draw points uniformly by area.

    Args:
        mesh: The mesh.
        n: Number of points.
        rng: Source of the randomness.

    Returns:
        Points [m], shape (n, 3), the outward unit normals of their faces, shape (n, 3), and the face indices,
        (n,).

    Raises:
        ValueError: n is not positive.
    """
    if n <= 0:
        raise ValueError(f"the number of surface points must be positive, got {n}")
    areas = face_areas(mesh)
    ids = rng.choice(len(areas), size=n, p=areas / areas.sum())
    # Square-root map of the unit square to barycentrics: Osada et al. 2002, "Shape distributions", eq. 1.
    r1, r2 = np.sqrt(rng.random(n)), rng.random(n)
    weights = np.stack([1.0 - r1, r1 * (1.0 - r2), r1 * r2], axis=1)
    points = np.einsum("nk,nkd->nd", weights, mesh.vertices[mesh.faces[ids]])
    return points, face_normals(mesh)[ids], ids


def surface_spread(mesh: Mesh, center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second moments (3, 3) of the surface about a point (3,), as those of inertia of a thin shell [m^2].

    A small turn ``w`` displaces the surface by ``w . S w`` in the mean square.
    """
    points = sample_surface(mesh, _SPREAD_SAMPLES, np.random.default_rng(0))[0] - center
    moment = points.T @ points / len(points)
    spread: NDArray[np.float64] = np.trace(moment) * np.eye(3) - moment
    return spread


def diameter(mesh: Mesh) -> float:
    """Largest distance [m] between two vertices of faces, exact.

    It is attained at vertices of the convex hull; blocks of those are compared through the bounds of their
    boxes, so that round objects with many hull vertices stay cheap.
    """
    hull = _hull_points(mesh.vertices[np.unique(mesh.faces)])
    blocks = _blocks(hull, max(_BLOCK_SIZE, -(-len(hull) // _MAX_BLOCKS)))
    batch = max(1, _BATCH_PAIRS // blocks.shape[1] ** 2)
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    reach = np.maximum(np.abs(high[:, None] - low[None]), np.abs(low[:, None] - high[None]))
    bound = np.linalg.norm(reach, axis=-1)
    i, j = np.triu_indices(len(blocks))
    order = np.argsort(-bound[i, j])
    i, j = i[order], j[order]
    best = 0.0
    for start in range(0, len(i), batch):
        a, b = i[start : start + batch], j[start : start + batch]
        if bound[a[0], b[0]] <= best:
            break
        difference = blocks[a][:, :, None] - blocks[b][:, None]
        best = max(best, float(np.sqrt(np.einsum("nijk,nijk->nij", difference, difference).max())))
    return best


def _hull_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices of the convex hull; of planar and straight sets too, which have none in three dimensions."""
    from scipy.spatial import ConvexHull

    centred = points - points.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    rank = int(np.sum(singular > 1e-9 * singular[0]))
    if rank < 2 or len(points) <= rank + 1:
        return points
    return points[ConvexHull(centred @ axes[:rank].T).vertices]


def _blocks(points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Group points into compact blocks, shape (B, size, 3); the last point of a small block is repeated."""
    if len(points) <= size:
        return np.pad(points, ((0, size - len(points)), (0, 0)), mode="edge")[None]
    order = np.argsort(points[:, np.argmax(np.ptp(points, axis=0))])
    half = len(points) // 2
    return np.concatenate([_blocks(points[order[:half]], size), _blocks(points[order[half:]], size)])


def bounding_sphere(mesh: Mesh) -> tuple[NDArray[np.float64], float]:
    """A sphere that encloses the mesh, within about 1 % of the smallest.

    Badoiu and Clarkson 2003, "Smaller core-sets for balls", section 3: steps of 1/(i + 1) towards the
    farthest point.

    Returns:
        Centre in the object frame [m], shape (3,), and radius [m].
    """
    points = _hull_points(mesh.vertices[np.unique(mesh.faces)])
    center = 0.5 * (points.min(axis=0) + points.max(axis=0))
    best, radius = center, float(np.max(np.linalg.norm(points - center, axis=1)))
    for i in range(1, 101):
        center = center + (points[np.argmax(np.sum((points - center) ** 2, axis=1))] - center) / (i + 1)
        reach = float(np.max(np.linalg.norm(points - center, axis=1)))
        if reach < radius:
            best, radius = center, reach
    return best, radius
