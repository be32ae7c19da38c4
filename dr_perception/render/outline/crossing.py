"""Where surfaces pass through each other: the curves in which they meet are edges of the image.

Two neighbouring pixels show two sheets of surface. Followed over their faces from one centre to the other
(`sheet_walk`), both are there in between; where the nearer one changes, they cross. In inverse depth a plane
is affine in the ray, so that two faces cross in a line of the image, which is exact for a pinhole and as
straight as the lens is within a pixel otherwise. From where the sheets meet the curve is followed from face
to face (it bends where it nears an outline, to whose tangent it turns) through the pixel, to the end of
either sheet: edges with one sheet on their inner and the other on their outer side. Colours and normals
jump there. Coverage and depth do not.

A line that passes through the square of a pixel has the centre of one of its four neighbours beyond it, so
that none is missed but those of which no pixel's centre shows the one side.

Bias: of three surfaces that meet in one pixel two are seen.
"""

import warp as wp

from dr_perception.render.outline.piece import Candidate, Candidates, Piece
from dr_perception.render.outline.probe import clip_span, touches
from dr_perception.render.outline.sheet_walk import Exit, SheetPoint, edges_of, exit_of, facing_of, walk_sheet
from dr_perception.render.shading.inputs import Seen, Surfaces
from dr_perception.render.shading.surface import ray_of, step_aside

wp.set_module_options({"enable_backward": False})

_KINK = wp.constant(0.1)
"""Change of slope (of depth over distance across) between neighbouring pixels of one body below which its
surface is taken to bend, not to pass through itself; the colours of a surface hardly differ across less."""
_FLAT = wp.constant(0.01)
"""Difference of slope below which two sheets lie on each other: their line moves a hundred times as far as
they do, and single precision puts it anywhere."""
_CLEAR_PX = wp.constant(1.0e-3)
"""Least distance of a piece from the pixel's centre, as in `pieces`."""
_SHORTEST_PX = wp.constant(1.0e-4)
_FARTHEST_PX = wp.constant(1.5)
"""How far a curve is followed over two faces: no piece of a pixel is longer."""
_MAX_STEPS = wp.constant(32)
_ROUNDS = wp.constant(8)
"""Steps towards the place where two curved sheets meet; plane ones take one."""


@wp.struct
class Pixel:
    """A pixel, and how the ray changes from it along the rows and columns of the image."""

    view: int
    x: int
    y: int
    d: wp.vec3
    """The ray of its centre (x, y, 1)."""
    right: wp.vec3
    down: wp.vec3


@wp.struct
class Meeting:
    """Where the sheet that a pixel shows meets that of a neighbour."""

    at: float
    """Share of the way to the neighbour's centre; 2 if they do not meet."""
    face: int
    """Face of the pixel's own sheet there."""
    other: int
    """Face of the neighbour's."""
    side: wp.vec2i
    """Step to the neighbour."""


@wp.func
def plane_of(view: int, corners: wp.vec3i, p_cam: wp.array2d[wp.vec3]) -> wp.vec3:
    """A face's plane: its product with a ray (x, y, 1) is the inverse depth [1/m]; zero if it is edge-on."""
    a = p_cam[view, corners[0]]
    n = wp.cross(p_cam[view, corners[1]] - a, p_cam[view, corners[2]] - a)
    s = wp.dot(n, a)
    if s * s <= 1.0e-10 * wp.dot(n, n) * wp.dot(a, a):
        return wp.vec3()
    return n / s


@wp.func
def _plane(m: Surfaces, view: int, face: int) -> wp.vec3:
    return plane_of(view, m.faces[face], m.p_cam)


@wp.func
def _walk(m: Surfaces, view: int, face: int, d: wp.vec3, step: wp.vec3, limit: float) -> SheetPoint:
    """Follow a sheet from the ray ``d`` on one of its faces."""
    return walk_sheet(view, face, d, step, 0.0, limit, 0, m)


@wp.func
def _gap(m: Surfaces, view: int, own: int, other: int, d: wp.vec3) -> float:
    """Inverse depth of one face less that of another on a ray: positive where the first is in front."""
    return wp.dot(_plane(m, view, own) - _plane(m, view, other), d)


