"""Image gradients straight to poses: a few sums a row of pixels instead of a scatter to vertices.

A rigid object moves each point ``X`` of its surface by ``v + w x (X - t)``. With ``f`` the gradient with
respect to the displacement of the surface point that a pixel sees, all that a pose needs are the sums of
``f`` and of ``f (X - t)^T``.

- Depth: ``f = g n / (n.d)`` (the row of DESIGN section 4).
- Colour: a displacement ``u`` slides the surface under the fixed ray by ``d (n.u) / (n.d) - u``; with ``G``
  the gradient of the weighted colour over the surface, ``f = n (G.d) / (n.d) - G``. Rotation also turns the
  normals.

A thread works through a strip of pixels: whole rows on the CPU, one pixel on a GPU.
"""

import warp as wp

from dr_perception.raster.types import Viewport
from dr_perception.render.outline.antialias import _edge_weights
from dr_perception.render.outline.crossing_sides import inner_weights, middle_ray
from dr_perception.render.outline.piece import Piece
from dr_perception.render.shading.interpolation import (
    EDGE_ON,
    depth_on_ray,
    face_on_ray,
    mix,
    steeper_than,
    weights_on_ray,
)
from dr_perception.render.shading.material import Surface
from dr_perception.render.shading.shade_slope import shade_slope
from dr_perception.render.shading.surface import base_color, ray_of
from dr_perception.render.shading.texture import sample_texture, texture_slope


@wp.func
def _flush(
    view: int,
    k: int,
    moment: wp.mat33,
    force: wp.vec3,
    R_cam_obj: wp.array2d[wp.mat33],
    R_grad: wp.array2d[wp.mat33],
    t_grad: wp.array2d[wp.vec3],
):
    """Add the sums of one instance: ``moment`` is in camera axes about the origin of the object."""
    if k >= 0:
        wp.atomic_add(R_grad, view, k, moment * R_cam_obj[view, k])
        wp.atomic_add(t_grad, view, k, force)


@wp.kernel(enable_backward=False)
def pull_depth_to_poses(
    face_index: wp.array3d[int],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
    p_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    face_instance: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    first_view: int,
    boxes: wp.array[wp.vec4i],
    span: int,
    g_depth: wp.array3d[float],
    # output
    R_grad: wp.array2d[wp.mat33],
    t_grad: wp.array2d[wp.vec3],
):
    """Gradient of depth at pixel centres."""
    view, y, strip = wp.tid()
    box = boxes[view]
    if y < box[1] or y > box[3]:
        return
    v = viewports[view]
    camera = (view + first_view) % rays.shape[0]
    current = wp.int32(-1)
    t = wp.vec3()
    force = wp.vec3()
    moment = wp.mat33()
    for x in range(wp.max(strip * span, box[0]), wp.min(strip * span + span, box[2] + 1)):
        face = face_index[view, y, x]
        if face >= 0:
            g = g_depth[view, y, x]
            k = face_instance[face]
            if k != current:
                _flush(view, current, moment, force, R_cam_obj, R_grad, t_grad)
                current = k
                t = t_cam_obj[view, k]
                force = wp.vec3()
                moment = wp.mat33()
            s = face_on_ray(view, faces[face], ray_of(rays, camera, x + v.x0, y + v.y0), p_cam)
            if g != 0.0 and not steeper_than(s, EDGE_ON):
                row = (g / s.n_d) * s.n
                force += row
                moment += wp.outer(row, depth_on_ray(s) * s.d - t)
    _flush(view, current, moment, force, R_cam_obj, R_grad, t_grad)


@wp.struct
class SurfacePull:
    """Gradients at a surface point: by displacement along the surface, normal (not normalised) and eye."""

    along: wp.vec3
    normal: wp.vec3
    mixed: wp.vec3
    """The normal itself, before it is normalised."""
    eye: wp.vec3


