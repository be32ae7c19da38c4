# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""How well the colours of a model explain an image at thousands of poses.

Light is a gain linear in the normal (the first two orders of spherical harmonics, Basri and Jacobs 2003) and
one offset, fitted to the points that the nearest stored view shows and nothing hides.
"""

import warp as wp

from dr_perception.geometry.camera_warp import project
from dr_perception.hypothesis.judge_kernels import SearchImages, ViewTable, nearest_view
from dr_perception.measure.brightness import Light, LightSquare, eliminate

_FEWEST = wp.constant(12.0)
_SIGMA = wp.constant(0.08)
"""Noise of a colour, 0 to 1."""
_LARGEST = wp.constant(0.3)
"""Residual beyond which more does not count."""
_USUAL_GAIN = wp.constant(0.8)
_LIGHT_PRIOR = wp.constant(0.003)


@wp.func
def _patch(image: wp.array2d[wp.vec3ub], x: int, y: int) -> wp.vec3:
    """Mean colour of the pixels around one, 0 to 1; the caller keeps them inside the image."""
    total = wp.vec3()
    for k in range(9):
        c = image[y + k / 3 - 1, x + k % 3 - 1]
        total += wp.vec3(float(c[0]), float(c[1]), float(c[2]))
    return total / (9.0 * 255.0)


@wp.func
def _pixel(p: wp.vec3, images: SearchImages, hidden_m: float) -> wp.vec2i:
    """Pixel of a point, (-1, -1) where it is not seen."""
    nowhere = wp.vec2i(-1, -1)
    if p[2] <= 0.01:
        return nowhere
    uv = project(images.camera, p)
    x = wp.int32(wp.floor(uv[0] + 0.5))
    y = wp.int32(wp.floor(uv[1] + 0.5))
    if x < 1 or y < 1 or x >= images.camera.width - 1 or y >= images.camera.height - 1:
        return nowhere
    z = images.depth[y, x]
    if z > 0.0 and z <= p[2] - hidden_m:
        return nowhere
    return wp.vec2i(x, y)


@wp.func
def _basis(brightness: float, n: wp.vec3) -> Light:
    return Light(brightness, brightness * n[0], brightness * n[1], brightness * n[2], 1.0)


@wp.func
def _solve(A: LightSquare, b: Light, rows: float) -> Light:
    """Light from its normal equations and a weak belief in the usual one, by Gaussian elimination."""
    weak = _LIGHT_PRIOR * rows
    for k in range(5):
        A[k, k] = A[k, k] + wp.where(k == 4, 4.0 * weak, weak)
    b[0] = b[0] + weak * _USUAL_GAIN
    return eliminate(A, b)


@wp.func
def _left_over(value: float, light: Light, basis: Light) -> float:
    residual = value - wp.dot(light, basis)
    return wp.min(residual * residual, _LARGEST * _LARGEST)


@wp.kernel(enable_backward=False)
def judge_colors(
    R_cam_obj: wp.array[wp.mat33],
    t_cam_obj: wp.array[wp.vec3],
    views: ViewTable,
    images: SearchImages,
    hidden_m: float,
    samples: int,
    # output
    shares: wp.array[wp.vec2],
):
    """Two features of each pose, logarithms of how much better one explanation is than another.

    The model's mean colour over a grey surface in the same light, and the model's colours over their mean:
    what its hue and what its pattern are worth, per sample; negative where they contradict, 0 where there is
    nothing to explain, as in the dark.
    """
    i = wp.tid()
    R = R_cam_obj[i]
    t = t_cam_obj[i]
    view = nearest_view(views, wp.normalize(-(wp.transpose(R) * t)))
    n = wp.min(views.count[view], samples)
    mean = wp.vec3()
    used = float(0.0)
    for k in range(n):
        if _pixel(R * views.points[view, k] + t, images, hidden_m)[0] >= 0:
            mean += views.colors[view, k]
            used += 1.0
    shares[i] = wp.vec2(0.0, 0.0)
    if used < _FEWEST:
        return
    mean = mean / used
    A = LightSquare()
    b = Light()
    A_plain = LightSquare()
    b_plain = Light()
    A_grey = LightSquare()
    b_grey = Light()
    grey = (mean[0] + mean[1] + mean[2]) / 3.0
    for k in range(n):
        at = _pixel(R * views.points[view, k] + t, images, hidden_m)
        if at[0] >= 0:
            seen = _patch(images.color, at[0], at[1])
            normal = R * views.normals[view, k]
            for c in range(3):
                row = _basis(views.colors[view, k][c], normal)
                A += wp.outer(row, row)
                b += seen[c] * row
                row = _basis(mean[c], normal)
                A_plain += wp.outer(row, row)
                b_plain += seen[c] * row
                row = _basis(grey, normal)
                A_grey += wp.outer(row, row)
                b_grey += seen[c] * row
    light = _solve(A, b, 3.0 * used)
    light_plain = _solve(A_plain, b_plain, 3.0 * used)
    light_grey = _solve(A_grey, b_grey, 3.0 * used)
    left = float(0.0)
    plain = float(0.0)
    without = float(0.0)
    for k in range(n):
        at = _pixel(R * views.points[view, k] + t, images, hidden_m)
        if at[0] >= 0:
            seen = _patch(images.color, at[0], at[1])
            normal = R * views.normals[view, k]
            for c in range(3):
                left += _left_over(seen[c], light, _basis(views.colors[view, k][c], normal))
                plain += _left_over(seen[c], light_plain, _basis(mean[c], normal))
                without += _left_over(seen[c], light_grey, _basis(grey, normal))
    noise = 3.0 * used * _SIGMA * _SIGMA
    shares[i] = wp.vec2(
        0.5 * wp.log((without + noise) / (plain + noise)), 0.5 * wp.log((plain + noise) / (left + noise))
    )
