"""The z-buffer of a scene: `raster` with what a whole scene allows to share.

Vertices are snapped to the sub-pixel grid once, not once a face, and a face costs little more than a
look at its three snapped corners unless it covers a pixel centre: depth is set up after coverage. Coverage
and depth are those of `raster`, bit for bit, but for slivers that turn over when they are snapped.
"""

import warp as wp

from dr_perception.raster.project import IdealCamera
from dr_perception.raster.types import SUBPIXEL_BITS, Viewport
from dr_perception.raster.zbuffer import (
    InverseDepthPlane,
    Triangle,
    _cross,
    _fill_pinhole,
    _inverse_depth_plane,
    _inverse_z_at,
    _snap,
    corners_of,
    fill_clipped,
    pack_key,
)

_BITS = wp.constant(wp.int32(SUBPIXEL_BITS))
_ONE_PIXEL = wp.constant(1 << SUBPIXEL_BITS)
_SCALE = wp.constant(float(1 << SUBPIXEL_BITS))
_FAR = wp.constant(1.0e6)
_BEHIND = wp.constant(wp.int32(-(1 << 30)))
"""Snapped coordinate of vertices that are not in front of the near plane; no other is so small."""
_SMALL = wp.constant(8 << SUBPIXEL_BITS)
"""Triangles less wide and high than 8 pixels are tested pixel by pixel, into a mask of 64 bits."""


@wp.func
def _rounding(ax: int, ay: int, bx: int, by: int) -> wp.int64:
    """By how much snapping may change the cross product of two sides of a triangle.

    A corner moves by half a step along each axis, so the product by half of the way around along the axes.
    """
    way = wp.abs(ax) + wp.abs(ay) + wp.abs(bx) + wp.abs(by) + wp.abs(ax - bx) + wp.abs(ay - by)
    return wp.int64((way >> 1) + 2)


@wp.func
def snap(s: wp.vec2) -> wp.vec2i:
    """A point of the image on the sub-pixel grid; far points are clamped, as `raster` does."""
    if wp.abs(s[0]) < _FAR and wp.abs(s[1]) < _FAR:
        return wp.vec2i(wp.int32(wp.floor(s[0] * _SCALE + 0.5)), wp.int32(wp.floor(s[1] * _SCALE + 0.5)))
    return wp.vec2i(_snap(s[0]), _snap(s[1]))


@wp.func
def behind() -> wp.vec2i:
    """What stands on the grid for a vertex that is not in front of the near plane."""
    return wp.vec2i(_BEHIND, _BEHIND)


@wp.func
def _triangle_of(
    view: int, a: int, b: int, c: int, p_cam: wp.array2d[wp.vec3], screen: wp.array2d[wp.vec2]
) -> Triangle:
    t = Triangle()
    t.a = screen[view, a]
    t.b = screen[view, b]
    t.c = screen[view, c]
    t.inverse_z = wp.vec3(1.0 / p_cam[view, a][2], 1.0 / p_cam[view, b][2], 1.0 / p_cam[view, c][2])
    return t


@wp.func
def _edge(a: wp.vec2i, b: wp.vec2i, px: int, py: int) -> int:
    """Edge function of a small triangle at a point of the grid: not negative where the edge has it inside."""
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    return dx * (py - a[1]) - dy * (px - a[0]) - wp.where(dy < 0 or (dy == 0 and dx > 0), 0, 1)


@wp.func
def _coverage(a: wp.vec2i, b: wp.vec2i, c: wp.vec2i, x0: int, y0: int, width: int, height: int) -> wp.uint64:
    """Pixel centres of a box of at most 8 x 8 that lie in a triangle, row by row from the lowest bit.

    The triangle itself is smaller than 8 pixels and its box not farther away than that, so that its edge
    functions stay below 2**24.
    """
    row_a = _edge(a, b, x0 << _BITS, y0 << _BITS)
    row_b = _edge(b, c, x0 << _BITS, y0 << _BITS)
    row_c = _edge(c, a, x0 << _BITS, y0 << _BITS)
    if width == 1 and height == 1:
        return wp.where((row_a | row_b | row_c) >= 0, wp.uint64(1), wp.uint64(0))
    mask = wp.uint64(0)
    bit = wp.uint64(1)
    y = wp.int32(0)
    while y < height:
        w_a = row_a
        w_b = row_b
        w_c = row_c
        x = wp.int32(0)
        while x < width:
            mask |= wp.where((w_a | w_b | w_c) >= 0, bit, wp.uint64(0))
            bit = bit << wp.uint64(1)
            w_a -= (b[1] - a[1]) << _BITS
            w_b -= (c[1] - b[1]) << _BITS
            w_c -= (a[1] - c[1]) << _BITS
            x += 1
        row_a += (b[0] - a[0]) << _BITS
        row_b += (c[0] - b[0]) << _BITS
        row_c += (a[0] - c[0]) << _BITS
        y += 1
    return mask


