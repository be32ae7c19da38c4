"""Kernels that turn visible faces into pixels: depth, silhouette, instance, colour and normal.

`resolve` is written with its adjoint by hand (`resolve_adjoint`); colour and normals use the adjoint that
Warp derives.
"""

import warp as wp

from dr_perception.raster.types import Viewport
from dr_perception.raster.zbuffer import key_face, key_inverse_z
from dr_perception.render.shading.interpolation import (
    EDGE_ON,
    depth_on_ray,
    face_on_ray,
    intersect,
    mix,
    steeper_than,
    weights_on_ray,
)
from dr_perception.render.shading.material import Surface
from dr_perception.render.shading.shade import shade
from dr_perception.render.shading.texture import sample_texture


@wp.func
def ray_of(rays: wp.array3d[wp.vec2], camera: int, x: int, y: int) -> wp.vec3:
    """Ray (x, y, 1) of an image pixel."""
    d = rays[camera, y, x]
    return wp.vec3(d[0], d[1], 1.0)


@wp.func
def step_aside(rays: wp.array3d[wp.vec2], camera: int, x: int, y: int, dx: int, dy: int) -> wp.vec3:
    """From the ray of a pixel to that of a neighbour; beyond the image rays go on as they did.

    Zero across an image of one row or column.
    """
    d = ray_of(rays, camera, x, y)
    if x + dx < 0 or x + dx >= rays.shape[2] or y + dy < 0 or y + dy >= rays.shape[1]:
        u = wp.clamp(x - dx, 0, rays.shape[2] - 1)
        v = wp.clamp(y - dy, 0, rays.shape[1] - 1)
        return d - ray_of(rays, camera, u, v)
    return ray_of(rays, camera, x + dx, y + dy) - d


@wp.func
def base_color(
    face: int,
    w: wp.vec3,
    instance: int,
    corner_vertex: wp.array[wp.vec3i],
    vertex_colors: wp.array[wp.vec3],
    corner_uv: wp.array2d[wp.vec2],
    textures: wp.array[wp.vec3i],
    texels: wp.array[wp.vec3],
    albedo: wp.array[wp.vec3],
) -> wp.vec3:
    """Linear RGB of the material at barycentric weights ``w`` of a face: colours, texture and albedo."""
    vertices = corner_vertex[face]
    color = mix(
        w,
        vertex_colors[vertices[0]],
        vertex_colors[vertices[1]],
        vertex_colors[vertices[2]],
    )
    texture = textures[instance]
    if texture[1] > 0:
        uv = w[0] * corner_uv[face, 0] + w[1] * corner_uv[face, 1] + w[2] * corner_uv[face, 2]
        color = wp.cw_mul(color, sample_texture(texels, texture, uv))
    return wp.cw_mul(color, albedo[instance])


@wp.func
def shading_normal(
    face: int,
    w: wp.vec3,
    d: wp.vec3,
    a: wp.vec3,
    b: wp.vec3,
    c: wp.vec3,
    normal_index: wp.array[wp.vec3i],
    n_cam: wp.array2d[wp.vec3],
    view: int,
) -> wp.vec3:
    """Interpolated unit normal, turned to the side of the face that the ray ``d`` sees."""
    index = normal_index[face]
    n = wp.normalize(mix(w, n_cam[view, index[0]], n_cam[view, index[1]], n_cam[view, index[2]]))
    sign = 1.0
    if wp.dot(wp.cross(b - a, c - a), d) > 0.0:
        sign = -1.0
    return sign * n


@wp.kernel(enable_backward=False)
def resolve(
    keys: wp.array3d[wp.uint64],
    face_instance: wp.array[int],
    boxes: wp.array[wp.vec4i],
    span: int,
    # output
    face_index: wp.array3d[int],
    depth: wp.array3d[float],
    depth_image: wp.array3d[float],
    silhouette: wp.array3d[float],
    instance: wp.array3d[int],
):
    """Face, depth along z [m], coverage at the centre and instance of every pixel that shows a face.

    The others keep what they have; so do empty images. A thread works through ``span`` pixels of a row, as
    far as they lie in the box of the view.
    """
    view, y, strip = wp.tid()
    box = boxes[view]
    if y < box[1] or y > box[3]:
        return
    x = wp.max(strip * span, box[0])
    last = wp.min(strip * span + span - 1, box[2])
    while x <= last:
        key = keys[view, y, x]
        face = key_face(key)
        if face >= 0:
            z = 1.0 / key_inverse_z(key)
            face_index[view, y, x] = face
            depth[view, y, x] = z
            if depth_image.shape[0] > 0:
                depth_image[view, y, x] = z
            if silhouette.shape[0] > 0:
                silhouette[view, y, x] = 1.0
            if instance.shape[0] > 0:
                instance[view, y, x] = face_instance[face]
        x += 1


