"""Levenberg-Marquardt over batches of poses, decided on the device.

Each problem keeps the best pose so far with its normal equations and tries another. Rows are accumulated at
the trial pose; then `decide_and_step` compares the true robust objective, prior included, accepts or rejects,
adapts the damping by the gain ratio (Nielsen 1999) and writes the next trial pose. There is no host
synchronisation between iterations, and damping is relative to the diagonal (Marquardt 1963), so that metres
and radians need no common scale.
"""

import warp as wp

from dr_perception.device.evidence import COST, GRADIENT, NUM_SUMS, Sums, joint_sums
from dr_perception.device.poses import Poses, pose_of
from dr_perception.geometry.se3_warp import exp_so3

_RELATIVE_ROUNDING = wp.constant(wp.float64(1.0e-5))
vec6d = wp.types.vector(length=6, dtype=wp.float64)
mat66d = wp.types.matrix(shape=(6, 6), dtype=wp.float64)


@wp.struct
class PosePrior:
    """Gaussian belief about a pose: its mean and information (inverse covariance) along the camera's axes."""

    R: wp.mat33
    t: wp.vec3
    information: wp.spatial_matrix


@wp.struct
class Problem:
    """State of one problem: first and best pose, its objective, the damping and what the last step promised.

    ``step`` is the length of the last step, metres plus radians. ``moved`` is the squared distance of the
    best pose from the first, in standard deviations of what the rows leave open.
    """

    first_R: wp.mat33
    first_t: wp.vec3
    R: wp.mat33
    t: wp.vec3
    cost: float
    damping: float
    damping_growth: float
    promised: float
    step: float
    moved: float
    accepted: int
    rejected: int


