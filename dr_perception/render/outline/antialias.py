"""Blend the jumps of the outline into the images, and send image gradients back along the outline.

See `pieces` for the construction. All kernels run over the list of pieces, so their cost follows the length
of the outline. Blending puts the far side of a piece, as seen from the centre, in the place of the centre's
value in the share of the pixel that `shares` gives to the piece. Its adjoint needs three things of
the same list: gradients of the far values and of the centre (weighted by the shares) and the motion of the
boundary (weighted by the jump, inner minus outer side).
"""

import warp as wp

from dr_perception.geometry.camera_warp import project_jacobian, ray
from dr_perception.render.outline.crossing_sides import (
    add_crossing_motion,
    inner_weights,
    middle_ray,
)
from dr_perception.render.outline.piece import Piece
from dr_perception.render.outline.shares import against_background
from dr_perception.render.scene.intrinsics import add_intrinsics_gradient, camera_from_row
from dr_perception.render.shading.inputs import (
    ImageGradients,
    Lighting,
    Looks,
    Pulled,
    Seen,
    Surfaces,
)
from dr_perception.render.shading.interpolation import mix
from dr_perception.render.shading.surface import shading_normal, surface_color


@wp.func
def edge_weights(corners: wp.vec3i, a: int, b: int, t: float) -> wp.vec3:
    """Barycentric weights of a point of the edge a-b in a face."""
    w = wp.vec3(0.0, 0.0, 0.0)
    for i in range(3):
        if corners[i] == a:
            w[i] = 1.0 - t
        if corners[i] == b:
            w[i] = t
    return w


@wp.struct
class EdgePoint:
    """The middle of a piece on one of the faces beside it."""

    face: int
    """-1 if there is none."""
    a: int
    b: int
    t: float
    crossing: int
    """1 if it is not a point of the edge a-b but where the ray `d` meets the face."""
    d: wp.vec3


@wp.func
def inner_point(piece: Piece, d: wp.vec3) -> EdgePoint:
    """The middle of a piece on its inner face; ``d`` is its ray where surfaces cross."""
    e = EdgePoint()
    e.face = piece.face
    e.a = piece.a
    e.b = piece.b
    e.t = piece.t
    e.crossing = piece.crossing
    e.d = d
    return e


@wp.func
def outer_point(piece: Piece, d: wp.vec3) -> EdgePoint:
    """The same on its outer face, or at the edge behind it that bounds what lies beyond."""
    behind = piece.face_out < 0
    e = EdgePoint()
    e.face = wp.where(behind, piece.back_face, piece.face_out)
    e.a = wp.where(behind, piece.back_a, piece.a)
    e.b = wp.where(behind, piece.back_b, piece.b)
    e.t = wp.where(behind, piece.back_t, piece.t)
    e.crossing = wp.where(behind, 0, piece.crossing)
    e.d = d
    return e


@wp.func
def ray_of_piece(piece: Piece, seen: Seen) -> wp.vec3:
    """Ray of the middle of a piece where surfaces cross; elsewhere nobody asks for it."""
    d = wp.vec3()
    if piece.crossing != 0:
        camera = (piece.view + seen.first_view) % seen.rays.shape[0]
        d = middle_ray(piece, seen.rays, seen.viewports[piece.view], camera)
    return d


@wp.func
def _side_color(
    e: EdgePoint, view: int, camera: int, mesh: Surfaces, looks: Looks, lights: Lighting
) -> wp.vec3:
    """Linear RGB of a face at the middle of a piece."""
    f = mesh.faces[e.face]
    a = mesh.p_cam[view, f[0]]
    b = mesh.p_cam[view, f[1]]
    c = mesh.p_cam[view, f[2]]
    w = edge_weights(f, e.a, e.b, e.t)
    x = mix(w, a, b, c)
    if e.crossing != 0:
        w = inner_weights(e.d, a, b, c)
        x = e.d
    return surface_color(view, camera, e.face, w, x, mesh, looks, lights)


@wp.struct
class Jumps:
    """Vectors at every piece."""

    jumps: wp.array[wp.vec3]
    """Inner minus outer side."""
    changes: wp.array[wp.vec3]
    """Far side minus the pixel's centre."""


