"""Smallest distance of two poses of a symmetric model, exact for continuous axes.

For one axis the distance of a model point from its copy turned by ``theta`` about the axis is, in cylinder
coordinates of that axis, ``d^2 = dz^2 + r_q^2 + r_x^2 - 2 r_q r_x cos(phi_q - phi_x - theta)``: a cosine a
point, so that a fine scan followed by Brent's method finds the minimum over ``theta`` to rounding error at
the cost of a few matrix products.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

__all__ = ["minimum_over_symmetries"]

SCAN_ANGLES = 72
SWEEPS = 20
Array = NDArray[np.float64]
Reduction = Callable[[Array], "np.floating | float"]


def minimum_over_symmetries(
    T_est: ArrayLike, T_ref: ArrayLike, points: ArrayLike, symmetries: Symmetries, reduce: Reduction
) -> float:
    """Minimum over the symmetries S of ``reduce(|T_est x - T_ref S x|)`` over the points x.

    Args:
        T_est: (4, 4) estimated pose.
        T_ref: (4, 4) reference pose.
        points: (N, 3) model points [m].
        symmetries: Discrete symmetries are enumerated, continuous ones minimised over their angle. With
            several axes the angles are minimised in turn until none improves.
        reduce: Turns (N,) distances [m] into the error, ``np.mean`` for ADD.

    Returns:
        The smallest error [m].
    """
    T_est = np.asarray(T_est, dtype=np.float64)
    T_ref = np.asarray(T_ref, dtype=np.float64)
    points = np.asarray(points, dtype=np.float64)
    T_refobj_estobj = np.linalg.inv(T_ref) @ T_est
    estimated = points @ T_refobj_estobj[:3, :3].T + T_refobj_estobj[:3, 3]
    closest = np.linalg.inv(T_ref) @ symmetries.closest(T_est, T_ref)
    starts = [closest, np.eye(4), *np.reshape(symmetries.discrete, (-1, 4, 4))]
    return min(_descend(estimated, points, S, symmetries.continuous, reduce) for S in starts)


def _descend(
    estimated: Array, points: Array, S: Array, axes: tuple[ContinuousSymmetry, ...], reduce: Reduction
) -> float:
    """Error at the symmetry S after its continuous axes are minimised in turn."""
    error = float(reduce(np.linalg.norm(estimated - (points @ S[:3, :3].T + S[:3, 3]), axis=1)))
    for _ in range(SWEEPS if axes else 0):
        before = error
        for axis in axes:
            angle, candidate = _best_angle(estimated, points @ S[:3, :3].T + S[:3, 3], axis, reduce)
            if candidate < error:
                S, error = axis.turn(angle) @ S, candidate
        if len(axes) == 1 or before - error <= 1e-12:
            break
    return error


def _best_angle(
    estimated: Array, points: Array, symmetry: ContinuousSymmetry, reduce: Reduction
) -> tuple[float, float]:
    """Angle [rad] about one axis that brings the points closest, and the error there."""
    z_q, r_q, phi_q = _cylinder(estimated, symmetry)
    z_x, r_x, phi_x = _cylinder(points, symmetry)
    constant = (z_q - z_x) ** 2 + r_q**2 + r_x**2
    amplitude, phase = 2.0 * r_q * r_x, phi_q - phi_x

    def error(angle: float) -> float:
        return float(reduce(np.sqrt(np.maximum(constant - amplitude * np.cos(phase - angle), 0.0))))

    step = 2.0 * np.pi / SCAN_ANGLES
    best = step * int(np.argmin([error(step * k) for k in range(SCAN_ANGLES)]))
    found = minimize_scalar(
        error, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-9}
    )
    return (float(found.x), float(found.fun)) if found.fun < error(best) else (best, error(best))


def _cylinder(points: Array, symmetry: ContinuousSymmetry) -> tuple[Array, Array, Array]:
    """Height, radius and azimuth of points (N, 3) about the axis."""
    axis = np.asarray(symmetry.axis, dtype=np.float64)
    axis = axis / np.linalg.norm(axis)
    side = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    side /= np.linalg.norm(side)
    relative = points - np.asarray(symmetry.offset, dtype=np.float64)
    u, v = relative @ side, relative @ np.cross(axis, side)
    return relative @ axis, np.hypot(u, v), np.arctan2(v, u)
