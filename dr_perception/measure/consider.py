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

from dr_perception.device.poses import Poses, place, pose_of
from dr_perception.geometry.camera_warp import CameraParams, project, project_jacobian
from dr_perception.measure.brightness import Light
from dr_perception.measure.color import ColorNoise, color_row
from dr_perception.measure.contour_lines import ContourLine
from dr_perception.measure.depth import DepthNoise, DepthPoint
from dr_perception.measure.images import Images
from dr_perception.measure.line_rows import LineNoise, lever_arm
from dr_perception.measure.robust import tukey_slope, tukey_weight
from dr_perception.measure.spacing import image_scale, rows_per_measurement
from dr_perception.view.contour import VisibleContour, contour_size
from dr_perception.view.surface_samples import VisibleSurface, surface_size

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
NUM_CROSS = 27 + 6 * NUM_PARAMETERS + NUM_PARAMETERS * NUM_PARAMETERS + NUM_PARAMETERS + 2
"""Floats of the sums: the upper triangle of H, g (6,), H_xt (6, T), H_tt (T, T), all row by row, g_t (T,).

Then the squared normalised residuals, and what they would be if noise were all.
"""

_SHARED = wp.constant(NUM_SHARED)
_T = wp.constant(NUM_PARAMETERS)
_XT = wp.constant(27)
_TT = wp.constant(27 + 6 * NUM_PARAMETERS)
_CHI2 = wp.constant(NUM_CROSS - 2)
_EXPECTED = wp.constant(NUM_CROSS - 1)
_OUTLINE = wp.constant(NAMES.index("outline_offset"))
_SIGMA_OF_ABSOLUTE = wp.constant(1.2533)
"""Standard deviation of a Gaussian over its mean absolute value, sqrt(pi / 2)."""
_GT = wp.constant(27 + 6 * NUM_PARAMETERS + NUM_PARAMETERS * NUM_PARAMETERS)
Parameters = wp.types.vector(length=NUM_PARAMETERS, dtype=wp.float32)
Column = wp.types.vector(length=NUM_SHARED, dtype=wp.float32)


@wp.struct
class Circumstances:
    """What columns and weights need besides the samples.

    center: of the model's bounding sphere, from its origin, in its frame [m]. velocity: of the centre
    (v [m/s], w [rad/s]) along the camera's axes. fitted: whether rows count as they hold a pose that was
    fitted to them, see `row_weight`. theta: parameters (T,) as estimated so far, and xi: how the pose would
    move (v [m], w [rad]) if they were taken out, see `unexplained`.
    """

    center: wp.vec3
    velocity: wp.spatial_vector
    fitted: int
    theta: Parameters
    xi: wp.spatial_vector


@wp.func
def row_weight(s: float, c2: float, fitted: int) -> float:
    """Weight of a row with squared normalised residual ``s``.

    Errors are estimated with the weights of the solver. How far they move a pose is another matter: by the
    implicit function theorem it is the slope of the pull that holds it, and of two modalities that disagree
    the one that is nearer to its cut-off gives way.
    """
    if fitted == 1:
        return wp.max(tukey_slope(s, c2), 0.0)
    return tukey_weight(s, c2)


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


@wp.struct
class ConsideredRow:
    """A row: direction and arm as of `dr_perception.device.evidence.add_row`, residual and weight.

    variance: of the residual by noise alone. surface: its column of the octant that it lies in.
    """

    direction: wp.vec3
    arm: wp.vec3
    residual: float
    weight: float
    variance: float
    octant: int
    surface: float


@wp.func
def unexplained(row: ConsideredRow, K: Column, about: Circumstances) -> float:
    """What is left of a row's residual without the errors that were estimated so far.

    That is what must look like noise, and what outliers are told by: weighed by the residual itself, rows
    that an error disturbs most would count least, and errors of 5 to 30 standard deviations came out at 0.55
    to 0.85 of their size instead of 0.85 to 1.
    """
    m = wp.cross(row.arm, row.direction)
    left = row.residual - row.surface * about.theta[_SHARED + row.octant]
    for k in range(_SHARED):
        left -= K[k] * about.theta[k]
    for k in range(3):
        left -= row.direction[k] * about.xi[k] + m[k] * about.xi[3 + k]
    return left


