"""Derivative of pixels next to an outline: what the motion of the surface carries into and out of them.

Towards an outline a surface turns away from the eye, so that shading changes over it as the square root of
the distance on the image: its slope at a pixel's centre has no finite variance, and facets thinner than a
pixel add their own lottery. The integral of the slope over a pixel is harmless. With ``u`` the motion of the
surface point on the image and ``c`` an attribute,

    d/dt int c = int (Dc/Dt - u . grad c) + boundary of `antialias.boundary_adjoint`,

where ``Dc/Dt`` follows the point and is taken at the centre, and the integral of ``grad c`` is exact along
the pixel's middle row and column: the attribute where the sheet of surface leaves minus where it enters,
found by walking over its faces (`sheet_walk`). Averaged over sub-pixel places this is the integral over the
pixel.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project_jacobian
from dr_perception.render.outline.piece import Piece
from dr_perception.render.outline.probe import touches
from dr_perception.render.outline.sheet_walk import SheetPoint, clamped_weights, walk_sheet
from dr_perception.render.scene.intrinsics import add_intrinsics_gradient, camera_from_row
from dr_perception.render.shading.inputs import ImageGradients, Lighting, Looks, Pulled, Seen, Surfaces
from dr_perception.render.shading.interpolation import face_on_ray, mix, plane_depth, steeper_than
from dr_perception.render.shading.surface import ray_of, shading_normal, step_aside, surface_color

wp.set_module_options({"enable_backward": False})

_SAME_DEPTH = wp.constant(5.0e-3)
"""Share of the depth by which a walk may miss what a pixel shows and still have found it."""
_STEEP = wp.constant(0.12)
"""Squared cosine between ray and normal below which surface next to an outline counts as steep (70 degrees).

