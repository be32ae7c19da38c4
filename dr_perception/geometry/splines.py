"""Smooth trajectories of poses: cumulative cubic B-splines of rotation and place.

Cumulative basis functions let a spline live on a group: the pose is a product of fractions of the steps from
knot to knot (Kim, Kim and Shin 1995; Sommer et al. 2020, "Efficient derivative computation for cumulative
B-splines on Lie groups", section 4). Rotation and place are interpolated apart, SO(3) x R^3 of that paper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.se3 import exp_so3, log_so3

__all__ = ["basis", "spline_poses", "spline_spans"]

Array = NDArray[np.float64]
_CUMULATIVE = (
    np.array([[6.0, 0.0, 0.0, 0.0], [5.0, 3.0, -3.0, 1.0], [1.0, 3.0, 3.0, -2.0], [0.0, 0.0, 0.0, 1.0]]) / 6.0
)
"""Coefficients of the four cumulative functions in 1, u, u^2, u^3 (Sommer et al. 2020, eq. 20)."""


def spline_spans(
    stamps: ArrayLike, knots: int, start: float, period: float
) -> tuple[NDArray[np.int64], Array]:
    """First of the four knots of the pose at each stamp (N,), and how far on it is (N,).

    The spline begins at ``start`` and goes on for ``knots - 3`` periods; its knots stand at
    ``start - period`` and every period after it.

    Raises:
        ValueError: Fewer than four knots, a period that is not positive, or stamps outside.
    """
    if knots < 4 or not (np.isfinite(period) and period > 0.0):
        raise ValueError(f"a spline needs four knots and a positive period, got {knots} and {period}")
    s = (np.asarray(stamps, dtype=np.float64) - start) / period
    if s.size and not (np.all(s >= -1e-9) and np.all(s <= knots - 3 + 1e-9)):
        end = start + (knots - 3) * period
        raise ValueError(f"stamps must lie from {start} to {end}, got {np.min(stamps)} to {np.max(stamps)}")
    span = np.clip(np.floor(s), 0, knots - 4).astype(np.int64)
    return span, np.clip(s - span, 0.0, 1.0)


def basis(u: ArrayLike) -> tuple[Array, Array]:
    """The cumulative functions (N, 4) at places (N,) between knots, and their slopes in them (N, 4)."""
    u = np.asarray(u, dtype=np.float64)
    one, zero = np.ones_like(u), np.zeros_like(u)
    powers = np.stack([one, u, u**2, u**3], axis=-1)
    slopes = np.stack([zero, one, 2.0 * u, 3.0 * u**2], axis=-1)
    return powers @ _CUMULATIVE.T, slopes @ _CUMULATIVE.T


def spline_poses(
    knots: ArrayLike, stamps: ArrayLike, start: float = 0.0, period: float = 1.0
) -> tuple[Array, Array]:
    """Poses and velocities of a spline.

    Args:
        knots: Poses of the knots (K, 4, 4); neighbours differ by less than half a turn.
        stamps: When (N,), in the units of ``period``.
        start: Where the spline begins, see `spline_spans`.
        period: Time from knot to knot.

    Returns:
        Poses (N, 4, 4), and velocities (N, 6): (v, w) per unit of time along the axes of the parent frame.
    """
    T = np.asarray(knots, dtype=np.float64)
    span, u = spline_spans(stamps, len(T), start, period)
    weights, slopes = basis(u)
    chosen = T[span[:, None] + np.arange(4)]
    R, t = chosen[..., :3, :3], chosen[..., :3, 3]
    steps = log_so3(np.swapaxes(R[:, :3], -1, -2) @ R[:, 1:])
    out = np.tile(np.eye(4), (len(u), 1, 1))
    velocity = np.zeros((len(u), 6))
    out[:, :3, :3] = R[:, 0]
    moves = np.diff(t, axis=1)
    out[:, :3, 3] = t[:, 0] + np.einsum("nk,nki->ni", weights[:, 1:], moves)
    velocity[:, :3] = np.einsum("nk,nki->ni", slopes[:, 1:], moves) / period
    for k in range(3):
        axis = np.einsum("nij,nj->ni", out[:, :3, :3], steps[:, k])
        velocity[:, 3:] += slopes[:, k + 1, None] * axis / period
        out[:, :3, :3] = out[:, :3, :3] @ exp_so3(weights[:, k + 1, None] * steps[:, k])
    return out, velocity
