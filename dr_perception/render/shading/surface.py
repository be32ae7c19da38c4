"""Kernels that turn visible faces into pixels: depth, silhouette, instance, colour and normal.

`resolve` is written with its adjoint by hand (`resolve_adjoint`); colour and normals use the adjoint that
Warp derives.
"""

import warp as wp

from dr_perception.raster.types import Viewport
from dr_perception.raster.zbuffer import key_face, key_inverse_z
from dr_perception.render.shading.inputs import Lighting, Looks, Seen, Surfaces
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
    mesh: Surfaces,
    looks: Looks,
) -> wp.vec3:
    """Linear RGB of the material at barycentric weights ``w`` of a face: colours, texture and albedo."""
    vertices = mesh.corner_vertex[face]
    color = mix(
        w,
        looks.vertex_colors[vertices[0]],
        looks.vertex_colors[vertices[1]],
        looks.vertex_colors[vertices[2]],
    )
    texture = looks.textures[instance]
    if texture[1] > 0:
        uv = w[0] * mesh.corner_uv[face, 0] + w[1] * mesh.corner_uv[face, 1] + w[2] * mesh.corner_uv[face, 2]
        color = wp.cw_mul(color, sample_texture(looks.texels, texture, uv))
    return wp.cw_mul(color, looks.albedo[instance])


@wp.func
def shading_normal(
    face: int,
    w: wp.vec3,
    d: wp.vec3,
    a: wp.vec3,
    b: wp.vec3,
    c: wp.vec3,
    mesh: Surfaces,
    view: int,
) -> wp.vec3:
    """Interpolated unit normal, turned to the side of the face that the ray ``d`` sees."""
    index = mesh.normal_index[face]
    n = wp.normalize(
        mix(w, mesh.n_cam[view, index[0]], mesh.n_cam[view, index[1]], mesh.n_cam[view, index[2]])
    )
    sign = 1.0
    if wp.dot(wp.cross(b - a, c - a), d) > 0.0:
        sign = -1.0
    return sign * n


@wp.kernel(enable_backward=False)
def resolve(
    keys: wp.array3d[wp.uint64],
    face_instance: wp.array[int],
    seen: Seen,
    span: int,
    # output
    depth_image: wp.array3d[float],
    silhouette: wp.array3d[float],
    instance: wp.array3d[int],
):
    """Face, depth along z [m], coverage at the centre and instance of every pixel that shows a face.

    The others keep what they have; so do empty images. A thread works through ``span`` pixels of a row, as
    far as they lie in the box of the view.
    """
    view, y, strip = wp.tid()
    box = seen.boxes[view]
    if y < box[1] or y > box[3]:
        return
    x = wp.max(strip * span, box[0])
    last = wp.min(strip * span + span - 1, box[2])
    while x <= last:
        key = keys[view, y, x]
        face = key_face(key)
        if face >= 0:
            z = 1.0 / key_inverse_z(key)
            seen.face_index[view, y, x] = face
            seen.depth[view, y, x] = z
            if depth_image.shape[0] > 0:
                depth_image[view, y, x] = z
            if silhouette.shape[0] > 0:
                silhouette[view, y, x] = 1.0
            if instance.shape[0] > 0:
                instance[view, y, x] = face_instance[face]
        x += 1


@wp.kernel(enable_backward=False)
def resolve_adjoint(
    seen: Seen,
    mesh: Surfaces,
    g_depth: wp.array3d[float],
    # output
    g_cam: wp.array2d[wp.vec3],
    g_rays: wp.array3d[wp.vec2],
):
    """Depth gradients to vertices and rays: ``dz/dv_i = b_i n / (n.d)`` and ``dz/dd = -z n / (n.d)``."""
    view, y, x = wp.tid()
    face = seen.face_index[view, y, x]
    if face < 0:
        return
    g = g_depth[view, y, x]
    if g == 0.0:
        return
    f = mesh.faces[face]
    v = seen.viewports[view]
    camera = (view + seen.first_view) % seen.rays.shape[0]
    s = face_on_ray(view, f, ray_of(seen.rays, camera, x + v.x0, y + v.y0), mesh.p_cam)
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
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
) -> wp.vec3:
    """Linear RGB at barycentric weights ``w`` of a face, seen along ``d``."""
    f = mesh.faces[face]
    a = mesh.p_cam[view, f[0]]
    b = mesh.p_cam[view, f[1]]
    c = mesh.p_cam[view, f[2]]
    k = mesh.face_instance[face]
    s = Surface()
    s.normal = shading_normal(face, w, d, a, b, c, mesh, view)
    s.eye = -wp.normalize(d)
    s.base = base_color(face, w, k, mesh, looks)
    s.roughness = looks.roughness[k]
    s.metallic = looks.metallic[k]
    s.specular = looks.specular[k]
    return shade(
        s, camera, lights.ambient, lights.light_cam, lights.light_colors, lights.harmonics, lights.R_world_cam
    )


