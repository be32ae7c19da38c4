"""What a refined pose is worth: its covariance, how well it agrees with the images, how likely it is right.

Like the kernels of `dr_perception.tracking.belief` these serve one object and always run on the CPU.
"""

import warp as wp

from dr_perception.device.evidence import CONTRADICTED, HIDDEN, INLIERS, ROWS, joint_sums
from dr_perception.device.spd import inverse_spd
from dr_perception.estimate.information import about_origin, credible, orthonormal, unpacked
from dr_perception.estimate.levenberg_marquardt import PosePrior
from dr_perception.measure.modalities import DEPTH, OUTLINE
from dr_perception.tracking.belief import Belief, Interval, Motion, displacement, eye_of

wp.set_module_options({"max_unroll": 1})

SCORE = wp.constant(0)
"""Places in `Measurement.figures`: probability that the pose is right, from what agrees."""
CERTAINTY = wp.constant(1)
"""Probability that the pose is right, from its covariance."""
VISIBLE = wp.constant(2)
DEPTH_SHARE = wp.constant(3)
"""Share of unhidden samples whose depth fits, negative if no depth was measured."""
LINE_SHARE = wp.constant(4)
"""Share of unhidden contour points at which the outline is as expected, negative without colour."""
SUPPORT = wp.constant(5)
"""Samples that agree, surface and contour."""
SHIFT_M = wp.constant(6)
"""How far the surface moved from the prediction."""
SAMPLES = wp.constant(7)
"""Visible surface samples."""
Figures = wp.types.vector(length=8, dtype=wp.float64)

OUTLIERS = 0.01
"""Share of samples that disagree for reasons that the noise model does not hold, however right a pose is."""
_OUTLIERS = wp.constant(wp.float64(OUTLIERS))


@wp.struct
class Measurement:
    """A refined pose: of the model's frame (R, t) and of the centre, (6, 6) matrices about the centre.

    information: what the images say. posterior: with the prior and the model's own errors.
    origin_covariance: the posterior about the model's origin. observed: gain of the images over the prior.
    """

    T: wp.mat44d
    R: wp.mat33d
    t: wp.vec3d
    information: wp.spatial_matrixd
    observed: wp.spatial_matrixd
    posterior: wp.spatial_matrixd
    origin_covariance: wp.spatial_matrixd
    figures: Figures


@wp.struct
class Judge:
    """Constants of an object.

    center: in the model's frame. spread: second moments of the surface about it [m^2]. keep: takes out turns
    about axes of symmetry. reach_m: radius of the bounding sphere. limit_m: displacement that counts as
    right. direction_error_rad: of normals. floor: variances of the model's own errors. max_lines: room for
    contour samples. both, depth_only, line_only: offset and weights of the score by what was measured.
    """

    center: wp.vec3d
    spread: wp.mat33d
    keep: wp.mat33d
    reach_m: wp.float64
    limit_m: wp.float64
    direction_error_rad: wp.float64
    floor: wp.spatial_vectord
    max_lines: int
    both: wp.vec3d
    depth_only: wp.vec3d
    line_only: wp.vec3d


@wp.struct
class Conditions:
    """Whether there was a colour image, and whether the model was rendered for the refinement."""

    has_color: int
    rendered: int


@wp.func
def probability_right(judge: Judge, R: wp.mat33d, covariance: wp.spatial_matrixd) -> wp.float64:
    """Probability that the surface is displaced by less than the limit, were its displacement Gaussian.

    A turn about an axis of continuous symmetry displaces nothing that can be told apart and does not count.
    """
    turning = wp.mat33d()
    for i in range(3):
        for j in range(3):
            turning[i, j] = covariance[3 + i, 3 + j]
    turning = judge.keep * (wp.transpose(R) * turning * R) * wp.transpose(judge.keep)
    squared = covariance[0, 0] + covariance[1, 1] + covariance[2, 2]
    squared += wp.ddot(turning, judge.spread)
    sigma = wp.sqrt(wp.max(squared, wp.float64(1.0e-18)))
    return wp.erf(judge.limit_m / (wp.sqrt(wp.float64(2.0)) * sigma))


@wp.func
def smoothed_share(agreeing: wp.float64, disagreeing: wp.float64) -> wp.float64:
    """Share that agrees, with one sample for and one against, and some outliers, added.

    So few samples say little, and many do not say more than the noise model is good for.
    """
    extra = wp.float64(1.0) + _OUTLIERS * (agreeing + disagreeing)
    return (agreeing + extra) / (agreeing + disagreeing + wp.float64(2.0) * extra)


@wp.func
def log_odds(share: wp.float64) -> wp.float64:
    """Logarithm of the odds that a share stands for; 0 where nothing was measured (negative shares)."""
    return wp.where(share < wp.float64(0.0), wp.float64(0.0), wp.log(share / (wp.float64(1.0) - share)))