@wp.func
def _bends(q: Seen, p: Pixel, side: wp.vec2i, step: float) -> bool:
    """Whether depth bends more at a pixel or its neighbour than a surface does that goes on.

    Where two sheets meet in between, both pixels share the change of slope. Those at the border of the image
    are not compared.
    """
    x = p.x - side[0]
    y = p.y - side[1]
    u = p.x + 2 * side[0]
    v = p.y + 2 * side[1]
    if wp.min(x, u) < 0 or wp.min(y, v) < 0:
        return True
    if wp.max(x, u) >= q.face_index.shape[2] or wp.max(y, v) >= q.face_index.shape[1]:
        return True
    if q.face_index[p.view, y, x] < 0 or q.face_index[p.view, v, u] < 0:
        return True
    own = 1.0 / q.depth[p.view, p.y, p.x]
    other = 1.0 / q.depth[p.view, p.y + side[1], p.x + side[0]]
    before = own - 1.0 / q.depth[p.view, y, x]
    after = 1.0 / q.depth[p.view, v, u] - other
    between = other - own
    return wp.max(wp.abs(between - before), wp.abs(after - between)) > 0.5 * _KINK * own * step


@wp.func
def _may_meet(m: Surfaces, q: Seen, p: Pixel, side: wp.vec2i, own: int, other: int, itself: int) -> bool:
    """Whether it is worth following the sheets of a pixel and its neighbour."""
    if other < 0 or other == own:
        return False
    if m.face_instance[own] != m.face_instance[other]:
        return True
    if itself == 0:
        return False
    step = wp.abs(float(side[0])) * wp.length(p.right) + wp.abs(float(side[1])) * wp.length(p.down)
    return _bends(q, p, side, step) and not touches(own, other, m.neighbors)


@wp.func
def _meet(m: Surfaces, view: int, own: int, other: int, d: wp.vec3, step: wp.vec3) -> Meeting:
    """Where the sheet of ``own`` at ``d`` and that of ``other`` at ``d + step`` meet."""
    out = Meeting()
    out.at = 2.0
    mine = _walk(m, view, own, d, step, 1.0)
    yours = _walk(m, view, other, d + step, -step, 1.0)
    low = 1.0 - yours.at
    high = mine.at
    if low >= high:
        return out
    first = _walk(m, view, own, d, step, low)
    last = _walk(m, view, other, d + step, -step, 1.0 - high)
    gap_low = _gap(m, view, first.face, yours.face, d + low * step)
    gap_high = _gap(m, view, mine.face, last.face, d + high * step)
    own_depth = wp.dot(_plane(m, view, own), d)
    if gap_low <= 0.0 or gap_high >= 0.0:
        return out
    if wp.max(gap_low, -gap_high) < _FLAT * own_depth * wp.length(step):
        return out
    out.face = first.face
    out.other = yours.face
    at = low
    gap = gap_low
    i = wp.int32(0)
    while i < _ROUNDS:
        i += 1
        # Where the two faces meet, unless that is elsewhere; then what both ends of the way tell.
        slope = wp.dot(_plane(m, view, out.face) - _plane(m, view, out.other), step)
        straight = slope < 0.0
        at = wp.where(straight, at - gap / slope, low)
        if at <= low or at >= high:
            straight = False
            at = low + (high - low) * gap_low / (gap_low - gap_high)
        f = _walk(m, view, own, d, step, at).face
        g = _walk(m, view, other, d + step, -step, 1.0 - at).face
        if straight and f == out.face and g == out.other:
            i = _ROUNDS
        out.face = f
        out.other = g
        gap = _gap(m, view, f, g, d + at * step)
        if gap > 0.0:
            low = at
            gap_low = gap
        else:
            high = at
            gap_high = wp.min(gap, -1.0e-12)
    out.at = at
    return out


@wp.struct
class Sheet:
    """A face of a sheet that a curve is followed over."""

    face: int
    came_from: int
    """The face before, -1 at first."""
    facing: float
    """How its faces are turned, as `facing_of` has it."""


@wp.func
def _sheet(m: Surfaces, view: int, face: int) -> Sheet:
    f = m.faces[face]
    s = Sheet()
    s.face = face
    s.came_from = -1
    s.facing = facing_of(m.p_cam[view, f[0]], m.p_cam[view, f[1]], m.p_cam[view, f[2]])
    return s


