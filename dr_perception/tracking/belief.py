"""What is believed of a tracked object between measurements, and how motion carries it on.

The pose is that of the centre of the model's bounding sphere, tangent vectors are ``(v, w)`` along the
camera's axes. The kernels serve one object, and always run on the CPU: they are host arithmetic, compiled.
"""

import warp as wp

from dr_perception.device.spd import inverse_spd
from dr_perception.estimate.information import about_origin
from dr_perception.estimate.levenberg_marquardt import PosePrior
from dr_perception.tracking.pace import Pace, since_measured

wp.set_module_options({"max_unroll": 1})


@wp.struct
class Belief:
    """Pose of the centre with its covariance (6, 6) and velocity per second; the pose predicted from them.

    measured: covariance when it was measured last. pace: how it uses to move. rendered_eye: where the camera
    stood in the centre's frame when the model was rendered last. view_change: how far, as a share of the
    distance, it is predicted to have moved from there.
    """

    R: wp.mat33d
    t: wp.vec3d
    velocity: wp.spatial_vectord
    covariance: wp.spatial_matrixd
    measured: wp.spatial_matrixd
    pace: Pace
    predicted_R: wp.mat33d
    predicted_t: wp.vec3d
    rendered_eye: wp.vec3d
    view_change: wp.float64


@wp.struct
class Motion:
    """Constant-velocity motion: variances that a nominal period adds, and the largest that are believed.

    Beyond ``longest_s`` nothing is extrapolated; ``gain`` is the weight of the newest motion in the velocity.
    """

    variances: wp.spatial_vectord
    largest: wp.spatial_vectord
    period_s: wp.float64
    longest_s: wp.float64
    gain: wp.float64


@wp.struct
class Interval:
    """Time since the last frame, and whether the object is thought to go on moving (1) or to stay (0)."""

    dt_s: wp.float64
    moving: int


@wp.struct
class Reported:
    """What a belief is reported with: about which origin, and what adds to its covariance.

    R: axes of the model in the camera. errors: covariance (6, 6) of the centre's pose by errors that frames
    share. doubt: probability that the pose is another one, of which only variances are known. lost: whether
    it may be anywhere that the prior of a refinement reaches.
    """

    R: wp.mat33d
    errors: wp.spatial_matrixd
    doubt: wp.float64
    lost: int


@wp.func
def exp_so3_double(w: wp.vec3d) -> wp.mat33d:
    """Rotation matrix of a rotation vector [rad] (Rodrigues' formula)."""
    squared = wp.dot(w, w)
    sine = wp.float64(1.0) - squared / wp.float64(6.0)
    cosine = wp.float64(0.5) - squared / wp.float64(24.0)
    if squared > wp.float64(1.0e-6):
        angle = wp.sqrt(squared)
        sine = wp.sin(angle) / angle
        cosine = (wp.float64(1.0) - wp.cos(angle)) / squared
    K = wp.skew(w)
    return wp.identity(n=3, dtype=wp.float64) + sine * K + cosine * (K * K)


