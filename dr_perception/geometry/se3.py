"""Rigid motions in NumPy, float64, with leading batch axes.

Conventions, stated once for the whole package:

* ``T_a_b`` is the 4x4 that takes points in frame b to frame a: ``p_a = T_a_b @ p_b``.
* A tangent vector is ``xi = (v, w)``: translation of the origin [m], then rotation about the origin [rad],
  both along the axes of the parent frame a: ``t' = t + v``, ``R' = exp(w) R``. Translation and rotation are
  thus decoupled (the group is R^3 x SO(3), not the screw motions of SE(3)), and a 6x6 covariance in this
  order is what ``geometry_msgs/PoseWithCovariance`` holds.
* Quaternions are ``x, y, z, w``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "angle_between",
    "check_transform",
    "covariance_about",
    "exp_so3",
    "hat",
    "interpolate",
    "invert",
    "local",
    "log_so3",
    "make_transform",
    "matrix_from_quaternion",
    "move_origin",
    "orthonormalize",
    "perturb",
    "quaternion_from_matrix",
    "random_rotation",
    "retract",
    "rotate_covariance",
    "transform_points",
]

_SMALL_ANGLE_SQUARED = 1e-6
_RIGID_TOLERANCE = 1e-3
_EXACT_TOLERANCE = 1e-12


def hat(w: ArrayLike) -> NDArray[np.float64]:
    """Cross-product matrix: ``hat(w) @ p == cross(w, p)``.

    Args:
        w: Vectors, shape (..., 3).

    Returns:
        Skew-symmetric matrices, shape (..., 3, 3).
    """
    w = np.asarray(w, dtype=np.float64)
    out = np.zeros((*w.shape, 3))
    out[..., 0, 1], out[..., 0, 2] = -w[..., 2], w[..., 1]
    out[..., 1, 0], out[..., 1, 2] = w[..., 2], -w[..., 0]
    out[..., 2, 0], out[..., 2, 1] = -w[..., 1], w[..., 0]
    return out


def exp_so3(w: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrix of a rotation vector (Rodrigues' formula, Taylor series near zero).

    Args:
        w: Rotation vectors [rad], shape (..., 3).

    Returns:
        Rotation matrices, shape (..., 3, 3).
    """
    w = np.asarray(w, dtype=np.float64)
    if w.ndim == 1:
        return _exp_one(*w.tolist())
    squared = np.sum(w * w, axis=-1)
    small = squared < _SMALL_ANGLE_SQUARED
    angle = np.sqrt(np.where(small, 1.0, squared))
    sin_term = np.where(small, 1.0 - squared / 6.0 * (1.0 - squared / 20.0), np.sin(angle) / angle)
    half_sinc = np.sin(0.5 * angle) / (0.5 * angle)
    cos_term = np.where(small, 0.5 - squared / 24.0 * (1.0 - squared / 30.0), 0.5 * half_sinc**2)
    K = hat(w)
    return np.eye(3) + sin_term[..., None, None] * K + cos_term[..., None, None] * (K @ K)


def log_so3(R: ArrayLike) -> NDArray[np.float64]:
    """Rotation vector of a rotation matrix, with an angle in [0, pi].

    It goes through the quaternion, which is well conditioned at every angle, half turns included. At exactly
    pi the axis is defined up to its sign.

    Args:
        R: Rotation matrices, shape (..., 3, 3).

    Returns:
        Rotation vectors [rad], shape (..., 3).
    """
    R = np.asarray(R, dtype=np.float64)
    if R.ndim == 2 and R[0, 0] + R[1, 1] + R[2, 2] > 0.0:
        return _log_one(R.tolist())
    q = quaternion_from_matrix(R)
    vector, scalar = q[..., :3], q[..., 3]
    norm = np.linalg.norm(vector, axis=-1)
    small = norm < 1e-8
    factor = np.where(small, 2.0, 2.0 * np.arctan2(norm, scalar) / np.where(small, 1.0, norm))
    return factor[..., None] * vector