@wp.func
def log_so3(R: wp.mat33) -> wp.vec3:
    """Rotation vector of a rotation by less than pi."""
    axis = wp.vec3(R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
    sine = 0.5 * wp.length(axis)
    cosine = 0.5 * (R[0, 0] + R[1, 1] + R[2, 2] - 1.0)
    angle = wp.atan2(sine, cosine)
    factor = float(0.5)
    if sine > 1.0e-6:
        factor = 0.5 * angle / sine
    return factor * axis


@wp.func
def tangent(R_from: wp.mat33, t_from: wp.vec3, R_to: wp.mat33, t_to: wp.vec3) -> wp.spatial_vector:
    """Tangent vector from one pose to another."""
    dt = t_to - t_from
    dw = log_so3(R_to * wp.transpose(R_from))
    return wp.spatial_vector(dt[0], dt[1], dt[2], dw[0], dw[1], dw[2])


@wp.func
def prior_residual(prior: PosePrior, R: wp.mat33, t: wp.vec3) -> wp.spatial_vector:
    """Tangent vector from a pose to the prior's mean."""
    return tangent(R, t, prior.R, prior.t)


@wp.func
def solve_damped(H: mat66d, g: vec6d, damping: wp.float64) -> vec6d:
    """Solve ``(H + damping diag(H)) x = g`` by Cholesky factorisation.

    Directions without information stay put.
    """
    L = mat66d()
    largest = wp.float64(0.0)
    for i in range(6):
        largest = wp.max(largest, H[i, i])
    tiny = largest * wp.float64(1.0e-12) + wp.float64(1.0e-30)
    for j in range(6):
        d = H[j, j] * (wp.float64(1.0) + damping) + tiny
        for k in range(j):
            d -= L[j, k] * L[j, k]
        L[j, j] = wp.sqrt(wp.max(d, tiny))
        for i in range(j + 1, 6):
            s = H[i, j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = s / L[j, j]
    y = vec6d()
    for i in range(6):
        s = g[i]
        for k in range(i):
            s -= L[i, k] * y[k]
        y[i] = s / L[i, i]
    x = vec6d()
    for m in range(6):
        i = 5 - m
        s = y[i]
        for k in range(i + 1, 6):
            s -= L[k, i] * x[k]
        x[i] = s / L[i, i]
    return x


@wp.func
def normal_equations(sums: Sums):
    """Hessian (6, 6), whose upper triangle sums hold row by row, and gradient (6,)."""
    H = mat66d()
    g = vec6d()
    k = int(0)
    for i in range(6):
        g[i] = wp.float64(sums[GRADIENT + i])
        for j in range(i, 6):
            value = wp.float64(sums[k])
            H[i, j] = value
            H[j, i] = value
            k += 1
    return H, g


@wp.func
def credible_gradient(H: mat66d, g: vec6d, R: wp.mat33, direction_errors: wp.mat33) -> vec6d:
    """Gradient of the rows without what errors of the model's directions alone put into it.

    With normals uncertain by a small angle ``H`` exceeds its value without errors by
    ``E = trace(H_vv) e^2 R S R^T`` in its rotations (errors in variables; Fuller 1987, section 2.2), so that
    even a turn that nothing fixes would be pulled at. ``H (H + E)^-1 g`` leaves what is measured far better
    than that as it is, and takes the rest out, where the prior then decides.

    Args:
        H: Information of the rows.
        g: Their gradient.
        R: Rotation of the pose.
        direction_errors: ``e^2 S``, the second moments of the surface about its centre [m^2] times the
            variance of directions [rad^2].
    """
    if wp.trace(direction_errors) == 0.0:
        return g
    share = H[0, 0] + H[1, 1] + H[2, 2]
    turned = R * direction_errors * wp.transpose(R)
    A = H
    for i in range(3):
        for j in range(3):
            A[3 + i, 3 + j] = A[3 + i, 3 + j] + share * wp.float64(turned[i, j])
    # Damped, since H may be singular and holds rounding errors of single precision.
    return H * solve_damped(A, g, _RELATIVE_ROUNDING)


@wp.kernel(enable_backward=False)
def begin(
    damping: float,
    # output
    problems: wp.array[Problem],
    trial: Poses,
):
    """Start every problem at its trial pose with no pose accepted yet."""
    i = wp.tid()
    trial.active[i] = 1
    p = Problem()
    p.first_R = trial.R[i, 0]
    p.first_t = trial.t[i, 0]
    p.R = p.first_R
    p.t = p.first_t
    p.cost = float(wp.inf)
    p.damping = damping
    p.damping_growth = 2.0
    problems[i] = p


@wp.kernel(enable_backward=False)
def decide_and_step(
    priors: wp.array[PosePrior],
    direction_errors: wp.mat33,
    last: int,
    tolerance: float,
    # output
    problems: wp.array[Problem],
    trial: Poses,
    trial_sums: wp.array3d[float],
    best_sums: wp.array3d[float],
):
    """Accept or reject the trial pose, clear its sums, write the next trial pose (the best if ``last``).

    A problem whose step falls below the tolerance is no longer ``active``: it takes that step and neither
    accumulates rows nor moves any more.
    """
    i = wp.tid()
    if trial.active[i] == 0:
        return
    p = problems[i]
    prior = priors[i]
    tried = pose_of(trial, i)
    to_prior = prior_residual(prior, tried.R, tried.t)
    cost = wp.dot(to_prior, prior.information * to_prior)
    for m in range(trial_sums.shape[1]):
        cost += trial_sums[i, m, COST]
    if cost <= p.cost:
        gain = float(1.0)
        if p.promised > 0.0 and p.cost < 1.0e30:
            gain = (p.cost - cost) / p.promised
        shrink = 2.0 * gain - 1.0
        p.damping = wp.max(p.damping * wp.max(1.0 / 3.0, 1.0 - shrink * shrink * shrink), 1.0e-7)
        p.damping_growth = 2.0
        p.cost = cost
        p.R = tried.R
        p.t = tried.t
        p.accepted += 1
        for m in range(trial_sums.shape[1]):
            for k in range(NUM_SUMS):
                best_sums[i, m, k] = trial_sums[i, m, k]
    else:
        p.damping = p.damping * p.damping_growth
        p.damping_growth = p.damping_growth * 2.0
        p.rejected += 1
    for m in range(trial_sums.shape[1]):
        for k in range(NUM_SUMS):
            trial_sums[i, m, k] = 0.0
    H, g = normal_equations(joint_sums(best_sums, i))
    xi = vec6d(tangent(p.first_R, p.first_t, p.R, p.t))
    p.moved = float(wp.dot(xi, H * xi))
    if last == 0:
        to_prior = prior_residual(prior, p.R, p.t)
        pull = prior.information * to_prior
        g = credible_gradient(H, g, p.R, direction_errors)
        for a in range(6):
            g[a] += wp.float64(pull[a])
            for b in range(6):
                H[a, b] = H[a, b] + wp.float64(prior.information[a, b])
        x = solve_damped(H, g, wp.float64(p.damping))
        promised = wp.float64(0.0)
        for a in range(6):
            promised += x[a] * (g[a] + wp.float64(p.damping) * H[a, a] * x[a])
        p.promised = float(promised)
        v = wp.vec3(float(x[0]), float(x[1]), float(x[2]))
        w = wp.vec3(float(x[3]), float(x[4]), float(x[5]))
        p.step = wp.length(v) + wp.length(w)
        if p.step < tolerance:
            trial.active[i] = 0
        trial.R[i, 0] = exp_so3(w) * p.R
        trial.t[i, 0] = p.t + v
    else:
        trial.R[i, 0] = p.R
        trial.t[i, 0] = p.t
    problems[i] = p
