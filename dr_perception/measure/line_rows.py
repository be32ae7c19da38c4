"""Rows of measured outlines."""

import warp as wp

from dr_perception.device.evidence import (
    CHI2,
    CONTRADICTED,
    COST,
    GAIN,
    HIDDEN,
    INLIERS,
    ROWS,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.device.poses import Poses, pose_of
from dr_perception.geometry.camera_warp import project, project_jacobian
from dr_perception.measure.compiling import row_options
from dr_perception.measure.contour_lines import NO_OUTLINE, ContourLine
from dr_perception.measure.images import Images
from dr_perception.measure.modalities import OUTLINE
from dr_perception.measure.robust import tukey_rho, tukey_weight
from dr_perception.measure.spacing import image_scale, rows_per_measurement
from dr_perception.view.contour import VisibleContour, contour_size

wp.set_module_options(row_options())

_LEAST_ALIGNMENT = wp.constant(0.9)


@wp.struct
class LineNoise:
    """How rows are weighed.

    cutoff: in standard deviations. shared_px: length of outline that carries the information of one
    independent line. spacing_px: distance of contour samples in rendered pixels.
    """

    cutoff: float
    shared_px: float
    spacing_px: float


@wp.func
def lever_arm(arm: wp.vec3, direction: wp.vec3, surface_normal: wp.vec3) -> wp.vec3:
    """Arm of a contour point, moved to where a curved surface would have its outline.

    The outline of a curved surface moves along its normal, so that ``arm x normal`` is what turns do to it.
    The edges of facets lie beside it, where the normal is not yet at a right angle to the viewing ray, and
    would make even the spin of a cylinder seem to move its outline. ``direction`` is that of the row; the
    normal, in the camera's frame, is zero at creases.
    """
    along = wp.dot(direction, surface_normal)
    squared = wp.dot(direction, direction)
    if along * along < _LEAST_ALIGNMENT * _LEAST_ALIGNMENT * squared:
        return arm
    moment = wp.cross(arm, along * surface_normal - direction)
    return arm + wp.cross(direction, moment) / squared


@wp.kernel(enable_backward=False)
def accumulate_lines(
    contour: VisibleContour,
    lines: wp.array2d[ContourLine],
    poses: Poses,
    images: Images,
    noise: LineNoise,
    lanes: int,
    # output
    total: wp.array3d[float],
):
    """Add the rows of measured lines, shared by ``lanes`` threads."""
    problem, lane = wp.tid()
    if poses.active[problem] == 0:
        return
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    sums = Sums()
    n = contour_size(contour, problem)
    c2 = noise.cutoff * noise.cutoff
    spacing = noise.spacing_px * image_scale(camera, contour.cameras[problem])
    correlation = rows_per_measurement(noise.shared_px, spacing)
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(lane, n, lanes):
        line = lines[problem, i]
        sums[HIDDEN] += wp.where(line.variance < 0.0, 1.0, 0.0)
        sums[CONTRADICTED] += wp.where(line.variance == NO_OUTLINE, 1.0, 0.0)
        if line.variance <= 0.0:
            continue
        sample = contour.samples[problem, i]
        arm = pose.R * sample.point
        p = arm + pose.t
        if p[2] <= 0.0:
            continue
        residual = line.offset - wp.dot(line.normal, project(camera, p) - line.center)
        s = residual * residual / line.variance
        weight = tukey_weight(s, c2)
        inlier = wp.where(weight > 0.0, 1.0, 0.0)
        sums[ROWS] += 1.0
        sums[COST] += tukey_rho(s, c2) / correlation
        sums[INLIERS] += inlier
        sums[CHI2] += inlier * s
        direction = wp.transpose(project_jacobian(camera, p)) * line.normal
        arm = lever_arm(arm, direction, pose.R * sample.normal)
        sums = add_row(sums, direction, arm, residual, weight / (line.variance * correlation))
    sums[GAIN] = c2 / (3.0 * correlation) * sums[ROWS] - sums[COST]
    add_sums(problem, OUTLINE, sums, total)
