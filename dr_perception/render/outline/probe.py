"""What a piece of outline needs to know about the faces around it.

Which face of its own surface lies below a pixel, what hides it, and how much of a pixel it hides.
"""

import warp as wp

from dr_perception.render.shading.inputs import Seen, Surfaces
from dr_perception.render.shading.interpolation import plane_depth

_DEPTH_TOLERANCE = wp.constant(2.0e-4)
_MAX_SLOPE_DEPTH = wp.constant(0.05)
_MAX_STEPS = wp.constant(32)


@wp.struct
class SceneView:
    """What a piece needs to know about the view and the edge it lies on."""

    view: int
    camera: int
    x0: int
    y0: int
    width: int
    height: int
    a: int
    b: int
    face: int
    other: int
    crease: int
    side: float
    concave: int
    bent: int
    """1 if the lens bends edges; then the next is set."""
    line: wp.vec3
    """The edge in the ideal plane: its product with a ray (x, y, 1) is the distance inwards [px]."""


@wp.func
def face_below(
    view: int,
    start: int,
    d: wp.vec3,
    mesh: Surfaces,
) -> int:
    """Face that a ray meets on the sheet of a face, found by walking from face to face.

    Returns -1 if the sheet ends on the way, -2 if the walk does not arrive (Devillers et al. 2001, the
    visibility walk).
    """
    f = start
    came_from = wp.int32(-1)
    turned = float(0.0)
    for _i in range(_MAX_STEPS):
        corners = mesh.faces[f]
        a = mesh.p_cam[view, corners[0]]
        b = mesh.p_cam[view, corners[1]]
        c = mesh.p_cam[view, corners[2]]
        facing = wp.where(wp.dot(wp.cross(b - a, c - a), a) < 0.0, 1.0, -1.0)
        if turned == 0.0:
            turned = facing
        if facing != turned:
            return -1
        ab = facing * wp.dot(d, wp.cross(a, b - a))
        bc = facing * wp.dot(d, wp.cross(b, c - b))
        ca = facing * wp.dot(d, wp.cross(c, a - c))
        around = mesh.neighbors[f]
        # Leave through the edge that the ray lies farthest beyond, but not the way we came.
        best = float(0.0)
        next = wp.int32(-2)
        if ab > best and (around[0] != came_from or around[0] < 0):
            best = ab
            next = around[0]
        if bc > best and (around[1] != came_from or around[1] < 0):
            best = bc
            next = around[1]
        if ca > best and (around[2] != came_from or around[2] < 0):
            best = ca
            next = around[2]
        if next == -2:
            return f
        if next < 0:
            return -1
        came_from = f
        f = next
    return -2


@wp.func
def touches(f: int, g: int, neighbors: wp.array[wp.vec3i]) -> bool:
    """Whether two faces are one or share an edge.

    Closer than that, snapping leaves open which one a pixel shows.
    """
    if g < 0:
        return False
    around = neighbors[g]
    return f == g or f == around[0] or f == around[1] or f == around[2]


@wp.func
def depth_order_inside(
    s: SceneView,
    z_edge: float,
    x: int,
    y: int,
    seen: Seen,
    mesh: Surfaces,
) -> int:
    """What a pixel's centre on the inner side shows.

    0 the edge's own sheet of surface, 1 something in front, 2 no such sheet.
    """
    inner = seen.face_index[s.view, y, x]
    if inner >= 0 and (touches(inner, s.face, mesh.neighbors) or touches(inner, s.other, mesh.neighbors)):
        return 0
    q = seen.rays[s.camera, y + s.y0, x + s.x0]
    d = wp.vec3(q[0], q[1], 1.0)
    own = face_below(s.view, s.face, d, mesh)
    if inner >= 0 and touches(inner, own, mesh.neighbors):
        return 0
    if own == -1 or inner < 0:
        return 2
    if own == -2:
        own = s.face
    f = mesh.faces[own]
    z = plane_depth(d, mesh.p_cam[s.view, f[0]], mesh.p_cam[s.view, f[1]], mesh.p_cam[s.view, f[2]])
    return wp.where(seen.depth[s.view, y, x] < wp.min(z, z_edge) * (1.0 - _DEPTH_TOLERANCE), 1, 0)


@wp.func
def hidden_outside(
    s: SceneView,
    d_edge: wp.vec3,
    z_edge: float,
    x: int,
    y: int,
    seen: Seen,
    mesh: Surfaces,
) -> bool:
    """Whether the surface at the centre of a pixel, continued to the edge, lies in front of it.

    Its faces are followed there where the depth at the centre leaves that open.
    """
    outer = seen.face_index[s.view, y, x]
    if outer < 0 or outer == s.face or outer == s.other:
        return False
    limit = z_edge * (1.0 - _DEPTH_TOLERANCE)
    at = seen.depth[s.view, y, x]
    if at * (1.0 - _MAX_SLOPE_DEPTH) >= limit:
        return False
    if at * (1.0 + _MAX_SLOPE_DEPTH) < limit:
        return True
    below = face_below(s.view, outer, d_edge, mesh)
    if below == -1:
        return False
    f = mesh.faces[wp.where(below >= 0, below, outer)]
    z = plane_depth(d_edge, mesh.p_cam[s.view, f[0]], mesh.p_cam[s.view, f[1]], mesh.p_cam[s.view, f[2]])
    return wp.max(z, at * (1.0 - _MAX_SLOPE_DEPTH)) < limit


@wp.func
def clip_span(s: float, e: float, low: float, high: float, t: wp.vec2) -> wp.vec2:
    """Range of t with s + t e between low and high, cut with a given range (Liang and Barsky 1984)."""
    first = t[0]
    last = t[1]
    if wp.abs(e) < 1.0e-12:
        if s < low or s > high:
            last = first - 1.0
    else:
        t_low = (low - s) / e
        t_high = (high - s) / e
        first = wp.max(first, wp.min(t_low, t_high))
        last = wp.min(last, wp.max(t_low, t_high))
    return wp.vec2(first, last)


@wp.func
def buffer_pixel(s: SceneView, x: int, y: int) -> wp.vec2i:
    """A pixel, or (-1, -1) outside the view."""
    if x < 0 or y < 0 or x >= s.width or y >= s.height:
        return wp.vec2i(-1, -1)
    return wp.vec2i(x, y)


@wp.func
def shows_background(face_index: wp.array3d[int], view: int, x: int, y: int) -> bool:
    """Whether the centre of a pixel shows no surface; so it is outside the view."""
    if x < 0:
        return True
    return face_index[view, y, x] < 0