@wp.func
def _pull_color(
    q: wp.vec3,
    face: int,
    w: wp.vec3,
    d: wp.vec3,
    view: int,
    camera: int,
    with_eye: int,
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
) -> SurfacePull:
    """Gradients of ``q . colour`` at barycentric weights ``w`` of a face, seen along ``d``."""
    f = faces[face]
    r = face_on_ray(view, f, d, p_cam)
    k = face_instance[face]
    index = normal_index[face]
    n_a = n_cam[view, index[0]]
    n_b = n_cam[view, index[1]]
    n_c = n_cam[view, index[2]]
    mixed = mix(w, n_a, n_b, n_c)
    length = wp.length(mixed)
    # Where the normals of the corners cancel there is none, and no slope of it.
    by_length = wp.where(length > 0.0, 1.0 / length, 0.0)
    unit = by_length * mixed
    sign = wp.where(r.n_d > 0.0, -1.0, 1.0)
    s = Surface()
    s.normal = sign * unit
    s.eye = -wp.normalize(d)
    s.base = base_color(face, w, k, corner_vertex, vertex_colors, corner_uv, textures, texels, albedo)
    s.roughness = roughness[k]
    s.metallic = metallic[k]
    s.specular = specular[k]
    slope = shade_slope(s, q, camera, ambient, light_cam, light_colors, harmonics, R_world_cam, with_eye)
    g_normal = (sign * by_length) * (slope.normal - wp.dot(unit, slope.normal) * unit)
    vertices = corner_vertex[face]
    c_a = vertex_colors[vertices[0]]
    c_b = vertex_colors[vertices[1]]
    c_c = vertex_colors[vertices[2]]
    g_color = wp.cw_mul(slope.base, albedo[k])
    by_b = wp.dot(g_normal, n_b - n_a)
    by_c = wp.dot(g_normal, n_c - n_a)
    texture = textures[k]
    if texture[1] > 0:
        uv_a = corner_uv[face, 0]
        uv_b = corner_uv[face, 1] - uv_a
        uv_c = corner_uv[face, 2] - uv_a
        uv = uv_a + w[1] * uv_b + w[2] * uv_c
        g_uv = texture_slope(texels, texture, uv, wp.cw_mul(g_color, mix(w, c_a, c_b, c_c)))
        g_color = wp.cw_mul(g_color, sample_texture(texels, texture, uv))
        by_b += wp.dot(g_uv, uv_b)
        by_c += wp.dot(g_uv, uv_c)
    by_b += wp.dot(g_color, c_b - c_a)
    by_c += wp.dot(g_color, c_c - c_a)
    out = SurfacePull()
    out.along = (by_b * wp.cross(r.e2, r.n) + by_c * wp.cross(r.n, r.e1)) / wp.dot(r.n, r.n)
    out.normal = g_normal
    out.mixed = mixed
    out.eye = slope.eye
    return out


@wp.func
def _eye_force(g_eye: wp.vec3, x: wp.vec3) -> wp.vec3:
    """Gradient with respect to a surface point of what depends on the direction from it to the eye."""
    length = wp.length(x)
    return ((wp.dot(g_eye, x) / (length * length)) * x - g_eye) / length


@wp.kernel(enable_backward=False)
def pull_color_to_poses(
    face_index: wp.array3d[int],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
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
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    first_view: int,
    boxes: wp.array[wp.vec4i],
    span: int,
    marks: wp.array3d[int],
    g_color: wp.array3d[wp.vec3],
    # output
    R_grad: wp.array2d[wp.mat33],
    t_grad: wp.array2d[wp.vec3],
):
    """Gradient of colour at pixel centres."""
    view, y, strip = wp.tid()
    box = boxes[view]
    if y < box[1] or y > box[3]:
        return
    v = viewports[view]
    camera = (view + first_view) % rays.shape[0]
    current = wp.int32(-1)
    t = wp.vec3()
    force = wp.vec3()
    moment = wp.mat33()
    for x in range(wp.max(strip * span, box[0]), wp.min(strip * span + span, box[2] + 1)):
        face = face_index[view, y, x]
        if face >= 0:
            k = face_instance[face]
            if k != current:
                _flush(view, current, moment, force, R_cam_obj, R_grad, t_grad)
                current = k
                t = t_cam_obj[view, k]
                force = wp.vec3()
                moment = wp.mat33()
            d = ray_of(rays, camera, x + v.x0, y + v.y0)
            s = face_on_ray(view, faces[face], d, p_cam)
            if not steeper_than(s, EDGE_ON):
                held = wp.int32(0)
                if marks.shape[0] > 0:
                    held = marks[view, y, x]
                pull = _pull_color(
                    g_color[view, y, x], face, weights_on_ray(s), d, view, camera, held, p_cam, n_cam, faces,
                    normal_index, face_instance, corner_vertex, vertex_colors, corner_uv, textures, texels,
                    albedo, roughness, metallic, specular, ambient, light_cam, light_colors, harmonics,
                    R_world_cam,
                )  # fmt: skip
                point = depth_on_ray(s) * d
                row = (wp.dot(pull.along, d) / s.n_d) * s.n - pull.along
                if held != 0:
                    row = _eye_force(pull.eye, point)
                force += row
                moment += wp.outer(row, point - t) + wp.outer(pull.normal, pull.mixed)
    _flush(view, current, moment, force, R_cam_obj, R_grad, t_grad)


