"""Triangle-parallel z-buffer: which face is seen at each pixel centre.

Coverage is decided with fixed-point edge functions (1/256 pixel) and the top-left rule, so that faces that
share an edge cover every pixel centre exactly once (Pineda 1988, "A parallel algorithm for polygon
rasterization"). A pixel's key holds the complement of its inverse depth in the upper and the face index in
the lower 32 bits; the smallest key is the nearest face and an atomic minimum resolves visibility in any
order, with the same result.

Edge functions live in the ideal image plane, in which a pinhole draws straight edges. A lens with distortion
samples that plane at the undistorted position of each pixel centre (`ideal_positions`), so that curved edges
come out exactly.
"""

import warp as wp

from dr_perception.raster.project import IdealCamera, project_ideal
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import SUBPIXEL_BITS, Viewport

_ONE_PIXEL = wp.constant(1 << SUBPIXEL_BITS)
_ONE_PIXEL_64 = wp.constant(wp.int64(1 << SUBPIXEL_BITS))
_BITS = wp.constant(wp.int32(SUBPIXEL_BITS))
_SCALE = wp.constant(float(1 << SUBPIXEL_BITS))
_NEVER = wp.constant(wp.int64(1 << 30))
_UINT32_MAX = wp.constant(wp.uint32(0xFFFFFFFF))
_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
# Snapped coordinates stay below 2**29 so that products of their differences fit 64 bits with room to spare.
_MAX_COORDINATE = wp.constant(1.0e6)


@wp.struct
class Triangle:
    """A front-facing triangle in the ideal image plane.

    Corners in pixels with their inverse depths in 1/m.
    """

    a: wp.vec2
    b: wp.vec2
    c: wp.vec2
    inverse_z: wp.vec3


@wp.struct
class Corners:
    """Corners of a face in the camera's frame [m], in the order of its vertices."""

    a: wp.vec3
    b: wp.vec3
    c: wp.vec3


@wp.struct
class ScreenFace:
    """The same in the ideal image plane [px], with the depths ``z`` of the corners [m]."""

    a: wp.vec2
    b: wp.vec2
    c: wp.vec2
    z: wp.vec3