@wp.func
def _pixel_color(
    view: int,
    y: int,
    x: int,
    seen: Seen,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    marks: wp.array3d[int],
) -> wp.vec3:
    face = seen.face_index[view, y, x]
    camera = (view + seen.first_view) % seen.rays.shape[0]
    v = seen.viewports[view]
    if face < 0:
        row = wp.min(y + v.y0, lights.background.shape[1] - 1)
        column = wp.min(x + v.x0, lights.background.shape[2] - 1)
        return lights.background[wp.min(camera, lights.background.shape[0] - 1), row, column]
    d = ray_of(seen.rays, camera, x + v.x0, y + v.y0)
    f = mesh.faces[face]
    a = mesh.p_cam[view, f[0]]
    b = mesh.p_cam[view, f[1]]
    c = mesh.p_cam[view, f[2]]
    hit = intersect(d, a, b, c)
    w = wp.vec3(hit[0], hit[1], hit[2])
    if marks.shape[0] > 0:
        if marks[view, y, x] != 0:
            w = hold(w)
            d = mix(w, a, b, c)
    return surface_color(view, camera, face, w, d, mesh, looks, lights)  # fmt: skip


@wp.kernel
def shade_pixels(
    seen: Seen,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    marks: wp.array3d[int],
    # output
    color: wp.array3d[wp.vec3],
):
    """Linear RGB of every pixel."""
    view, y, x = wp.tid()
    color[view, y, x] = _pixel_color(view, y, x, seen, mesh, looks, lights, marks)  # fmt: skip


@wp.kernel(enable_backward=False)
def shade_strips(
    seen: Seen,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    span: int,
    marks: wp.array3d[int],
    # output
    color: wp.array3d[wp.vec3],
):
    """Linear RGB of every pixel that shows a face, as `shade_pixels`, which has an adjoint.

    A thread works through ``span`` pixels of a row, as far as they lie in the box of the view.
    """
    view, y, strip = wp.tid()
    box = seen.boxes[view]
    if y < box[1] or y > box[3]:
        return
    x = wp.max(strip * span, box[0])
    last = wp.min(strip * span + span - 1, box[2])
    while x <= last:
        if seen.face_index[view, y, x] >= 0:
            color[view, y, x] = _pixel_color(view, y, x, seen, mesh, looks, lights, marks)  # fmt: skip
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
    seen: Seen,
    mesh: Surfaces,
    marks: wp.array3d[int],
    # output
    normal: wp.array3d[wp.vec3],
):
    """Unit shading normal of every pixel in the camera frame; zero where there is nothing."""
    view, y, x = wp.tid()
    face = seen.face_index[view, y, x]
    if face < 0:
        normal[view, y, x] = wp.vec3(0.0, 0.0, 0.0)
        return
    v = seen.viewports[view]
    d = ray_of(seen.rays, (view + seen.first_view) % seen.rays.shape[0], x + v.x0, y + v.y0)
    f = mesh.faces[face]
    a = mesh.p_cam[view, f[0]]
    b = mesh.p_cam[view, f[1]]
    c = mesh.p_cam[view, f[2]]
    hit = intersect(d, a, b, c)
    w = wp.vec3(hit[0], hit[1], hit[2])
    if marks.shape[0] > 0:
        if marks[view, y, x] != 0:
            w = hold(w)
    normal[view, y, x] = shading_normal(face, w, d, a, b, c, mesh, view)
