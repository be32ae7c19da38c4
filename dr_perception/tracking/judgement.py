"""What a refined pose is worth: its covariance, how well it agrees with the images, how likely it is right.

Like the kernels of `dr_perception.tracking.belief` these serve one object and always run on the CPU.
"""

import warp as wp

from dr_perception.device.evidence import joint_sums
from dr_perception.device.spd import inverse_spd
from dr_perception.estimate.information import credible, orthonormal, unpacked
from dr_perception.estimate.levenberg_marquardt import PosePrior
from dr_perception.hypothesis.looks_kernels import Looks
from dr_perception.hypothesis.posterior import (
    CERTAINTY,
    SHIFT_M,
    Figures,
    Posterior,
    figures_of,
    probability_within,
)
from dr_perception.tracking.belief import Belief, Interval, Motion, displacement, eye_of
from dr_perception.tracking.pace import learned

wp.set_module_options({"max_unroll": 1})


@wp.struct
class Measurement:
    """A refined pose: of the model's frame (R, t) and of the centre, (6, 6) matrices about the centre.

    information: what the images say. posterior: with the prior and the model's own errors.
    observed: gain of the images over the prior.
    """

    T: wp.mat44d
    R: wp.mat33d
    t: wp.vec3d
    information: wp.spatial_matrixd
    observed: wp.spatial_matrixd
    posterior: wp.spatial_matrixd
    figures: Figures


@wp.struct
class Judge:
    """Constants of an object.

    posterior: how refined poses are judged; it holds the centre and the spread of the surface. reach_m:
    radius of the bounding sphere. direction_error_rad: of normals. floor: variances of the model's own
    errors.
    """

    posterior: Posterior
    reach_m: wp.float64
    direction_error_rad: wp.float64
    floor: wp.spatial_vectord


@wp.struct
class Conditions:
    """Whether there was a colour image, and whether the model was rendered for the refinement."""

    has_color: int
    rendered: int


@wp.struct
class Outcome:
    """What a refinement of one pose ended with, in the memory of the host.

    R_cam_obj, t_cam_obj: the pose (1, 1) of the centre. priors: what was believed of it before (1,).
    evidence: (1, M, `NUM_SUMS`). counts: of surface, contour and covered samples (3, 1). looks: what
    pattern and colours say (1,).
    """

    R_cam_obj: wp.array2d[wp.mat33]
    t_cam_obj: wp.array2d[wp.vec3]
    priors: wp.array[PosePrior]
    evidence: wp.array3d[float]
    counts: wp.array2d[int]
    looks: wp.array[Looks]


@wp.kernel(enable_backward=False)
def judge_pose(
    judge: Judge,
    conditions: wp.array[Conditions],
    outcome: Outcome,
    # output
    measurements: wp.array[Measurement],
    beliefs: wp.array[Belief],
):
    """Judge the pose that a refinement ended at, and remember from where the model was rendered."""
    m = Measurement()
    m.R = orthonormal(outcome.R_cam_obj[0, 0])
    m.t = wp.vec3d(outcome.t_cam_obj[0, 0])
    lever = -(m.R * judge.posterior.center)
    origin = m.t + lever
    for i in range(3):
        for j in range(3):
            m.T[i, j] = m.R[i, j]
        m.T[i, 3] = origin[i]
    m.T[3, 3] = wp.float64(1.0)
    rows = unpacked(joint_sums(outcome.evidence, 0))
    m.information = credible(judge.posterior.spread, judge.direction_error_rad, m.R, rows)
    estimated = inverse_spd(m.information + wp.spatial_matrixd(outcome.priors[0].information))
    # Without the floor: with it the gain would exceed one and the velocity run away.
    m.observed = estimated * m.information
    m.posterior = estimated
    for i in range(6):
        m.posterior[i, i] = m.posterior[i, i] + judge.floor[i]
    has_color = conditions[0].has_color
    m.figures = figures_of(judge.posterior, outcome.evidence, outcome.counts, outcome.looks, 0, has_color)
    m.figures[CERTAINTY] = probability_within(judge.posterior, m.R, m.posterior)
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
    moved = displacement(b.R, b.t, m.R, m.t)
    b.pace = learned(b.pace, moved, displacement(b.predicted_R, b.predicted_t, m.R, m.t))
    b.R = m.R
    b.t = m.t
    b.covariance = m.posterior
    b.measured = m.posterior
    beliefs[0] = b
