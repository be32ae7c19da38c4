"""Errors of one estimated pose against its reference, by their published definitions.

All lengths are metres, all poses ``T_cam_obj`` (4, 4). ``points`` are the vertices of the model, as in the
BOP
toolkit: the published errors average (ADD) or maximise (MSSD) over vertices, not over the area of the
surface. :func:`evaluation_points` bounds their number for big meshes.

References:
    [1] Hinterstoisser et al., "Model based training, detection and pose estimation of texture-less 3D objects
        in heavily cluttered scenes", ACCV 2012: ADD, ADD-S (there m and m_s).
    [2] Hodan et al., "On evaluation of 6D object pose estimation", ECCVW 2016: rotation and translation
    errors.
    [3] Hodan et al., "BOP Challenge 2020 on 6D object localization", ECCVW 2020: MSSD, MSPD, VSD.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, QhullError, cKDTree

from dr_perception.evaluation.symmetric_distance import minimum_over_symmetries
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import transform_points
from dr_perception.geometry.symmetry import Symmetries

__all__ = [
    "MAX_POINTS",
    "add",
    "add_s",
    "add_symmetric",
    "evaluation_points",
    "hull_points",
    "mspd",
    "mssd",
    "rotation_error",
    "translation_error",
]

MAX_POINTS = 5000
"""Meshes with more vertices are represented by this many, drawn once with a fixed seed."""

Array = NDArray[np.float64]


def evaluation_points(vertices: ArrayLike, limit: int = MAX_POINTS) -> Array:
    """Vertices over which the errors are averaged.

    Args:
        vertices: (V, 3) model vertices [m].
        limit: Above this number a subset is drawn without replacement, always the same for the same mesh.

    Returns:
        (min(V, limit), 3) points [m] in the object frame, in the order of the mesh.

    Raises:
        ValueError: ``vertices`` is not (V, 3) with V > 0 or not finite.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(f"vertices must have shape (V, 3) with V > 0, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("vertices must be finite")
    if len(points) <= limit:
        return points
    return points[np.sort(np.random.default_rng(0).choice(len(points), limit, replace=False))]


def hull_points(points: ArrayLike) -> Array:
    """Subset of the points on their convex hull: where the largest distance of two rigid poses is attained.

    The distance ``|A x - B x|`` is convex in ``x``, so its maximum over the points is at a vertex of the
    hull. Flat point sets have no hull and are returned unchanged.
    """
    points = np.asarray(points, dtype=np.float64)
    try:
        return points[np.sort(ConvexHull(points).vertices)]
    except (QhullError, ValueError):
        return points


def add(T_est: ArrayLike, T_ref: ArrayLike, points: ArrayLike) -> float:
    """Average distance of model points, [1] equation (1), for objects without symmetry [m]."""
    return float(np.mean(np.linalg.norm(_moved(T_est, points) - _moved(T_ref, points), axis=1)))


def add_s(T_est: ArrayLike, T_ref: ArrayLike, points: ArrayLike, tree: cKDTree | None = None) -> float:
    """Average distance to the closest model point, [1] equation (2), blind to any symmetry [m].

    Args:
        T_est: (4, 4) estimated pose.
        T_ref: (4, 4) reference pose.
        points: (N, 3) model points [m], moved by the estimate.
        tree: k-d tree over the points in the object frame; built here when not given.

    Returns:
        Mean distance of each point of the estimate from its nearest neighbour of the reference [m].
    """
    tree = cKDTree(np.asarray(points, dtype=np.float64)) if tree is None else tree
    T_ref = np.asarray(T_ref, dtype=np.float64)
    in_object = (_moved(T_est, points) - T_ref[:3, 3]) @ T_ref[:3, :3]
    return float(np.mean(tree.query(in_object)[0]))


def add_symmetric(T_est: ArrayLike, T_ref: ArrayLike, points: ArrayLike, symmetries: Symmetries) -> float:
    """Smallest ADD over all symmetric copies of the reference [m]; equals :func:`add` without symmetry.

    Rotations about continuous axes are minimised in closed interval, not sampled: see
    :func:`~dr_perception.evaluation.symmetric_distance.minimum_over_symmetries`.
    """
    if not symmetries.is_symmetric:
        return add(T_est, T_ref, points)
    return minimum_over_symmetries(T_est, T_ref, points, symmetries, np.mean)


def rotation_error(T_est: ArrayLike, T_ref: ArrayLike, symmetries: Symmetries | None = None) -> float:
    """Angle of the relative rotation, [2] equation (7) [rad]; the smallest over the symmetries when given."""
    T_est, T_ref = _pose(T_est), _closest(T_est, T_ref, symmetries)
    relative = T_est[:3, :3].T @ T_ref[:3, :3]
    sine = 0.5 * np.linalg.norm(relative - relative.T) / np.sqrt(2.0)
    return float(np.arctan2(sine, 0.5 * (np.trace(relative) - 1.0)))


def translation_error(T_est: ArrayLike, T_ref: ArrayLike, symmetries: Symmetries | None = None) -> float:
    """Distance of the origins, [2] equation (6) [m]; to the symmetric copy closest in rotation when given."""
    return float(np.linalg.norm(_pose(T_est)[:3, 3] - _closest(T_est, T_ref, symmetries)[:3, 3]))


def mssd(T_est: ArrayLike, T_ref: ArrayLike, points: ArrayLike, transforms: ArrayLike) -> float:
    """Maximum symmetry-aware surface distance, [3] section 2.2 [m].

    Args:
        T_est: (4, 4) estimated pose.
        T_ref: (4, 4) reference pose.
        points: (N, 3) model points [m]; their hull is enough, see :func:`hull_points`.
        transforms: (S, 4, 4) BOP set of symmetry transforms with the identity, ``Symmetries.transforms()``.

    Returns:
        Smallest over the symmetries of the largest point distance [m].
    """
    copies = _copies(T_ref, points, transforms)
    return float(np.linalg.norm(_moved(T_est, points) - copies, axis=2).max(axis=1).min())


def mspd(
    T_est: ArrayLike, T_ref: ArrayLike, points: ArrayLike, transforms: ArrayLike, camera: Camera
) -> float:
    """Maximum symmetry-aware projection distance, [3] section 2.2 [pixel]; arguments as of :func:`mssd`."""
    copies = camera.project(_copies(T_ref, points, transforms))
    return float(np.linalg.norm(camera.project(_moved(T_est, points)) - copies, axis=2).max(axis=1).min())


def _copies(T_ref: ArrayLike, points: ArrayLike, transforms: ArrayLike) -> Array:
    """(S, N, 3) points of all symmetric copies of the reference."""
    T = _pose(T_ref) @ np.asarray(transforms, dtype=np.float64)
    return np.asarray(points) @ T[:, :3, :3].transpose(0, 2, 1) + T[:, None, :3, 3]


def _pose(T: ArrayLike) -> Array:
    return np.asarray(T, dtype=np.float64)


def _moved(T: ArrayLike, points: ArrayLike) -> Array:
    return np.asarray(transform_points(_pose(T), np.asarray(points, dtype=np.float64)))


def _closest(T_est: ArrayLike, T_ref: ArrayLike, symmetries: Symmetries | None) -> Array:
    if symmetries is None or not symmetries.is_symmetric:
        return _pose(T_ref)
    return np.asarray(symmetries.closest(_pose(T_est), _pose(T_ref)))