@wp.func
def add_columns(crosses: wp.array2d[float], problem: int, row: ConsideredRow, K: Column):
    """Add a row with its shared columns to the sums of a problem.

    Straight into memory: Warp would copy sums of this length from function to function.
    """
    m = wp.cross(row.arm, row.direction)
    a = row.direction
    J = wp.spatial_vector(a[0], a[1], a[2], m[0], m[1], m[2])
    o = _SHARED + row.octant
    n = int(0)
    crosses[problem, _CHI2] += row.weight * row.residual * row.residual
    crosses[problem, _EXPECTED] += row.weight * row.variance
    for i in range(6):
        crosses[problem, 21 + i] += row.weight * J[i] * row.residual
        for j in range(i, 6):
            crosses[problem, n] += row.weight * J[i] * J[j]
            n += 1
    for j in range(_SHARED):
        w = row.weight * K[j]
        if w != 0.0:
            for i in range(6):
                crosses[problem, _XT + i * _T + j] += w * J[i]
            for k in range(_SHARED):
                crosses[problem, _TT + j * _T + k] += w * K[k]
            crosses[problem, _TT + j * _T + o] += w * row.surface
            crosses[problem, _TT + o * _T + j] += w * row.surface
            crosses[problem, _GT + j] += w * row.residual
    w = row.weight * row.surface
    if w != 0.0:
        for i in range(6):
            crosses[problem, _XT + i * _T + o] += w * J[i]
        crosses[problem, _TT + o * _T + o] += w * row.surface
        crosses[problem, _GT + o] += w * row.residual


@wp.func
def depth_columns(
    row: ConsideredRow, origin: wp.vec3, p: wp.vec3, camera: CameraParams, velocity: wp.spatial_vector
) -> Column:
    """Columns of a depth row; ``origin`` is the arm of the model's origin, ``p`` the model's point.

    Taken at what is predicted, not at what was measured: noise in a column would pull its parameter (errors
    in variables), and a smaller world, in which all residuals are smaller, would seem to explain more.
    """
    a = row.direction
    K = Column()
    K[0] = wp.dot(a, row.arm - origin)
    K[1] = a[0] * p[0] + a[1] * p[1]
    K[2] = wp.dot(a, p) / p[2]
    K[3] = wp.dot(a, p)
    K[4] = a[0] * p[2] / camera.fx
    K[5] = a[1] * p[2] / camera.fy
    K[6] = -wp.dot(a, velocity_at(velocity, row.arm))
    return K


@wp.func
def image_columns(row: ConsideredRow, origin: wp.vec3, p: wp.vec3) -> Column:
    """Columns of a row that the colour image gives, of an outline or a pattern; ``p`` is its point."""
    K = Column()
    K[0] = wp.dot(row.direction, row.arm - origin)
    K[1] = row.direction[0] * p[0] + row.direction[1] * p[1]
    return K


@wp.kernel(enable_backward=False)
def consider_depth(
    surface: VisibleSurface,
    points: wp.array2d[DepthPoint],
    poses: Poses,
    images: Images,
    noise: DepthNoise,
    about: wp.array[Circumstances],
    # output
    crosses: wp.array2d[float],
):
    """Add the sums (P, `NUM_CROSS`) of the depth rows of every sample."""
    problem = wp.tid()
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    origin = -(pose.R * about[problem].center)
    n = surface_size(surface, problem)
    spacing = noise.spacing_px * image_scale(camera, surface.cameras[problem])
    correlation = rows_per_measurement(noise.shared_px2, spacing * spacing)
    for i in range(n):
        measured = points[problem, i]
        if measured.variance == 0.0:
            continue
        sample = surface.samples[problem, i]
        row = ConsideredRow()
        row.arm = pose.R * sample.point
        row.direction = pose.R * sample.normal
        row.residual = wp.dot(row.direction, measured.point - row.arm - pose.t)
        row.variance = measured.variance
        row.octant = octant_of(sample.point)
        row.surface = 1.0
        K = depth_columns(row, origin, row.arm + pose.t, camera, about[problem].velocity)
        left = unexplained(row, K, about[problem])
        c2 = noise.cutoff * noise.cutoff
        weight = row_weight(left * left / measured.variance, c2, about[problem].fitted)
        row.weight = weight / (measured.variance * correlation)
        add_columns(crosses, problem, row, K)


