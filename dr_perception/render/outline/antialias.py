"""Blend the jumps of the outline into the images, and send image gradients back along the outline.

See `pieces` for the construction. All kernels run over the list of pieces, so their cost follows the length
of the outline. Blending puts the far side of a piece, as seen from the centre, in the place of the centre's
value in the share of the pixel that `shares` gives to the piece. Its adjoint needs three things of
the same list: gradients of the far values and of the centre (weighted by the shares) and the motion of the
boundary (weighted by the jump, inner minus outer side).
"""

import warp as wp

from dr_perception.geometry.camera_warp import project_jacobian, ray
from dr_perception.raster.types import Viewport
from dr_perception.render.outline.crossing_sides import (
    add_crossing_motion,
    inner_weights,
    middle_ray,
)
from dr_perception.render.outline.piece import Piece
from dr_perception.render.outline.shares import against_background
from dr_perception.render.scene.intrinsics import add_intrinsics_gradient, camera_from_row
from dr_perception.render.shading.interpolation import mix
from dr_perception.render.shading.surface import shading_normal, surface_color


@wp.func
def _edge_weights(corners: wp.vec3i, a: int, b: int, t: float) -> wp.vec3:
    """Barycentric weights of a point of the edge a-b in a face."""
    w = wp.vec3(0.0, 0.0, 0.0)
    for i in range(3):
        if corners[i] == a:
            w[i] = 1.0 - t
        if corners[i] == b:
            w[i] = t
    return w


@wp.func
def _side_color(
    face: int,
    view: int,
    a: int,
    b: int,
    t: float,
    crossing: int,
    d: wp.vec3,
    camera: int,
    p_cam: wp.array2d[wp.vec3],
    n_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    normal_index: wp.array[wp.vec3i],
    face_instance: wp.array[int],
    corner_vertex: wp.array[wp.vec3i],
    vertex_colors: wp.array[wp.vec3],
    corner_uv: wp.array2d[wp.vec2],
    textures: wp.array[wp.vec3i],
    texels: wp.array[wp.vec3],
    albedo: wp.array[wp.vec3],
    roughness: wp.array[float],
    metallic: wp.array[float],
    specular: wp.array[float],
    ambient: wp.array[wp.vec3],
    light_cam: wp.array2d[wp.vec3],
    light_colors: wp.array[wp.vec3],
    harmonics: wp.array[wp.vec3],
    R_world_cam: wp.array[wp.mat33],
) -> wp.vec3:
    """Linear RGB of one face at a point of its edge a-b, or where the ray ``d`` of a crossing meets it."""
    f = faces[face]
    w = _edge_weights(f, a, b, t)
    x = mix(w, p_cam[view, f[0]], p_cam[view, f[1]], p_cam[view, f[2]])
    if crossing != 0:
        w = inner_weights(d, p_cam[view, f[0]], p_cam[view, f[1]], p_cam[view, f[2]])
        x = d
    return surface_color(
        view, camera, face, w, x, p_cam, n_cam, faces, normal_index, face_instance,
        corner_vertex, vertex_colors, corner_uv, textures, texels, albedo, roughness, metallic, specular,
        ambient, light_cam, light_colors, harmonics, R_world_cam,
    )  # fmt: skip


