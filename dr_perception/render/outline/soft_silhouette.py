"""A silhouette with a soft edge of chosen width, for gradients that reach far from the outline.

``S = sigmoid(d / width)`` with the signed distance d of a pixel's centre to the nearest point of the visible
outline [px],
positive inside. It is the soft rasteriser of Liu et al. 2019 (eq. 1) and the soft background of Chen et al.
2019 (DIB-R, eq. 7) with
the union of all faces in the place of single triangles: the nearest outline piece decides instead of a
product over faces, so the
cost follows pixels and outline, not faces x pixels, and the silhouette does not swell where triangles are
small.

Bias: the image is not the coverage of the pixels (at ``width`` w the edge is blurred over about 5 w), the
gradient looks only
at the nearest piece, and it jumps on the medial axis, where two pieces are equally near. Anneal the width.
"""

import warp as wp

from dr_perception.geometry.camera_warp import project_jacobian
from dr_perception.render.outline.antialias import add_edge_gradient
from dr_perception.render.outline.piece import Piece
from dr_perception.render.outline.shares import against_background
from dr_perception.render.scene.intrinsics import add_intrinsics_gradient, camera_from_row
from dr_perception.render.shading.inputs import Pulled, Seen, Surfaces


@wp.func
def offset(piece: Piece, x: int, y: int) -> wp.vec2:
    """Vector from the nearest point of a piece to a pixel's centre."""
    half = 0.5 * wp.vec2(-piece.outward[1], piece.outward[0])
    q = wp.vec2(float(x), float(y)) - piece.middle
    s = wp.clamp(wp.dot(q, half) / wp.max(wp.dot(half, half), 1.0e-12), -1.0, 1.0)
    return q - s * half


@wp.kernel(enable_backward=False)
def seed(
    pieces: wp.array[Piece],
    count: wp.array[int],
    face_index: wp.array3d[int],
    # output
    nearest: wp.array3d[int],
):
    """Write every piece against the background to its pixel."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    if against_background(piece, face_index):
        wp.atomic_max(nearest, piece.view, piece.y, piece.x, i)


@wp.kernel(enable_backward=False)
def flood(
    pieces: wp.array[Piece],
    step: int,
    source: wp.array3d[int],
    # output
    target: wp.array3d[int],
):
    """One pass of jump flooding (Rong and Tan 2006).

    Take over the nearest of the pieces that nine pixels know.
    """
    view, y, x = wp.tid()
    best = source[view, y, x]
    best_distance = float(1.0e30)
    if best >= 0:
        best_distance = wp.length_sq(offset(pieces[best], x, y))
    for k in range(9):
        v = y + (k // 3 - 1) * step
        u = x + (k % 3 - 1) * step
        if u >= 0 and v >= 0 and u < source.shape[2] and v < source.shape[1]:
            candidate = source[view, v, u]
            if candidate >= 0 and candidate != best:
                distance = wp.length_sq(offset(pieces[candidate], x, y))
                if distance < best_distance:
                    best = candidate
                    best_distance = distance
    target[view, y, x] = best


@wp.func
def _soft(inside: bool, distance: float, width: float) -> float:
    s = 1.0 / (1.0 + wp.exp(-distance / width))
    return wp.where(inside, s, 1.0 - s)


@wp.kernel(enable_backward=False)
def soften(
    pieces: wp.array[Piece],
    nearest: wp.array3d[int],
    face_index: wp.array3d[int],
    width: float,
    # output
    soft: wp.array3d[float],
):
    """Soft silhouette of every pixel."""
    view, y, x = wp.tid()
    inside = face_index[view, y, x] >= 0
    i = nearest[view, y, x]
    if i < 0:
        soft[view, y, x] = wp.where(inside, 1.0, 0.0)
    else:
        soft[view, y, x] = _soft(inside, wp.length(offset(pieces[i], x, y)), width)


@wp.kernel(enable_backward=False)
def soften_adjoint(
    pieces: wp.array[Piece],
    nearest: wp.array3d[int],
    face_index: wp.array3d[int],
    width: float,
    g_soft: wp.array3d[float],
    # output
    g_middle: wp.array[wp.vec2],
):
    """Gradients of the pixels to the image positions of the pieces.

    The outline moves along the direction to the pixel.
    """
    view, y, x = wp.tid()
    i = nearest[view, y, x]
    g = g_soft[view, y, x]
    if i < 0 or g == 0.0:
        return
    q = offset(pieces[i], x, y)
    distance = wp.length(q)
    inside = face_index[view, y, x] >= 0
    s = _soft(True, distance, width)
    slope = g * s * (1.0 - s) / width
    if distance < 1.0e-4:
        n = wp.normalize(pieces[i].outward)
        wp.atomic_add(g_middle, i, slope * n)
    else:
        wp.atomic_add(g_middle, i, (wp.where(inside, -slope, slope) / distance) * q)


@wp.kernel(enable_backward=False)
def middles_adjoint(
    pieces: wp.array[Piece],
    count: wp.array[int],
    g_middle: wp.array[wp.vec2],
    mesh: Surfaces,
    seen: Seen,
    # output
    pulled: Pulled,
):
    """Image positions of the pieces to the ends of their edges and to the intrinsics."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    g_uv = g_middle[i]
    a = mesh.p_cam[piece.view, piece.a]
    p = a + piece.t * (mesh.p_cam[piece.view, piece.b] - a)
    camera = (piece.view + seen.first_view) % seen.intrinsics.shape[0]
    cam = camera_from_row(seen.intrinsics, seen.models, camera)
    g_point = wp.transpose(project_jacobian(cam, p)) * g_uv
    add_edge_gradient(g_point, piece.view, piece.a, piece.b, piece.t, pulled.cam)
    if pulled.intrinsics.shape[0] > 0:
        add_intrinsics_gradient(cam, wp.vec2(p[0] / p[2], p[1] / p[2]), g_uv, camera, pulled.intrinsics)