On a ball of R pixels that is its outermost 0.06 R.
"""
_HALF = wp.constant(0.4999)
"""Distance of a side from the centre, less than which a sheet reaches into the pixel."""


@wp.kernel(enable_backward=False)
def mark_outline(
    pieces: wp.array[Piece],
    count: wp.array[int],
    seen: Seen,
    mesh: Surfaces,
    # output
    marks: wp.array3d[int],
):
    """Mark the pixels of outlines, and those around them that show steep surface."""
    i = wp.tid()
    if i >= count[0]:
        return
    p = pieces[i]
    if p.face_out >= 0:
        return
    v = seen.viewports[p.view]
    camera = (p.view + seen.first_view) % seen.rays.shape[0]
    for y in range(wp.max(p.y - 1, 0), wp.min(p.y + 2, marks.shape[1])):
        for x in range(wp.max(p.x - 1, 0), wp.min(p.x + 2, marks.shape[2])):
            if x == p.x and y == p.y:
                marks[p.view, y, x] = 1
            elif marks[p.view, y, x] == 0:
                face = seen.face_index[p.view, y, x]
                if face >= 0:
                    d = ray_of(seen.rays, camera, x + v.x0, y + v.y0)
                    if steeper_than(face_on_ray(p.view, mesh.faces[face], d, mesh.p_cam), _STEEP):
                        marks[p.view, y, x] = 1


@wp.func
def _point(
    p: SheetPoint,
    view: int,
    mesh: Surfaces,
) -> wp.vec3:
    f = mesh.faces[p.face]
    return mix(p.w, mesh.p_cam[view, f[0]], mesh.p_cam[view, f[1]], mesh.p_cam[view, f[2]])


@wp.struct
class PixelGradient:
    """Gradients of the loss with respect to the images at one pixel."""

    has_color: int
    has_normal: int
    color: wp.vec3
    normal: wp.vec3
    depth: float


@wp.func
def _pixel_gradient(
    view: int,
    y: int,
    x: int,
    g: ImageGradients,
) -> PixelGradient:
    q = PixelGradient()
    if g.color.shape[0] > 0:
        q.color = g.color[view, y, x]
        q.has_color = 1
    if g.normal.shape[0] > 0:
        q.normal = g.normal[view, y, x]
        q.has_normal = 1
    if g.depth.shape[0] > 0:
        q.depth = g.depth[view, y, x]
    return q


@wp.func
def _weighted(
    p: SheetPoint,
    q: PixelGradient,
    view: int,
    camera: int,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
) -> float:
    """Attributes at a point of a sheet, weighted with the gradients of the pixel."""
    x = _point(p, view, mesh)
    total = q.depth * x[2]
    if q.has_color != 0:
        color = surface_color(view, camera, p.face, p.w, x, mesh, looks, lights)  # fmt: skip
        total += wp.dot(q.color, color)
    if q.has_normal != 0:
        f = mesh.faces[p.face]
        n = shading_normal(
            p.face, p.w, x, mesh.p_cam[view, f[0]], mesh.p_cam[view, f[1]], mesh.p_cam[view, f[2]], mesh, view
        )
        total += wp.dot(q.normal, n)
    return total


@wp.struct
class Walk:
    """A walk over a sheet: first face (-1 for no walk), ray to start from, step, and share of it to go."""

    face: int
    origin: wp.vec3
    step: wp.vec3
    limit: float


@wp.struct
class EndOfWalk:
    """Where a walk ended, and the weighted attributes there."""

    point: SheetPoint
    value: float


@wp.func
def _follow(
    walk: Walk,
    q: PixelGradient,
    view: int,
    camera: int,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
) -> EndOfWalk:
    """Attributes at the end of a walk, less their jumps at creases."""
    out = EndOfWalk()
    creases = wp.max(q.has_color, q.has_normal)
    face = walk.face
    at = float(0.0)
    after = wp.int32(0)
    walking = bool(True)
    while walking:
        p = SheetPoint()
        p.face = face
        p.beyond = face
        if after == 0:
            p = walk_sheet(view, face, walk.origin, walk.step, at, walk.limit, creases, mesh)
        else:
            f = mesh.faces[face]
            p.w = clamped_weights(
                walk.origin + at * walk.step,
                mesh.p_cam[view, f[0]],
                mesh.p_cam[view, f[1]],
                mesh.p_cam[view, f[2]],
            )
        value = _weighted(p, q, view, camera, mesh, looks, lights)  # fmt: skip
        out.value += wp.where(after == 0, value, -value)
        walking = p.beyond >= 0 and at < walk.limit
        if after == 0:
            at = p.at
            out.point = p
            face = p.beyond
        after = 1 - after
    return out


@wp.func
def _add_motion(
    p: SheetPoint,
    g_uv: wp.vec2,
    g_z: float,
    view: int,
    camera: int,
    cam: CameraParams,
    mesh: Surfaces,
    pulled: Pulled,
):
    """Send the gradient with respect to the image position (and depth) of a surface point to its vertices."""
    x = _point(p, view, mesh)
    g = wp.transpose(project_jacobian(cam, x)) * g_uv + wp.vec3(0.0, 0.0, g_z)
    f = mesh.faces[p.face]
    for i in range(3):
        wp.atomic_add(pulled.cam, view, f[i], p.w[i] * g)
    if pulled.intrinsics.shape[0] > 0:
        add_intrinsics_gradient(cam, wp.vec2(x[0] / x[2], x[1] / x[2]), g_uv, camera, pulled.intrinsics)


@wp.func
def _same_sheet(
    p: SheetPoint,
    z: float,
    face: int,
    depth: float,
    mesh: Surfaces,
) -> bool:
    """Whether a walk to the centre of a pixel has found what the pixel shows."""
    if p.arrived == 0 or face < 0:
        return False
    if touches(p.face, face, mesh.neighbors):
        return True
    return mesh.face_instance[p.face] == mesh.face_instance[face] and wp.abs(z - depth) < _SAME_DEPTH * depth


@wp.struct
class Reach:
    """How far the sheets of a pixel and of its neighbour reach between the two centres, from 0 to 1."""

    own: float
    """Where the sheet that the pixel shows ends or is hidden."""
    other: float
    """Where the sheet that the neighbour shows begins; 1 if it is the same one or there is none."""


@wp.func
def _reach(
    view: int,
    own: int,
    d: wp.vec3,
    step: wp.vec3,
    other: int,
    other_depth: float,
    mesh: Surfaces,
) -> Reach:
    """Follow the sheets of a pixel (face ``own``) and its neighbour (``other``) towards each other."""
    reach = Reach()
    reach.other = 1.0
    mine = SheetPoint()
    z = float(0.0)
    same = bool(False)
    if own >= 0:
        mine = walk_sheet(view, own, d, step, 0.0, 1.0, 0, mesh)
        reach.own = mine.at
        z = _point(mine, view, mesh)[2]
        same = _same_sheet(mine, z, other, other_depth, mesh)
    if other >= 0 and not same:
        yours = walk_sheet(view, other, d + step, -step, 0.0, 1.0, 0, mesh)
        reach.other = 1.0 - yours.at
        if mine.arrived != 0 and yours.arrived != 0:
            # Where they cross; what each pixel shows is in front there.
            f = mesh.faces[own]
            here = 1.0 / plane_depth(
                d, mesh.p_cam[view, f[0]], mesh.p_cam[view, f[1]], mesh.p_cam[view, f[2]]
            )
            here -= 1.0 / _point(yours, view, mesh)[2]
            there = 1.0 / other_depth - 1.0 / z
            if here > 0.0 and there > 0.0:
                reach.own = here / (here + there)
            else:
                reach.own = 0.0
            reach.other = reach.own
        elif reach.own > reach.other:
            # Both sheets are there: one that reaches a centre that shows the other lies behind.
            front = mine.arrived == 0
            if front and yours.arrived == 0:
                front = z < _point(yours, view, mesh)[2]
            if front:
                reach.other = reach.own
            else:
                reach.own = reach.other
    return reach


@wp.func
def _side(k: int) -> wp.vec2i:
    """Step to the k-th of the four neighbours of a pixel: right, left, below, above."""
    sign = 1 - 2 * (k % 2)
    return wp.vec2i((1 - k // 2) * sign, (k // 2) * sign)


@wp.struct
class Shown:
    """What a pixel shows: face, -1 without one, and depth [m]."""

    face: int
    depth: float


@wp.func
def _shown(
    view: int,
    y: int,
    x: int,
    seen: Seen,
) -> Shown:
    """What a pixel shows; nothing outside of the image."""
    out = Shown()
    out.face = -1
    if x >= 0 and x < seen.face_index.shape[2] and y >= 0 and y < seen.face_index.shape[1]:
        out.face = seen.face_index[view, y, x]
        out.depth = seen.depth[view, y, x]
    return out


@wp.func
def _walk_to(end: int, own: int, other: int, d: wp.vec3, step: wp.vec3, reach: Reach) -> Walk:
    """Walk to the end of the pixel's own sheet (0), or to either end of the one that enters (1 and 2)."""
    walk = Walk()
    if end == 0:
        walk.face = own
        walk.origin = d
        walk.step = step
        walk.limit = wp.min(reach.own, 0.5)
    else:
        walk.face = wp.where(reach.other < _HALF, other, -1)
        walk.origin = d + step
        walk.step = -step
        walk.limit = wp.where(end == 1, 0.5, 1.0 - reach.other)
    return walk


