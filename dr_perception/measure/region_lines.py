"""Places of outlines by colour histograms of object and background: they reach many pixels."""

import warp as wp

from dr_perception.device.poses import Poses, pose_of
from dr_perception.measure.compiling import row_options
from dr_perception.measure.contour_lines import ContourLine, LineSearch, is_inside, line_at
from dr_perception.measure.images import Images
from dr_perception.view.contour import INNER, VisibleContour, contour_size

wp.set_module_options(row_options())

HISTOGRAM_BITS = 4
NUM_BINS = 1 << (3 * HISTOGRAM_BITS)
"""Bins of a colour histogram: 16 levels a channel."""
MAX_REACH = 24
"""Longest search along a line, in steps to either side."""

_SHIFT = wp.constant(8 - HISTOGRAM_BITS)
_BITS = wp.constant(HISTOGRAM_BITS)
_MAX_REACH = wp.constant(MAX_REACH)
Profile = wp.types.vector(length=2 * MAX_REACH + 1, dtype=wp.float32)


@wp.func
def color_bin(c: wp.vec3ub) -> int:
    """Histogram bin of a colour."""
    r = wp.int32(c[0]) >> _SHIFT
    g = wp.int32(c[1]) >> _SHIFT
    b = wp.int32(c[2]) >> _SHIFT
    return (((r << _BITS) + g) << _BITS) + b


@wp.kernel(enable_backward=False)
def measure_lines_by_region(
    contour: VisibleContour,
    poses: Poses,
    images: Images,
    log_ratio: wp.array2d[float],
    search: LineSearch,
    # output
    lines: wp.array2d[ContourLine],
):
    """Posterior mean and variance of the outline's offset.

    ``log_ratio[problem, bin] = log p(color | object) / p(color | background)``.
    """
    problem, i = wp.tid()
    if i >= contour_size(contour, problem):
        return
    camera = images.lens[0]
    sample = contour.samples[problem, i]
    line = line_at(sample, pose_of(poses, problem), camera, images.depth, search.occlusion_m)
    if line.variance <= 0.0 or sample.kind == INNER:
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
        if is_inside(x, y, camera):
            total += search.sharpness * log_ratio[problem, color_bin(images.color[y, x])]
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
