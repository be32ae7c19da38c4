"""Depth rows: measured points against the tangent planes of the model (projective point-to-plane).

A visible model point is projected, the depth measured at the nearest pixel gives a point on that pixel's ray,
and the row is its distance from the model's tangent plane (Chen and Medioni 1992; projective association of
Blais and Levine 1995). Taking the ray of the pixel itself leaves no sub-pixel bias.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project, ray
from dr_perception.render.project import IdealCamera
from dr_perception.render.surface_samples import SurfaceSample
from dr_perception.residuals.compiling import row_options
from dr_perception.residuals.normal_equations import (
    COST,
    DEPTH_BEYOND,
    DEPTH_CHI2,
    DEPTH_HIDDEN,
    DEPTH_INLIERS,
    DEPTH_ROWS,
    EVIDENCE,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.residuals.robust import tukey_rho, tukey_weight
from dr_perception.residuals.spacing import image_scale, rows_per_measurement

wp.set_module_options(row_options())

_FARTHEST = wp.constant(100.0)


@wp.struct
class DepthNoise:
    """How far measured depths scatter.

    Along the optical axis sigma(z) = ``sigma_m + sigma_per_m2 z^2``; sideways the place that a depth belongs
    to is uncertain by ``lateral_px`` pixels, which shows on slanted surfaces. ``cutoff`` in standard
    deviations is where a measurement stops to count. Depths over ``shared_px2`` pixels carry the information
    of one independent measurement; samples are ``spacing_px`` rendered pixels apart.
    """

    sigma_m: float
    sigma_per_m2: float
    lateral_px: float
    cutoff: float
    shared_px2: float
    spacing_px: float


@wp.struct
class DepthRow:
    """One sample against the depth image.

    ``chi2`` is the squared normalised residual, negative where nothing was measured.
    """

    normal: wp.vec3
    arm: wp.vec3
    residual: float
    variance: float
    chi2: float
    beyond: float


@wp.func
def depth_row(
    sample: SurfaceSample,
    R: wp.mat33,
    t: wp.vec3,
    camera: CameraParams,
    depth: wp.array2d[float],
    noise: DepthNoise,
) -> DepthRow:
    """Distance of the measured point from the tangent plane of a sample, and its variance.

    ``beyond`` is 1 where the measurement is farther than the model, 0 where it is nearer.
    """
    row = DepthRow()
    row.chi2 = -1.0
    row.arm = R * sample.point
    p = row.arm + t
    if p[2] <= 0.0:
        return row
    uv = project(camera, p)
    x = wp.int32(wp.floor(uv[0] + 0.5))
    y = wp.int32(wp.floor(uv[1] + 0.5))
    if x < 0 or y < 0 or x >= camera.width or y >= camera.height:
        return row
    z = depth[y, x]
    # NaN fails either comparison.
    measured = z > 0.0 and z < _FARTHEST
    if not measured:
        return row
    d = ray(camera, wp.vec2(float(x), float(y)))
    row.normal = R * sample.normal
    slant = wp.dot(row.normal, d)
    row.residual = z * slant - wp.dot(row.normal, p)
    sigma_z = noise.sigma_m + noise.sigma_per_m2 * p[2] * p[2]
    sine2 = wp.max(1.0 - slant * slant / wp.dot(d, d), 0.0)
    sideways = noise.lateral_px * p[2] / camera.fx
    row.variance = slant * slant * sigma_z * sigma_z + sine2 * sideways * sideways
    row.chi2 = row.residual * row.residual / row.variance
    row.beyond = wp.where(z < p[2], 0.0, 1.0)
    return row


@wp.kernel(enable_backward=False)
def accumulate_depth(
    samples: wp.array2d[SurfaceSample],
    count: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    active: wp.array[int],
    camera: CameraParams,
    depth: wp.array2d[float],
    cameras: wp.array[IdealCamera],
    noise: DepthNoise,
    every: int,
    lanes: int,
    # output
    total: wp.array2d[float],
):
    """Add the depth rows of every ``every``-th sample; ``cameras`` are those of the renders.

    A measurement nearer than the model beyond the cut-off is an occluder and does not pull; one farther says
    that the model stands in free space and costs the most a row can cost.
    """
    problem, lane = wp.tid()
    if active[problem] == 0:
        return
    R = R_cam_obj[problem, 0]
    t = t_cam_obj[problem, 0]
    sums = Sums()
    n = wp.min(count[problem], samples.shape[1])
    c2 = noise.cutoff * noise.cutoff
    spacing = noise.spacing_px * image_scale(camera, cameras[problem])
    correlation = rows_per_measurement(noise.shared_px2, float(every) * spacing * spacing)
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(lane * every, n, lanes * every):
        row = depth_row(samples[problem, i], R, t, camera, depth, noise)
        if row.chi2 < 0.0:
            continue
        weight = tukey_weight(row.chi2, c2)
        outlier = wp.where(weight > 0.0, 0.0, 1.0)
        sums[DEPTH_ROWS] += 1.0
        sums[COST] += tukey_rho(row.chi2, c2) / correlation
        sums[DEPTH_INLIERS] += 1.0 - outlier
        sums[DEPTH_CHI2] += (1.0 - outlier) * row.chi2
        sums[DEPTH_HIDDEN] += outlier * (1.0 - row.beyond)
        sums[DEPTH_BEYOND] += outlier * row.beyond
        scale = weight / (row.variance * correlation)
        sums = add_row(sums, row.normal, row.arm, row.residual, scale)
    worst = c2 / (3.0 * correlation)
    sums[EVIDENCE] = worst * (sums[DEPTH_ROWS] - sums[DEPTH_BEYOND]) - sums[COST]
    add_sums(problem, sums, total)
