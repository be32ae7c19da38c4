"""The z-buffer of a scene: `raster` with what a whole scene allows to share.

Vertices are snapped to the sub-pixel grid once, not once a face, and blocks of faces are searched for those
that may cover a pixel centre (`blocks.scan_faces`) before any is drawn: depth is set up after coverage.
Coverage and depth are those of `raster`, bit for bit, but for slivers that turn over when they are snapped.
"""

import warp as wp

from dr_perception.raster.blocks import BEHIND, BLOCK, SeenVertices, lowest_bit, scan_faces
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import SUBPIXEL_BITS, Viewport
from dr_perception.raster.zbuffer import (
    InverseDepthPlane,
    Triangle,
    _cross,
    _fill_pinhole,
    _inverse_depth_plane,
    _inverse_z_at,
    corners_of,
    fill_clipped,
    pack_key,
)

_BITS = wp.constant(wp.int32(SUBPIXEL_BITS))
_ONE_PIXEL = wp.constant(1 << SUBPIXEL_BITS)
_BEHIND = wp.constant(wp.int32(BEHIND))
_BLOCK = wp.constant(BLOCK)
_SMALL = wp.constant(8 << SUBPIXEL_BITS)
"""Triangles less wide and high than 8 pixels are tested pixel by pixel, into a mask of 64 bits."""


@wp.func
def _triangle_of(view: int, corners: wp.vec3i, seen: SeenVertices) -> Triangle:
    a = corners[0]
    b = corners[1]
    c = corners[2]
    z_a = seen.p_cam[view, a][2]
    t = Triangle()
    t.a = seen.screen[view, a]
    t.b = seen.screen[view, b]
    t.c = seen.screen[view, c]
    t.inverse_z = wp.vec3(1.0 / z_a, 1.0 / seen.p_cam[view, b][2], 1.0 / seen.p_cam[view, c][2])
    return t


@wp.func
def _edge(a: wp.vec2i, b: wp.vec2i, px: int, py: int) -> int:
    """Edge function of a small triangle at a point of the grid: not negative where the edge has it inside."""
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    return dx * (py - a[1]) - dy * (px - a[0]) - wp.where(dy < 0 or (dy == 0 and dx > 0), 0, 1)


@wp.func
def _coverage(a: wp.vec2i, b: wp.vec2i, c: wp.vec2i, box: Viewport) -> wp.uint64:
    """Pixel centres of a box of at most 8 x 8 that lie in a triangle, eight bits a row.

    The triangle itself is smaller than 8 pixels and its box not farther away than that, so that its edge
    functions stay below 2**24.
    """
    x0 = box.x0 << _BITS
    y0 = box.y0 << _BITS
    row_a = _edge(a, b, x0, y0)
    row_b = _edge(b, c, x0, y0)
    row_c = _edge(c, a, x0, y0)
    if box.width == 1 and box.height == 1:
        return wp.where((row_a | row_b | row_c) >= 0, wp.uint64(1), wp.uint64(0))
    mask = wp.uint64(0)
    first = wp.uint64(1)
    y = wp.int32(0)
    while y < box.height:
        w_a = row_a
        w_b = row_b
        w_c = row_c
        bit = first
        x = wp.int32(0)
        while x < box.width:
            mask |= wp.where((w_a | w_b | w_c) >= 0, bit, wp.uint64(0))
            bit = bit << wp.uint64(1)
            w_a -= (b[1] - a[1]) << _BITS
            w_b -= (c[1] - b[1]) << _BITS
            w_c -= (a[1] - c[1]) << _BITS
            x += 1
        row_a += (b[0] - a[0]) << _BITS
        row_b += (c[0] - b[0]) << _BITS
        row_c += (a[0] - c[0]) << _BITS
        first = first << wp.uint64(8)
        y += 1
    return mask


