"""Depth rows: measured points against the tangent planes of the model (projective point-to-plane).

A visible model point is projected, the depth measured at the nearest pixel gives a point on that pixel's ray,
and the row is its distance from the model's tangent plane (Chen and Medioni 1992; projective association of
Blais and Levine 1995). Taking the ray of the pixel itself leaves no sub-pixel bias.

Samples are paired with measurements apart from the rows. While the pairs stay, the objective is smooth; when
samples move on to other pixels, which have other noise, it is rough at the scale of a pixel, and a solver
that only goes downhill ends wherever the noise happens to be low.
"""

import warp as wp

from dr_perception.device.evidence import (
    CHI2,
    CONTRADICTED,
    COST,
    GAIN,
    HIDDEN,
    INLIERS,
    ROWS,
    Sums,
    add_row,
    add_sums,
)
from dr_perception.device.poses import Pose, Poses, place, pose_of
from dr_perception.geometry.camera_warp import CameraParams, nearest_pixel, ray
from dr_perception.measure.compiling import row_options
from dr_perception.measure.images import Images
from dr_perception.measure.modalities import DEPTH
from dr_perception.measure.robust import tukey_rho, tukey_weight
from dr_perception.measure.spacing import image_scale, rows_per_measurement
from dr_perception.view.surface_samples import SurfaceSample, VisibleSurface, surface_size

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
class DepthPoint:
    """What was measured where a sample is seen: a point in the camera's frame, and the row's variance [m^2].

    The variance is zero where nothing was measured.
    """

    point: wp.vec3
    variance: float


@wp.func
def measured_point(
    sample: SurfaceSample, pose: Pose, camera: CameraParams, depth: wp.array2d[float], noise: DepthNoise
) -> DepthPoint:
    """The measurement at the pixel nearest to a sample."""
    out = DepthPoint()
    p = place(pose, sample.point)
    if p[2] <= 0.0:
        return out
    x, y, in_view = nearest_pixel(camera, p)
    if not in_view:
        return out
    z = depth[y, x]
    # NaN fails either comparison.
    measured = z > 0.0 and z < _FARTHEST
    if not measured:
        return out
    d = ray(camera, wp.vec2(float(x), float(y)))
    slant = wp.dot(pose.R * sample.normal, d)
    sigma_z = noise.sigma_m + noise.sigma_per_m2 * p[2] * p[2]
    sine2 = wp.max(1.0 - slant * slant / wp.dot(d, d), 0.0)
    sideways = noise.lateral_px * p[2] / camera.fx
    out.point = z * d
    out.variance = slant * slant * sigma_z * sigma_z + sine2 * sideways * sideways
    return out


@wp.kernel(enable_backward=False)
def measure_depth(
    surface: VisibleSurface,
    poses: Poses,
    images: Images,
    noise: DepthNoise,
    every: int,
    # output
    points: wp.array2d[DepthPoint],
):
    """Pair every ``every``-th sample with what was measured there."""
    problem, k = wp.tid()
    i = k * every
    if poses.active[problem] == 0 or i >= surface_size(surface, problem):
        return
    sample = surface.samples[problem, i]
    points[problem, i] = measured_point(sample, pose_of(poses, problem), images.lens[0], images.depth, noise)


@wp.kernel(enable_backward=False)
def accumulate_depth(
    surface: VisibleSurface,
    points: wp.array2d[DepthPoint],
    poses: Poses,
    images: Images,
    noise: DepthNoise,
    every: int,
    lanes: int,
    # output
    total: wp.array3d[float],
):
    """Add the depth rows of every ``every``-th sample, shared by ``lanes`` threads.

    A measurement nearer than the model beyond the cut-off is an occluder and does not pull; one farther says
    that the model stands in free space and costs the most a row can cost.
    """
    problem, lane = wp.tid()
    if poses.active[problem] == 0:
        return
    pose = pose_of(poses, problem)
    sums = Sums()
    n = surface_size(surface, problem)
    c2 = noise.cutoff * noise.cutoff
    spacing = noise.spacing_px * image_scale(images.lens[0], surface.cameras[problem])
    correlation = rows_per_measurement(noise.shared_px2, float(every) * spacing * spacing)
    # No branch around the sums: Warp would copy all of them at the end of every branch.
    for i in range(lane * every, n, lanes * every):
        measured = points[problem, i]
        if measured.variance == 0.0:
            continue
        sample = surface.samples[problem, i]
        arm = pose.R * sample.point
        normal = pose.R * sample.normal
        off = measured.point - arm - pose.t
        residual = wp.dot(normal, off)
        s = residual * residual / measured.variance
        beyond = wp.where(off[2] < 0.0, 0.0, 1.0)
        weight = tukey_weight(s, c2)
        outlier = wp.where(weight > 0.0, 0.0, 1.0)
        sums[ROWS] += 1.0
        sums[COST] += tukey_rho(s, c2) / correlation
        sums[INLIERS] += 1.0 - outlier
        sums[CHI2] += (1.0 - outlier) * s
        sums[HIDDEN] += outlier * (1.0 - beyond)
        sums[CONTRADICTED] += outlier * beyond
        sums = add_row(sums, normal, arm, residual, weight / (measured.variance * correlation))
    worst = c2 / (3.0 * correlation)
    sums[GAIN] = worst * (sums[ROWS] - sums[CONTRADICTED]) - sums[COST]
    add_sums(problem, DEPTH, sums, total)
