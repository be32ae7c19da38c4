"""Colour rows: the brightness of a textured model against the image (direct image alignment.

Lucas and Kanade 1981).

The model's brightness ``M`` is a surface property; the image shows it under light from somewhere. To first
order of spherical harmonics (Basri and Jacobs 2003) a matte surface with normal ``n`` appears as ``M (l0 + l
. n) + b``, whose five numbers are fitted to the samples of each object and frame before the rows are formed,
so that only pattern, not shade, moves the pose. The derivative is the image's gradient, taken once where a
stage begins, and from other pixels than the residual, whose noise it would otherwise share.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project, project_jacobian
from dr_perception.render.surface_samples import SurfaceSample
from dr_perception.residuals.normal_equations import (
    COLOR_CHI2,
    COLOR_INLIERS,
    COLOR_ROWS,
    COST,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.residuals.robust import tukey_rho, tukey_weight

Light = wp.types.vector(length=5, dtype=wp.float32)
_Square = wp.types.matrix(shape=(5, 5), dtype=wp.float32)
_GRADIENT_REACH_PX = wp.constant(1.5)
_LEAST_SAMPLES = wp.constant(40.0)


@wp.struct
class ColorNoise:
    """How brightness scatters.

    sigma: standard deviation in levels of 255. cutoff: in standard deviations. correlation: rows that count
    for one. hidden_m: a measurement nearer than the model by more than this hides a sample.
    """

    sigma: float
    cutoff: float
    correlation: float
    hidden_m: float


@wp.func
def _luma(c: wp.vec3ub) -> float:
    return 0.299 * float(c[0]) + 0.587 * float(c[1]) + 0.114 * float(c[2])


@wp.func
def _luma_at(image: wp.array2d[wp.vec3ub], u: float, v: float) -> float:
    """Bilinear brightness; the caller keeps the place inside the image by a pixel."""
    x = wp.int32(wp.floor(u))
    y = wp.int32(wp.floor(v))
    fx = u - float(x)
    fy = v - float(y)
    top = (1.0 - fx) * _luma(image[y, x]) + fx * _luma(image[y, x + 1])
    bottom = (1.0 - fx) * _luma(image[y + 1, x]) + fx * _luma(image[y + 1, x + 1])
    return (1.0 - fy) * top + fy * bottom


@wp.func
def _is_well_inside(uv: wp.vec2, camera: CameraParams) -> bool:
    """Whether a place keeps three pixels from the border."""
    right = float(camera.width) - 4.0
    bottom = float(camera.height) - 4.0
    return uv[0] >= 3.0 and uv[1] >= 3.0 and uv[0] <= right and uv[1] <= bottom


@wp.func
def _visible_at(
    p: wp.vec3, uv: wp.vec2, camera: CameraParams, depth: wp.array2d[float], hidden_m: float
) -> bool:
    """Whether a point falls well inside the image and nothing is measured in front of it."""
    if p[2] <= 0.0 or not _is_well_inside(uv, camera):
        return False
    z = depth[wp.int32(uv[1] + 0.5), wp.int32(uv[0] + 0.5)]
    return z == 0.0 or z > p[2] - hidden_m


@wp.func
def _shade_basis(brightness: float, normal: wp.vec3) -> Light:
    return Light(brightness, brightness * normal[0], brightness * normal[1], brightness * normal[2], 255.0)


@wp.func
def _solve(A: _Square, b: Light) -> Light:
    """Gaussian elimination of a small positive definite system."""
    for k in range(5):
        pivot = 1.0 / A[k, k]
        for i in range(k + 1, 5):
            factor = A[i, k] * pivot
            for j in range(k, 5):
                A[i, j] = A[i, j] - factor * A[k, j]
            b[i] = b[i] - factor * b[k]
    x = Light()
    for m in range(5):
        i = 4 - m
        s = b[i]
        for j in range(i + 1, 5):
            s -= A[i, j] * x[j]
        x[i] = s / A[i, i]
    return x


@wp.kernel(enable_backward=False)
def fit_light(
    samples: wp.array2d[SurfaceSample],
    count: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    camera: CameraParams,
    image: wp.array2d[wp.vec3ub],
    depth: wp.array2d[float],
    noise: ColorNoise,
    refit: int,
    # output
    lights: wp.array[Light],
):
    """Least-squares light of each problem.

    With ``refit`` weighted by the residuals under the light found before.

    All zero where too few samples are visible.
    """
    problem = wp.tid()
    R = R_cam_obj[problem, 0]
    t = t_cam_obj[problem, 0]
    old = lights[problem]
    A = _Square()
    b = Light()
    used = float(0.0)
    n = wp.min(count[problem], samples.shape[1])
    for i in range(n):
        sample = samples[problem, i]
        p = R * sample.point + t
        uv = project(camera, p)
        if _visible_at(p, uv, camera, depth, noise.hidden_m):
            basis = _shade_basis(sample.brightness, R * sample.normal)
            value = _luma_at(image, uv[0], uv[1])
            weight = float(1.0)
            if refit != 0:
                residual = (value - wp.dot(old, basis)) / noise.sigma
                weight = tukey_weight(residual * residual, noise.cutoff * noise.cutoff)
            used += weight
            for j in range(5):
                b[j] = b[j] + weight * value * basis[j]
                for k in range(5):
                    A[j, k] = A[j, k] + weight * basis[j] * basis[k]
    light = Light()
    if used > _LEAST_SAMPLES:
        # A weak pull to light from everywhere keeps unlit directions at zero.
        for j in range(5):
            A[j, j] = A[j, j] * 1.0001 + 1.0e3
        light = _solve(A, b)
    lights[problem] = light


@wp.kernel(enable_backward=False)
def measure_gradients(
    samples: wp.array2d[SurfaceSample],
    count: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    camera: CameraParams,
    image: wp.array2d[wp.vec3ub],
    # output
    gradients: wp.array2d[wp.vec2],
):
    """Brightness gradient [levels per pixel] where each sample is seen; it serves all steps of a stage."""
    problem, i = wp.tid()
    if i >= wp.min(count[problem], samples.shape[1]):
        return
    p = R_cam_obj[problem, 0] * samples[problem, i].point + t_cam_obj[problem, 0]
    gradient = wp.vec2()
    if p[2] > 0.0:
        uv = project(camera, p)
        r = _GRADIENT_REACH_PX
        if _is_well_inside(uv, camera):
            gradient = wp.vec2(
                _luma_at(image, uv[0] + r, uv[1]) - _luma_at(image, uv[0] - r, uv[1]),
                _luma_at(image, uv[0], uv[1] + r) - _luma_at(image, uv[0], uv[1] - r),
            ) / (2.0 * r)
    gradients[problem, i] = gradient


@wp.kernel(enable_backward=False)
def accumulate_color(
    samples: wp.array2d[SurfaceSample],
    count: wp.array[int],
    lights: wp.array[Light],
    gradients: wp.array2d[wp.vec2],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    active: wp.array[int],
    camera: CameraParams,
    image: wp.array2d[wp.vec3ub],
    depth: wp.array2d[float],
    noise: ColorNoise,
    lanes: int,
    # output
    total: wp.array2d[float],
):
    """Add the colour rows of every visible sample under the fitted light."""
    problem, lane = wp.tid()
    if active[problem] == 0:
        return
    light = lights[problem]
    if wp.dot(light, light) == 0.0:
        return
    R = R_cam_obj[problem, 0]
    t = t_cam_obj[problem, 0]
    sums = Sums()
    c2 = noise.cutoff * noise.cutoff
    n = wp.min(count[problem], samples.shape[1])
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(lane, n, lanes):
        sample = samples[problem, i]
        arm = R * sample.point
        p = arm + t
        uv = project(camera, p)
        if not _visible_at(p, uv, camera, depth, noise.hidden_m):
            continue
        expected = wp.dot(light, _shade_basis(sample.brightness, R * sample.normal))
        residual = expected - _luma_at(image, uv[0], uv[1])
        s = residual * residual / (noise.sigma * noise.sigma)
        weight = tukey_weight(s, c2)
        inlier = wp.where(weight > 0.0, 1.0, 0.0)
        sums[COLOR_ROWS] += 1.0
        sums[COST] += tukey_rho(s, c2) / noise.correlation
        sums[COLOR_INLIERS] += inlier
        sums[COLOR_CHI2] += inlier * s
        direction = wp.transpose(project_jacobian(camera, p)) * gradients[problem, i]
        scale = weight / (noise.sigma * noise.sigma * noise.correlation)
        sums = add_row(sums, direction, arm, residual, scale)
    add_sums(problem, sums, total)