@wp.func
def line_residual(line: ContourLine, p: wp.vec3, camera: CameraParams) -> float:
    """Pixels from a contour point at ``p`` to where its outline was found."""
    return line.offset - wp.dot(line.normal, project(camera, p) - line.center)


@wp.kernel(enable_backward=False)
def consider_lines(
    contour: VisibleContour,
    lines: wp.array2d[ContourLine],
    poses: Poses,
    images: Images,
    noise: LineNoise,
    about: wp.array[Circumstances],
    # output
    crosses: wp.array2d[float],
):
    """Add the sums of the outline rows of measured lines.

    Where errors are estimated, what all lines share, such as an outline that is too large all around, must
    not be taken for outliers: the cut-off is in standard deviations of the lines or of their residuals,
    whichever are larger (the scale estimate of robust regression; Rousseeuw and Leroy 1987).
    """
    problem = wp.tid()
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    origin = -(pose.R * about[problem].center)
    n = contour_size(contour, problem)
    spacing = noise.spacing_px * image_scale(camera, contour.cameras[problem])
    correlation = rows_per_measurement(noise.shared_px, spacing)
    used = float(1.0e-6)
    absolute = float(0.0)
    for i in range(n):
        line = lines[problem, i]
        if line.variance > 0.0:
            absolute += wp.abs(line_residual(line, place(pose, contour.samples[problem, i].point), camera))
            used += 1.0
    scatter = _SIGMA_OF_ABSOLUTE * absolute / used
    for i in range(n):
        line = lines[problem, i]
        sample = contour.samples[problem, i]
        arm = pose.R * sample.point
        p = arm + pose.t
        if line.variance <= 0.0 or p[2] <= 0.0:
            continue
        row = ConsideredRow()
        row.residual = line_residual(line, p, camera)
        scale = wp.max(line.variance, float(1 - about[problem].fitted) * scatter * scatter)
        row.variance = line.variance
        row.direction = wp.transpose(project_jacobian(camera, p)) * line.normal
        row.octant = octant_of(sample.point)
        row.surface = wp.dot(row.direction, pose.R * sample.outward)
        row.arm = arm
        K = image_columns(row, origin, p)
        K[_OUTLINE] = 1.0
        row.arm = lever_arm(arm, row.direction, pose.R * sample.normal)
        left = unexplained(row, K, about[problem])
        weight = row_weight(left * left / scale, noise.cutoff * noise.cutoff, about[problem].fitted)
        row.weight = weight / (line.variance * correlation)
        add_columns(crosses, problem, row, K)


@wp.kernel(enable_backward=False)
def consider_color(
    surface: VisibleSurface,
    lights: wp.array[Light],
    poses: Poses,
    images: Images,
    noise: ColorNoise,
    about: wp.array[Circumstances],
    # output
    crosses: wp.array2d[float],
):
    """Add the sums of the colour rows of every visible sample under the fitted light."""
    problem = wp.tid()
    light = lights[problem]
    if wp.dot(light, light) == 0.0:
        return
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    origin = -(pose.R * about[problem].center)
    n = surface_size(surface, problem)
    spacing = noise.spacing_px * image_scale(camera, surface.cameras[problem])
    correlation = rows_per_measurement(noise.shared_px2, spacing * spacing)
    for i in range(n):
        seen = color_row(surface.samples[problem, i], pose, camera, images, light, noise)
        if seen.variance == 0.0:
            continue
        row = ConsideredRow()
        row.direction = seen.direction
        row.arm = seen.arm
        row.residual = seen.residual
        row.variance = seen.variance
        K = image_columns(row, origin, row.arm + pose.t)
        left = unexplained(row, K, about[problem])
        weight = row_weight(left * left / seen.variance, noise.cutoff * noise.cutoff, about[problem].fitted)
        row.weight = weight / (seen.variance * correlation)
        # No surface column: what lies farther out is seen at another place along its own gradient only.
        add_columns(crosses, problem, row, K)
