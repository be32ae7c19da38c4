"""Silhouette rows: the outline of the model against the outline seen in the colour image.

Contour points of the model are searched along their image normals for the place where the colour changes from
the object's to the background's. Two measurements of that place serve at different ranges:

* `measure_lines_by_region` weighs every offset along the line by colour histograms of object and background
  (the posterior of Prisacariu and Reid 2012; correspondence lines of Stoiber et al. 2022, SRT3D). It reaches
  many pixels.
* `measure_lines_by_step` takes the mean colours on either side of one line as the two levels of a blurred
  step and reads the position off the area under it, which does not depend on the blur. It reaches few pixels,
  and resolves a small part of one.

Either gives a signed offset along the normal with its variance; `accumulate_lines` turns them into rows.
"""

import warp as wp

from dr_perception.device.evidence import (
    CHI2,
    COST,
    GAIN,
    HIDDEN,
    INLIERS,
    ROWS,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.geometry.camera_warp import CameraParams, project, project_jacobian
from dr_perception.measure.compiling import row_options
from dr_perception.measure.robust import tukey_rho, tukey_weight
from dr_perception.measure.spacing import image_scale, rows_per_measurement
from dr_perception.raster.project import IdealCamera
from dr_perception.view.contour import OUTER, ContourSample

wp.set_module_options(row_options())

HISTOGRAM_BITS = 4
NUM_BINS = 1 << (3 * HISTOGRAM_BITS)
"""Bins of a colour histogram: 16 levels a channel."""
MAX_REACH = 24
"""Longest search along a line, in steps to either side."""

_LEAST_ALIGNMENT = wp.constant(0.9)
_SHIFT = wp.constant(8 - HISTOGRAM_BITS)
_BITS = wp.constant(HISTOGRAM_BITS)
_MAX_REACH = wp.constant(MAX_REACH)
Profile = wp.types.vector(length=2 * MAX_REACH + 1, dtype=wp.float32)


@wp.struct
class ContourLine:
    """A measured line: the outline lies ``offset`` pixels from ``center`` along ``normal``.

    Variance 0 marks no measurement, a negative one a contour point that something nearer hides.
    """

    center: wp.vec2
    normal: wp.vec2
    offset: float
    variance: float


@wp.struct
class LineSearch:
    """How lines are searched.

    reach: steps to either side (region search). step_px: pixels a step. sharpness: share of a pixel's log
    likelihood ratio that is independent of its neighbours'. prior_sigma_px: where the outline is expected.
    occlusion_m: a measurement nearer than the model by more than this hides the line. floor_px: standard
    deviation that no line goes below. inner_floor_px: the same for edges inside the outline, whose two sides
    are of one material: what is seen is shade, which a rounded edge shifts. color_sigma: image noise in grey
    levels.
    """

    reach: int
    step_px: float
    sharpness: float
    prior_sigma_px: float
    occlusion_m: float
    floor_px: float
    inner_floor_px: float
    color_sigma: float


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
def color_bin(c: wp.vec3ub) -> int:
    """Histogram bin of a colour."""
    r = wp.int32(c[0]) >> _SHIFT
    g = wp.int32(c[1]) >> _SHIFT
    b = wp.int32(c[2]) >> _SHIFT
    return (((r << _BITS) + g) << _BITS) + b


@wp.func
def _inside(x: int, y: int, camera: CameraParams) -> bool:
    return x >= 0 and y >= 0 and x < camera.width and y < camera.height


@wp.func
def _is_hidden(uv: wp.vec2, z: float, camera: CameraParams, depth: wp.array2d[float], margin: float) -> bool:
    """Whether something measured near a pixel is nearer than ``z`` by a margin."""
    hidden = bool(False)
    for k in range(5):
        dx = wp.where(k == 1, 2.0, wp.where(k == 2, -2.0, 0.0))
        dy = wp.where(k == 3, 2.0, wp.where(k == 4, -2.0, 0.0))
        x = wp.int32(wp.floor(uv[0] + dx + 0.5))
        y = wp.int32(wp.floor(uv[1] + dy + 0.5))
        if _inside(x, y, camera):
            measured = depth[y, x]
            if measured > 0.0 and measured < z - margin:
                hidden = True
    return hidden


@wp.func
def _color_at(image: wp.array2d[wp.vec3ub], uv: wp.vec2) -> wp.vec3:
    """Bilinear colour; the caller keeps ``uv`` inside the image by a pixel."""
    x = wp.int32(wp.floor(uv[0]))
    y = wp.int32(wp.floor(uv[1]))
    fx = uv[0] - float(x)
    fy = uv[1] - float(y)
    c00 = image[y, x]
    c10 = image[y, x + 1]
    c01 = image[y + 1, x]
    c11 = image[y + 1, x + 1]
    w00 = (1.0 - fx) * (1.0 - fy)
    w10 = fx * (1.0 - fy)
    w01 = (1.0 - fx) * fy
    w11 = fx * fy
    return wp.vec3(
        w00 * float(c00[0]) + w10 * float(c10[0]) + w01 * float(c01[0]) + w11 * float(c11[0]),
        w00 * float(c00[1]) + w10 * float(c10[1]) + w01 * float(c01[1]) + w11 * float(c11[1]),
        w00 * float(c00[2]) + w10 * float(c10[2]) + w01 * float(c01[2]) + w11 * float(c11[2]),
    )


@wp.func
def _line_at(
    sample: ContourSample,
    R: wp.mat33,
    t: wp.vec3,
    camera: CameraParams,
    depth: wp.array2d[float],
    occlusion_m: float,
) -> ContourLine:
    """The line of a contour point at a pose.

    Its variance is 1, or negative where the point is hidden, 0 behind the camera.
    """
    line = ContourLine()
    p = R * sample.point + t
    if p[2] > 0.0:
        line.center = project(camera, p)
        direction = project_jacobian(camera, p) * (R * sample.outward)
        length = wp.length(direction)
        if length > 0.0:
            line.normal = direction / length
            line.variance = wp.where(_is_hidden(line.center, p[2], camera, depth, occlusion_m), -1.0, 1.0)
    return line


@wp.kernel(enable_backward=False)
def measure_lines_by_region(
    samples: wp.array2d[ContourSample],
    count: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    lens: wp.array[CameraParams],
    image: wp.array2d[wp.vec3ub],
    depth: wp.array2d[float],
    log_ratio: wp.array2d[float],
    search: LineSearch,
    # output
    lines: wp.array2d[ContourLine],
):
    """Posterior mean and variance of the outline's offset.

    ``log_ratio[problem, bin] = log p(color | object) / p(color | background)``.
    """
    camera = lens[0]
    problem, i = wp.tid()
    if i >= wp.min(count[problem], samples.shape[1]):
        return
    sample = samples[problem, i]
    line = _line_at(sample, R_cam_obj[problem, 0], t_cam_obj[problem, 0], camera, depth, search.occlusion_m)
    if line.variance <= 0.0 or sample.kind != OUTER:
        line.variance = wp.min(line.variance, 0.0)
        lines[problem, i] = line
        return
    line.variance = 0.0
    reach = wp.min(search.reach, _MAX_REACH)
    n = 2 * reach + 1
    # Log likelihood that the outline lies after step k: all steps up to it are object.
    profile = Profile()
    total = float(0.0)
    best = float(-1.0e30)
    seen = int(0)
    for k in range(n):
        s = float(k - reach) * search.step_px
        x = wp.int32(wp.floor(line.center[0] + s * line.normal[0] + 0.5))
        y = wp.int32(wp.floor(line.center[1] + s * line.normal[1] + 0.5))
        if _inside(x, y, camera):
            total += search.sharpness * log_ratio[problem, color_bin(image[y, x])]
            seen += 1
        offset = s + 0.5 * search.step_px
        value = total - 0.5 * offset * offset / (search.prior_sigma_px * search.prior_sigma_px)
        profile[k] = value
        best = wp.max(best, value)
    weight = float(0.0)
    mean = float(0.0)
    square = float(0.0)
    for k in range(n):
        w = wp.exp(profile[k] - best)
        offset = (float(k - reach) + 0.5) * search.step_px
        weight += w
        mean += w * offset
        square += w * offset * offset
    mean = mean / weight
    posterior = square / weight - mean * mean + search.floor_px * search.floor_px
    # Take the prior out again: what remains is the measurement alone. Cut off at the reach, the prior itself
    # keeps 0.67 of its variance: more than 0.6 of it is no measurement.
    prior = search.prior_sigma_px * search.prior_sigma_px
    if seen > n / 2 and posterior < 0.6 * prior:
        line.variance = posterior * prior / (prior - posterior)
        line.offset = mean * prior / (prior - posterior)
    lines[problem, i] = line


@wp.func
def _slope_variance(inner: float, outer: float, noise2: float, width: float, m: float) -> float:
    """Variance [px^2] of a step's place that slopes of the two levels cause.

    The levels are taken some pixels from where they are needed, and a slope, of a background's pattern or of
    shade on a round surface, shifts them until then. In one line it cannot be told from noise, so that it is
    not corrected but counted where it exceeds that.

    Args:
        inner: First moment of the samples of the inner level, in contrasts.
        outer: That of the outer level.
        noise2: Variance of a sample, in squared contrasts.
        width: Samples of the window between the levels.
        m: Samples of a level.
    """
    moment = wp.max(m * (m * m - 1.0) / 12.0, 0.5)
    slope2 = (inner * inner + outer * outer) / (moment * moment) - 2.0 * noise2 / moment
    # Half of the window lies on either side of the step, its middle so far from that of the level.
    shift = 0.5 * width * (0.25 * width + 0.5 * m)
    return shift * shift * wp.max(slope2, 0.0)


@wp.kernel(enable_backward=False)
def measure_lines_by_step(
    samples: wp.array2d[ContourSample],
    count: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    lens: wp.array[CameraParams],
    image: wp.array2d[wp.vec3ub],
    depth: wp.array2d[float],
    half_window: int,
    level_width: int,
    search: LineSearch,
    # output
    lines: wp.array2d[ContourLine],
):
    """Sub-pixel offset of a step between the colours just outside a window around the contour point."""
    camera = lens[0]
    problem, i = wp.tid()
    if i >= wp.min(count[problem], samples.shape[1]):
        return
    sample = samples[problem, i]
    line = _line_at(sample, R_cam_obj[problem, 0], t_cam_obj[problem, 0], camera, depth, search.occlusion_m)
    valid = line.variance > 0.0
    line.variance = wp.min(line.variance, 0.0)
    far = float(half_window + level_width) + 2.0
    c = line.center
    if (
        valid
        and c[0] > far
        and c[1] > far
        and c[0] < float(camera.width) - 1.0 - far
        and c[1] < float(camera.height) - 1.0 - far
    ):
        inner = wp.vec3()
        outer = wp.vec3()
        inner2 = float(0.0)
        outer2 = float(0.0)
        inner_rise = wp.vec3()
        outer_rise = wp.vec3()
        middle = 0.5 * float(level_width - 1)
        for k in range(level_width):
            s = float(half_window + 1 + k)
            a = _color_at(image, c - s * line.normal)
            b = _color_at(image, c + s * line.normal)
            inner += a
            outer += b
            inner2 += wp.dot(a, a)
            outer2 += wp.dot(b, b)
            inner_rise += (float(k) - middle) * a
            outer_rise += (float(k) - middle) * b
        m = float(level_width)
        inner = inner / m
        outer = outer / m
        scatter = (inner2 / m - wp.dot(inner, inner) + outer2 / m - wp.dot(outer, outer)) / 6.0
        step = inner - outer
        contrast2 = wp.dot(step, step)
        noise2 = scatter + search.color_sigma * search.color_sigma
        if contrast2 > 9.0 * noise2:
            area = float(0.0)
            for k in range(-half_window, half_window + 1):
                level = wp.dot(_color_at(image, c + float(k) * line.normal) - outer, step) / contrast2
                area += wp.clamp(level, -0.1, 1.1)
            width = float(2 * half_window + 1)
            line.offset = area - 0.5 * width
            floor = wp.where(sample.kind == OUTER, search.floor_px, search.inner_floor_px)
            line.variance = noise2 / contrast2 * width + floor * floor
            inner_slope = wp.dot(inner_rise, step) / contrast2
            outer_slope = wp.dot(outer_rise, step) / contrast2
            noise = search.color_sigma * search.color_sigma / contrast2
            line.variance += _slope_variance(inner_slope, outer_slope, noise, width, m)
            if wp.abs(line.offset) > float(half_window):
                line.variance = 0.0
    lines[problem, i] = line


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
    samples: wp.array2d[ContourSample],
    count: wp.array[int],
    lines: wp.array2d[ContourLine],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    active: wp.array[int],
    lens: wp.array[CameraParams],
    cameras: wp.array[IdealCamera],
    noise: LineNoise,
    lanes: int,
    modality: int,
    # output
    total: wp.array3d[float],
):
    """Add the rows of measured lines; ``cameras`` are those of the renders that they were sampled from."""
    camera = lens[0]
    problem, lane = wp.tid()
    if active[problem] == 0:
        return
    R = R_cam_obj[problem, 0]
    t = t_cam_obj[problem, 0]
    sums = Sums()
    n = wp.min(count[problem], samples.shape[1])
    c2 = noise.cutoff * noise.cutoff
    spacing = noise.spacing_px * image_scale(camera, cameras[problem])
    correlation = rows_per_measurement(noise.shared_px, spacing)
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(lane, n, lanes):
        line = lines[problem, i]
        sums[HIDDEN] += wp.where(line.variance < 0.0, 1.0, 0.0)
        if line.variance <= 0.0:
            continue
        sample = samples[problem, i]
        arm = R * sample.point
        p = arm + t
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
        arm = lever_arm(arm, direction, R * sample.normal)
        sums = add_row(sums, direction, arm, residual, weight / (line.variance * correlation))
    sums[GAIN] = c2 / (3.0 * correlation) * sums[ROWS] - sums[COST]
    add_sums(problem, modality, sums, total)