def _exp_one(x: float, y: float, z: float) -> NDArray[np.float64]:
    """`exp_so3` of one vector.

    A tracker calls it every frame, and arrays of three cost ten times as much as floats.
    """
    squared = x * x + y * y + z * z
    if squared < _SMALL_ANGLE_SQUARED:
        a = 1.0 - squared / 6.0 * (1.0 - squared / 20.0)
        b = 0.5 - squared / 24.0 * (1.0 - squared / 30.0)
    else:
        angle = math.sqrt(squared)
        half_sinc = math.sin(0.5 * angle) / (0.5 * angle)
        a, b = math.sin(angle) / angle, 0.5 * half_sinc * half_sinc
    return np.array(
        [
            [1.0 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y],
            [b * x * y + a * z, 1.0 - b * (x * x + z * z), b * y * z - a * x],
            [b * x * z - a * y, b * y * z + a * x, 1.0 - b * (x * x + y * y)],
        ]
    )


def _log_one(R: list[list[float]]) -> NDArray[np.float64]:
    """`log_so3` of one rotation by less than 120 degrees (a positive trace): no case distinction."""
    x, y, z = R[2][1] - R[1][2], R[0][2] - R[2][0], R[1][0] - R[0][1]
    sine = 0.5 * math.sqrt(x * x + y * y + z * z)
    angle = math.atan2(sine, 0.5 * (R[0][0] + R[1][1] + R[2][2] - 1.0))
    factor = 0.5 if sine < 1e-8 else 0.5 * angle / sine
    return np.array([factor * x, factor * y, factor * z])


def retract(T: ArrayLike, xi: ArrayLike) -> NDArray[np.float64]:
    """Move a pose along a tangent vector: ``t' = t + v``, ``R' = exp(w) R``.

    Args:
        T: Poses, shape (..., 4, 4).
        xi: Tangent vectors (v [m], w [rad]) along the axes of the parent frame, shape (..., 6).

    Returns:
        Moved poses, shape (..., 4, 4).
    """
    T = np.asarray(T, dtype=np.float64)
    xi = np.asarray(xi, dtype=np.float64)
    return make_transform(exp_so3(xi[..., 3:]) @ T[..., :3, :3], T[..., :3, 3] + xi[..., :3])


def local(T_from: ArrayLike, T_to: ArrayLike) -> NDArray[np.float64]:
    """Tangent vector from one pose to another, the inverse of `retract`.

    ``retract(T_from, local(T_from, T_to)) == T_to``.

    Args:
        T_from: Poses, shape (..., 4, 4).
        T_to: Poses in the same parent frame, shape (..., 4, 4).

    Returns:
        Tangent vectors (v [m], w [rad]), shape (..., 6).
    """
    T_from = np.asarray(T_from, dtype=np.float64)
    T_to = np.asarray(T_to, dtype=np.float64)
    w = log_so3(T_to[..., :3, :3] @ np.swapaxes(T_from[..., :3, :3], -1, -2))
    v = T_to[..., :3, 3] - T_from[..., :3, 3]
    return np.concatenate(np.broadcast_arrays(v, w), axis=-1)


def invert(T: ArrayLike) -> NDArray[np.float64]:
    """Inverse of rigid transforms: ``invert(T_a_b)`` is ``T_b_a``.

    Args:
        T: Rigid transforms, shape (..., 4, 4).

    Returns:
        Inverses, shape (..., 4, 4).
    """
    T = np.asarray(T, dtype=np.float64)
    R_t = np.swapaxes(T[..., :3, :3], -1, -2)
    return make_transform(R_t, -(R_t @ T[..., :3, 3:4])[..., 0])


