"""Consider parameters: errors of model, calibration and sensor that every frame shares, as columns of rows.

White noise of pixels averages out, these do not (Schmidt 1966; Woodbury and Junkins 2010). With residuals
``r(xi, theta) = r - J xi - K theta`` each of them moves what is compared by ``D theta`` metres, so that its
column of ``K`` is ``a . D`` with the row's direction ``a``, as that of a motion is. At a pose the rows reduce
to the sums ``H_xt = sum w J^T K``, ``H_tt = sum w K^T K`` and ``g_t = sum w K^T r``; `dr_perception.estimate`
eliminates the pose from them.

The parameters, in this order: scale of the model about its origin; focal length, relative; bias of the depth
[m]; scale of the depth; shift of the depth image against the colour image along columns and rows [px]; time
by which the depth is older than the colour [s]; offset of every outline outwards [px]; and, for each octant
of the model about its centre, how far its surface lies outside of the model's [m]. All say by how much the
truth, or for depth and outlines what is measured, exceeds what was assumed.
"""

import warp as wp

from dr_perception.device.evidence import Sums, add_row
from dr_perception.geometry.camera_warp import CameraParams, project, project_jacobian
from dr_perception.measure.contour_lines import ContourLine
from dr_perception.measure.depth import DepthNoise, DepthPoint
from dr_perception.measure.line_rows import LineNoise, lever_arm
from dr_perception.measure.robust import tukey_weight
from dr_perception.measure.spacing import image_scale, rows_per_measurement
from dr_perception.raster.project import IdealCamera
from dr_perception.view.contour import ContourSample
from dr_perception.view.surface_samples import SurfaceSample

wp.set_module_options({"max_unroll": 1})

NAMES = (
    "model_scale",
    "focal_length",
    "depth_bias",
    "depth_scale",
    "depth_shift_u",
    "depth_shift_v",
    "depth_delay",
    "outline_offset",
    *(f"surface_{octant}" for octant in range(8)),
)
"""Names of the parameters."""
NUM_SHARED = 8
"""Parameters that all rows may depend on; of the octants every row meets one."""
NUM_PARAMETERS = len(NAMES)
NUM_CROSS = 6 * NUM_PARAMETERS + NUM_PARAMETERS * NUM_PARAMETERS + NUM_PARAMETERS
"""Floats of the sums: H_xt (6, T) row by row, H_tt (T, T), g_t (T,)."""

_SHARED = wp.constant(NUM_SHARED)
_T = wp.constant(NUM_PARAMETERS)
_TT = wp.constant(6 * NUM_PARAMETERS)
_SIGMA_OF_ABSOLUTE = wp.constant(1.2533)
"""Standard deviation of a Gaussian over its mean absolute value, sqrt(pi / 2)."""
_GT = wp.constant(6 * NUM_PARAMETERS + NUM_PARAMETERS * NUM_PARAMETERS)
Column = wp.types.vector(length=NUM_SHARED, dtype=wp.float32)
Cross = wp.types.vector(length=NUM_CROSS, dtype=wp.float32)


@wp.struct
class Circumstances:
    """What columns need besides the samples.

    center: of the model's bounding sphere, from its origin, in its frame [m]. velocity: of the centre
    (v [m/s], w [rad/s]) along the camera's axes.
    """

    center: wp.vec3
    velocity: wp.spatial_vector


@wp.func
def octant_of(point: wp.vec3) -> int:
    """Octant of a point about the centre, in the model's frame: a bit for each axis."""
    return wp.where(point[0] > 0.0, 1, 0) + wp.where(point[1] > 0.0, 2, 0) + wp.where(point[2] > 0.0, 4, 0)


@wp.func
def velocity_at(velocity: wp.spatial_vector, arm: wp.vec3) -> wp.vec3:
    """Velocity [m/s] of a point that lies ``arm`` from the centre."""
    v = wp.vec3(velocity[0], velocity[1], velocity[2])
    w = wp.vec3(velocity[3], velocity[4], velocity[5])
    return v + wp.cross(w, arm)


@wp.func
def depth_columns(
    direction: wp.vec3,
    arm: wp.vec3,
    origin: wp.vec3,
    measured: wp.vec3,
    camera: CameraParams,
    velocity: wp.spatial_vector,
) -> Column:
    """Columns of a depth row: ``direction`` is its normal, ``arm`` its point from the centre.

    ``origin`` is the arm of the model's origin, ``measured`` the measured point.
    """
    z = measured[2]
    K = Column()
    K[0] = wp.dot(direction, arm - origin)
    K[1] = direction[0] * measured[0] + direction[1] * measured[1]
    K[2] = wp.dot(direction, measured) / z
    K[3] = wp.dot(direction, measured)
    K[4] = direction[0] * z / camera.fx
    K[5] = direction[1] * z / camera.fy
    K[6] = -wp.dot(direction, velocity_at(velocity, arm))
    return K


@wp.func
def line_columns(direction: wp.vec3, arm: wp.vec3, origin: wp.vec3, p: wp.vec3) -> Column:
    """Columns of an outline row, whose direction is in pixels a metre; ``p`` is its point."""
    K = Column()
    K[0] = wp.dot(direction, arm - origin)
    K[1] = direction[0] * p[0] + direction[1] * p[1]
    K[7] = 1.0
    return K