@wp.func
def _fill_mask(t: Triangle, mask: wp.uint64, face: int, view: int, box: Viewport, renders: Renders):
    plane = _inverse_depth_plane(t)
    viewport = renders.viewports[view]
    left = mask
    while left != wp.uint64(0):
        k = lowest_bit(left)
        left &= left - wp.uint64(1)
        y = box.y0 + (k >> 3)
        x = box.x0 + (k & 7)
        key = pack_key(_inverse_z_at(plane, float(x), float(y)), face)
        wp.atomic_min(renders.keys, view, y - viewport.y0, x - viewport.x0, key)


@wp.func
def _draw_snapped(view: int, face: int, corners: wp.vec3i, seen: SeenVertices, renders: Renders):
    """Draw a triangle whose corners run clockwise on screen."""
    viewport = renders.viewports[view]
    a = seen.grid[view, corners[0]]
    b = seen.grid[view, corners[1]]
    c = seen.grid[view, corners[2]]
    left = wp.min(a[0], wp.min(b[0], c[0]))
    right = wp.max(a[0], wp.max(b[0], c[0]))
    top = wp.min(a[1], wp.min(b[1], c[1]))
    bottom = wp.max(a[1], wp.max(b[1], c[1]))
    box = Viewport()
    box.x0 = wp.max((left + _ONE_PIXEL - 1) >> _BITS, viewport.x0)
    box.y0 = wp.max((top + _ONE_PIXEL - 1) >> _BITS, viewport.y0)
    box.width = wp.min(right >> _BITS, viewport.x0 + viewport.width - 1) - box.x0 + 1
    box.height = wp.min(bottom >> _BITS, viewport.y0 + viewport.height - 1) - box.y0 + 1
    if box.width <= 0 or box.height <= 0:
        return
    if right - left >= _SMALL or bottom - top >= _SMALL:
        t = _triangle_of(view, corners, seen)
        _fill_pinhole(t, InverseDepthPlane(), face, view, viewport, renders.keys)
        return
    mask = _coverage(a, b, c, box)
    if mask != wp.uint64(0):
        _fill_mask(_triangle_of(view, corners, seen), mask, face, view, box, renders)


@wp.func
def _draw_face(
    view: int, face: int, f: wp.vec3i, seen: SeenVertices, renders: Renders, near: float, cull: int
):
    """Draw a face that may cover a pixel centre."""
    a = seen.grid[view, f[0]]
    b = seen.grid[view, f[1]]
    c = seen.grid[view, f[2]]
    if a[0] != _BEHIND and b[0] != _BEHIND and c[0] != _BEHIND:
        area2 = _cross(b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1])
        if area2 < wp.int64(0):
            _draw_snapped(view, face, wp.vec3i(f[0], f[2], f[1]), seen, renders)
        elif cull == 0 and area2 > wp.int64(0):
            _draw_snapped(view, face, f, seen, renders)
        return
    corners = corners_of(seen.p_cam[view, f[0]], seen.p_cam[view, f[1]], seen.p_cam[view, f[2]])
    if corners.a[2] > near or corners.b[2] > near or corners.c[2] > near:
        camera = renders.cameras[view]
        fill_clipped(corners, face, view, camera, renders.viewports[view], near, cull, renders.keys)


@wp.kernel(enable_backward=False)
def rasterize_scene(
    seen: SeenVertices,
    faces: wp.array[wp.vec3i],
    near: float,
    cull: wp.array[int],
    span: int,
    # output
    renders: Renders,
    facing: wp.array2d[wp.int8],
):
    """Draw every face into every view's z-buffer, ``span`` faces a thread, and note how it is turned.

    ``facing`` is 1 for faces turned to the camera, -1 for those turned away, and 0 where that is uncertain:
    cut by the near plane, or no larger than snapping may make it. Without room for it nothing is noted.
    """
    view, block = wp.tid()
    viewport = renders.viewports[view]
    culled = cull[view]
    last = wp.min(block * span + span, faces.shape[0])
    i = block * span
    while i < last:
        count = wp.min(last - i, _BLOCK)
        mask = scan_faces(seen.grid, faces, view, i, count, viewport, culled, facing)
        while mask != wp.uint64(0):
            face = i + lowest_bit(mask)
            mask &= mask - wp.uint64(1)
            _draw_face(view, face, faces[face], seen, renders, near, culled)
        i += _BLOCK