@wp.func
def corners_of(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> Corners:
    """A face between three points."""
    corners = Corners()
    corners.a = a
    corners.b = b
    corners.c = c
    return corners


@wp.func
def screen_face(a: wp.vec2, b: wp.vec2, c: wp.vec2, z: wp.vec3) -> ScreenFace:
    """A face between three places of the image."""
    face = ScreenFace()
    face.a = a
    face.b = b
    face.c = c
    face.z = z
    return face


@wp.struct
class InverseDepthPlane:
    """Inverse depth over the image plane of one triangle: value at a place, slopes per pixel, and range."""

    given: int
    """0 if the plane is still to be found from the triangle's corners."""
    origin: wp.vec2
    """The place [px]."""
    value: float
    slope_x: float
    slope_y: float
    smallest: float
    largest: float


@wp.func
def pack_key(inverse_z: float, face: int) -> wp.uint64:
    """Z-buffer key of a face seen at an inverse depth in 1/m: smaller is nearer."""
    # Positive IEEE floats order like their bit patterns.
    bits = wp.cast(inverse_z, wp.uint32)
    return (wp.uint64(_UINT32_MAX - bits) << wp.uint64(32)) | wp.uint64(face)


@wp.func
def key_face(key: wp.uint64) -> int:
    """Face index of a key, -1 of an empty one."""
    return wp.int32(wp.uint32(key & wp.uint64(0xFFFFFFFF)))


@wp.func
def key_inverse_z(key: wp.uint64) -> float:
    """Inverse depth in 1/m of a key, 0 of an empty one."""
    return wp.cast(_UINT32_MAX - wp.uint32(key >> wp.uint64(32)), wp.float32)


@wp.func
def _snap(x: float) -> int:
    return wp.int32(wp.floor(wp.clamp(x, -_MAX_COORDINATE, _MAX_COORDINATE) * _SCALE + 0.5))


@wp.func
def _cross(ax: int, ay: int, bx: int, by: int) -> wp.int64:
    return wp.int64(ax) * wp.int64(by) - wp.int64(ay) * wp.int64(bx)


@wp.func
def _top_left_bias(dx: int, dy: int) -> wp.int64:
    """0 for a top or left edge (its points belong to the triangle), -1 otherwise.

    Corners run clockwise on screen.
    """
    bias = wp.int64(-1)
    if dy < 0 or (dy == 0 and dx > 0):
        bias = wp.int64(0)
    return bias


@wp.func
def _signed_area2(a: wp.vec2, b: wp.vec2, c: wp.vec2) -> float:
    """Twice the signed area on screen.

    Outward faces, counter-clockwise seen from outside, are negative with y down.
    """
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@wp.func
def _inverse_depth_plane(t: Triangle) -> InverseDepthPlane:
    plane = InverseDepthPlane()
    # A triangle too thin for single precision gets slope zero; its range bounds the error.
    area2 = _signed_area2(t.a, t.b, t.c)
    inverse_area2 = wp.where(area2 > 1.0e-6, 1.0 / area2, 0.0)
    db = t.inverse_z[1] - t.inverse_z[0]
    dc = t.inverse_z[2] - t.inverse_z[0]
    plane.given = 1
    plane.origin = t.a
    plane.value = t.inverse_z[0]
    plane.slope_x = (db * (t.c[1] - t.a[1]) - dc * (t.b[1] - t.a[1])) * inverse_area2
    plane.slope_y = (dc * (t.b[0] - t.a[0]) - db * (t.c[0] - t.a[0])) * inverse_area2
    plane.smallest = wp.min(t.inverse_z)
    plane.largest = wp.max(t.inverse_z)
    return plane


@wp.func
def _plane_of(camera: IdealCamera, corners: Corners, near: float) -> InverseDepthPlane:
    """Inverse depth over the image of a face that the near plane cuts, from its own plane.

    Where it is cut it may be seen thousands of pixels away: corners there tell nothing about slopes.
    """
    n = wp.cross(corners.b - corners.a, corners.c - corners.a)
    distance = wp.dot(n, corners.a)
    inverse = wp.where(distance != 0.0, 1.0 / distance, 0.0)
    plane = InverseDepthPlane()
    plane.given = 1
    plane.origin = wp.vec2(camera.cx, camera.cy)
    plane.value = n[2] * inverse
    plane.slope_x = n[0] * inverse / camera.fx
    plane.slope_y = n[1] * inverse / camera.fy
    plane.smallest = 1.0 / wp.max(corners.a[2], wp.max(corners.b[2], corners.c[2]))
    plane.largest = 1.0 / near
    return plane


@wp.func
def _inverse_z_at(plane: InverseDepthPlane, x: float, y: float) -> float:
    """Inverse depth at a place in pixels, kept in the triangle's own range.

    Slivers extrapolate wildly.
    """
    dx = x - plane.origin[0]
    dy = y - plane.origin[1]
    return wp.clamp(plane.value + plane.slope_x * dx + plane.slope_y * dy, plane.smallest, plane.largest)


@wp.func
def _enter(w: wp.int64, step: wp.int64) -> int:
    """First step along a row at which an edge function is not negative.

    A very large number if there is none.
    """
    k = wp.int64(0)
    if w < wp.int64(0):
        k = _NEVER
        if step > wp.int64(0):
            k = wp.min((step - w - wp.int64(1)) // step, _NEVER)
    return wp.int32(k)


@wp.func
def _leave(w: wp.int64, step: wp.int64) -> int:
    """Last step along a row at which an edge function is not negative, given that it is so somewhere."""
    k = _NEVER
    if step < wp.int64(0) and w >= wp.int64(0):
        k = wp.min(w // -step, _NEVER)
    return wp.int32(k)


@wp.func
def _fill_pinhole(
    t: Triangle,
    known: InverseDepthPlane,
    face: int,
    view: int,
    viewport: Viewport,
    keys: wp.array3d[wp.uint64],
):
    """Draw one triangle on the pixel grid, in the plane ``known`` if it is given.

    Edge functions move by constant steps, so each row is covered by one span.
    """
    ax = _snap(t.a[0])
    bx = _snap(t.b[0])
    cx = _snap(t.c[0])
    x_first = wp.max((wp.min(ax, wp.min(bx, cx)) + _ONE_PIXEL - 1) >> _BITS, viewport.x0)
    x_last = wp.min(wp.max(ax, wp.max(bx, cx)) >> _BITS, viewport.x0 + viewport.width - 1)
    if x_first > x_last:
        return
    ay = _snap(t.a[1])
    by = _snap(t.b[1])
    cy = _snap(t.c[1])
    y_first = wp.max((wp.min(ay, wp.min(by, cy)) + _ONE_PIXEL - 1) >> _BITS, viewport.y0)
    y_last = wp.min(wp.max(ay, wp.max(by, cy)) >> _BITS, viewport.y0 + viewport.height - 1)
    if y_first > y_last:
        return
    area2 = _cross(bx - ax, by - ay, cx - ax, cy - ay)
    if area2 <= wp.int64(0):
        return

    plane = known
    if known.given == 0:
        plane = _inverse_depth_plane(t)
    px = x_first << _BITS
    py = y_first << _BITS
    row_a = _cross(bx - ax, by - ay, px - ax, py - ay) + _top_left_bias(bx - ax, by - ay)
    row_b = _cross(cx - bx, cy - by, px - bx, py - by) + _top_left_bias(cx - bx, cy - by)
    row_c = _cross(ax - cx, ay - cy, px - cx, py - cy) + _top_left_bias(ax - cx, ay - cy)
    step = _ONE_PIXEL_64
    step_ax = -wp.int64(by - ay) * step
    step_bx = -wp.int64(cy - by) * step
    step_cx = -wp.int64(ay - cy) * step
    step_ay = wp.int64(bx - ax) * step
    step_by = wp.int64(cx - bx) * step
    step_cy = wp.int64(ax - cx) * step

    width = x_last - x_first
    for y in range(y_first, y_last + 1):
        k_first = wp.max(_enter(row_a, step_ax), wp.max(_enter(row_b, step_bx), _enter(row_c, step_cx)))
        k_last = wp.min(
            width, wp.min(_leave(row_a, step_ax), wp.min(_leave(row_b, step_bx), _leave(row_c, step_cx)))
        )
        for k in range(k_first, k_last + 1):
            inverse_z = _inverse_z_at(plane, float(x_first + k), float(y))
            wp.atomic_min(keys, view, y - viewport.y0, x_first + k - viewport.x0, pack_key(inverse_z, face))
        row_a += step_ay
        row_b += step_by
        row_c += step_cy


@wp.func
def _fill_distorted(
    t: Triangle,
    known: InverseDepthPlane,
    face: int,
    view: int,
    viewport: Viewport,
    box: wp.vec4i,
    ideal_positions: wp.array2d[wp.vec2],
    keys: wp.array3d[wp.uint64],
):
    """Draw one triangle at the undistorted positions of the pixels in a box (x0, y0, x1, y1, inclusive)."""
    ax = _snap(t.a[0])
    ay = _snap(t.a[1])
    bx = _snap(t.b[0])
    by = _snap(t.b[1])
    cx = _snap(t.c[0])
    cy = _snap(t.c[1])
    area2 = _cross(bx - ax, by - ay, cx - ax, cy - ay)
    if area2 <= wp.int64(0):
        return
    plane = known
    if known.given == 0:
        plane = _inverse_depth_plane(t)
    bias_a = _top_left_bias(bx - ax, by - ay)
    bias_b = _top_left_bias(cx - bx, cy - by)
    bias_c = _top_left_bias(ax - cx, ay - cy)
    for y in range(box[1], box[3] + 1):
        for x in range(box[0], box[2] + 1):
            ideal = ideal_positions[y, x]
            px = _snap(ideal[0])
            py = _snap(ideal[1])
            w_a = _cross(bx - ax, by - ay, px - ax, py - ay) + bias_a
            w_b = _cross(cx - bx, cy - by, px - bx, py - by) + bias_b
            w_c = _cross(ax - cx, ay - cy, px - cx, py - cy) + bias_c
            if (w_a | w_b | w_c) >= wp.int64(0):
                inverse_z = _inverse_z_at(plane, ideal[0], ideal[1])
                wp.atomic_min(keys, view, y - viewport.y0, x - viewport.x0, pack_key(inverse_z, face))


@wp.func
def _triangle(a: wp.vec2, b: wp.vec2, c: wp.vec2, za: float, zb: float, zc: float, front: bool) -> Triangle:
    """A triangle with its corners ordered clockwise on screen."""
    t = Triangle()
    t.a = a
    if front:
        t.b = c
        t.c = b
        t.inverse_z = wp.vec3(1.0 / za, 1.0 / zc, 1.0 / zb)
    else:
        t.b = b
        t.c = c
        t.inverse_z = wp.vec3(1.0 / za, 1.0 / zb, 1.0 / zc)
    return t


@wp.func
def _draw_in_plane(
    f: ScreenFace,
    known: InverseDepthPlane,
    face: int,
    view: int,
    viewport: Viewport,
    cull: int,
    keys: wp.array3d[wp.uint64],
):
    front = _signed_area2(f.a, f.b, f.c) < 0.0
    if front or cull == 0:
        t = _triangle(f.a, f.b, f.c, f.z[0], f.z[1], f.z[2], front)
        _fill_pinhole(t, known, face, view, viewport, keys)


@wp.func
def draw_triangle(
    f: ScreenFace, face: int, view: int, viewport: Viewport, cull: int, keys: wp.array3d[wp.uint64]
):
    """Draw a triangle that lies in front of the near plane, unless it is a back face and these are culled."""
    _draw_in_plane(f, InverseDepthPlane(), face, view, viewport, cull, keys)


@wp.func
def on_screen(camera: IdealCamera, corners: Corners) -> ScreenFace:
    """Where a camera sees a face that lies in front of it."""
    a = project_ideal(camera, corners.a)
    b = project_ideal(camera, corners.b)
    c = project_ideal(camera, corners.c)
    return screen_face(a, b, c, wp.vec3(corners.a[2], corners.b[2], corners.c[2]))


@wp.func
def _cut(inside: wp.vec3, outside: wp.vec3, near: float) -> wp.vec3:
    """Point where an edge passes through the near plane."""
    s = (inside[2] - near) / (inside[2] - outside[2])
    p = inside + s * (outside - inside)
    return wp.vec3(p[0], p[1], near)


@wp.func
def fill_clipped(
    corners: Corners,
    face: int,
    view: int,
    camera: IdealCamera,
    viewport: Viewport,
    near: float,
    cull: int,
    keys: wp.array3d[wp.uint64],
):
    """Draw what is left of a triangle in front of the near plane: a triangle, or a quadrilateral as two."""
    a = corners.a
    b = corners.b
    c = corners.c
    n = wp.int32(0)
    if a[2] > near:
        n += 1
    if b[2] > near:
        n += 1
    if c[2] > near:
        n += 1
    # Turn the corners until the odd one out is first; the winding stays.
    p = a
    q = b
    r = c
    if (n == 1 and b[2] > near) or (n == 2 and b[2] <= near):
        p = b
        q = c
        r = a
    elif (n == 1 and c[2] > near) or (n == 2 and c[2] <= near):
        p = c
        q = a
        r = b
    plane = _plane_of(camera, corners, near)
    if n == 1:
        left = corners_of(p, _cut(p, q, near), _cut(p, r, near))
        _draw_in_plane(on_screen(camera, left), plane, face, view, viewport, cull, keys)
    elif n == 2:
        pq = _cut(q, p, near)
        _draw_in_plane(on_screen(camera, corners_of(pq, q, r)), plane, face, view, viewport, cull, keys)
        pr = _cut(r, p, near)
        _draw_in_plane(on_screen(camera, corners_of(pq, r, pr)), plane, face, view, viewport, cull, keys)


@wp.kernel(enable_backward=False)
def rasterize_pinhole(
    p_cam: wp.array2d[wp.vec3],
    screen: wp.array2d[wp.vec2],
    faces: wp.array[wp.vec3i],
    near: float,
    cull: int,
    first_face: int,
    # output
    renders: Renders,
):
    """Draw every face into every view's z-buffer.

    ``cull`` leaves back faces out, which closed meshes do not miss. ``first_face`` is added to the face index
    that a key carries, so that meshes in buffers of their own can share a z-buffer.
    """
    view, i = wp.tid()
    face = faces[i]
    f = first_face + i
    za = p_cam[view, face[0]][2]
    zb = p_cam[view, face[1]][2]
    zc = p_cam[view, face[2]][2]
    if za > near and zb > near and zc > near:
        a = screen[view, face[0]]
        b = screen[view, face[1]]
        c = screen[view, face[2]]
        seen = screen_face(a, b, c, wp.vec3(za, zb, zc))
        draw_triangle(seen, f, view, renders.viewports[view], cull, renders.keys)
    elif za > near or zb > near or zc > near:
        corners = corners_of(p_cam[view, face[0]], p_cam[view, face[1]], p_cam[view, face[2]])
        viewport = renders.viewports[view]
        fill_clipped(corners, f, view, renders.cameras[view], viewport, near, cull, renders.keys)


@wp.kernel(enable_backward=False)
def clear_keys(keys: wp.array3d[wp.uint64]):
    """Empty every view's z-buffer."""
    view, y, x = wp.tid()
    keys[view, y, x] = _EMPTY


@wp.kernel(enable_backward=False)
def resolve_faces(
    keys: wp.array3d[wp.uint64],
    # output
    face_index: wp.array3d[int],
):
    """Face seen at each pixel, -1 where there is none."""
    view, y, x = wp.tid()
    face_index[view, y, x] = key_face(keys[view, y, x])
