"""Splines of poses on the device, differentiable by the tape: twin of `dr_perception.geometry.splines`."""

import warp as wp

from dr_perception.geometry.se3_warp import exp_so3, retract_rotation

vec6 = wp.types.vector(length=6, dtype=wp.float32)


@wp.func
def log_so3(R: wp.mat33) -> wp.vec3:
    """Rotation vector [rad] of a rotation by less than pi."""
    axis = 0.5 * wp.vec3(R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
    squared = wp.dot(axis, axis)
    factor = 1.0 + squared / 6.0
    if squared > 1.0e-4:
        sine = wp.sqrt(squared)
        factor = wp.atan2(sine, 0.5 * (R[0, 0] + R[1, 1] + R[2, 2] - 1.0)) / sine
    elif R[0, 0] + R[1, 1] + R[2, 2] < 0.0:
        factor = 0.0  # near half a turn: which way is not known
    return factor * axis


@wp.func
def knot_rotation(knots: wp.array[vec6], R: wp.array[wp.mat33], k: int) -> wp.mat33:
    """Orientation of a knot: its base, turned by its tangent."""
    x = knots[k]
    return retract_rotation(wp.vec3(x[3], x[4], x[5]), R[k])


@wp.kernel
def pose_on_spline(
    knots: wp.array[vec6],
    R_base: wp.array[wp.mat33],
    t_base: wp.array[wp.vec3],
    spans: wp.array[int],
    weights: wp.array[wp.vec4],
    # output
    R: wp.array[wp.mat33],
    t: wp.array[wp.vec3],
):
    """Poses (N,) of a spline whose knots are base poses (K,) moved by tangents (K,)."""
    n = wp.tid()
    k = spans[n]
    w = weights[n]
    R_a = knot_rotation(knots, R_base, k)
    R_b = knot_rotation(knots, R_base, k + 1)
    R_c = knot_rotation(knots, R_base, k + 2)
    R_d = knot_rotation(knots, R_base, k + 3)
    turned = R_a * exp_so3(w[1] * log_so3(wp.transpose(R_a) * R_b))
    turned = turned * exp_so3(w[2] * log_so3(wp.transpose(R_b) * R_c))
    R[n] = turned * exp_so3(w[3] * log_so3(wp.transpose(R_c) * R_d))
    place = (1.0 - w[1]) * (t_base[k] + wp.vec3(knots[k][0], knots[k][1], knots[k][2]))
    place += (w[1] - w[2]) * (t_base[k + 1] + wp.vec3(knots[k + 1][0], knots[k + 1][1], knots[k + 1][2]))
    place += (w[2] - w[3]) * (t_base[k + 2] + wp.vec3(knots[k + 2][0], knots[k + 2][1], knots[k + 2][2]))
    t[n] = place + w[3] * (t_base[k + 3] + wp.vec3(knots[k + 3][0], knots[k + 3][1], knots[k + 3][2]))