@wp.kernel
def color_jumps(
    pieces: wp.array[Piece],
    count: wp.array[int],
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    seen: Seen,
    color: wp.array3d[wp.vec3],
    # output
    found: Jumps,
):
    """Jumps of colour at every piece. ``color`` is not blended yet."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    camera = (piece.view + seen.first_view) % lights.light_cam.shape[0]
    d = ray_of_piece(piece, seen)
    inner = _side_color(inner_point(piece, d), piece.view, camera, mesh, looks, lights)
    outer = wp.vec3()
    beyond = outer_point(piece, d)
    if beyond.face >= 0:
        outer = _side_color(beyond, piece.view, camera, mesh, looks, lights)
    elif piece.out_x < 0:
        v = seen.viewports[piece.view]
        row = wp.min(piece.y + v.y0, lights.background.shape[1] - 1)
        column = wp.min(piece.x + v.x0, lights.background.shape[2] - 1)
        outer = lights.background[wp.min(camera, lights.background.shape[0] - 1), row, column]
    else:
        outer = color[piece.view, piece.out_y, piece.out_x]
    found.jumps[i] = inner - outer
    found.changes[i] = wp.where(piece.inside != 0, outer, inner) - color[piece.view, piece.y, piece.x]


@wp.func
def _side_normal(e: EdgePoint, view: int, mesh: Surfaces) -> wp.vec3:
    """Normal of a face at the middle of a piece."""
    f = mesh.faces[e.face]
    a = mesh.p_cam[view, f[0]]
    b = mesh.p_cam[view, f[1]]
    c = mesh.p_cam[view, f[2]]
    w = edge_weights(f, e.a, e.b, e.t)
    x = mix(w, a, b, c)
    if e.crossing != 0:
        w = inner_weights(e.d, a, b, c)
        x = e.d
    return shading_normal(e.face, w, x, a, b, c, mesh, view)


@wp.kernel
def normal_jumps(
    pieces: wp.array[Piece],
    count: wp.array[int],
    mesh: Surfaces,
    seen: Seen,
    normal: wp.array3d[wp.vec3],
    # output
    found: Jumps,
):
    """Jumps of the normal at every piece. ``normal`` is not blended yet."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    d = ray_of_piece(piece, seen)
    inner = _side_normal(inner_point(piece, d), piece.view, mesh)
    outer = wp.vec3()
    beyond = outer_point(piece, d)
    if beyond.face >= 0:
        outer = _side_normal(beyond, piece.view, mesh)
    elif piece.out_x >= 0:
        outer = normal[piece.view, piece.out_y, piece.out_x]
    found.jumps[i] = inner - outer
    found.changes[i] = wp.where(piece.inside != 0, outer, inner) - normal[piece.view, piece.y, piece.x]


@wp.kernel(enable_backward=False)
def blend_scalars(
    pieces: wp.array[Piece],
    count: wp.array[int],
    face_index: wp.array3d[int],
    depth: wp.array3d[float],
    far_depth: float,
    # output
    jumps: wp.array[wp.vec2],
    silhouette: wp.array3d[float],
    depth_image: wp.array3d[float],
):
    """Give each piece its share of silhouette and depth, and keep their jumps, in this order.

    Empty images are skipped; ``depth`` is that of the centres. Depth changes as `follow_slopes` lets colour.
    Where surfaces cross neither jumps.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    if piece.crossing != 0:
        jumps[i] = wp.vec2()
        return
    outer = piece.z
    if piece.back_face >= 0:
        outer = piece.back_z
    elif piece.face_out < 0:
        outer = far_depth
        if piece.out_x >= 0:
            outer = depth[piece.view, piece.out_y, piece.out_x]
    jump = wp.vec2(0.0, piece.z - outer)
    if against_background(piece, face_index):
        jump[0] = 1.0
    jumps[i] = jump
    if silhouette.shape[0] > 0 and jump[0] > 0.0:
        far = wp.where(piece.inside != 0, 0.0, 1.0)
        covered = wp.where(face_index[piece.view, piece.y, piece.x] >= 0, 1.0, 0.0)
        wp.atomic_add(silhouette, piece.view, piece.y, piece.x, piece.cover * (far - covered))
    if depth_image.shape[0] > 0:
        far = wp.where(piece.inside != 0, outer, piece.z)
        near = piece.z
        if piece.sloped == 0:
            near = depth[piece.view, piece.y, piece.x]
        wp.atomic_add(depth_image, piece.view, piece.y, piece.x, piece.area * (far - near))


@wp.kernel(enable_backward=False)
def follow_slopes(
    pieces: wp.array[Piece],
    count: wp.array[int],
    jumps: wp.array[wp.vec3],
    color: wp.array3d[wp.vec3],
    # output
    changes: wp.array[wp.vec3],
    near: wp.array[wp.vec3],
):
    """Let pieces take the near side as it is at the edge, where ``near`` is 1, not as at the centre.

    What is left of the pixel has its middle on the other side of the centre: with the colour c at the centre,
    n at the edge and f beyond, ``c + area (f - n)`` is right for colours that change evenly, and
    ``c + area (f - c)`` not. Pieces are `sloped` only if they hide no more than half the pixel, so that the
    near side keeps a colour that is not negative as long as n is taken for 2 c at most.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    followed = wp.vec3()
    if piece.sloped != 0:
        center = color[piece.view, piece.y, piece.x]
        slope = jumps[i] + changes[i]
        changes[i] = changes[i] - wp.min(slope, center)
        for k in range(3):
            followed[k] = wp.where(slope[k] <= center[k], 1.0, 0.0)
    near[i] = followed


