"""What a ray sees: surface attributes at a known face, light, and the pixel integral, all differentiable.

Visibility (which face a sample hits, whether a light is blocked) is a constant here, so ``wp.Tape`` gives the
interior derivative of the images; the derivative of visibility itself is the business of
`dr_perception.rays.edge_sampling`.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, ray
from dr_perception.geometry.se3_warp import retract_rotation, retract_translation
from dr_perception.rays.hits import RayGeometry, any_hit, pixel_sample


@wp.struct
class RaySurfaces:
    """Meshes of all instances, concatenated."""

    first_vertex: wp.array[wp.int32]
    first_face: wp.array[wp.int32]
    smooth: wp.array[wp.int32]
    """Per instance: 1 interpolates vertex normals, 0 uses the normals of the faces."""
    faces: wp.array[wp.vec3i]
    vertices: wp.array[wp.vec3]
    """Positions in the frame of their mesh [m]."""
    normals: wp.array[wp.vec3]
    colors: wp.array[wp.vec3]
    """Albedo of the vertices, linear RGB."""
    albedo: wp.array[wp.vec3]
    """Factor of each instance, linear RGB."""


@wp.struct
class RayLights:
    """Lights in the camera frame."""

    ambient: wp.vec3
    directions: wp.array[wp.vec3]
    """Unit vectors towards the lights."""
    colors: wp.array[wp.vec3]
    shadows: int


@wp.struct
class Surface:
    """Attributes of a surface point in the camera frame."""

    z: float
    position: wp.vec3
    face_normal: wp.vec3
    normal: wp.vec3
    albedo: wp.vec3


@wp.kernel
def pose_arrays(
    base_R: wp.array2d[wp.mat33],
    base_t: wp.array2d[wp.vec3],
    tangent: wp.array3d[wp.float32],
    # output
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
):
    """Poses from base poses and tangent vectors (v, w), indexed [view, instance]."""
    view, k = wp.tid()
    v = wp.vec3(tangent[view, k, 0], tangent[view, k, 1], tangent[view, k, 2])
    w = wp.vec3(tangent[view, k, 3], tangent[view, k, 4], tangent[view, k, 5])
    R[view, k] = retract_rotation(w, base_R[view, k])
    t[view, k] = retract_translation(v, base_t[view, k])


@wp.func
def surface_at(
    surfaces: RaySurfaces, R: wp.mat33, t: wp.vec3, instance: int, face: int, d: wp.vec3
) -> Surface:
    """Point of a face's plane on the ray ``d`` = (x, y, 1) from the camera, with its attributes."""
    corner = surfaces.faces[surfaces.first_face[instance] + face]
    first = surfaces.first_vertex[instance]
    i, j, k = first + corner[0], first + corner[1], first + corner[2]
    # edges are taken in the frame of the mesh, where their digits are
    e1 = R * (surfaces.vertices[j] - surfaces.vertices[i])
    e2 = R * (surfaces.vertices[k] - surfaces.vertices[i])
    p0 = R * surfaces.vertices[i] + t
    n = wp.cross(e1, e2)
    s = Surface()
    s.z = wp.dot(n, p0) / wp.dot(n, d)
    s.position = s.z * d
    nn = wp.dot(n, n)
    b1 = wp.dot(n, wp.cross(s.position - p0, e2)) / nn
    b2 = wp.dot(n, wp.cross(e1, s.position - p0)) / nn
    b0 = 1.0 - b1 - b2
    s.face_normal = n / wp.sqrt(nn)
    s.normal = s.face_normal
    if surfaces.smooth[instance] != 0:
        smooth = b0 * surfaces.normals[i] + b1 * surfaces.normals[j] + b2 * surfaces.normals[k]
        s.normal = wp.normalize(R * smooth)
    color = b0 * surfaces.colors[i] + b1 * surfaces.colors[j] + b2 * surfaces.colors[k]
    s.albedo = wp.cw_mul(color, surfaces.albedo[instance])
    return s


@wp.func
def lit(geometry: RayGeometry, lights: RayLights, view: int, s: Surface) -> wp.vec3:
    """Radiance of a Lambertian point: albedo times ambient plus unblocked directional light."""
    total = lights.ambient
    for k in range(lights.directions.shape[0]):
        toward = lights.directions[k]
        blocked = False
        if lights.shadows != 0:
            side = wp.sign(wp.dot(s.face_normal, toward))
            start = s.position + (1.0e-4 * s.z * side) * s.face_normal
            blocked = any_hit(geometry, view, start, toward, 1.0e3)
        if not blocked:
            total += lights.colors[k] * wp.max(wp.dot(s.normal, toward), 0.0)
    return wp.cw_mul(s.albedo, total)


@wp.kernel
def integrate_samples(
    geometry: RayGeometry,
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
    surfaces: RaySurfaces,
    lights: RayLights,
    cameras: wp.array[CameraParams],
    offsets: wp.array[wp.vec2],
    shift_seed: int,
    instance: wp.array4d[wp.int32],
    face: wp.array4d[wp.int32],
    background_depth: float,
    background_color: wp.vec3,
    # output
    depth: wp.array3d[wp.float32],
    silhouette: wp.array3d[wp.float32],
    normal: wp.array3d[wp.vec3],
    color: wp.array3d[wp.vec3],
):
    """Average of the samples of every pixel; uncovered samples count with the background."""
    view, y, x, sample = wp.tid()
    share = 1.0 / float(instance.shape[3])
    k = instance[view, y, x, sample]
    if k < 0:
        wp.atomic_add(depth, view, y, x, share * background_depth)
        wp.atomic_add(color, view, y, x, share * background_color)
    else:
        pixel = (view * instance.shape[1] + y) * instance.shape[2] + x
        uv = wp.vec2(float(x), float(y)) + pixel_sample(offsets, sample, shift_seed, pixel)
        d = ray(cameras[view], uv)
        s = surface_at(surfaces, R[view, k], t[view, k], k, face[view, y, x, sample], d)
        wp.atomic_add(depth, view, y, x, share * s.z)
        wp.atomic_add(silhouette, view, y, x, share)
        wp.atomic_add(normal, view, y, x, share * s.normal)
        wp.atomic_add(color, view, y, x, share * lit(geometry, lights, view, s))
