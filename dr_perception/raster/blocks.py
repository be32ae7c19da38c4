"""Blocks of 64 faces or vertices, written so that a compiler for CPUs works through 16 of them at a time.

Warp compiles the loops of its own language one step at a time. Most faces of a dense mesh cover no pixel
centre and most of the work on vertices is the same few products: the loops here have no branches and run
over plain memory, three times as fast. They give what the code for one face or vertex gives, bit for bit.
"""

import warp as wp

from dr_perception.raster.project import IdealCamera
from dr_perception.raster.types import SUBPIXEL_BITS, Viewport

BLOCK = 64
"""Faces or vertices of a block: the bits of a mask."""
BEHIND = -(1 << 30)
"""Snapped coordinate of vertices that are not in front of the near plane; no other is so small."""
FARTHEST_PX = 1.0e6
"""Farther points are drawn as if they were so far [px], so that products of coordinates fit 64 bits."""

NOWHERE_M = 1.0e30
"""Depth that only what is not finite has [m]."""


@wp.struct
class SeenVertices:
    """Where the vertices of a scene are seen in every view, (views, V)."""

    p_cam: wp.array2d[wp.vec3]
    """In camera coordinates [m]."""
    screen: wp.array2d[wp.vec2]
    """In the ideal image plane [px]."""
    grid: wp.array2d[wp.vec2i]
    """There on the sub-pixel grid, or at `BEHIND`."""


_ONE = 1 << SUBPIXEL_BITS

_SCAN = f"""
const auto* __restrict g = &wp::index(grid, view, 0);
const auto* __restrict f = &wp::index(faces, first);
signed char* __restrict turned = facing.shape[0] > 0 ? &wp::index(facing, view, first) : nullptr;
const int left = viewport.x0 * {_ONE}, right = (viewport.x0 + viewport.width - 1) * {_ONE};
const int top = viewport.y0 * {_ONE}, bottom = (viewport.y0 + viewport.height - 1) * {_ONE};
#if defined(__CUDA_ARCH__)
constexpr int room = 1;
#else
constexpr int room = {BLOCK};
#endif
wp::vec_t<2, int> corner_a[room], corner_b[room], corner_c[room];
unsigned char wanted[room];
long long areas[room];
unsigned ways[room];
// Looking up corners one by one and reading them in a row is faster than looking up 16 at once.
#if defined(__clang__)
#pragma clang loop vectorize(disable) unroll_count(4)
#endif
for (int i = 0; i < count; ++i) {{
    corner_a[i] = g[f[i].c[0]];
    corner_b[i] = g[f[i].c[1]];
    corner_c[i] = g[f[i].c[2]];
}}
"""
_SCAN_LOOP = f"""
#if defined(__clang__)
#pragma clang loop vectorize_width(16)
#endif
for (int i = 0; i < count; ++i) {{
    const int ax = corner_a[i].c[0], bx = corner_b[i].c[0], cx = corner_c[i].c[0];
    const int ay = corner_a[i].c[1], by = corner_b[i].c[1], cy = corner_c[i].c[1];
    const int ux = bx - ax, uy = by - ay, vx = cx - ax, vy = cy - ay;
    const long long area = (long long)ux * vy - (long long)uy * vx;
    // The box of the face, and the pixel centres that it and the view hold.
    const int x_min = ax < bx ? (ax < cx ? ax : cx) : (bx < cx ? bx : cx);
    const int x_max = ax > bx ? (ax > cx ? ax : cx) : (bx > cx ? bx : cx);
    const int y_min = ay < by ? (ay < cy ? ay : cy) : (by < cy ? by : cy);
    const int y_max = ay > by ? (ay > cy ? ay : cy) : (by > cy ? by : cy);
    const int x_up = (x_min + {_ONE - 1}) & -{_ONE}, y_up = (y_min + {_ONE - 1}) & -{_ONE};
    const int x = x_up > left ? x_up : left, y = y_up > top ? y_up : top;
    const int x_end = x_max < right ? x_max : right, y_end = y_max < bottom ? y_max : bottom;
    const int holds = (x <= x_end) & (y <= y_end);
    // Edge functions at the first centre, clockwise on screen (a, p, q): they tell for a small face that
    // holds no other. Unsigned, as those of a large one may overflow. Points on an edge belong to the face if
    // it is a top or a left one.
    const int front = area < 0;
    const int px = front ? cx : bx, py = front ? cy : by, qx = front ? bx : cx, qy = front ? by : cy;
    const int apx = px - ax, apy = py - ay, pqx = qx - px, pqy = qy - py, qax = ax - qx, qay = ay - qy;
    const int at_a = (int)((unsigned)apx * (unsigned)(y - ay) - (unsigned)apy * (unsigned)(x - ax));
    const int at_p = (int)((unsigned)pqx * (unsigned)(y - py) - (unsigned)pqy * (unsigned)(x - px));
    const int at_q = (int)((unsigned)qax * (unsigned)(y - qy) - (unsigned)qay * (unsigned)(x - qx));
    const int a_in = (apy < 0) | ((apy == 0) & (apx > 0));
    const int p_in = (pqy < 0) | ((pqy == 0) & (pqx > 0));
    const int q_in = (qay < 0) | ((qay == 0) & (qax > 0));
    const int covers = ((at_a - 1 + a_in) | (at_p - 1 + p_in) | (at_q - 1 + q_in)) >= 0;
    const int small = (x_max - x_min < {8 * _ONE}) & (y_max - y_min < {8 * _ONE});
    const int single = small & (x_end - x < {_ONE}) & (y_end - y < {_ONE});
    const int drawn = front | ((cull == 0) & (area > 0));
    const int cut = x_min == {BEHIND};
    wanted[i] = (unsigned char)((holds & drawn & (covers | !single)) | cut);
    areas[i] = cut ? 0 : area;
    ways[i] = (unsigned)abs(ux) + (unsigned)abs(uy) + (unsigned)abs(vx) + (unsigned)abs(vy)
        + (unsigned)abs(ux - vx) + (unsigned)abs(uy - vy);
}}
if (turned) {{
    for (int i = 0; i < count; ++i) {{
        // Snapping moves corners by half a step along each axis, the area by half of the way around.
        const long long rounding = (ways[i] >> 1) + 2;
        turned[i] = (signed char)((areas[i] < -rounding) - (areas[i] > rounding));
    }}
}}
unsigned long long mask = 0;
for (int i = 0; i < count; ++i) mask |= (unsigned long long)wanted[i] << i;
return mask;
"""