@wp.func
def log_so3_double(R: wp.mat33d) -> wp.vec3d:
    """Rotation vector [rad] of a rotation by less than pi."""
    axis = wp.vec3d(R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
    sine = wp.float64(0.5) * wp.length(axis)
    cosine = wp.float64(0.5) * (R[0, 0] + R[1, 1] + R[2, 2] - wp.float64(1.0))
    factor = wp.float64(0.5)
    if sine > wp.float64(1.0e-9):
        factor = wp.float64(0.5) * wp.atan2(sine, cosine) / sine
    return factor * axis


@wp.func
def displacement(R_from: wp.mat33d, t_from: wp.vec3d, R: wp.mat33d, t: wp.vec3d) -> wp.spatial_vectord:
    """Tangent vector from one pose to another."""
    v = t - t_from
    w = log_so3_double(R * wp.transpose(R_from))
    return wp.spatial_vectord(v[0], v[1], v[2], w[0], w[1], w[2])


@wp.func
def eye_of(R: wp.mat33d, t: wp.vec3d) -> wp.vec3d:
    """Place of the camera in the frame of a pose."""
    return -(wp.transpose(R) * t)


@wp.func
def _bounded(covariance: wp.spatial_matrixd, largest: wp.spatial_vectord) -> wp.spatial_matrixd:
    """Shrink the directions whose variance exceeds the largest one."""
    scale = wp.spatial_vectord()
    for i in range(6):
        scale[i] = wp.min(wp.float64(1.0), wp.sqrt(largest[i] / covariance[i, i]))
    for i in range(6):
        for j in range(6):
            covariance[i, j] = covariance[i, j] * scale[i] * scale[j]
    return covariance


@wp.kernel(enable_backward=False)
def predict_belief(
    motion: Motion,
    interval: wp.array[Interval],
    # output
    beliefs: wp.array[Belief],
    R_predicted: wp.array2d[wp.mat33],
    t_predicted: wp.array2d[wp.vec3],
    R_start: wp.array2d[wp.mat33],
    t_start: wp.array2d[wp.vec3],
    priors: wp.array[PosePrior],
):
    """Predict the pose after an interval; start the next refinement there, with the belief as its prior."""
    b = beliefs[0]
    dt = interval[0].dt_s
    b.predicted_R = b.R
    b.predicted_t = b.t
    going = interval[0].moving != 0 and dt <= motion.longest_s
    b.pace.rests = wp.where(going and wp.length(b.velocity) > wp.float64(0.0), 0, 1)
    if going:
        u = dt * b.velocity
        b.predicted_t = b.t + wp.vec3d(u[0], u[1], u[2])
        b.predicted_R = exp_so3_double(wp.vec3d(u[3], u[4], u[5])) * b.R
    eye = eye_of(b.predicted_R, b.predicted_t)
    b.view_change = wp.length(eye - b.rendered_eye) / wp.length(eye)
    periods = dt / motion.period_s
    b.pace.unseen += periods
    for i in range(6):
        b.covariance[i, i] = b.covariance[i, i] + motion.variances[i] * periods * periods
    b.covariance = _bounded(b.covariance, motion.largest)
    beliefs[0] = b
    R = wp.mat33(b.predicted_R)
    t = wp.vec3(b.predicted_t)
    R_predicted[0, 0] = R
    t_predicted[0, 0] = t
    R_start[0, 0] = R
    t_start[0, 0] = t
    prior = PosePrior()
    prior.R = R
    prior.t = t
    prior.information = wp.spatial_matrix(inverse_spd(b.covariance))
    priors[0] = prior


@wp.func
def believed_covariance(b: Belief, motion: Motion, lost: int) -> wp.spatial_matrixd:
    """Covariance of the centre's pose: as measured, or as far as the object may have moved since."""
    if lost != 0 or b.pace.unseen == wp.float64(0.0):
        return b.covariance
    covariance = b.measured
    added = since_measured(b.pace)
    for i in range(6):
        covariance[i, i] = covariance[i, i] + added[i / 3]
    return _bounded(covariance, motion.largest)


@wp.kernel(enable_backward=False)
def report_belief(
    center: wp.vec3d,
    other: wp.spatial_vectord,
    motion: Motion,
    beliefs: wp.array[Belief],
    reported: wp.array[Reported],
    # output
    covariances: wp.array[wp.spatial_matrixd],
):
    """Covariance of the pose of the model's origin: the second moment of all that is believed.

    The pose is the one tracked, or else, as improbable as that may be, another with variances ``other``.
    """
    it = reported[0]
    covariance = believed_covariance(beliefs[0], motion, it.lost) + it.errors
    for i in range(6):
        covariance[i, i] = covariance[i, i] + it.doubt * other[i]
    moved = about_origin(-(it.R * center), covariance)
    covariances[0] = wp.float64(0.5) * (moved + wp.transpose(moved))