@wp.func
def _exit(m: Surfaces, view: int, s: Sheet, d: wp.vec3, step: wp.vec3, limit: float) -> Exit:
    """Where the line ``d + at * step`` leaves a face."""
    f = m.faces[s.face]
    a = m.p_cam[view, f[0]]
    b = m.p_cam[view, f[1]]
    c = m.p_cam[view, f[2]]
    return exit_of(edges_of(a, b, c, s.facing), d, step, 0.0, limit, m.neighbors[s.face], s.came_from)


@wp.func
def _beyond(m: Surfaces, view: int, s: Sheet, edge: int) -> Sheet:
    """The next face of a sheet; face -1 where it ends or folds over."""
    next = _sheet(m, view, wp.max(m.neighbors[s.face][edge], 0))
    next.came_from = s.face
    if m.neighbors[s.face][edge] < 0 or next.facing != s.facing:
        next.face = -1
    return next


@wp.struct
class Line:
    """The line in which two faces meet: pixels from the centre of a pixel."""

    outward: wp.vec2
    """To the side on which the second face is in front; zero if they lie on each other."""
    distance: float
    """From the centre to the line, outwards."""


@wp.func
def _line(m: Surfaces, p: Pixel, own: int, other: int) -> Line:
    mine = _plane(m, p.view, own)
    plane = mine - _plane(m, p.view, other)
    slope = wp.vec2(wp.dot(plane, p.right), wp.dot(plane, p.down))
    steepness = wp.length(slope)
    line = Line()
    if steepness > _FLAT * wp.abs(wp.dot(mine, p.d)) * wp.length(p.right):
        line.outward = -slope / steepness
        line.distance = wp.dot(plane, p.d) / steepness
    return line


@wp.func
def _add(m: Surfaces, p: Pixel, at: Meeting, line: Line, first: wp.vec2, last: wp.vec2, found: Candidates):
    """Append what a straight piece of the curve has in a pixel, on the side of its centre that it lies on."""
    e = last - first
    span = clip_span(first[0], e[0], -0.5, 0.5, wp.vec2(0.0, 1.0))
    span = clip_span(first[1], e[1], -0.5, 0.5, span)
    length = (span[1] - span[0]) * wp.length(e)
    if length < _SHORTEST_PX:
        return
    slot = wp.atomic_add(found.count, 0, 1)
    if slot >= found.list.shape[0]:
        return
    piece = Piece()
    piece.view = p.view
    piece.x = p.x
    piece.y = p.y
    piece.out_x = p.x + at.side[0]
    piece.out_y = p.y + at.side[1]
    piece.face = at.face
    piece.face_out = at.other
    piece.back_face = -1
    piece.crossing = 1
    piece.inside = wp.where(line.distance > -_CLEAR_PX, 1, 0)
    piece.outward = length * line.outward
    move = wp.max(_CLEAR_PX - wp.abs(line.distance), 0.0) * line.outward
    center = wp.vec2(float(p.x), float(p.y)) + move
    c = Candidate()
    c.start = center + first + span[0] * e
    c.end = center + first + span[1] * e
    piece.middle = 0.5 * (c.start + c.end)
    middle = piece.middle - center
    piece.z = 1.0 / wp.dot(_plane(m, p.view, at.face), p.d + middle[0] * p.right + middle[1] * p.down)
    corners = m.faces[at.face]
    piece.a = corners[0]
    piece.b = corners[1]
    c.piece = piece
    c.in_x = p.x
    c.in_y = p.y
    c.next = wp.atomic_exch(found.heads, p.view, p.y, p.x, slot)
    found.list[slot] = c


@wp.func
def _trace(m: Surfaces, p: Pixel, at: Meeting, sense: float, found: Candidates):
    """Follow the curve from where two sheets meet to where it leaves the pixel or a sheet ends."""
    own = _sheet(m, p.view, at.face)
    other = _sheet(m, p.view, at.other)
    here = at.at * wp.vec2(float(at.side[0]), float(at.side[1]))
    inside = at.at <= 0.5
    steps = wp.int32(0)
    while steps < _MAX_STEPS:
        steps += 1
        line = _line(m, p, own.face, other.face)
        along = sense * wp.vec2(-line.outward[1], line.outward[0])
        step = along[0] * p.right + along[1] * p.down
        here += (line.distance - wp.dot(here, line.outward)) * line.outward
        d = p.d + here[0] * p.right + here[1] * p.down
        mine = _exit(m, p.view, own, d, step, _FARTHEST_PX)
        yours = _exit(m, p.view, other, d, step, _FARTHEST_PX)
        then = here + wp.min(mine.at, yours.at) * along
        at.face = own.face
        at.other = other.face
        if wp.length_sq(along) > 0.0:
            _add(m, p, at, line, here, then, found)
        within = wp.max(wp.abs(then[0]), wp.abs(then[1])) <= 0.5
        gone = inside and not within
        inside = inside or within
        here = then
        if mine.edge >= 0 and mine.at <= yours.at:
            own = _beyond(m, p.view, own, mine.edge)
        elif yours.edge >= 0:
            other = _beyond(m, p.view, other, yours.edge)
        else:
            gone = True
        if gone or wp.length_sq(along) == 0.0 or own.face < 0 or other.face < 0:
            steps = _MAX_STEPS


