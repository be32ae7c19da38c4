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

from dr_perception.render.outline.antialias import (
    EdgePoint,
    edge_weights,
    inner_point,
    outer_point,
    ray_of_piece,
)
from dr_perception.render.outline.crossing_sides import inner_weights
from dr_perception.render.outline.piece import Piece
from dr_perception.render.shading.inputs import Lighting, Looks, Poses, Seen, Surfaces
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
def _flush(view: int, k: int, moment: wp.mat33, force: wp.vec3, poses: Poses):
    """Add the sums of one instance: ``moment`` is in camera axes about the origin of the object."""
    if k >= 0:
        wp.atomic_add(poses.R_grad, view, k, moment * poses.R_cam_obj[view, k])
        wp.atomic_add(poses.t_grad, view, k, force)


@wp.kernel(enable_backward=False)
def pull_depth_to_poses(
    seen: Seen,
    mesh: Surfaces,
    span: int,
    g_depth: wp.array3d[float],
    # output
    poses: Poses,
):
    """Gradient of depth at pixel centres."""
    view, y, strip = wp.tid()
    box = seen.boxes[view]
    if y < box[1] or y > box[3]:
        return
    v = seen.viewports[view]
    camera = (view + seen.first_view) % seen.rays.shape[0]
    current = wp.int32(-1)
    t = wp.vec3()
    force = wp.vec3()
    moment = wp.mat33()
    for x in range(wp.max(strip * span, box[0]), wp.min(strip * span + span, box[2] + 1)):
        face = seen.face_index[view, y, x]
        if face >= 0:
            g = g_depth[view, y, x]
            k = mesh.face_instance[face]
            if k != current:
                _flush(view, current, moment, force, poses)
                current = k
                t = poses.t_cam_obj[view, k]
                force = wp.vec3()
                moment = wp.mat33()
            s = face_on_ray(view, mesh.faces[face], ray_of(seen.rays, camera, x + v.x0, y + v.y0), mesh.p_cam)
            if g != 0.0 and not steeper_than(s, EDGE_ON):
                row = (g / s.n_d) * s.n
                force += row
                moment += wp.outer(row, depth_on_ray(s) * s.d - t)
    _flush(view, current, moment, force, poses)


@wp.struct
class SurfacePull:
    """Gradients at a surface point: by displacement along the surface, normal (not normalised) and eye."""

    along: wp.vec3
    normal: wp.vec3
    mixed: wp.vec3
    """The normal itself, before it is normalised."""
    eye: wp.vec3


@wp.struct
class Sight:
    """A point of a face at barycentric weights ``w``, seen along ``d``."""

    face: int
    w: wp.vec3
    d: wp.vec3


@wp.func
def sight(face: int, w: wp.vec3, d: wp.vec3) -> Sight:
    """A point of a face, seen along a ray."""
    at = Sight()
    at.face = face
    at.w = w
    at.d = d
    return at


@wp.func
def _pull_color(
    q: wp.vec3,
    at: Sight,
    view: int,
    camera: int,
    with_eye: int,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
) -> SurfacePull:
    """Gradients of ``q . colour`` at a point of a face."""
    face = at.face
    w = at.w
    d = at.d
    f = mesh.faces[face]
    r = face_on_ray(view, f, d, mesh.p_cam)
    k = mesh.face_instance[face]
    index = mesh.normal_index[face]
    n_a = mesh.n_cam[view, index[0]]
    n_b = mesh.n_cam[view, index[1]]
    n_c = mesh.n_cam[view, index[2]]
    mixed = mix(w, n_a, n_b, n_c)
    length = wp.length(mixed)
    # Where the normals of the corners cancel there is none, and no slope of it.
    by_length = wp.where(length > 0.0, 1.0 / length, 0.0)
    unit = by_length * mixed
    sign = wp.where(r.n_d > 0.0, -1.0, 1.0)
    s = Surface()
    s.normal = sign * unit
    s.eye = -wp.normalize(d)
    s.base = base_color(face, w, k, mesh, looks)
    s.roughness = looks.roughness[k]
    s.metallic = looks.metallic[k]
    s.specular = looks.specular[k]
    slope = shade_slope(s, q, camera, lights, with_eye)
    g_normal = (sign * by_length) * (slope.normal - wp.dot(unit, slope.normal) * unit)
    vertices = mesh.corner_vertex[face]
    c_a = looks.vertex_colors[vertices[0]]
    c_b = looks.vertex_colors[vertices[1]]
    c_c = looks.vertex_colors[vertices[2]]
    g_color = wp.cw_mul(slope.base, looks.albedo[k])
    by_b = wp.dot(g_normal, n_b - n_a)
    by_c = wp.dot(g_normal, n_c - n_a)
    texture = looks.textures[k]
    if texture[1] > 0:
        uv_a = mesh.corner_uv[face, 0]
        uv_b = mesh.corner_uv[face, 1] - uv_a
        uv_c = mesh.corner_uv[face, 2] - uv_a
        uv = uv_a + w[1] * uv_b + w[2] * uv_c
        g_uv = texture_slope(looks.texels, texture, uv, wp.cw_mul(g_color, mix(w, c_a, c_b, c_c)))
        g_color = wp.cw_mul(g_color, sample_texture(looks.texels, texture, uv))
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