@wp.func
def add_columns(
    cross: Cross,
    direction: wp.vec3,
    arm: wp.vec3,
    K: Column,
    octant: int,
    surface: float,
    residual: float,
    weight: float,
) -> Cross:
    """Add a row: its shared columns, and ``surface`` as that of the octant that it lies in."""
    m = wp.cross(arm, direction)
    J = wp.spatial_vector(direction[0], direction[1], direction[2], m[0], m[1], m[2])
    o = _SHARED + octant
    for j in range(_SHARED):
        w = weight * K[j]
        for i in range(6):
            cross[i * _T + j] = cross[i * _T + j] + w * J[i]
        for k in range(_SHARED):
            cross[_TT + j * _T + k] = cross[_TT + j * _T + k] + w * K[k]
        cross[_TT + j * _T + o] = cross[_TT + j * _T + o] + w * surface
        cross[_TT + o * _T + j] = cross[_TT + o * _T + j] + w * surface
        cross[_GT + j] = cross[_GT + j] + w * residual
    w = weight * surface
    for i in range(6):
        cross[i * _T + o] = cross[i * _T + o] + w * J[i]
    cross[_TT + o * _T + o] = cross[_TT + o * _T + o] + w * surface
    cross[_GT + o] = cross[_GT + o] + w * residual
    return cross


@wp.kernel(enable_backward=False)
def consider_depth(
    samples: wp.array2d[SurfaceSample],
    count: wp.array[int],
    points: wp.array2d[DepthPoint],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    lens: wp.array[CameraParams],
    cameras: wp.array[IdealCamera],
    noise: DepthNoise,
    about: wp.array[Circumstances],
    # output
    poses: wp.array2d[float],
    crosses: wp.array2d[float],
):
    """Sums of the depth rows of every sample: of the pose (P, `NUM_SUMS`), and across (P, `NUM_CROSS`)."""
    camera = lens[0]
    problem = wp.tid()
    R = R_cam_obj[problem, 0]
    t = t_cam_obj[problem, 0]
    origin = -(R * about[problem].center)
    sums = Sums()
    cross = Cross()
    n = wp.min(count[problem], samples.shape[1])
    spacing = noise.spacing_px * image_scale(camera, cameras[problem])
    correlation = rows_per_measurement(noise.shared_px2, spacing * spacing)
    for i in range(n):
        measured = points[problem, i]
        if measured.variance == 0.0:
            continue
        sample = samples[problem, i]
        arm = R * sample.point
        normal = R * sample.normal
        residual = wp.dot(normal, measured.point - arm - t)
        weight = tukey_weight(residual * residual / measured.variance, noise.cutoff * noise.cutoff)
        weight = weight / (measured.variance * correlation)
        K = depth_columns(normal, arm, origin, measured.point, camera, about[problem].velocity)
        cross = add_columns(cross, normal, arm, K, octant_of(sample.point), 1.0, residual, weight)
        sums = add_row(sums, normal, arm, residual, weight)
    for k in range(wp.static(27)):
        poses[problem, k] = poses[problem, k] + sums[k]
    for k in range(NUM_CROSS):
        crosses[problem, k] = crosses[problem, k] + cross[k]


@wp.func
def line_residual(line: ContourLine, p: wp.vec3, camera: CameraParams) -> float:
    """Pixels from a contour point at ``p`` to where its outline was found."""
    return line.offset - wp.dot(line.normal, project(camera, p) - line.center)


@wp.kernel(enable_backward=False)
def consider_lines(
    samples: wp.array2d[ContourSample],
    count: wp.array[int],
    lines: wp.array2d[ContourLine],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    lens: wp.array[CameraParams],
    cameras: wp.array[IdealCamera],
    noise: LineNoise,
    about: wp.array[Circumstances],
    # output
    poses: wp.array2d[float],
    crosses: wp.array2d[float],
):
    """The same of the outline rows of measured lines.

    What all lines share, such as an outline that is too large all around, must not be taken for outliers: the
    cut-off is in standard deviations of the lines or of their residuals, whichever are larger (the scale
    estimate of robust regression; Rousseeuw and Leroy 1987).
    """
    camera = lens[0]
    problem = wp.tid()
    R = R_cam_obj[problem, 0]
    t = t_cam_obj[problem, 0]
    origin = -(R * about[problem].center)
    sums = Sums()
    cross = Cross()
    n = wp.min(count[problem], samples.shape[1])
    spacing = noise.spacing_px * image_scale(camera, cameras[problem])
    correlation = rows_per_measurement(noise.shared_px, spacing)
    used = float(1.0e-6)
    absolute = float(0.0)
    for i in range(n):
        line = lines[problem, i]
        if line.variance > 0.0:
            absolute += wp.abs(line_residual(line, R * samples[problem, i].point + t, camera))
            used += 1.0
    scatter = _SIGMA_OF_ABSOLUTE * absolute / used
    for i in range(n):
        line = lines[problem, i]
        sample = samples[problem, i]
        arm = R * sample.point
        p = arm + t
        if line.variance <= 0.0 or p[2] <= 0.0:
            continue
        residual = line_residual(line, p, camera)
        scale = wp.max(line.variance, scatter * scatter)
        weight = tukey_weight(residual * residual / scale, noise.cutoff * noise.cutoff)
        weight = weight / (line.variance * correlation)
        direction = wp.transpose(project_jacobian(camera, p)) * line.normal
        surface = wp.dot(direction, R * sample.outward)
        K = line_columns(direction, arm, origin, p)
        moved = lever_arm(arm, direction, R * sample.normal)
        cross = add_columns(cross, direction, moved, K, octant_of(sample.point), surface, residual, weight)
        sums = add_row(sums, direction, moved, residual, weight)
    for k in range(wp.static(27)):
        poses[problem, k] = poses[problem, k] + sums[k]
    for k in range(NUM_CROSS):
        crosses[problem, k] = crosses[problem, k] + cross[k]