@wp.func
def _pixel(q: Seen, view: int, x: int, y: int) -> Pixel:
    v = q.viewports[view]
    camera = (view + q.first_view) % q.rays.shape[0]
    p = Pixel()
    p.view = view
    p.x = x
    p.y = y
    p.d = ray_of(q.rays, camera, x + v.x0, y + v.y0)
    p.right = step_aside(q.rays, camera, x + v.x0, y + v.y0, 1, 0)
    p.down = step_aside(q.rays, camera, x + v.x0, y + v.y0, 0, 1)
    return p


@wp.func
def _nearest_meeting(m: Surfaces, q: Seen, p: Pixel, itself: int) -> Meeting:
    """The nearest place at which the sheet that a pixel shows meets that of one of four neighbours."""
    nearest = Meeting()
    nearest.at = 2.0
    own = q.face_index[p.view, p.y, p.x]
    sides = wp.int32(4)
    for k in range(sides):
        sign = 1 - 2 * (k % 2)
        side = wp.vec2i((1 - k // 2) * sign, (k // 2) * sign)
        u = p.x + side[0]
        v = p.y + side[1]
        if u >= 0 and v >= 0 and u < q.face_index.shape[2] and v < q.face_index.shape[1]:
            other = q.face_index[p.view, v, u]
            if _may_meet(m, q, p, side, own, other, itself):
                step = float(side[0]) * p.right + float(side[1]) * p.down
                found = _meet(m, p.view, own, other, p.d, step)
                if found.at < nearest.at:
                    nearest = found
                    nearest.side = side
    return nearest


@wp.func
def _other_body(
    own: int,
    view: int,
    y: int,
    x: int,
    itself: int,
    face_index: wp.array3d[int],
    face_instance: wp.array[int],
) -> bool:
    """Whether a pixel shows another body than a face, or may show another sheet of the same."""
    other = face_index[view, y, x]
    if other < 0 or other == own:
        return False
    return itself != 0 or face_instance[other] != face_instance[own]


@wp.kernel
def find_crossings(m: Surfaces, q: Seen, span: int, itself: int, found: Candidates):
    """List pieces of the curves in which surfaces cross; ``count`` may exceed the room.

    A thread works through ``span`` pixels of a row, as far as they lie in the box of the view. Without
    ``itself`` no body passes through itself.
    """
    view, y, strip = wp.tid()
    box = q.boxes[view]
    if y < box[1] or y > box[3]:
        return
    above = wp.max(y - 1, 0)
    below = wp.min(y + 1, q.face_index.shape[1] - 1)
    x = wp.max(strip * span, box[0])
    last = wp.min(strip * span + span - 1, box[2])
    right = q.face_index.shape[2] - 1
    while x <= last:
        own = q.face_index[view, y, x]
        # Few pixels are beside another body, and only for them the structs are handed on.
        if own >= 0:
            if (
                _other_body(own, view, y, wp.min(x + 1, right), itself, q.face_index, m.face_instance)
                or _other_body(own, view, y, wp.max(x - 1, 0), itself, q.face_index, m.face_instance)
                or _other_body(own, view, below, x, itself, q.face_index, m.face_instance)
                or _other_body(own, view, above, x, itself, q.face_index, m.face_instance)
            ):
                p = _pixel(q, view, x, y)
                nearest = _nearest_meeting(m, q, p, itself)
                if nearest.at <= 1.0:
                    senses = wp.int32(2)
                    for k in range(senses):
                        _trace(m, p, nearest, float(1 - 2 * k), found)
        x += 1