@wp.kernel(enable_backward=False)
def pull_transport(
    marks: wp.array3d[int],
    seen: Seen,
    mesh: Surfaces,
    looks: Looks,
    lights: Lighting,
    span: int,
    g: ImageGradients,
    # output
    pulled: Pulled,
):
    """Add the transport of marked pixels; the depth at their centres is pulled here too, and then taken out.

    A thread works through ``span`` pixels of a row.
    """
    view, y, strip = wp.tid()
    box = seen.boxes[view]
    if y < box[1] or y > box[3]:
        return
    v = seen.viewports[view]
    camera = (view + seen.first_view) % seen.rays.shape[0]
    cam = camera_from_row(seen.intrinsics, seen.models, camera)
    sides = wp.int32(4)
    ends = wp.int32(3)
    for x in range(wp.max(strip * span, box[0]), wp.min(strip * span + span, box[2] + 1)):
        if marks[view, y, x] != 0:
            q = _pixel_gradient(view, y, x, g)
            own = seen.face_index[view, y, x]
            d = ray_of(seen.rays, camera, x + v.x0, y + v.y0)
            g_own = wp.vec2()
            # Counts that are variables are not unrolled, which keeps the kernel small.
            for k in range(sides):
                side = _side(k)
                other = _shown(view, y + side[1], x + side[0], seen)
                step = step_aside(seen.rays, camera, x + v.x0, y + v.y0, side[0], side[1])
                reach = _reach(view, own, d, step, other.face, other.depth, mesh)
                along = wp.vec2(float(side[0]), float(side[1]))
                gain = float(0.0)
                edge = SheetPoint()
                for i in range(ends):
                    walk = _walk_to(i, own, other.face, d, step, reach)
                    if walk.face >= 0:
                        end = _follow(walk, q, view, camera, mesh, looks, lights)
                        if i == 0:
                            g_own -= end.value * along
                        else:
                            gain += wp.where(i == 1, end.value, -end.value)
                            edge = end.point
                if reach.other < _HALF:
                    _add_motion(edge, -gain * along, 0.0, view, camera, cam, mesh, pulled)
            if own >= 0:
                f = mesh.faces[own]
                here = SheetPoint()
                here.face = own
                here.w = clamped_weights(
                    d, mesh.p_cam[view, f[0]], mesh.p_cam[view, f[1]], mesh.p_cam[view, f[2]]
                )
                g_z = float(0.0)
                if pulled.depth_sample.shape[0] > 0:
                    g_z = pulled.depth_sample[view, y, x]
                    pulled.depth_sample[view, y, x] = 0.0
                _add_motion(here, g_own, g_z, view, camera, cam, mesh, pulled)