@wp.func_native(_SCAN + _SCAN_LOOP)
def scan_faces(
    grid: wp.array2d[wp.vec2i],
    faces: wp.array[wp.vec3i],
    view: int,
    first: int,
    count: int,
    viewport: Viewport,
    cull: int,
    facing: wp.array2d[wp.int8],
) -> wp.uint64:
    """Which of the ``count`` faces from ``first`` on may cover a pixel centre, from the lowest bit.

    Those that hold one centre in their box are tested exactly; so none is left out and few too many are
    found. Faces with a corner at `BEHIND` are always there. ``facing`` gets how they are turned, if there is
    room for it; see `dr_perception.render.scene.raster.rasterize_scene`.
    """
    ...


_LOWEST = """
#if defined(__CUDA_ARCH__)
return __ffsll((long long)mask) - 1;
#else
return __builtin_ctzll(mask);
#endif
"""


@wp.func_native(_LOWEST)
def lowest_bit(mask: wp.uint64) -> int:  # type: ignore[empty-body]
    """Place of the lowest bit of a mask that is not 0."""
    ...


@wp.struct
class IntoCamera:
    """How vertices of an instance come to a camera and its image."""

    R_cam_obj: wp.mat33
    t_cam_obj: wp.vec3
    camera: IdealCamera
    near: float
    """Distance of the near plane [m]."""


_MOVE = f"""
const auto* from = &wp::index(vertices, source);
auto* to = &wp::index(seen.p_cam, view, first);
auto* s = &wp::index(seen.screen, view, first);
auto* g = &wp::index(seen.grid, view, first);
const auto R = into.R_cam_obj;
const auto t = into.t_cam_obj;
const auto camera = into.camera;
int x_min = 1 << 30, y_min = 1 << 30, x_max = -(1 << 30), y_max = -(1 << 30);
const float far = {FARTHEST_PX}f;
for (int i = 0; i < count; ++i) {{
    const float x = from[i].c[0], y = from[i].c[1], z = from[i].c[2];
    const float px = R.data[0][0] * x + R.data[0][1] * y + R.data[0][2] * z + t.c[0];
    const float py = R.data[1][0] * x + R.data[1][1] * y + R.data[1][2] * z + t.c[1];
    const float pz = R.data[2][0] * x + R.data[2][1] * y + R.data[2][2] * z + t.c[2];
    const float inverse_z = 1.0f / pz;
    const float u = camera.fx * px * inverse_z + camera.cx;
    const float v = camera.fy * py * inverse_z + camera.cy;
    to[i].c[0] = px;
    to[i].c[1] = py;
    to[i].c[2] = pz;
    s[i].c[0] = u;
    s[i].c[1] = v;
    // What is not a number becomes -far.
    const float u_near = -far < u ? (u < far ? u : far) : -far;
    const float v_near = -far < v ? (v < far ? v : far) : -far;
    const bool visible = pz > into.near && pz < {NOWHERE_M}f;
    const int gx = visible ? (int)::floorf(u_near * {_ONE}.0f + 0.5f) : {BEHIND};
    const int gy = visible ? (int)::floorf(v_near * {_ONE}.0f + 0.5f) : {BEHIND};
    g[i].c[0] = gx;
    g[i].c[1] = gy;
    x_min = gx < x_min ? gx : x_min;
    y_min = gy < y_min ? gy : y_min;
    x_max = gx > x_max ? gx : x_max;
    y_max = gy > y_max ? gy : y_max;
}}
return wp::vec_t<4, int>(x_min, y_min, x_max, y_max);
"""


@wp.func_native(_MOVE)
def move_vertices(
    vertices: wp.array[wp.vec3],
    source: int,
    count: int,
    into: IntoCamera,
    view: int,
    first: int,
    seen: SeenVertices,
) -> wp.vec4i:
    """Move ``count`` vertices from ``source`` on to where a view sees them, from ``first`` on.

    Those that are not in front of the near plane, or nowhere, come to `BEHIND` on the grid. Returns the box
    around them on the grid (x0, y0, x1, y1), which begins at `BEHIND` if there is one of these.
    """
    ...
