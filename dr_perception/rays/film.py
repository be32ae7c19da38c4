"""From rays to pixels: samples, the background, and the mean over a pixel with its derivative."""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, ray
from dr_perception.rays.hits import RayGeometry, nearest_hit, pixel_sample
from dr_perception.rays.look import FAR_M, CastLights, CastSurface, Seen, look
from dr_perception.render.scene.intrinsics import camera_from_row


@wp.struct
class Film:
    """Cameras, samples of their pixels, and what is behind everything. View ``v`` has camera ``v % C``."""

    intrinsics: wp.array2d[float]
    models: wp.array[int]
    width: int
    height: int
    offsets: wp.array[wp.vec2]
    """Pattern of the samples of a pixel in the unit square."""
    shift: int
    """Seed of the shifts of the pattern from pixel to pixel, -1 for none."""
    background: wp.array3d[wp.vec3]
    far_depth: float


@wp.struct
class CastImages:
    """Means over pixels, or their gradients, by view, row and column; gradients may be empty."""

    depth: wp.array3d[float]
    silhouette: wp.array3d[float]
    normal: wp.array3d[wp.vec3]
    color: wp.array3d[wp.vec3]


@wp.func
def camera_of(film: Film, view: int) -> CameraParams:
    """The camera of a view."""
    return camera_from_row(film.intrinsics, film.models, view % film.intrinsics.shape[0])


@wp.func
def sample_ray(film: Film, view: int, y: int, x: int, sample: int) -> wp.vec3:
    """The ray (x, y, 1) of a sample of a pixel."""
    pixel = (view * film.height + y) * film.width + x
    offset = pixel_sample(film.offsets, sample, film.shift, pixel)
    return ray(camera_of(film, view), wp.vec2(float(x), float(y)) + offset)


@wp.func
def behind_pixel(film: Film, view: int, y: int, x: int) -> wp.vec3:
    """Background colour of a pixel."""
    camera = view % film.intrinsics.shape[0]
    row = wp.min(y, film.background.shape[1] - 1)
    column = wp.min(x, film.background.shape[2] - 1)
    return film.background[wp.min(camera, film.background.shape[0] - 1), row, column]


@wp.func
def face_on(geometry: RayGeometry, surface: CastSurface, view: int, d: wp.vec3) -> int:
    """The first face that a ray of the camera meets, -1 for none."""
    hit = nearest_hit(geometry, view, wp.vec3(0.0, 0.0, 0.0), d, FAR_M)
    if hit.instance < 0:
        return -1
    return surface.first_face[hit.instance] + hit.face


@wp.func
def see(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    film: Film,
    view: int,
    d: wp.vec3,
    at: wp.vec2i,
) -> Seen:
    """What a ray through a pixel ``at`` (column, row) sees, background included."""
    face = face_on(geometry, surface, view, d)
    out = Seen()
    if face >= 0:
        out = look(geometry, surface, lights, view, face, d)
    else:
        out.face = -1
        out.depth = film.far_depth
        out.color = behind_pixel(film, view, at[1], at[0])
    return out


@wp.kernel(enable_backward=False)
def copy_points(
    places: wp.array[wp.vec3],
    first: int,
    # output
    points: wp.array[wp.vec3],
):
    """Places of one mesh, from row ``first`` on."""
    i = wp.tid()
    points[i] = places[first + i]


@wp.kernel(enable_backward=False)
def find_faces(
    geometry: RayGeometry,
    surface: CastSurface,
    film: Film,
    # output
    face: wp.array4d[int],
):
    """Face that every sample of every pixel sees, -1 for none."""
    view, y, x, sample = wp.tid()
    face[view, y, x, sample] = face_on(geometry, surface, view, sample_ray(film, view, y, x, sample))


@wp.kernel
def average(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    film: Film,
    face: wp.array4d[int],
    # output
    images: CastImages,
):
    """Mean of the samples of every pixel; those that see nothing count with the background."""
    view, y, x, sample = wp.tid()
    share = 1.0 / float(face.shape[3])
    k = face[view, y, x, sample]
    if k < 0:
        wp.atomic_add(images.depth, view, y, x, share * film.far_depth)
        wp.atomic_add(images.color, view, y, x, share * behind_pixel(film, view, y, x))
    else:
        seen = look(geometry, surface, lights, view, k, sample_ray(film, view, y, x, sample))
        wp.atomic_add(images.depth, view, y, x, share * seen.depth)
        wp.atomic_add(images.silhouette, view, y, x, share)
        wp.atomic_add(images.normal, view, y, x, share * seen.normal)
        wp.atomic_add(images.color, view, y, x, share * seen.color)


@wp.kernel(enable_backward=False)
def frequent_instance(
    face: wp.array4d[int],
    face_instance: wp.array[int],
    # output
    instance: wp.array3d[int],
):
    """Instance that most samples of a pixel see, -1 for none; the first of those that tie."""
    view, y, x = wp.tid()
    most = wp.int32(0)
    for i in range(face.shape[3]):
        mine = wp.int32(-1)
        if face[view, y, x, i] >= 0:
            mine = face_instance[face[view, y, x, i]]
        count = wp.int32(0)
        for j in range(face.shape[3]):
            other = wp.int32(-1)
            if face[view, y, x, j] >= 0:
                other = face_instance[face[view, y, x, j]]
            if other == mine:
                count += 1
        if count > most:
            most = count
            instance[view, y, x] = mine
