"""Blend the jumps of the outline into the images, and send image gradients back along the outline.

See `pieces` for the construction. All kernels run over the list of pieces, so their cost follows the length
of the outline. Blending adds ``area * (inner - outer)`` to a pixel; its adjoint needs three things of the
same list: gradients of the inner and outer values (weighted by the area) and the motion of the boundary
(weighted by the jump).
"""

import warp as wp

from dr_perception.geometry.camera_warp import project_jacobian
from dr_perception.raster.types import Viewport
from dr_perception.render.outline.pieces import Piece
from dr_perception.render.outline.probe import shows_background
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
    """Linear RGB of one face at a point of its edge a-b."""
    f = faces[face]
    w = _edge_weights(f, a, b, t)
    x = mix(w, p_cam[view, f[0]], p_cam[view, f[1]], p_cam[view, f[2]])
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
    viewports: wp.array[Viewport],
    first_view: int,
    color: wp.array3d[wp.vec3],
    # output
    jumps: wp.array[wp.vec3],
):
    """Colour on the inner minus the outer side of every piece; ``color`` is not blended yet."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    camera = (piece.view + first_view) % light_cam.shape[0]
    inner = _side_color(
        piece.face, piece.view, piece.a, piece.b, piece.t, camera, p_cam, n_cam, faces, normal_index,
        face_instance, corner_vertex, vertex_colors, corner_uv, textures, texels, albedo, roughness, metallic,
        specular, ambient, light_cam, light_colors, harmonics, R_world_cam,
    )  # fmt: skip
    if piece.face_out >= 0:
        jumps[i] = inner - _side_color(
            piece.face_out, piece.view, piece.a, piece.b, piece.t, camera, p_cam, n_cam, faces, normal_index,
            face_instance, corner_vertex, vertex_colors, corner_uv, textures, texels, albedo, roughness,
            metallic, specular, ambient, light_cam, light_colors, harmonics, R_world_cam,
        )  # fmt: skip
    elif piece.back_face >= 0:
        jumps[i] = inner - _side_color(
            piece.back_face, piece.view, piece.back_a, piece.back_b, piece.back_t, camera, p_cam, n_cam,
            faces, normal_index, face_instance, corner_vertex, vertex_colors, corner_uv, textures, texels,
            albedo, roughness, metallic, specular, ambient, light_cam, light_colors, harmonics, R_world_cam,
        )  # fmt: skip
    elif piece.out_x < 0:
        v = viewports[piece.view]
        row = wp.min(piece.y + v.y0, background.shape[1] - 1)
        column = wp.min(piece.x + v.x0, background.shape[2] - 1)
        jumps[i] = inner - background[wp.min(camera, background.shape[0] - 1), row, column]
    else:
        jumps[i] = inner - color[piece.view, piece.out_y, piece.out_x]


@wp.func
def _side_normal(
    face: int,
    view: int,
    edge_a: int,
    edge_b: int,
    t: float,
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
    return shading_normal(face, w, mix(w, a, b, c), a, b, c, normal_index, n_cam, view)


@wp.kernel
def normal_jumps(
    pieces: wp.array[Piece],
    count: wp.array[int],
    p_cam: wp.array2d[wp.vec3],
    n_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    normal_index: wp.array[wp.vec3i],
    normal: wp.array3d[wp.vec3],
    # output
    jumps: wp.array[wp.vec3],
):
    """Normal on the inner minus the outer side of every piece."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    inner = _side_normal(piece.face, piece.view, piece.a, piece.b, piece.t, p_cam, n_cam, faces, normal_index)
    if piece.face_out >= 0:
        jumps[i] = inner - _side_normal(
            piece.face_out, piece.view, piece.a, piece.b, piece.t, p_cam, n_cam, faces, normal_index
        )
    elif piece.back_face >= 0:
        jumps[i] = inner - _side_normal(
            piece.back_face, piece.view, piece.back_a, piece.back_b, piece.back_t, p_cam, n_cam, faces,
            normal_index,
        )  # fmt: skip
    elif piece.out_x < 0:
        jumps[i] = inner
    else:
        jumps[i] = inner - normal[piece.view, piece.out_y, piece.out_x]