@wp.kernel(enable_backward=False)
def resolve_adjoint(
    face_index: wp.array3d[int],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
    p_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    first_view: int,
    g_depth: wp.array3d[float],
    # output
    g_cam: wp.array2d[wp.vec3],
    g_rays: wp.array3d[wp.vec2],
):
    """Depth gradients to vertices and rays: ``dz/dv_i = b_i n / (n.d)`` and ``dz/dd = -z n / (n.d)``."""
    view, y, x = wp.tid()
    face = face_index[view, y, x]
    if face < 0:
        return
    g = g_depth[view, y, x]
    if g == 0.0:
        return
    f = faces[face]
    v = viewports[view]
    camera = (view + first_view) % rays.shape[0]
    s = face_on_ray(view, f, ray_of(rays, camera, x + v.x0, y + v.y0), p_cam)
    if steeper_than(s, EDGE_ON):
        return
    w = weights_on_ray(s)
    row = (g / s.n_d) * s.n
    for i in range(3):
        wp.atomic_add(g_cam, view, f[i], w[i] * row)
    if g_rays.shape[0] > 0:
        z = depth_on_ray(s)
        wp.atomic_add(g_rays, camera, y + v.y0, x + v.x0, wp.vec2(-z * row[0], -z * row[1]))


@wp.func
def hold(w: wp.vec3) -> wp.vec3:
    """The same weights, without a gradient: a point that moves with its face."""
    return 1.0 * w


@wp.func_grad(hold)
def _hold_grad(w: wp.vec3, adj_ret: wp.vec3):
    wp.adjoint[w] += 0.0 * adj_ret