@wp.kernel
def color_jumps(
    pieces: wp.array[Piece],
    count: wp.array[int],
    p_cam: wp.array2d[wp.vec3],
    n_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    normal_index: wp.array[wp.vec3i],
    face_instance: wp.array[int],
    corner_vertex: wp.array[wp.vec3i],
    vertex_colors: wp.array[wp.vec3],
    corner_uv: wp.array2d[wp.vec2],
    textures: wp.array[wp.vec3i],
    texels: wp.array[wp.vec3],
    albedo: wp.array[wp.vec3],
    roughness: wp.array[float],
    metallic: wp.array[float],
    specular: wp.array[float],
    ambient: wp.array[wp.vec3],
    light_cam: wp.array2d[wp.vec3],
    light_colors: wp.array[wp.vec3],
    harmonics: wp.array[wp.vec3],
    R_world_cam: wp.array[wp.mat33],
    background: wp.array3d[wp.vec3],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
    first_view: int,
    color: wp.array3d[wp.vec3],
    # output
    jumps: wp.array[wp.vec3],
    changes: wp.array[wp.vec3],
):
    """Colours at every piece: inner minus outer side, and far side minus the pixel's centre.

    ``color`` is not blended yet.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    camera = (piece.view + first_view) % light_cam.shape[0]
    d = wp.vec3()
    if piece.crossing != 0:
        d = middle_ray(piece, rays, viewports[piece.view], camera)
    inner = _side_color(
        piece.face, piece.view, piece.a, piece.b, piece.t, piece.crossing, d, camera, p_cam, n_cam,
        faces, normal_index, face_instance, corner_vertex, vertex_colors, corner_uv, textures, texels, albedo,
        roughness, metallic,
        specular, ambient, light_cam, light_colors, harmonics, R_world_cam,
    )  # fmt: skip
    outer = wp.vec3()
    if piece.face_out >= 0:
        outer = _side_color(
            piece.face_out, piece.view, piece.a, piece.b, piece.t, piece.crossing, d, camera, p_cam,
            n_cam, faces, normal_index, face_instance, corner_vertex, vertex_colors, corner_uv, textures,
            texels, albedo, roughness, metallic, specular, ambient, light_cam, light_colors, harmonics,
            R_world_cam,
        )  # fmt: skip
    elif piece.back_face >= 0:
        outer = _side_color(
            piece.back_face, piece.view, piece.back_a, piece.back_b, piece.back_t, 0, d, camera, p_cam,
            n_cam, faces, normal_index, face_instance, corner_vertex, vertex_colors, corner_uv, textures,
            texels, albedo, roughness, metallic, specular, ambient, light_cam, light_colors, harmonics,
            R_world_cam,
        )  # fmt: skip
    elif piece.out_x < 0:
        v = viewports[piece.view]
        row = wp.min(piece.y + v.y0, background.shape[1] - 1)
        column = wp.min(piece.x + v.x0, background.shape[2] - 1)
        outer = background[wp.min(camera, background.shape[0] - 1), row, column]
    else:
        outer = color[piece.view, piece.out_y, piece.out_x]
    jumps[i] = inner - outer
    changes[i] = wp.where(piece.inside != 0, outer, inner) - color[piece.view, piece.y, piece.x]


@wp.func
def _side_normal(
    face: int,
    view: int,
    edge_a: int,
    edge_b: int,
    t: float,
    crossing: int,
    d: wp.vec3,
    p_cam: wp.array2d[wp.vec3],
    n_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    normal_index: wp.array[wp.vec3i],
) -> wp.vec3:
    f = faces[face]
    w = _edge_weights(f, edge_a, edge_b, t)
    a = p_cam[view, f[0]]
    b = p_cam[view, f[1]]
    c = p_cam[view, f[2]]
    x = mix(w, a, b, c)
    if crossing != 0:
        w = inner_weights(d, a, b, c)
        x = d
    return shading_normal(face, w, x, a, b, c, normal_index, n_cam, view)


@wp.kernel
def normal_jumps(
    pieces: wp.array[Piece],
    count: wp.array[int],
    p_cam: wp.array2d[wp.vec3],
    n_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    normal_index: wp.array[wp.vec3i],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
    first_view: int,
    normal: wp.array3d[wp.vec3],
    # output
    jumps: wp.array[wp.vec3],
    changes: wp.array[wp.vec3],
):
    """Normals at every piece: inner minus outer side, and far side minus the pixel's centre."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    d = wp.vec3()
    if piece.crossing != 0:
        camera = (piece.view + first_view) % rays.shape[0]
        d = middle_ray(piece, rays, viewports[piece.view], camera)
    inner = _side_normal(
        piece.face, piece.view, piece.a, piece.b, piece.t, piece.crossing, d, p_cam, n_cam, faces,
        normal_index,
    )  # fmt: skip
    outer = wp.vec3()
    if piece.face_out >= 0:
        outer = _side_normal(
            piece.face_out, piece.view, piece.a, piece.b, piece.t, piece.crossing, d, p_cam, n_cam,
            faces, normal_index,
        )  # fmt: skip
    elif piece.back_face >= 0:
        outer = _side_normal(
            piece.back_face, piece.view, piece.back_a, piece.back_b, piece.back_t, 0, d, p_cam, n_cam,
            faces, normal_index,
        )  # fmt: skip
    elif piece.out_x >= 0:
        outer = normal[piece.view, piece.out_y, piece.out_x]
    jumps[i] = inner - outer
    changes[i] = wp.where(piece.inside != 0, outer, inner) - normal[piece.view, piece.y, piece.x]


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


