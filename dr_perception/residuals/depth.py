"""Depth rows: measured points against the tangent planes of the model (projective point-to-plane).

A visible model point is projected, the depth measured at the nearest pixel gives a point on that pixel's ray,
and the row is its distance from the model's tangent plane (Chen and Medioni 1992; projective association of
Blais and Levine 1995). Taking the ray of the pixel itself leaves no sub-pixel bias.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project, ray
from dr_perception.render.surface_samples import SurfaceSample
from dr_perception.residuals.normal_equations import (
    COST,
    DEPTH_BEYOND,
    DEPTH_CHI2,
    DEPTH_HIDDEN,
    DEPTH_INLIERS,
    DEPTH_ROWS,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.residuals.robust import tukey_rho, tukey_weight

_FARTHEST = wp.constant(100.0)


@wp.struct
class DepthNoise:
    """How far measured depths scatter.

    Along the optical axis sigma(z) = ``sigma_m + sigma_per_m2 z^2``; sideways the place that a depth belongs
    to is uncertain by ``lateral_px`` pixels, which shows on slanted surfaces. ``cutoff`` in standard
    deviations is where a measurement stops to count; ``correlation`` is the number of rows that carry the
    information of one independent measurement.
    """

    sigma_m: float
    sigma_per_m2: float
    lateral_px: float
    cutoff: float
    correlation: float


@wp.kernel(enable_backward=False)
def accumulate_depth(
    samples: wp.array2d[SurfaceSample],
    count: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    active: wp.array[int],
    camera: CameraParams,
    depth: wp.array2d[float],
    noise: DepthNoise,
    lanes: int,
    # output
    total: wp.array2d[float],
):
    """Add the depth rows of every sample.

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
    for i in range(lane, n, lanes):
        sample = samples[problem, i]
        arm = R * sample.point
        p = arm + t
        if p[2] > 0.0:
            uv = project(camera, p)
            x = wp.int32(wp.floor(uv[0] + 0.5))
            y = wp.int32(wp.floor(uv[1] + 0.5))
            if x >= 0 and y >= 0 and x < camera.width and y < camera.height:
                z = depth[y, x]
                if z > 0.0 and z < _FARTHEST:
                    d = ray(camera, wp.vec2(float(x), float(y)))
                    normal = R * sample.normal
                    slant = wp.dot(normal, d)
                    residual = z * slant - wp.dot(normal, p)
                    sigma_z = noise.sigma_m + noise.sigma_per_m2 * p[2] * p[2]
                    sine2 = wp.max(1.0 - slant * slant / wp.dot(d, d), 0.0)
                    sideways = noise.lateral_px * p[2] / camera.fx
                    variance = slant * slant * sigma_z * sigma_z + sine2 * sideways * sideways
                    s = residual * residual / variance
                    c2 = noise.cutoff * noise.cutoff
                    sums[DEPTH_ROWS] += 1.0
                    weight = tukey_weight(s, c2)
                    sums[COST] += tukey_rho(s, c2) / noise.correlation
                    if weight > 0.0:
                        sums[DEPTH_INLIERS] += 1.0
                        sums[DEPTH_CHI2] += s
                        scale = weight / (variance * noise.correlation)
                        sums = add_row(sums, normal, arm, residual, scale)
                    elif z < p[2]:
                        sums[DEPTH_HIDDEN] += 1.0
                    else:
                        sums[DEPTH_BEYOND] += 1.0
    add_sums(problem, sums, total)