def transform_points(T: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
    """Take points in frame b to frame a.

    Args:
        T: ``T_a_b``, shape (..., 4, 4).
        p: Points in frame b, shape (..., N, 3) for the batch axes of `T`, or (3,) for one point.

    Returns:
        Points in frame a, of the shape of `p` (with the batch axes of `T`).
    """
    T = np.asarray(T, dtype=np.float64)
    p = np.asarray(p, dtype=np.float64)
    if p.ndim == 1:
        return T[..., :3, :3] @ p + T[..., :3, 3]
    return p @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def make_transform(R: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """Assemble 4x4 transforms from rotations and translations.

    Args:
        R: Rotation matrices, shape (..., 3, 3).
        t: Translations [m], shape (..., 3).

    Returns:
        Transforms, shape (..., 4, 4), over the broadcast batch axes.
    """
    R = np.asarray(R, dtype=np.float64)
    t = np.asarray(t, dtype=np.float64)
    T = np.zeros((*np.broadcast_shapes(R.shape[:-2], t.shape[:-1]), 4, 4))
    T[..., :3, :3] = R
    T[..., :3, 3] = t
    T[..., 3, 3] = 1.0
    return T


def matrix_from_quaternion(q_xyzw: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrix of a quaternion, which is normalised first.

    Args:
        q_xyzw: Quaternions (x, y, z, w), shape (..., 4).

    Returns:
        Rotation matrices, shape (..., 3, 3).

    Raises:
        ValueError: A quaternion has zero or non-finite norm.
    """
    q = np.asarray(q_xyzw, dtype=np.float64)
    norm = np.linalg.norm(q, axis=-1, keepdims=True)
    if not np.all((norm > 1e-12) & np.isfinite(norm)):
        raise ValueError(f"a quaternion (x, y, z, w) of positive finite norm was expected, got {q.tolist()}")
    q = q / norm
    K = hat(q[..., :3])
    return np.eye(3) + 2.0 * q[..., 3, None, None] * K + 2.0 * (K @ K)


def quaternion_from_matrix(R: ArrayLike) -> NDArray[np.float64]:
    """Unit quaternion (x, y, z, w) of a rotation matrix, with w >= 0.

    The products ``4 q_i q_j`` are all sums of entries of R; the row of the largest component is normalised
    (Shepperd 1978, "Quaternion from rotation matrix"), so no small number is ever divided by.

    Args:
        R: Rotation matrices, shape (..., 3, 3).

    Returns:
        Quaternions (x, y, z, w), shape (..., 4).
    """
    R = np.asarray(R, dtype=np.float64)
    outer = np.empty((*R.shape[:-2], 4, 4))
    diagonal = np.diagonal(R, axis1=-2, axis2=-1)
    trace = np.sum(diagonal, axis=-1)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        outer[..., i, i] = 1.0 + 2.0 * diagonal[..., i] - trace
        outer[..., i, j] = outer[..., j, i] = R[..., i, j] + R[..., j, i]
        outer[..., k, 3] = outer[..., 3, k] = R[..., j, i] - R[..., i, j]
    outer[..., 3, 3] = 1.0 + trace
    best = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    q = np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0.0, -q, q)


def angle_between(R_a: ArrayLike, R_b: ArrayLike) -> NDArray[np.float64]:
    """Angle of the rotation that takes one orientation to the other.

    Args:
        R_a: Rotation matrices, shape (..., 3, 3).
        R_b: Rotation matrices, shape (..., 3, 3).

    Returns:
        Angles [rad] in [0, pi], shape (...).
    """
    relative = np.asarray(R_a, dtype=np.float64) @ np.swapaxes(np.asarray(R_b, dtype=np.float64), -1, -2)
    return np.linalg.norm(log_so3(relative), axis=-1)


def interpolate(T_a: ArrayLike, T_b: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Pose between two poses: straight line for the origin, shortest arc for the rotation.

    Args:
        T_a: Pose at ``alpha = 0``, shape (..., 4, 4).
        T_b: Pose at ``alpha = 1``, shape (..., 4, 4).
        alpha: Fractions, a scalar or shape (...); values outside [0, 1] extrapolate.

    Returns:
        Poses, shape (..., 4, 4).
    """
    return retract(T_a, np.asarray(alpha, dtype=np.float64)[..., None] * local(T_a, T_b))


def orthonormalize(R: ArrayLike) -> NDArray[np.float64]:
    """Nearest rotation matrix in the Frobenius norm (orthogonal Procrustes problem, through the SVD).

    Args:
        R: Matrices close to rotations, shape (..., 3, 3).

    Returns:
        Rotation matrices with determinant +1, shape (..., 3, 3).
    """
    U, _, Vt = np.linalg.svd(np.asarray(R, dtype=np.float64))
    U[..., :, 2] *= np.linalg.det(U @ Vt)[..., None]
    return U @ Vt


def check_transform(T: ArrayLike, name: str = "T") -> NDArray[np.float64]:
    """Validate a rigid transform that comes from outside.

    Rounding of the rotation (text files, float32) up to 1e-3 is repaired; more is an error.

    Args:
        T: The transform, shape (4, 4).
        name: What to call it in an error.

    Returns:
        A float64 copy, shape (4, 4), with an orthonormal rotation.

    Raises:
        ValueError: Wrong shape, non-finite entries, a rotation that is not one, or a last row other than 0 0
            0 1.
    """
    try:
        T = np.array(T, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a 4x4 array of numbers, got {T!r}") from error
    if T.shape != (4, 4):
        raise ValueError(f"{name} must have shape (4, 4), got {T.shape}")
    if not np.all(np.isfinite(T)):
        raise ValueError(f"{name} must be finite, got\n{T}")
    R = T[:3, :3]
    deviation = float(np.max(np.abs(R @ R.T - np.eye(3))))
    if deviation > _RIGID_TOLERANCE or np.linalg.det(R) <= 0.0:
        raise ValueError(
            f"{name} must be a rigid transform (rotation with determinant +1), got determinant "
            f"{np.linalg.det(R):.6g} and |R R^T - I| = {deviation:.3g} in\n{T}"
        )
    if np.max(np.abs(T[3] - (0.0, 0.0, 0.0, 1.0))) > 1e-9:
        raise ValueError(f"the last row of {name} must be 0 0 0 1, got {T[3].tolist()}")
    if deviation > _EXACT_TOLERANCE:
        T[:3, :3] = orthonormalize(R)
    return T


def rotate_covariance(R_a_b: ArrayLike, covariance: ArrayLike) -> NDArray[np.float64]:
    """Express a pose covariance along the axes of another frame: ``B C B^T`` with ``B = diag(R_a_b, R_a_b)``.

    Args:
        R_a_b: Rotations that take frame b to frame a, shape (..., 3, 3).
        covariance: Covariances of (v, w) along the axes of frame b [m^2, m rad, rad^2], shape (..., 6, 6).

    Returns:
        The same along the axes of frame a, shape (..., 6, 6).
    """
    R = np.asarray(R_a_b, dtype=np.float64)
    B = np.zeros((*R.shape[:-2], 6, 6))
    B[..., :3, :3] = B[..., 3:, 3:] = R
    return B @ np.asarray(covariance, dtype=np.float64) @ np.swapaxes(B, -1, -2)


def move_origin(T: ArrayLike, point: ArrayLike) -> NDArray[np.float64]:
    """Poses of the same body with the origin of its frame moved to one of its points.

    Args:
        T: Poses, shape (..., 4, 4).
        point: The new origin in the old frame [m], shape (3,).

    Returns:
        Poses of the moved frame, shape (..., 4, 4).
    """
    moved = np.array(T, dtype=np.float64)
    moved[..., :3, 3] += moved[..., :3, :3] @ np.asarray(point, dtype=np.float64)
    return moved


def covariance_about(point: ArrayLike, covariance: ArrayLike) -> NDArray[np.float64]:
    """Covariance of a pose with its origin moved by a point: ``J C J^T`` with ``v' = v + w x point``.

    Args:
        point: From the old origin to the new one [m], shape (3,), along the axes of the covariance.
        covariance: Of (v, w) [m^2, m rad, rad^2], shape (6, 6).

    Returns:
        The covariance (6, 6) of the new origin's pose.
    """
    x, y, z = np.asarray(point, dtype=np.float64).tolist()
    J = np.eye(6)
    J[:3, 3:] = (0.0, z, -y), (-z, 0.0, x), (y, -x, 0.0)
    return np.asarray(J @ np.asarray(covariance, dtype=np.float64) @ J.T)


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation matrix drawn uniformly from SO(3) (a normalised Gaussian quaternion), shape (3, 3)."""
    return matrix_from_quaternion(rng.standard_normal(4))


def perturb(
    T: ArrayLike, translation_m: float, angle_rad: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Displace a pose by an exact distance and an exact angle in random directions.

    Args:
        T: Pose, shape (4, 4).
        translation_m: Length of the displacement of the origin [m].
        angle_rad: Angle of the added rotation [rad].
        rng: Source of the directions.

    Returns:
        The displaced pose, shape (4, 4).
    """
    directions = rng.standard_normal((2, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return retract(T, np.concatenate([translation_m * directions[0], angle_rad * directions[1]]))
