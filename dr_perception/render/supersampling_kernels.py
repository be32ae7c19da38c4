"""Averages over the samples of a pixel and their adjoints; what is in pixels, for larger images."""

import warp as wp

_PIXELS = wp.constant(4)
"""Intrinsics before this one are in pixels, those after it are coefficients."""


@wp.kernel(enable_backward=False)
def enlarge_intrinsics(
    intrinsics: wp.array2d[float],
    factor: int,
    # output
    enlarged: wp.array2d[float],
):
    """Intrinsics of the same camera with ``factor`` times as many pixels along each axis."""
    camera, i = wp.tid()
    value = intrinsics[camera, i]
    if i < _PIXELS:
        value = value * float(factor)
    if i == 2 or i == 3:
        # Pixel centres are at integers.
        value = value + 0.5 * float(factor) - 0.5
    enlarged[camera, i] = value


@wp.kernel(enable_backward=False)
def narrow_intrinsics(
    enlarged: wp.array2d[float],
    factor: int,
    # output
    gradient: wp.array2d[float],
):
    """Adjoint of `enlarge_intrinsics`, added; clears the gradient that it takes."""
    camera, i = wp.tid()
    g = enlarged[camera, i]
    gradient[camera, i] = gradient[camera, i] + wp.where(i < _PIXELS, float(factor), 1.0) * g
    enlarged[camera, i] = 0.0


@wp.kernel(enable_backward=False)
def enlarge_background(
    background: wp.array3d[wp.vec3],
    factor: int,
    # output
    enlarged: wp.array3d[wp.vec3],
):
    """Every sample shows the background of its pixel."""
    view, y, x = wp.tid()
    enlarged[view, y, x] = background[view, y / factor, x / factor]


@wp.kernel(enable_backward=False)
def average_scalar(
    fine: wp.array3d[float],
    factor: int,
    # output
    coarse: wp.array3d[float],
):
    """Mean over the samples of every pixel."""
    view, y, x = wp.tid()
    total = float(0.0)
    for i in range(factor):
        for j in range(factor):
            total += fine[view, y * factor + i, x * factor + j]
    coarse[view, y, x] = total / float(factor * factor)


@wp.kernel(enable_backward=False)
def average_vector(
    fine: wp.array3d[wp.vec3],
    factor: int,
    # output
    coarse: wp.array3d[wp.vec3],
):
    """Mean over the samples of every pixel."""
    view, y, x = wp.tid()
    total = wp.vec3()
    for i in range(factor):
        for j in range(factor):
            total += fine[view, y * factor + i, x * factor + j]
    coarse[view, y, x] = total / float(factor * factor)


@wp.kernel(enable_backward=False)
def spread_scalar(
    g_coarse: wp.array3d[float],
    factor: int,
    # output
    g_fine: wp.array3d[float],
):
    """Adjoint of `average_scalar`."""
    view, y, x = wp.tid()
    g_fine[view, y, x] = g_coarse[view, y / factor, x / factor] / float(factor * factor)


@wp.kernel(enable_backward=False)
def spread_vector(
    g_coarse: wp.array3d[wp.vec3],
    factor: int,
    # output
    g_fine: wp.array3d[wp.vec3],
):
    """Adjoint of `average_vector`."""
    view, y, x = wp.tid()
    g_fine[view, y, x] = g_coarse[view, y / factor, x / factor] / float(factor * factor)


@wp.kernel(enable_backward=False)
def middle_index(
    fine: wp.array3d[int],
    factor: int,
    # output
    coarse: wp.array3d[int],
):
    """The sample nearest to the centre of every pixel."""
    view, y, x = wp.tid()
    coarse[view, y, x] = fine[view, y * factor + factor / 2, x * factor + factor / 2]


@wp.func
def _first_middle(factor: int) -> int:
    return (factor - 1) / 2


@wp.func
def _num_middle(factor: int) -> int:
    """Samples along an axis that lie around the centre of a pixel: one, or two where none lies on it."""
    return 2 - factor % 2


@wp.func
def _count_covered(face_index: wp.array3d[int], view: int, y: int, x: int, factor: int) -> int:
    count = int(0)
    first = _first_middle(factor)
    for i in range(_num_middle(factor)):
        for j in range(_num_middle(factor)):
            if face_index[view, y * factor + first + i, x * factor + first + j] >= 0:
                count += 1
    return count


@wp.kernel(enable_backward=False)
def average_depth(
    face_index: wp.array3d[int],
    fine: wp.array3d[float],
    factor: int,
    far_depth: float,
    # output
    coarse: wp.array3d[float],
):
    """Mean depth of the samples around the centre of every pixel that show something."""
    view, y, x = wp.tid()
    count = _count_covered(face_index, view, y, x, factor)
    if count == 0:
        coarse[view, y, x] = far_depth
        return
    total = float(0.0)
    first = _first_middle(factor)
    for i in range(_num_middle(factor)):
        for j in range(_num_middle(factor)):
            v = y * factor + first + i
            u = x * factor + first + j
            if face_index[view, v, u] >= 0:
                total += fine[view, v, u]
    coarse[view, y, x] = total / float(count)


@wp.kernel(enable_backward=False)
def average_depth_adjoint(
    face_index: wp.array3d[int],
    g_coarse: wp.array3d[float],
    factor: int,
    # output
    g_fine: wp.array3d[float],
):
    """Adjoint of `average_depth`."""
    view, y, x = wp.tid()
    count = _count_covered(face_index, view, y, x, factor)
    first = _first_middle(factor)
    for i in range(factor):
        for j in range(factor):
            v = y * factor + i
            u = x * factor + j
            inside = i >= first and j >= first
            inside = inside and i < first + _num_middle(factor) and j < first + _num_middle(factor)
            g = float(0.0)
            if inside and face_index[view, v, u] >= 0:
                g = g_coarse[view, y, x] / float(count)
            g_fine[view, v, u] = g