@wp.func
def agreement(judge: Judge, evidence: wp.array3d[float], counts: wp.array2d[int], has_color: int) -> Figures:
    """Shares that agree, and the score: a logistic model of their log odds.

    Log odds carry over from sensor to sensor where shares do not: from 99 to 97 % of the depth says as much
    as from 75 to 50.
    """
    f = Figures()
    rows = wp.float64(evidence[0, DEPTH, ROWS])
    inliers = wp.float64(evidence[0, DEPTH, INLIERS])
    line_inliers = wp.float64(evidence[0, OUTLINE, INLIERS])
    one = wp.float64(1.0)
    f[VISIBLE] = one
    f[DEPTH_SHARE] = -one
    f[LINE_SHARE] = -one
    if rows > wp.float64(0.0):
        f[VISIBLE] = one - wp.float64(evidence[0, DEPTH, HIDDEN]) / rows
        f[DEPTH_SHARE] = smoothed_share(inliers, wp.float64(evidence[0, DEPTH, CONTRADICTED]))
    if has_color != 0:
        lines = wp.float64(wp.min(counts[1, 0], judge.max_lines))
        unhidden = wp.max(lines - wp.float64(evidence[0, OUTLINE, HIDDEN]), wp.float64(0.0))
        f[LINE_SHARE] = smoothed_share(line_inliers, wp.max(unhidden - line_inliers, wp.float64(0.0)))
    f[SUPPORT] = inliers + line_inliers
    f[SAMPLES] = wp.float64(counts[0, 0])
    weights = judge.both
    if has_color == 0:
        weights = judge.depth_only
    elif f[DEPTH_SHARE] < wp.float64(0.0):
        weights = judge.line_only
    if f[DEPTH_SHARE] >= wp.float64(0.0) or has_color != 0:
        value = weights[0] + weights[1] * log_odds(f[DEPTH_SHARE])
        value += weights[2] * log_odds(f[LINE_SHARE])
        f[SCORE] = one / (one + wp.exp(-value))
    return f


@wp.kernel(enable_backward=False)
def judge_pose(
    judge: Judge,
    conditions: wp.array[Conditions],
    priors: wp.array[PosePrior],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    evidence: wp.array3d[float],
    counts: wp.array2d[int],
    # output
    measurements: wp.array[Measurement],
    beliefs: wp.array[Belief],
):
    """Judge the pose that a refinement ended at, and remember from where the model was rendered."""
    m = Measurement()
    m.R = orthonormal(R_cam_obj[0, 0])
    m.t = wp.vec3d(t_cam_obj[0, 0])
    lever = -(m.R * judge.center)
    origin = m.t + lever
    for i in range(3):
        for j in range(3):
            m.T[i, j] = m.R[i, j]
        m.T[i, 3] = origin[i]
    m.T[3, 3] = wp.float64(1.0)
    m.information = credible(judge.spread, judge.direction_error_rad, m.R, unpacked(joint_sums(evidence, 0)))
    estimated = inverse_spd(m.information + wp.spatial_matrixd(priors[0].information))
    # Without the floor: with it the gain would exceed one and the velocity run away.
    m.observed = estimated * m.information
    m.posterior = estimated
    for i in range(6):
        m.posterior[i, i] = m.posterior[i, i] + judge.floor[i]
    m.origin_covariance = about_origin(lever, m.posterior)
    m.figures = agreement(judge, evidence, counts, conditions[0].has_color)
    m.figures[CERTAINTY] = probability_right(judge, m.R, m.posterior)
    u = displacement(beliefs[0].predicted_R, beliefs[0].predicted_t, m.R, m.t)
    m.figures[SHIFT_M] = wp.length(wp.vec3d(u[0], u[1], u[2])) + judge.reach_m * wp.length(
        wp.vec3d(u[3], u[4], u[5])
    )
    measurements[0] = m
    if conditions[0].rendered != 0:
        beliefs[0].rendered_eye = eye_of(m.R, m.t)


@wp.kernel(enable_backward=False)
def accept_measurement(
    motion: Motion,
    interval: wp.array[Interval],
    measurements: wp.array[Measurement],
    # output
    beliefs: wp.array[Belief],
):
    """Believe a measurement; learn the velocity of an object that was being tracked from it.

    What nothing observes, as the spin of a symmetric body, gets no velocity and stays put.
    """
    b = beliefs[0]
    m = measurements[0]
    if interval[0].moving != 0:
        measured = m.observed * (displacement(b.R, b.t, m.R, m.t) / interval[0].dt_s)
        b.velocity = (wp.float64(1.0) - motion.gain) * b.velocity + motion.gain * measured
    b.R = m.R
    b.t = m.t
    b.covariance = m.posterior
    beliefs[0] = b
