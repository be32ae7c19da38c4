"""Rays against posed instances: nearest hit, any hit, and the sampling of pixels.

An instance is a mesh with a BVH in its own frame and one pose per view, so that moving objects costs nothing
but transformed rays. Rays carry ``z = 1``: the ray parameter of a hit seen from the camera is its depth in
metres.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, ray


@wp.struct
class RayGeometry:
    """Instances of a batch of views."""

    mesh_ids: wp.array[wp.uint64]
    """BVH of each instance."""
    R_cam_inst: wp.array2d[wp.mat33]
    """Rotations, indexed [view, instance]."""
    t_cam_inst: wp.array2d[wp.vec3]
    """Translations [m], indexed [view, instance]."""


@wp.struct
class Hit:
    """Where a ray meets a surface; ``instance`` is -1 where it meets none."""

    instance: int
    face: int
    t: float


@wp.func
def nearest_hit(geometry: RayGeometry, view: int, origin: wp.vec3, direction: wp.vec3, max_t: float) -> Hit:
    """First surface along a ray of the camera frame; ``t`` counts in lengths of ``direction``."""
    best = Hit()
    best.instance = -1
    best.face = -1
    best.t = max_t
    for k in range(geometry.mesh_ids.shape[0]):
        R = geometry.R_cam_inst[view, k]
        start = wp.transpose(R) * (origin - geometry.t_cam_inst[view, k])
        found = wp.mesh_query_ray(geometry.mesh_ids[k], start, wp.transpose(R) * direction, best.t)
        if found.result:
            best.instance = k
            best.face = found.face
            best.t = found.t
    return best


@wp.func
def any_hit(geometry: RayGeometry, view: int, origin: wp.vec3, direction: wp.vec3, max_t: float) -> bool:
    """Whether anything lies on a ray before ``max_t`` lengths of ``direction``."""
    for k in range(geometry.mesh_ids.shape[0]):
        R = geometry.R_cam_inst[view, k]
        start = wp.transpose(R) * (origin - geometry.t_cam_inst[view, k])
        if wp.mesh_query_ray_anyhit(geometry.mesh_ids[k], start, wp.transpose(R) * direction, max_t):
            return True
    return False


@wp.func
def pixel_sample(offsets: wp.array[wp.vec2], sample: int, shift_seed: int, pixel: int) -> wp.vec2:
    """Position of a sample in the unit pixel footprint, in [-0.5, 0.5).

    With ``shift_seed >= 0`` every pixel shifts the table by its own random vector on the torus (Cranley and
    Patterson 1976), which keeps the pattern's evenness and makes pixels independent.
    """
    p = offsets[sample]
    if shift_seed >= 0:
        state = wp.rand_init(shift_seed, pixel)
        p = wp.vec2(p[0] + wp.randf(state), p[1] + wp.randf(state))
        p = wp.vec2(p[0] - wp.floor(p[0]), p[1] - wp.floor(p[1]))
    return wp.vec2(p[0] - 0.5, p[1] - 0.5)


@wp.kernel(enable_backward=False)
def cast_samples(
    geometry: RayGeometry,
    cameras: wp.array[CameraParams],
    offsets: wp.array[wp.vec2],
    shift_seed: int,
    max_depth: float,
    # output
    instance: wp.array4d[wp.int32],
    face: wp.array4d[wp.int32],
):
    """Cast one ray per view, row, column and sample; instance and face are -1 where nothing is hit."""
    view, y, x, s = wp.tid()
    pixel = (view * instance.shape[1] + y) * instance.shape[2] + x
    offset = pixel_sample(offsets, s, shift_seed, pixel)
    direction = ray(cameras[view], wp.vec2(float(x), float(y)) + offset)
    hit = nearest_hit(geometry, view, wp.vec3(0.0, 0.0, 0.0), direction, max_depth)
    instance[view, y, x, s] = hit.instance
    face[view, y, x, s] = hit.face


@wp.kernel(enable_backward=False)
def majority_instance(
    samples: wp.array4d[wp.int32],
    # output
    instance: wp.array3d[wp.int32],
):
    """Instance that most samples of a pixel hit; the first of those that tie."""
    view, y, x = wp.tid()
    best = wp.int32(-1)
    most = wp.int32(0)
    for i in range(samples.shape[3]):
        count = wp.int32(0)
        for j in range(samples.shape[3]):
            if samples[view, y, x, j] == samples[view, y, x, i]:
                count += 1
        if count > most:
            most = count
            best = samples[view, y, x, i]
    instance[view, y, x] = best


@wp.kernel(enable_backward=False)
def cast_rays(
    geometry: RayGeometry,
    view: int,
    origins: wp.array[wp.vec3],
    directions: wp.array[wp.vec3],
    max_t: float,
    # output
    instance: wp.array[wp.int32],
    face: wp.array[wp.int32],
    t: wp.array[wp.float32],
):
    """Nearest hit of free rays in the camera frame of one view."""
    i = wp.tid()
    hit = nearest_hit(geometry, view, origins[i], directions[i], max_t)
    instance[i] = hit.instance
    face[i] = hit.face
    t[i] = hit.t


@wp.kernel(enable_backward=False)
def test_segments(
    geometry: RayGeometry,
    view: int,
    starts: wp.array[wp.vec3],
    ends: wp.array[wp.vec3],
    margin_m: float,
    # output
    blocked: wp.array[wp.int32],
):
    """Whether anything lies between two points, ``margin_m`` away from both."""
    i = wp.tid()
    along = ends[i] - starts[i]
    length = wp.length(along)
    blocked[i] = 0
    if length > 2.0 * margin_m:
        unit = along / length
        if any_hit(geometry, view, starts[i] + margin_m * unit, unit, length - 2.0 * margin_m):
            blocked[i] = 1