@wp.kernel(enable_backward=False)
def boundary_adjoint(
    pieces: wp.array[Piece],
    count: wp.array[int],
    scalar_jump: wp.array[wp.vec2],
    color_jump: wp.array[wp.vec3],
    normal_jump: wp.array[wp.vec3],
    g_silhouette: wp.array3d[float],
    g_depth: wp.array3d[float],
    g_color: wp.array3d[wp.vec3],
    g_normal: wp.array3d[wp.vec3],
    p_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    viewports: wp.array[Viewport],
    intrinsics: wp.array2d[float],
    models: wp.array[int],
    first_view: int,
    # output
    g_depth_sample: wp.array3d[float],
    g_cam: wp.array2d[wp.vec3],
    g_intrinsics: wp.array2d[float],
):
    """Motion of the boundary: what every image that has a gradient gains where the outline sweeps.

    The middle of a piece moves for the whole piece, which is exact because the motion is linear along it.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    gain = float(0.0)
    if g_silhouette.shape[0] > 0:
        gain += scalar_jump[i][0] * g_silhouette[piece.view, piece.y, piece.x]
    if g_color.shape[0] > 0:
        gain += wp.dot(color_jump[i], g_color[piece.view, piece.y, piece.x])
    if g_normal.shape[0] > 0:
        gain += wp.dot(normal_jump[i], g_normal[piece.view, piece.y, piece.x])
    camera = (piece.view + first_view) % intrinsics.shape[0]
    cam = camera_from_row(intrinsics, models, camera)
    if piece.crossing != 0:
        v = viewports[piece.view]
        d = ray(cam, piece.middle + wp.vec2(float(v.x0), float(v.y0)))
        add_crossing_motion(piece, gain, d, cam, p_cam, faces, g_cam)
        if g_intrinsics.shape[0] > 0:
            add_intrinsics_gradient(cam, wp.vec2(d[0], d[1]), gain * piece.outward, camera, g_intrinsics)
        return
    g_point = wp.vec3(0.0, 0.0, 0.0)
    if g_depth.shape[0] > 0:
        g = g_depth[piece.view, piece.y, piece.x]
        gain += scalar_jump[i][1] * g
        far = piece.area * g
        if piece.sloped != 0:
            g_point = wp.vec3(0.0, 0.0, -far)
        else:
            wp.atomic_add(g_depth_sample, piece.view, piece.y, piece.x, -far)
        if piece.inside == 0 or piece.face_out >= 0:
            g_point += wp.vec3(0.0, 0.0, far)
        elif piece.back_face >= 0:
            g_back = wp.vec3(0.0, 0.0, far)
            add_edge_gradient(g_back, piece.view, piece.back_a, piece.back_b, piece.back_t, g_cam)
        elif piece.out_x >= 0:
            wp.atomic_add(g_depth_sample, piece.view, piece.out_y, piece.out_x, far)
    a = p_cam[piece.view, piece.a]
    p = a + piece.t * (p_cam[piece.view, piece.b] - a)
    g_uv = gain * piece.outward
    if gain != 0.0:
        g_point += wp.transpose(project_jacobian(cam, p)) * g_uv
        if g_intrinsics.shape[0] > 0:
            add_intrinsics_gradient(cam, wp.vec2(p[0] / p[2], p[1] / p[2]), g_uv, camera, g_intrinsics)
    add_edge_gradient(g_point, piece.view, piece.a, piece.b, piece.t, g_cam)