@wp.func
def _weights_inside(view: int, f: wp.vec3i, d: wp.vec3, p_cam: wp.array2d[wp.vec3]) -> wp.vec3:
    return inner_weights(d, p_cam[view, f[0]], p_cam[view, f[1]], p_cam[view, f[2]])


@wp.kernel(enable_backward=False)
def pull_jumps_to_poses(
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
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
    first_view: int,
    near: wp.array[wp.vec3],
    g_color: wp.array3d[wp.vec3],
    # output
    g_sampled: wp.array3d[wp.vec3],
    R_grad: wp.array2d[wp.mat33],
    t_grad: wp.array2d[wp.vec3],
):
    """Gradient of the colours that pieces give to pixels; those at an edge move with the surface.

    Where surfaces cross they are those of a fixed ray.

    Adjoint of `antialias.color_jumps`, `follow_slopes` and `blend_vectors`.
    """
    i = wp.tid()
    if i >= count[0]:
        return
    piece = pieces[i]
    view = piece.view
    q = piece.area * g_color[view, piece.y, piece.x]
    q_near = wp.vec3()
    if piece.sloped != 0:
        q_near = wp.cw_mul(near[i], q)
        wp.atomic_add(g_sampled, view, piece.y, piece.x, 2.0 * (q_near - q))
    else:
        wp.atomic_add(g_sampled, view, piece.y, piece.x, -q)
    camera = (view + first_view) % light_cam.shape[0]
    for side in range(2):
        face = piece.face
        weight = wp.where(piece.inside != 0, -q_near, q)
        a = piece.a
        b = piece.b
        along = piece.t
        if side == 1:
            face = wp.where(piece.inside != 0, piece.face_out, -1)
            weight = q
            if piece.inside != 0 and piece.back_face >= 0:
                face = piece.back_face
                a = piece.back_a
                b = piece.back_b
                along = piece.back_t
        if face >= 0 and wp.length_sq(weight) > 0.0:
            k = face_instance[face]
            x = p_cam[view, a] + along * (p_cam[view, b] - p_cam[view, a])
            w = _edge_weights(faces[face], a, b, along)
            if piece.crossing != 0:
                x = middle_ray(piece, rays, viewports[view], camera)
                w = _weights_inside(view, faces[face], x, p_cam)
            pull = _pull_color(
                weight, face, w, x, view, camera, 1 - piece.crossing, p_cam, n_cam, faces, normal_index,
                face_instance, corner_vertex, vertex_colors, corner_uv, textures, texels, albedo, roughness,
                metallic, specular, ambient, light_cam, light_colors, harmonics, R_world_cam,
            )  # fmt: skip
            row = _eye_force(pull.eye, x)
            if piece.crossing != 0:
                s = face_on_ray(view, faces[face], x, p_cam)
                row = (wp.dot(pull.along, x) / s.n_d) * s.n - pull.along
                x = depth_on_ray(s) * x
            moment = wp.outer(row, x - t_cam_obj[view, k]) + wp.outer(pull.normal, pull.mixed)
            _flush(view, k, moment, row, R_cam_obj, R_grad, t_grad)
    if piece.inside != 0 and piece.face_out < 0 and piece.back_face < 0 and piece.out_x >= 0:
        wp.atomic_add(g_sampled, view, piece.out_y, piece.out_x, q)
