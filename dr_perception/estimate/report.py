"""What a batch of refinements ended at: poses of the model's frame and their covariances."""

import warp as wp

from dr_perception.device.evidence import joint_sums
from dr_perception.device.poses import Poses, pose_of
from dr_perception.device.spd import inverse_spd
from dr_perception.estimate.information import about_origin, credible, orthonormal, unpacked

wp.set_module_options({"max_unroll": 1})


@wp.struct
class Reporter:
    """Constants of a model.

    center: of its bounding sphere, in its frame [m]. spread: second moments of the surface about it [m^2].
    direction_error_rad: of normals. unknown: information of a pose about which nothing was measured. floor:
    variances of the model's own errors.
    """

    center: wp.vec3d
    spread: wp.mat33d
    direction_error_rad: wp.float64
    unknown: wp.spatial_vectord
    floor: wp.spatial_vectord


@wp.struct
class PoseReport:
    """T: of the model's frame. information: credible, of the measurements alone, about the centre.

    covariance: of the model's frame; both along the camera's axes.
    """

    T: wp.mat44d
    information: wp.spatial_matrixd
    covariance: wp.spatial_matrixd


@wp.func
def origin_covariance(
    reporter: Reporter, lever: wp.vec3d, information: wp.spatial_matrixd
) -> wp.spatial_matrixd:
    """Covariance of the model's origin, ``lever`` from the centre, from the information about the centre."""
    for i in range(6):
        information[i, i] = information[i, i] + reporter.unknown[i]
    covariance = inverse_spd(information)
    for i in range(6):
        covariance[i, i] = covariance[i, i] + reporter.floor[i]
    covariance = about_origin(lever, covariance)
    return wp.float64(0.5) * (covariance + wp.transpose(covariance))


@wp.kernel(enable_backward=False)
def report_poses(
    reporter: Reporter,
    poses: Poses,
    evidence: wp.array3d[float],
    # output
    reports: wp.array[PoseReport],
):
    """Report every problem's pose (P, 1) of the centre and its evidence (P, M, `NUM_SUMS`)."""
    problem = wp.tid()
    pose = pose_of(poses, problem)
    R = orthonormal(pose.R)
    lever = -(R * reporter.center)
    origin = wp.vec3d(pose.t) + lever
    report = PoseReport()
    for i in range(3):
        for j in range(3):
            report.T[i, j] = R[i, j]
        report.T[i, 3] = origin[i]
    report.T[3, 3] = wp.float64(1.0)
    information = unpacked(joint_sums(evidence, problem))
    report.information = credible(reporter.spread, reporter.direction_error_rad, R, information)
    report.covariance = origin_covariance(reporter, lever, report.information)
    reports[problem] = report