@wp.kernel(enable_backward=False)
def blend_vectors(
    pieces: wp.array[Piece],
    count: wp.array[int],
    changes: wp.array[wp.vec3],
    # output
    image: wp.array3d[wp.vec3],
):
    """Give each piece its share of an image of vectors."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    wp.atomic_add(image, piece.view, piece.y, piece.x, piece.area * changes[i])


@wp.kernel(enable_backward=False)
def blend_vectors_adjoint(
    pieces: wp.array[Piece],
    count: wp.array[int],
    near: wp.array[wp.vec3],
    g_image: wp.array3d[wp.vec3],
    # output
    g_sampled: wp.array3d[wp.vec3],
    g_jumps: wp.array[wp.vec3],
    g_changes: wp.array[wp.vec3],
):
    """Gradient with respect to what `color_jumps` found, with `follow_slopes` if there is ``near``."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    g = piece.area * g_image[piece.view, piece.y, piece.x]
    g_near = wp.vec3()
    if piece.sloped != 0 and near.shape[0] > 0:
        g_near = wp.cw_mul(near[i], g)
        wp.atomic_add(g_sampled, piece.view, piece.y, piece.x, g_near - g)
    g_jumps[i] = -g_near
    g_changes[i] = g - g_near


@wp.func
def add_edge_gradient(g: wp.vec3, view: int, a: int, b: int, t: float, g_cam: wp.array2d[wp.vec3]):
    """Spread a gradient at a point of an edge over its ends."""
    wp.atomic_add(g_cam, view, a, (1.0 - t) * g)
    wp.atomic_add(g_cam, view, b, t * g)


@wp.struct
class JumpsOfImages:
    """Inner minus outer side of every piece, in silhouette and depth, colour and normal."""

    scalar: wp.array[wp.vec2]
    color: wp.array[wp.vec3]
    normal: wp.array[wp.vec3]


@wp.kernel(enable_backward=False)
def boundary_adjoint(
    pieces: wp.array[Piece],
    count: wp.array[int],
    jumps: JumpsOfImages,
    g: ImageGradients,
    mesh: Surfaces,
    seen: Seen,
    # output
    pulled: Pulled,
):
    """Motion of the boundary: what every image that has a gradient gains where the outline sweeps.

    The middle of a piece moves for the whole piece, which is exact because the motion is linear along it.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    gain = float(0.0)
    if g.silhouette.shape[0] > 0:
        gain += jumps.scalar[i][0] * g.silhouette[piece.view, piece.y, piece.x]
    if g.color.shape[0] > 0:
        gain += wp.dot(jumps.color[i], g.color[piece.view, piece.y, piece.x])
    if g.normal.shape[0] > 0:
        gain += wp.dot(jumps.normal[i], g.normal[piece.view, piece.y, piece.x])
    camera = (piece.view + seen.first_view) % seen.intrinsics.shape[0]
    cam = camera_from_row(seen.intrinsics, seen.models, camera)
    if piece.crossing != 0:
        v = seen.viewports[piece.view]
        d = ray(cam, piece.middle + wp.vec2(float(v.x0), float(v.y0)))
        add_crossing_motion(piece, gain, d, cam, mesh.p_cam, mesh.faces, pulled.cam)
        if pulled.intrinsics.shape[0] > 0:
            add_intrinsics_gradient(cam, wp.vec2(d[0], d[1]), gain * piece.outward, camera, pulled.intrinsics)
        return
    g_point = wp.vec3(0.0, 0.0, 0.0)
    if g.depth.shape[0] > 0:
        g_here = g.depth[piece.view, piece.y, piece.x]
        gain += jumps.scalar[i][1] * g_here
        far = piece.area * g_here
        if piece.sloped != 0:
            g_point = wp.vec3(0.0, 0.0, -far)
        else:
            wp.atomic_add(pulled.depth_sample, piece.view, piece.y, piece.x, -far)
        if piece.inside == 0 or piece.face_out >= 0:
            g_point += wp.vec3(0.0, 0.0, far)
        elif piece.back_face >= 0:
            g_back = wp.vec3(0.0, 0.0, far)
            add_edge_gradient(g_back, piece.view, piece.back_a, piece.back_b, piece.back_t, pulled.cam)
        elif piece.out_x >= 0:
            wp.atomic_add(pulled.depth_sample, piece.view, piece.out_y, piece.out_x, far)
    a = mesh.p_cam[piece.view, piece.a]
    p = a + piece.t * (mesh.p_cam[piece.view, piece.b] - a)
    g_uv = gain * piece.outward
    if gain != 0.0:
        g_point += wp.transpose(project_jacobian(cam, p)) * g_uv
        if pulled.intrinsics.shape[0] > 0:
            add_intrinsics_gradient(cam, wp.vec2(p[0] / p[2], p[1] / p[2]), g_uv, camera, pulled.intrinsics)
    add_edge_gradient(g_point, piece.view, piece.a, piece.b, piece.t, pulled.cam)