@wp.func
def surface_color(
    view: int,
    camera: int,
    face: int,
    w: wp.vec3,
    d: wp.vec3,
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
    """Linear RGB at barycentric weights ``w`` of a face, seen along ``d``."""
    f = faces[face]
    a = p_cam[view, f[0]]
    b = p_cam[view, f[1]]
    c = p_cam[view, f[2]]
    k = face_instance[face]
    s = Surface()
    s.normal = shading_normal(face, w, d, a, b, c, normal_index, n_cam, view)
    s.eye = -wp.normalize(d)
    s.base = base_color(face, w, k, corner_vertex, vertex_colors, corner_uv, textures, texels, albedo)
    s.roughness = roughness[k]
    s.metallic = metallic[k]
    s.specular = specular[k]
    return shade(s, camera, ambient, light_cam, light_colors, harmonics, R_world_cam)


@wp.func
def _pixel_color(
    view: int,
    y: int,
    x: int,
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
    background: wp.array3d[wp.vec3],
    first_view: int,
    marks: wp.array3d[int],
) -> wp.vec3:
    face = face_index[view, y, x]
    camera = (view + first_view) % rays.shape[0]
    v = viewports[view]
    if face < 0:
        row = wp.min(y + v.y0, background.shape[1] - 1)
        column = wp.min(x + v.x0, background.shape[2] - 1)
        return background[wp.min(camera, background.shape[0] - 1), row, column]
    d = ray_of(rays, camera, x + v.x0, y + v.y0)
    f = faces[face]
    a = p_cam[view, f[0]]
    b = p_cam[view, f[1]]
    c = p_cam[view, f[2]]
    hit = intersect(d, a, b, c)
    w = wp.vec3(hit[0], hit[1], hit[2])
    if marks.shape[0] > 0:
        if marks[view, y, x] != 0:
            w = hold(w)
            d = mix(w, a, b, c)
    return surface_color(
        view, camera, face, w, d, p_cam, n_cam, faces, normal_index, face_instance, corner_vertex,
        vertex_colors, corner_uv, textures, texels, albedo, roughness, metallic, specular, ambient, light_cam,
        light_colors, harmonics, R_world_cam,
    )  # fmt: skip


@wp.kernel
def shade_pixels(
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
    background: wp.array3d[wp.vec3],
    first_view: int,
    marks: wp.array3d[int],
    # output
    color: wp.array3d[wp.vec3],
):
    """Linear RGB of every pixel."""
    view, y, x = wp.tid()
    color[view, y, x] = _pixel_color(
        view, y, x, face_index, rays, viewports, p_cam, n_cam, faces, normal_index, face_instance,
        corner_vertex,
        vertex_colors, corner_uv, textures, texels, albedo, roughness, metallic, specular, ambient,
        light_cam, light_colors, harmonics, R_world_cam, background, first_view, marks,
    )  # fmt: skip


@wp.kernel(enable_backward=False)
def shade_strips(
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
    background: wp.array3d[wp.vec3],
    first_view: int,
    boxes: wp.array[wp.vec4i],
    span: int,
    marks: wp.array3d[int],
    # output
    color: wp.array3d[wp.vec3],
):
    """Linear RGB of every pixel that shows a face, as `shade_pixels`, which has an adjoint.

    A thread works through ``span`` pixels of a row, as far as they lie in the box of the view.
    """
    view, y, strip = wp.tid()
    box = boxes[view]
    if y < box[1] or y > box[3]:
        return
    x = wp.max(strip * span, box[0])
    last = wp.min(strip * span + span - 1, box[2])
    while x <= last:
        if face_index[view, y, x] >= 0:
            color[view, y, x] = _pixel_color(
                view, y, x, face_index, rays, viewports, p_cam, n_cam, faces, normal_index, face_instance,
                corner_vertex,
                vertex_colors, corner_uv, textures, texels, albedo, roughness, metallic, specular, ambient,
                light_cam, light_colors, harmonics, R_world_cam, background, first_view, marks,
            )  # fmt: skip
        x += 1


@wp.kernel(enable_backward=False)
def fill_background(
    background: wp.array3d[wp.vec3],
    viewports: wp.array[Viewport],
    first_view: int,
    span: int,
    # output
    color: wp.array3d[wp.vec3],
):
    """The background in every pixel of every view, ``span`` pixels of a row a thread."""
    view, y, strip = wp.tid()
    v = viewports[view]
    camera = wp.min((view + first_view) % background.shape[0], background.shape[0] - 1)
    row = wp.min(y + v.y0, background.shape[1] - 1)
    x = strip * span
    last = wp.min(x + span, color.shape[2])
    if background.shape[2] == 1:
        constant = background[camera, row, 0]
        while x < last:
            color[view, y, x] = constant
            x += 1
    else:
        while x < last:
            color[view, y, x] = background[camera, row, wp.min(x + v.x0, background.shape[2] - 1)]
            x += 1


@wp.kernel
def shade_normals(
    face_index: wp.array3d[int],
    rays: wp.array3d[wp.vec2],
    viewports: wp.array[Viewport],
    p_cam: wp.array2d[wp.vec3],
    n_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    normal_index: wp.array[wp.vec3i],
    first_view: int,
    marks: wp.array3d[int],
    # output
    normal: wp.array3d[wp.vec3],
):
    """Unit shading normal of every pixel in the camera frame; zero where there is nothing."""
    view, y, x = wp.tid()
    face = face_index[view, y, x]
    if face < 0:
        normal[view, y, x] = wp.vec3(0.0, 0.0, 0.0)
        return
    v = viewports[view]
    d = ray_of(rays, (view + first_view) % rays.shape[0], x + v.x0, y + v.y0)
    f = faces[face]
    a = p_cam[view, f[0]]
    b = p_cam[view, f[1]]
    c = p_cam[view, f[2]]
    hit = intersect(d, a, b, c)
    w = wp.vec3(hit[0], hit[1], hit[2])
    if marks.shape[0] > 0:
        if marks[view, y, x] != 0:
            w = hold(w)
    normal[view, y, x] = shading_normal(face, w, d, a, b, c, normal_index, n_cam, view)
