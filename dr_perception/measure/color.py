"""Colour rows: the brightness of a textured model against the image (direct image alignment.

Lucas and Kanade 1981).

The brightness of the model is a surface property, given with the model or learned; the image shows it under
light from somewhere. That light is fitted to the samples of each object and frame before the rows are formed,
so that only pattern, not shade, moves the pose. The derivative is that of the lit model (inverse alignment;
Baker and Matthews 2004), which has no noise: what the model does not show is not measured, whereas noise of
an image's gradient would seem to measure even the spin of a body of revolution.
"""

import warp as wp

from dr_perception.device.evidence import (
    CHI2,
    COST,
    GAIN,
    INLIERS,
    ROWS,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.device.poses import Pose, Poses, place, pose_of
from dr_perception.geometry.camera_warp import CameraParams, project
from dr_perception.measure.brightness import (
    Light,
    LightSquare,
    is_visible_at,
    light_gain,
    luma_at,
    shade_basis,
    solve_light,
)
from dr_perception.measure.compiling import row_options
from dr_perception.measure.images import Images
from dr_perception.measure.modalities import COLOR
from dr_perception.measure.robust import tukey_rho, tukey_weight
from dr_perception.measure.spacing import image_scale, rows_per_measurement
from dr_perception.view.surface_samples import SurfaceSample, VisibleSurface, surface_size

wp.set_module_options(row_options())

_LEAST_FACING = wp.constant(0.2)
_LEAST_SAMPLES = wp.constant(40.0)
_LIGHT_EVERY = wp.constant(2)
"""A light has five unknowns: every so-many-th sample is enough. The errors are the same with 1, 2 or 3."""


@wp.struct
class ColorNoise:
    """How brightness scatters.

    sigma: standard deviation in levels of 255. lateral_px: error of the place of the pattern, which shows
    where brightness changes. cutoff: in standard deviations. shared_px2: area whose samples carry the
    information of one. spacing_px: distance of samples in rendered pixels. hidden_m: a measurement nearer
    than the model by more than this hides a sample.
    """

    sigma: float
    lateral_px: float
    cutoff: float
    shared_px2: float
    spacing_px: float
    hidden_m: float


@wp.kernel(enable_backward=False)
def fit_light(
    surface: VisibleSurface,
    poses: Poses,
    images: Images,
    noise: ColorNoise,
    enabled: wp.array[int],
    refit: int,
    # output
    seen: wp.array2d[float],
    lights: wp.array[Light],
):
    """Least-squares light of each problem.

    With ``refit`` weighted by the residuals under the light found before, to brightnesses (P, N) that were
    ``seen`` then; -1 where a sample shows none.

    All zero where too few samples are visible and known, or the problem is not ``enabled``: no rows then.
    """
    problem = wp.tid()
    if enabled[problem] == 0:
        lights[problem] = Light()
        return
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    old = lights[problem]
    A = LightSquare()
    b = Light()
    used = float(0.0)
    c2 = noise.cutoff * noise.cutoff
    inverse_sigma = 1.0 / noise.sigma
    n = surface_size(surface, problem)
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(0, n, _LIGHT_EVERY):
        sample = surface.samples[problem, i]
        if refit == 0:
            p = place(pose, sample.point)
            uv = project(camera, p)
            seen[problem, i] = -1.0
            if sample.brightness >= 0.0 and is_visible_at(p, uv, camera, images.depth, noise.hidden_m):
                seen[problem, i] = luma_at(images.color, uv[0], uv[1])
        value = seen[problem, i]
        if value < 0.0:
            continue
        basis = shade_basis(sample.brightness, pose.R * sample.normal)
        s = inverse_sigma * (value - wp.dot(old, basis))
        weight = wp.where(refit != 0, tukey_weight(s * s, c2), 1.0)
        used += weight
        for j in range(5):
            weighted = weight * basis[j]
            b[j] = b[j] + weighted * value
            for k in range(j, 5):
                A[j, k] = A[j, k] + weighted * basis[k]
    for j in range(5):
        for k in range(j):
            A[j, k] = A[k, j]
    light = Light()
    if used * float(_LIGHT_EVERY) > _LEAST_SAMPLES:
        light = solve_light(A, b)
    lights[problem] = light


@wp.func
def seen_gradient(p: wp.vec3, normal: wp.vec3, gradient: wp.vec3) -> wp.vec3:
    """How the brightness at the image of a surface point changes as the point moves, in the camera's frame.

    The image of a motion is that of its shadow, along the viewing ray, on the surface.
    """
    return gradient - normal * (wp.dot(p, gradient) / wp.dot(p, normal))


@wp.struct
class ColorRow:
    """A row: direction [levels/m] of the motion that it sees, arm from the centre [m], residual [levels].

    Its variance [levels^2] is zero where there is no row.
    """

    direction: wp.vec3
    arm: wp.vec3
    residual: float
    variance: float


@wp.func
def color_row(
    sample: SurfaceSample, pose: Pose, camera: CameraParams, images: Images, light: Light, noise: ColorNoise
) -> ColorRow:
    """The row of a sample under a light."""
    row = ColorRow()
    row.arm = pose.R * sample.point
    p = row.arm + pose.t
    uv = project(camera, p)
    normal = pose.R * sample.normal
    facing = -wp.dot(normal, p) > _LEAST_FACING * wp.length(p)
    known = wp.dot(sample.gradient, sample.gradient) >= 0.0  # not so for NaN
    if known and facing and is_visible_at(p, uv, camera, images.depth, noise.hidden_m):
        expected = wp.dot(light, shade_basis(sample.brightness, normal))
        row.residual = expected - luma_at(images.color, uv[0], uv[1])
        row.direction = light_gain(light, normal) * seen_gradient(p, normal, pose.R * sample.gradient)
        sideways = noise.lateral_px * p[2] / camera.fx
        row.variance = noise.sigma * noise.sigma + sideways * sideways * wp.dot(row.direction, row.direction)
    return row


@wp.kernel(enable_backward=False)
def accumulate_color(
    surface: VisibleSurface,
    lights: wp.array[Light],
    poses: Poses,
    images: Images,
    noise: ColorNoise,
    lanes: int,
    # output
    total: wp.array3d[float],
):
    """Add the colour rows of every visible sample under the fitted light, shared by ``lanes`` threads."""
    problem, lane = wp.tid()
    if poses.active[problem] == 0:
        return
    light = lights[problem]
    if wp.dot(light, light) == 0.0:
        return
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    sums = Sums()
    c2 = noise.cutoff * noise.cutoff
    n = surface_size(surface, problem)
    spacing = noise.spacing_px * image_scale(camera, surface.cameras[problem])
    correlation = rows_per_measurement(noise.shared_px2, spacing * spacing)
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(lane, n, lanes):
        row = color_row(surface.samples[problem, i], pose, camera, images, light, noise)
        if row.variance == 0.0:
            continue
        s = row.residual * row.residual / row.variance
        weight = tukey_weight(s, c2)
        inlier = wp.where(weight > 0.0, 1.0, 0.0)
        sums[ROWS] += 1.0
        sums[COST] += tukey_rho(s, c2) / correlation
        sums[INLIERS] += inlier
        sums[CHI2] += inlier * s
        sums = add_row(sums, row.direction, row.arm, row.residual, weight / (row.variance * correlation))
    sums[GAIN] = c2 / (3.0 * correlation) * sums[ROWS] - sums[COST]
    add_sums(problem, COLOR, sums, total)
