"""Places of outlines by the area under a blurred step of colour: they reach few pixels, and parts of one."""

import warp as wp

from dr_perception.device.poses import Poses, pose_of
from dr_perception.geometry.camera_warp import CameraParams
from dr_perception.measure.compiling import row_options
from dr_perception.measure.contour_lines import ContourLine, LineSearch, line_at
from dr_perception.measure.images import Images
from dr_perception.view.contour import INNER, VisibleContour, contour_size

wp.set_module_options(row_options())


_ROUNDS = wp.constant(2)
"""A step that lies beside the middle of its window seems nearer to it: found there, it is looked at again."""


@wp.struct
class StepWindow:
    """Where levels are taken: beyond ``half`` pixels to either side, over ``level`` pixels."""

    half: int
    level: int


@wp.func
def color_at(image: wp.array2d[wp.vec3ub], uv: wp.vec2) -> wp.vec3:
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


@wp.func
def step_at(
    center: wp.vec2, normal: wp.vec2, image: wp.array2d[wp.vec3ub], window: StepWindow, color_sigma: float
) -> wp.vec2:
    """Offset [px] along the normal of the step next to a place, and its variance; 0 where there is none.

    The variance lacks the floors of `LineSearch`. The caller keeps the window inside the image.
    """
    inner = wp.vec3()
    outer = wp.vec3()
    inner2 = float(0.0)
    outer2 = float(0.0)
    inner_rise = wp.vec3()
    outer_rise = wp.vec3()
    middle = 0.5 * float(window.level - 1)
    for k in range(window.level):
        s = float(window.half + 1 + k)
        a = color_at(image, center - s * normal)
        b = color_at(image, center + s * normal)
        inner += a
        outer += b
        inner2 += wp.dot(a, a)
        outer2 += wp.dot(b, b)
        inner_rise += (float(k) - middle) * a
        outer_rise += (float(k) - middle) * b
    m = float(window.level)
    inner = inner / m
    outer = outer / m
    scatter = (inner2 / m - wp.dot(inner, inner) + outer2 / m - wp.dot(outer, outer)) / 6.0
    step = inner - outer
    contrast2 = wp.dot(step, step)
    noise2 = scatter + color_sigma * color_sigma
    if contrast2 <= 9.0 * noise2:
        return wp.vec2()
    area = float(0.0)
    for k in range(-window.half, window.half + 1):
        level = wp.dot(color_at(image, center + float(k) * normal) - outer, step) / contrast2
        area += wp.clamp(level, -0.1, 1.1)
    width = float(2 * window.half + 1)
    offset = area - 0.5 * width
    inner_slope = wp.dot(inner_rise, step) / contrast2
    outer_slope = wp.dot(outer_rise, step) / contrast2
    noise = color_sigma * color_sigma / contrast2
    variance = noise2 / contrast2 * width + _slope_variance(inner_slope, outer_slope, noise, width, m)
    return wp.vec2(offset, wp.where(wp.abs(offset) > float(window.half), 0.0, variance))


@wp.func
def fits_inside(c: wp.vec2, camera: CameraParams, window: StepWindow) -> bool:
    """Whether a window about a place lies inside the image."""
    far = float(window.half + window.level) + 2.0
    return (
        c[0] > far
        and c[1] > far
        and c[0] < float(camera.width) - 1.0 - far
        and c[1] < float(camera.height) - 1.0 - far
    )


@wp.kernel(enable_backward=False)
def measure_lines_by_step(
    contour: VisibleContour,
    poses: Poses,
    images: Images,
    window: StepWindow,
    search: LineSearch,
    # output
    lines: wp.array2d[ContourLine],
):
    """Sub-pixel offset of a step between the colours just outside a window around the contour point."""
    problem, i = wp.tid()
    if i >= contour_size(contour, problem):
        return
    camera = images.lens[0]
    sample = contour.samples[problem, i]
    line = line_at(sample, pose_of(poses, problem), camera, images.depth, search.occlusion_m)
    valid = line.variance > 0.0
    line.variance = wp.min(line.variance, 0.0)
    if valid and fits_inside(line.center, camera, window):
        found = step_at(line.center, line.normal, images.color, window, search.color_sigma)
        if found[1] > 0.0:
            floor = wp.where(sample.kind == INNER, search.inner_floor_px, search.floor_px)
            line.offset = found[0]
            line.variance = found[1] + floor * floor
    lines[problem, i] = line


@wp.kernel(enable_backward=False)
def sharpen_lines(
    contour: VisibleContour,
    near: wp.array2d[ContourLine],
    images: Images,
    window: StepWindow,
    search: LineSearch,
    # output
    lines: wp.array2d[ContourLine],
):
    """Measure lines that were found by region again, by the step at the place where they were found.

    The reach of the one with the precision of the other. A line that was measured ``near`` the contour point
    is looked at again there: the nearest edge is most probably the outline. Lines without a step are dropped:
    regions alone are off by parts of a pixel, always to the same side.
    """
    problem, i = wp.tid()
    if i >= contour_size(contour, problem):
        return
    line = lines[problem, i]
    by_step = near[problem, i].variance > 0.0
    if by_step:
        line = near[problem, i]
    elif line.variance <= 0.0:
        return
    variance = wp.where(by_step, line.variance, 0.0)
    for _ in range(_ROUNDS):
        center = line.center + line.offset * line.normal
        if fits_inside(center, images.lens[0], window):
            found = step_at(center, line.normal, images.color, window, search.color_sigma)
            if found[1] > 0.0:
                line.offset += found[0]
                if not by_step:
                    variance = found[1] + search.floor_px * search.floor_px
    line.variance = variance
    lines[problem, i] = line