@wp.struct
class ShownColor:
    """Colour at the centres of pixels."""

    marks: wp.array3d[int]
    """1 where the slopes next to outlines are done by `transport`; empty without outlines."""
    gradient: wp.array3d[wp.vec3]


@wp.kernel(enable_backward=False)
def pull_color_to_poses(
    seen: Seen,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    span: int,
    shown: ShownColor,
    # output
    poses: Poses,
):
    """Gradient of colour at pixel centres."""
    view, y, strip = wp.tid()
    box = seen.boxes[view]
    if y < box[1] or y > box[3]:
        return
    v = seen.viewports[view]
    camera = (view + seen.first_view) % seen.rays.shape[0]
    current = wp.int32(-1)
    t = wp.vec3()
    force = wp.vec3()
    moment = wp.mat33()
    for x in range(wp.max(strip * span, box[0]), wp.min(strip * span + span, box[2] + 1)):
        face = seen.face_index[view, y, x]
        if face >= 0:
            k = mesh.face_instance[face]
            if k != current:
                _flush(view, current, moment, force, poses)
                current = k
                t = poses.t_cam_obj[view, k]
                force = wp.vec3()
                moment = wp.mat33()
            d = ray_of(seen.rays, camera, x + v.x0, y + v.y0)
            s = face_on_ray(view, mesh.faces[face], d, mesh.p_cam)
            if not steeper_than(s, EDGE_ON):
                held = wp.int32(0)
                if shown.marks.shape[0] > 0:
                    held = shown.marks[view, y, x]
                at = sight(face, weights_on_ray(s), d)
                pull = _pull_color(shown.gradient[view, y, x], at, view, camera, held, mesh, looks, lights)
                point = depth_on_ray(s) * d
                row = (wp.dot(pull.along, d) / s.n_d) * s.n - pull.along
                if held != 0:
                    row = _eye_force(pull.eye, point)
                force += row
                moment += wp.outer(row, point - t) + wp.outer(pull.normal, pull.mixed)
    _flush(view, current, moment, force, poses)


@wp.func
def _pull_side(
    piece: Piece,
    e: EdgePoint,
    q: wp.vec3,
    camera: int,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    poses: Poses,
):
    """Add the gradient of ``q . colour`` beside a piece: at a point of its edge, or the ray of a crossing."""
    view = piece.view
    f = mesh.faces[e.face]
    k = mesh.face_instance[e.face]
    x = mesh.p_cam[view, e.a] + e.t * (mesh.p_cam[view, e.b] - mesh.p_cam[view, e.a])
    w = edge_weights(f, e.a, e.b, e.t)
    if e.crossing != 0:
        x = e.d
        w = inner_weights(x, mesh.p_cam[view, f[0]], mesh.p_cam[view, f[1]], mesh.p_cam[view, f[2]])
    pull = _pull_color(q, sight(e.face, w, x), view, camera, 1 - e.crossing, mesh, looks, lights)
    row = _eye_force(pull.eye, x)
    if e.crossing != 0:
        s = face_on_ray(view, f, x, mesh.p_cam)
        row = (wp.dot(pull.along, x) / s.n_d) * s.n - pull.along
        x = depth_on_ray(s) * x
    moment = wp.outer(row, x - poses.t_cam_obj[view, k]) + wp.outer(pull.normal, pull.mixed)
    _flush(view, k, moment, row, poses)


@wp.struct
class BlendedColor:
    """Colour of pixels that pieces have a share of."""

    near: wp.array[wp.vec3]
    """What `antialias.follow_slopes` found."""
    gradient: wp.array3d[wp.vec3]
    sampled: wp.array3d[wp.vec3]
    """What is left of the gradient for the centres of pixels."""


@wp.kernel(enable_backward=False)
def pull_jumps_to_poses(
    pieces: wp.array[Piece],
    count: wp.array[int],
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    seen: Seen,
    # output
    blended: BlendedColor,
    poses: Poses,
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
    q = piece.area * blended.gradient[view, piece.y, piece.x]
    q_near = wp.vec3()
    if piece.sloped != 0:
        q_near = wp.cw_mul(blended.near[i], q)
        wp.atomic_add(blended.sampled, view, piece.y, piece.x, 2.0 * (q_near - q))
    else:
        wp.atomic_add(blended.sampled, view, piece.y, piece.x, -q)
    d = ray_of_piece(piece, seen)
    camera = (view + seen.first_view) % lights.light_cam.shape[0]
    # A count that is a variable is not unrolled, which keeps the kernel small.
    sides = wp.int32(2)
    for side in range(sides):
        e = inner_point(piece, d)
        weight = wp.where(piece.inside != 0, -q_near, q)
        if side == 1:
            e = outer_point(piece, d)
            weight = wp.where(piece.inside != 0, q, wp.vec3())
        if e.face >= 0 and wp.length_sq(weight) > 0.0:
            _pull_side(piece, e, weight, camera, mesh, looks, lights, poses)
    if piece.inside != 0 and piece.face_out < 0 and piece.back_face < 0 and piece.out_x >= 0:
        wp.atomic_add(blended.sampled, view, piece.out_y, piece.out_x, q)