@wp.kernel(enable_backward=False)
def scalar_jumps(
    pieces: wp.array[Piece],
    count: wp.array[int],
    face_index: wp.array3d[int],
    depth: wp.array3d[float],
    far_depth: float,
    # output
    jumps: wp.array[wp.vec2],
):
    """Silhouette and depth jump of every piece, in this order."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    jump = wp.vec2(0.0, 0.0)
    if piece.back_face >= 0:
        jump[1] = piece.z - piece.back_z
    elif piece.face_out < 0:
        if shows_background(face_index, piece.view, piece.out_x, piece.out_y):
            jump[0] = 1.0
        jump[1] = piece.z - far_depth
        if piece.out_x >= 0:
            jump[1] = piece.z - depth[piece.view, piece.out_y, piece.out_x]
    jumps[i] = jump


@wp.kernel(enable_backward=False)
def blend_scalars(
    pieces: wp.array[Piece],
    count: wp.array[int],
    jumps: wp.array[wp.vec2],
    # output
    silhouette: wp.array3d[float],
    depth: wp.array3d[float],
):
    """Add the jumps to silhouette and depth; empty images are skipped."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    if silhouette.shape[0] > 0:
        wp.atomic_add(silhouette, piece.view, piece.y, piece.x, piece.area * jumps[i][0])
    if depth.shape[0] > 0:
        wp.atomic_add(depth, piece.view, piece.y, piece.x, piece.area * jumps[i][1])


@wp.kernel(enable_backward=False)
def blend_vectors(
    pieces: wp.array[Piece],
    count: wp.array[int],
    jumps: wp.array[wp.vec3],
    # output
    image: wp.array3d[wp.vec3],
):
    """Add the jumps to an image of vectors."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    wp.atomic_add(image, piece.view, piece.y, piece.x, piece.area * jumps[i])


@wp.kernel(enable_backward=False)
def blend_vectors_adjoint(
    pieces: wp.array[Piece],
    count: wp.array[int],
    g_image: wp.array3d[wp.vec3],
    # output
    g_jumps: wp.array[wp.vec3],
):
    """Gradient with respect to the jumps."""
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    g_jumps[i] = piece.area * g_image[piece.view, piece.y, piece.x]


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
    g_point = wp.vec3(0.0, 0.0, 0.0)
    if g_depth.shape[0] > 0:
        g = g_depth[piece.view, piece.y, piece.x]
        gain += scalar_jump[i][1] * g
        if piece.face_out < 0:
            g_point = wp.vec3(0.0, 0.0, piece.area * g)
            if piece.back_face >= 0:
                g_back = wp.vec3(0.0, 0.0, -piece.area * g)
                add_edge_gradient(g_back, piece.view, piece.back_a, piece.back_b, piece.back_t, g_cam)
            elif piece.out_x >= 0:
                wp.atomic_add(g_depth_sample, piece.view, piece.out_y, piece.out_x, -piece.area * g)
    a = p_cam[piece.view, piece.a]
    p = a + piece.t * (p_cam[piece.view, piece.b] - a)
    camera = (piece.view + first_view) % intrinsics.shape[0]
    cam = camera_from_row(intrinsics, models, camera)
    g_uv = gain * piece.outward
    if gain != 0.0:
        g_point += wp.transpose(project_jacobian(cam, p)) * g_uv
        if g_intrinsics.shape[0] > 0:
            add_intrinsics_gradient(cam, wp.vec2(p[0] / p[2], p[1] / p[2]), g_uv, camera, g_intrinsics)
    add_edge_gradient(g_point, piece.view, piece.a, piece.b, piece.t, g_cam)
