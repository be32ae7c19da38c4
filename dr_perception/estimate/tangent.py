"""Tangents of many poses at once, with the derivatives that least squares needs.

The tangent ``(v, w)`` is the project's (`dr_perception.geometry.se3`): translation, then rotation, along the
axes of the parent frame. `tangents` and `moved` are `local` and `retract` of the geometry in few array
operations; a graph of ten poses spends its time in the calls, not in the arithmetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALL_SINE = 0.1
"""Below it the series of the angle over its sine is exact to 1e-10, the first term left out."""
_SMALL_ANGLE_SQUARED = 0.02
"""Below it the series of `log_jacobian` is exact to 1e-11."""
_HAT = np.zeros((3, 9))
"""``hat(w) = w @ _HAT``, its rows one after the other."""
_HAT[[0, 1, 2], [7, 2, 3]] = 1.0
_HAT[[0, 1, 2], [5, 6, 1]] = -1.0
_VEE = 0.5 * _HAT.T
_IDENTITY = np.eye(3)


def cross_matrix(w: Array) -> Array:
    """``hat(w)`` (..., 3, 3) of vectors (..., 3)."""
    return (w @ _HAT).reshape(*w.shape, 3)


def _largest(a: Array) -> float:
    return float(np.maximum.reduce(a, axis=None, initial=-np.inf))


def tangents(T_from: Array, T_to: Array) -> Array:
    """Tangents (..., 6) that take poses (..., 4, 4) to others less than half a turn away."""
    R = T_to[..., :3, :3] @ T_from[..., :3, :3].swapaxes(-1, -2)
    xi = np.empty((*R.shape[:-2], 6))
    np.subtract(T_to[..., :3, 3], T_from[..., :3, 3], out=xi[..., :3])
    w = R.reshape(*R.shape[:-2], 9) @ _VEE
    squared = np.add.reduce(w * w, axis=-1, keepdims=True)
    if _largest(squared) < _SMALL_SINE**2 and _largest(-R[..., 0, 0]) < 0.0:
        angle_over_sine = 1.0 + squared * (1.0 / 6.0 + squared * (3.0 / 40.0 + squared * (15.0 / 336.0)))
    else:
        sine = np.maximum(np.sqrt(squared), 1.0e-12)
        cosine = 0.5 * (np.trace(R, axis1=-2, axis2=-1)[..., None] - 1.0)
        angle_over_sine = np.arctan2(sine, cosine) / sine
    np.multiply(w, angle_over_sine, out=xi[..., 3:])
    return xi


def moved(T: Array, xi: Array) -> Array:
    """Poses (N, 4, 4) moved along tangents (N, 6), by Rodrigues' formula."""
    w = xi[:, 3:]
    angle = np.maximum(np.sqrt((w * w).sum(-1)), 1.0e-12)[:, None, None]
    W = cross_matrix(w)
    out = T.copy()
    R = T[:, :3, :3]
    WR = W @ R
    half = np.sin(0.5 * angle) / angle
    out[:, :3, :3] = R + (np.sin(angle) / angle) * WR + (2.0 * half * half) * (W @ WR)
    out[:, :3, 3] += xi[:, :3]
    return out


def log_jacobian(w: Array) -> Array:
    """Derivative (..., 3, 3) of ``log(exp(d) exp(w))`` by ``d`` at zero, for rotation vectors (..., 3).

    The inverse of the left Jacobian of SO(3): ``I - hat(w) / 2 + c hat(w)^2`` with
    ``c = (1 - h cot h) / |w|^2``, ``h = |w| / 2`` (Barfoot, State Estimation for Robotics, 2017, 7.1).
    """
    W = cross_matrix(w)
    squared = np.add.reduce(w * w, axis=-1)[..., None, None]
    return _IDENTITY - 0.5 * W + _half_cotangent(squared) * (W @ W)


def _half_cotangent(squared: Array) -> Array:
    """``(1 - h cot h) / (4 h^2)`` of squared angles ``4 h^2``."""
    near = 1.0 / 12.0 + squared * (1.0 / 720.0 + squared * (1.0 / 30240.0))
    if _largest(squared) < _SMALL_ANGLE_SQUARED:
        return near
    half = 0.5 * np.sqrt(np.maximum(squared, _SMALL_ANGLE_SQUARED))
    far = (1.0 - half / np.tan(half)) / (4.0 * half * half)
    return np.where(squared < _SMALL_ANGLE_SQUARED, near, far)


def block_rotation(R: Array) -> Array:
    """``diag(R, R)`` of rotations (..., 3, 3), shape (..., 6, 6)."""
    B = np.zeros((*R.shape[:-2], 6, 6))
    B[..., :3, :3] = R
    B[..., 3:, 3:] = R
    return B


def block_diagonal(blocks: Array) -> Array:
    """Matrix (N b, N b) of blocks (N, b, b)."""
    N, b = blocks.shape[:2]
    out = np.zeros((N, b, N, b))
    out[np.arange(N), :, np.arange(N)] = blocks
    return out.reshape(N * b, N * b)