@wp.func
def _fill_mask(
    t: Triangle,
    mask: wp.uint64,
    face: int,
    view: int,
    x0: int,
    y0: int,
    width: int,
    viewport: Viewport,
    keys: wp.array3d[wp.uint64],
):
    plane = _inverse_depth_plane(t)
    left = mask
    x = x0
    y = y0
    while left != wp.uint64(0):
        if (left & wp.uint64(1)) != wp.uint64(0):
            key = pack_key(_inverse_z_at(plane, float(x), float(y)), face)
            wp.atomic_min(keys, view, y - viewport.y0, x - viewport.x0, key)
        left = left >> wp.uint64(1)
        x += 1
        if x == x0 + width:
            x = x0
            y += 1


@wp.func
def _draw_snapped(
    view: int,
    face: int,
    corners: wp.vec3i,
    a: wp.vec2i,
    b: wp.vec2i,
    c: wp.vec2i,
    second: int,
    third: int,
    p_cam: wp.array2d[wp.vec3],
    screen: wp.array2d[wp.vec2],
    viewport: Viewport,
    keys: wp.array3d[wp.uint64],
):
    """Draw a triangle whose corners run clockwise on screen."""
    left = wp.min(a[0], wp.min(b[0], c[0]))
    right = wp.max(a[0], wp.max(b[0], c[0]))
    top = wp.min(a[1], wp.min(b[1], c[1]))
    bottom = wp.max(a[1], wp.max(b[1], c[1]))
    x0 = wp.max((left + _ONE_PIXEL - 1) >> _BITS, viewport.x0)
    y0 = wp.max((top + _ONE_PIXEL - 1) >> _BITS, viewport.y0)
    width = wp.min(right >> _BITS, viewport.x0 + viewport.width - 1) - x0 + 1
    height = wp.min(bottom >> _BITS, viewport.y0 + viewport.height - 1) - y0 + 1
    if width <= 0 or height <= 0:
        return
    if right - left >= _SMALL or bottom - top >= _SMALL:
        t = _triangle_of(view, corners[0], second, third, p_cam, screen)
        _fill_pinhole(t, InverseDepthPlane(), face, view, viewport, keys)
        return
    mask = _coverage(a, b, c, x0, y0, width, height)
    if mask != wp.uint64(0):
        t = _triangle_of(view, corners[0], second, third, p_cam, screen)
        _fill_mask(t, mask, face, view, x0, y0, width, viewport, keys)


@wp.func
def _turned(area2: wp.int64, rounding: wp.int64) -> wp.int8:
    if area2 < -rounding:
        return wp.int8(1)
    if area2 > rounding:
        return wp.int8(-1)
    return wp.int8(0)


@wp.kernel(enable_backward=False)
def rasterize_scene(
    p_cam: wp.array2d[wp.vec3],
    screen: wp.array2d[wp.vec2],
    grid: wp.array2d[wp.vec2i],
    faces: wp.array[wp.vec3i],
    cameras: wp.array[IdealCamera],
    viewports: wp.array[Viewport],
    near: float,
    cull: wp.array[int],
    span: int,
    # output
    keys: wp.array3d[wp.uint64],
    facing: wp.array2d[wp.int8],
):
    """Draw every face into every view's z-buffer, ``span`` faces a thread, and note how it is turned.

    ``facing`` is 1 for faces turned to the camera, -1 for those turned away, and 0 where that is uncertain:
    cut by the near plane, or no larger than snapping may make it. Without room for it nothing is noted.
    """
    view, block = wp.tid()
    viewport = viewports[view]
    culled = cull[view]
    last = wp.min(block * span + span, faces.shape[0])
    noted = facing.shape[0] > 0
    i = block * span
    while i < last:
        f = faces[i]
        a = grid[view, f[0]]
        b = grid[view, f[1]]
        c = grid[view, f[2]]
        turned = wp.int8(0)
        if a[0] != _BEHIND and b[0] != _BEHIND and c[0] != _BEHIND:
            area2 = _cross(b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1])
            if area2 < wp.int64(0):
                _draw_snapped(view, i, f, a, c, b, f[2], f[1], p_cam, screen, viewport, keys)
            elif culled == 0 and area2 > wp.int64(0):
                _draw_snapped(view, i, f, a, b, c, f[1], f[2], p_cam, screen, viewport, keys)
            if noted:
                turned = _turned(area2, _rounding(b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]))
        else:
            p = p_cam[view, f[0]]
            q = p_cam[view, f[1]]
            r = p_cam[view, f[2]]
            if p[2] > near or q[2] > near or r[2] > near:
                fill_clipped(corners_of(p, q, r), i, view, cameras[view], viewport, near, culled, keys)
        if noted:
            facing[view, i] = turned
        i += 1
