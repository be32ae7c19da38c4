"""Blend an image that somebody else made of samples at pixel centres over the outline, and its adjoint.

As `antialias` blends colours, but with what the image itself has on the two sides of a piece: at the pixel
centres nearest to it that show the instances which the piece divides. What no centre shows, as of parts
thinner than a pixel, is not known and changes nothing. As there the derivative is the jump times the motion
of the piece; the idea to do this apart from shading is that of Laine et al. 2020, section 3.4.
"""

import warp as wp

from dr_perception.geometry.camera_warp import project_jacobian, ray
from dr_perception.render.outline.antialias import add_edge_gradient
from dr_perception.render.outline.crossing_sides import add_crossing_motion
from dr_perception.render.outline.piece import Candidate, Piece
from dr_perception.render.scene.intrinsics import add_intrinsics_gradient, camera_from_row
from dr_perception.render.shading.inputs import Pulled, Seen, Surfaces

wp.set_module_options({"enable_backward": False})


@wp.func
def _shows(
    view: int, x: int, y: int, face: int, face_index: wp.array3d[int], instances: wp.array[int]
) -> bool:
    """Whether a pixel's centre shows the instance of a face."""
    if x < 0 or y < 0 or x >= face_index.shape[2] or y >= face_index.shape[1]:
        return False
    here = face_index[view, y, x]
    if here < 0:
        return False
    return instances[here] == instances[face]


@wp.func
def _showing(
    piece: Piece, at: wp.vec2i, face: int, face_index: wp.array3d[int], instances: wp.array[int]
) -> wp.vec2i:
    """A pixel whose centre shows the instance of a face: ``at`` or the one nearest to the piece; else -1."""
    if _shows(piece.view, at[0], at[1], face, face_index, instances):
        return at
    found = wp.vec2i(-1, -1)
    nearest = float(9.0)
    for k in range(9):
        x = piece.x + k % 3 - 1
        y = piece.y + k / 3 - 1
        if _shows(piece.view, x, y, face, face_index, instances):
            offset = piece.middle - wp.vec2(float(x), float(y))
            distance = wp.dot(offset, offset)
            if distance < nearest:
                nearest = distance
                found = wp.vec2i(x, y)
    return found


@wp.func
def _inner_pixel(
    piece: Piece, candidates: wp.array[Candidate], face_index: wp.array3d[int], instances: wp.array[int]
) -> wp.vec2i:
    """A pixel whose centre shows what lies on the inner side of a piece, or -1."""
    at = wp.vec2i(piece.x, piece.y)
    if piece.inside == 0:
        at = wp.vec2i(candidates[piece.candidate].in_x, candidates[piece.candidate].in_y)
    return _showing(piece, at, piece.face, face_index, instances)


@wp.func
def _outer_pixel(piece: Piece, face_index: wp.array3d[int], instances: wp.array[int]) -> wp.vec2i:
    """The same for the outer side."""
    at = wp.vec2i(piece.out_x, piece.out_y)
    face = piece.face_out
    if face < 0:
        face = piece.back_face
    if face >= 0:
        at = _showing(piece, at, face, face_index, instances)
    return at


@wp.kernel(enable_backward=False)
def blend_image(
    pieces: wp.array[Piece],
    count: wp.array[int],
    candidates: wp.array[Candidate],
    face_index: wp.array3d[int],
    instances: wp.array[int],
    sampled: wp.array4d[float],
    # output
    image: wp.array4d[float],
):
    """Give each piece its share of the image, which holds the samples at first."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    far = wp.vec2i()
    if piece.inside != 0:
        far = _outer_pixel(piece, face_index, instances)
    else:
        far = _inner_pixel(piece, candidates, face_index, instances)
    if far[0] < 0:
        return
    for k in range(sampled.shape[3]):
        change = sampled[piece.view, far[1], far[0], k] - sampled[piece.view, piece.y, piece.x, k]
        wp.atomic_add(image, piece.view, piece.y, piece.x, k, piece.area * change)


@wp.struct
class BlendedNumbers:
    """Samples of an image with any number of channels, and gradients of it blended and of them."""

    sampled: wp.array4d[float]
    gradient: wp.array4d[float]
    g_sampled: wp.array4d[float]


@wp.kernel(enable_backward=False)
def blend_image_adjoint(
    pieces: wp.array[Piece],
    count: wp.array[int],
    candidates: wp.array[Candidate],
    mesh: Surfaces,
    seen: Seen,
    image: BlendedNumbers,
    # output
    pulled: Pulled,
):
    """Add the gradient with respect to the samples, and that of the motion of the pieces.

    Arrays that are empty get none. The identity from samples to image is not counted here.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    inner = _inner_pixel(piece, candidates, seen.face_index, mesh.face_instance)
    outer = _outer_pixel(piece, seen.face_index, mesh.face_instance)
    far = inner
    if piece.inside != 0:
        far = outer
    gain = float(0.0)
    for k in range(image.sampled.shape[3]):
        g = image.gradient[piece.view, piece.y, piece.x, k]
        if inner[0] >= 0 and outer[0] >= 0:
            near = image.sampled[piece.view, inner[1], inner[0], k]
            gain += g * (near - image.sampled[piece.view, outer[1], outer[0], k])
        if image.g_sampled.shape[0] > 0 and far[0] >= 0:
            wp.atomic_add(image.g_sampled, piece.view, far[1], far[0], k, piece.area * g)
            wp.atomic_add(image.g_sampled, piece.view, piece.y, piece.x, k, -piece.area * g)
    if gain == 0.0 or pulled.cam.shape[0] == 0:
        return
    camera = (piece.view + seen.first_view) % seen.intrinsics.shape[0]
    cam = camera_from_row(seen.intrinsics, seen.models, camera)
    g_uv = gain * piece.outward
    a = mesh.p_cam[piece.view, piece.a]
    p = a + piece.t * (mesh.p_cam[piece.view, piece.b] - a)
    d = p / p[2]
    if piece.crossing != 0:
        v = seen.viewports[piece.view]
        d = ray(cam, piece.middle + wp.vec2(float(v.x0), float(v.y0)))
        add_crossing_motion(piece, gain, d, cam, mesh.p_cam, mesh.faces, pulled.cam)
    else:
        g_point = wp.transpose(project_jacobian(cam, p)) * g_uv
        add_edge_gradient(g_point, piece.view, piece.a, piece.b, piece.t, pulled.cam)
    if pulled.intrinsics.shape[0] > 0:
        add_intrinsics_gradient(cam, wp.vec2(d[0], d[1]), g_uv, camera, pulled.intrinsics)


@wp.kernel(enable_backward=False)
def add_image(
    g_image: wp.array4d[float],
    # output
    g_sampled: wp.array4d[float],
):
    """Add one image to another."""
    view, y, x = wp.tid()
    for k in range(g_image.shape[3]):
        g_sampled[view, y, x, k] = g_sampled[view, y, x, k] + g_image[view, y, x, k]


@wp.kernel(enable_backward=False)
def copy_image(
    sampled: wp.array4d[float],
    # output
    image: wp.array4d[float],
):
    """Copy one image to another; a launch of the renderer's, which no tape of others records."""
    view, y, x = wp.tid()
    for k in range(sampled.shape[3]):
        image[view, y, x, k] = sampled[view, y, x, k]
