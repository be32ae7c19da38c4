# mypy: disable-error-code="valid-type, operator, index, return-value, arg-type, no-any-return"
"""Rigid motions as Warp functions in float32: the twins of `dr_perception.geometry.se3`.

The tangent convention is the same: ``t' = t + v``, ``R' = exp(w) R``. All are differentiable by ``wp.Tape``,
at zero rotation too (the series branch holds there).
"""

import warp as wp

__all__ = ["exp_so3", "hat", "retract_rotation", "retract_translation"]


@wp.func
def hat(w: wp.vec3) -> wp.mat33:
    """Cross-product matrix: ``hat(w) * p == cross(w, p)``."""
    return wp.mat33(0.0, -w[2], w[1], w[2], 0.0, -w[0], -w[1], w[0], 0.0)


@wp.func
def exp_so3(w: wp.vec3) -> wp.mat33:
    """Rotation matrix of a rotation vector [rad] (Rodrigues' formula, Taylor series below 0.1 rad)."""
    squared = wp.dot(w, w)
    sin_term = 1.0 - squared / 6.0 * (1.0 - squared / 20.0 * (1.0 - squared / 42.0))
    cos_term = 0.5 - squared / 24.0 * (1.0 - squared / 30.0 * (1.0 - squared / 56.0))
    if squared > 0.01:
        angle = wp.sqrt(squared)
        half_sinc = wp.sin(0.5 * angle) / (0.5 * angle)
        sin_term = wp.sin(angle) / angle
        cos_term = 0.5 * half_sinc * half_sinc
    K = hat(w)
    return wp.identity(n=3, dtype=wp.float32) + sin_term * K + cos_term * (K * K)


@wp.func
def retract_rotation(w: wp.vec3, R: wp.mat33) -> wp.mat33:
    """Rotate an orientation about the axes of the parent frame: ``exp(w) R``."""
    return exp_so3(w) * R


@wp.func
def retract_translation(v: wp.vec3, t: wp.vec3) -> wp.vec3:
    """Displace an origin along the axes of the parent frame: ``t + v`` [m]."""
    return t + v
