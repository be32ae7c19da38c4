"""Which of the candidate pieces of `pieces` are seen, and which parts of them.

Where a pixel has one candidate, what its centre shows decides. Where it has several, each is cut at its
crossings with the others, and layers of surface are counted along the way from the pixel's centre to the
part: every edge at which two faces fold over begins (or ends) a layer, and the number of layers at the centre
is known from what the z-buffer shows there. A part of an outline is seen if just outside it no layer at its
depth or nearer is left (Appel 1967, "The notion of quantitative invisibility", here within one pixel).

What lies beyond a piece is what the centre of the pixel on its outer side shows, unless another edge lies
between: then what that edge bounds, taken from a pixel whose centre shows it or, if there is none, at the
edge itself.
"""

import warp as wp

from dr_perception.render.outline.piece import Candidate, Candidates, Piece, PieceList
from dr_perception.render.outline.probe import shows_background
from dr_perception.render.outline.shares import shadow_area, wedge_of
from dr_perception.render.shading.inputs import Seen

_MAX_CUTS = wp.constant(6)
_LAYER_PX = wp.constant(3.0)
"""Edges whose depths differ by less than this many pixels' width belong to one layer."""
_FAR = wp.constant(1.0e30)
_MAX_GAP_PX = wp.constant(32)
"""How far away to look for what is seen through a gap."""

cuts_t = wp.types.vector(length=8, dtype=wp.float32)


@wp.func
def _crossing(p: wp.vec2, q: wp.vec2, a: wp.vec2, b: wp.vec2) -> float:
    """Where the segment p-q crosses a-b, from 0 at p to 1 at q; -1 if it does not."""
    r = q - p
    s = b - a
    det = r[0] * s[1] - r[1] * s[0]
    at = float(-1.0)
    if det != 0.0:
        w = a - p
        u = (w[0] * s[1] - w[1] * s[0]) / det
        v = (w[0] * r[1] - w[1] * r[0]) / det
        if u > 0.0 and u < 1.0 and v >= 0.0 and v < 1.0:
            at = u
    return at


@wp.func
def _cuts(i: int, c: Candidate, heads: wp.array3d[int], candidates: wp.array[Candidate]) -> cuts_t:
    """Ascending parameters at which other candidates of the pixel cross this one.

    The last entry is their number.
    """
    cuts = cuts_t()
    n = wp.int32(0)
    j = heads[c.piece.view, c.piece.y, c.piece.x]
    while j >= 0:
        if j != i and n < _MAX_CUTS:
            at = _crossing(c.start, c.end, candidates[j].start, candidates[j].end)
            if at > 1.0e-4 and at < 0.9999:
                k = n
                while k > 0 and cuts[k - 1] > at:
                    cuts[k] = cuts[k - 1]
                    k -= 1
                cuts[k] = at
                n += 1
        j = candidates[j].next
    cuts[7] = float(n)
    return cuts


@wp.func
def _layers(
    i: int,
    c: Candidate,
    m: wp.vec2,
    same_layer: float,
    heads: wp.array3d[int],
    candidates: wp.array[Candidate],
    face_index: wp.array3d[int],
    depth: wp.array3d[float],
) -> int:
    """Layers of surface not beyond an edge, just outside of its point m (on it, for a crease)."""
    p = c.piece
    limit = p.z + same_layer
    if p.face_out >= 0:
        limit = p.z - same_layer
    count = wp.int32(0)
    if p.face_out >= 0:
        count = c.hidden_out
        if p.inside != 0:
            count = wp.where(c.at_inside == 1, 1, 0)
    elif p.inside != 0:
        # The layer that ends at the edge itself does not count; unless it covers the centre, one too many was
        # taken off.
        count = wp.where(c.at_inside == 1, 1, 0)
        if c.at_inside == 2 and (face_index[p.view, p.y, p.x] < 0 or depth[p.view, p.y, p.x] > limit):
            count = -1
    else:
        count = c.hidden_out
    center = wp.vec2(float(p.x), float(p.y))
    through = wp.int32(0)
    others = wp.int32(0)
    j = heads[p.view, p.y, p.x]
    while j >= 0:
        o = candidates[j]
        if j != i and (o.piece.crossing != 0 or (o.piece.face_out < 0 and o.piece.z <= limit)):
            if _crossing(center, m, o.start, o.end) >= 0.0:
                if o.piece.crossing != 0:
                    through = 1
                else:
                    others += wp.where(o.piece.inside != 0, -1, 1)
        j = o.next
    if through != 0 and p.crossing == 0:
        # Another sheet has come to the front on the way: the pixel beyond the edge knows what is in front.
        count = c.hidden_out
        if p.inside == 0:
            count = wp.where(c.at_inside == 1, 1, 0)
    return count + others


@wp.struct
class Beyond:
    """What lies beyond a piece."""

    x: int
    """Pixel whose centre shows it; -1: outside the view."""
    y: int
    candidate: int
    """Candidate at whose edge it is seen although no pixel's centre shows it, or -1."""
    opened: int
    """1 if what the pixel on the outer side shows was found to end before the piece."""


@wp.func
def _beyond_depth(
    view: int, x: int, y: int, floor: float, face_index: wp.array3d[int], depth: wp.array3d[float]
) -> float:
    """Depth that a pixel shows if that is farther than ``floor``, else 0; very far where there is nothing."""
    if face_index[view, y, x] < 0:
        return _FAR
    return wp.where(depth[view, y, x] > floor, depth[view, y, x], 0.0)


@wp.func
def _deepest_around(
    p: Piece, floor: float, face_index: wp.array3d[int], depth: wp.array3d[float]
) -> wp.vec2i:
    """Pixel that shows what lies farther than ``floor``.

    Within two of a piece that shows background, or else the most distant surface. If there is none, as in a
    long gap that no pixel's centre lies in, the nearest one across the piece.
    """
    found = wp.vec2i(p.out_x, p.out_y)
    deepest = float(0.0)
    for y in range(wp.max(p.y - 2, 0), wp.min(p.y + 3, face_index.shape[1])):
        for x in range(wp.max(p.x - 2, 0), wp.min(p.x + 3, face_index.shape[2])):
            z = _beyond_depth(p.view, x, y, floor, face_index, depth)
            if z > deepest:
                deepest = z
                found = wp.vec2i(x, y)
    step = wp.normalize(p.outward)
    k = wp.int32(3)
    while deepest == 0.0 and k < _MAX_GAP_PX:
        for sense in range(2):
            along = float(k * (1 - 2 * sense)) * step
            x = p.x + wp.int32(wp.round(along[0]))
            y = p.y + wp.int32(wp.round(along[1]))
            if x >= 0 and y >= 0 and x < face_index.shape[2] and y < face_index.shape[1]:
                z = _beyond_depth(p.view, x, y, floor, face_index, depth)
                if z > deepest:
                    deepest = z
                    found = wp.vec2i(x, y)
        k += 1
    return found


@wp.func
def _beyond(
    i: int,
    c: Candidate,
    m: wp.vec2,
    same_layer: float,
    heads: wp.array3d[int],
    candidates: wp.array[Candidate],
    face_index: wp.array3d[int],
    depth: wp.array3d[float],
) -> Beyond:
    """What lies beyond point m: behind the last edge on the way to it from the pixel on the outer side."""
    p = c.piece
    found = Beyond()
    found.x = p.out_x
    found.y = p.out_y
    found.candidate = -1
    if p.out_x < 0:
        return found
    origin = wp.vec2(float(p.out_x), float(p.out_y))
    last = float(0.0)
    floor = p.z
    for k in range(2):
        j = heads[p.view, p.y, p.x]
        if k == 1:
            j = heads[p.view, p.out_y, p.out_x]
            if p.out_x == p.x and p.out_y == p.y:
                j = -1
        while j >= 0:
            o = candidates[j]
            nearer = o.piece.z < p.z - same_layer
            if (
                j != i
                and o.concave == 0
                and o.piece.face_out < 0
                and (nearer or o.piece.z > p.z + same_layer)
            ):
                at = _crossing(origin, m, o.start, o.end)
                entering = wp.dot(o.piece.outward, o.start - origin) < 0.0
                if at > last and not (nearer and entering):
                    last = at
                    # What is seen past the end of a farther sheet lies behind that.
                    floor = wp.where(entering or nearer, p.z, o.piece.z)
                    found.opened = 1
                    found.candidate = -1
                    found.x = wp.where(entering, o.in_x, o.piece.out_x)
                    found.y = wp.where(entering, o.in_y, o.piece.out_y)
                    if entering and o.at_inside == 1:
                        found.candidate = j
            j = o.next
    if last > 0.0 and found.candidate < 0 and found.x >= 0:
        if face_index[p.view, found.y, found.x] >= 0 and depth[p.view, found.y, found.x] <= floor:
            # That pixel shows the near side: what lies between is narrower than a pixel.
            deepest = _deepest_around(p, floor + same_layer, face_index, depth)
            found.x = deepest[0]
            found.y = deepest[1]
    return found


@wp.func
def _emit(
    i: int,
    c: Candidate,
    first: float,
    last: float,
    out: Beyond,
    sloped: bool,
    found: Candidates,
    pieces: PieceList,
):
    """Append candidate i from ``first`` to ``last``, as large as if it were alone in its pixel."""
    slot = wp.atomic_add(pieces.count, 0, 1)
    if slot >= pieces.list.shape[0]:
        return
    p = c.piece
    start = c.start + first * (c.end - c.start)
    end = c.start + last * (c.end - c.start)
    center = wp.vec2(float(p.x), float(p.y))
    p.outward = (last - first) * p.outward
    p.middle = 0.5 * (start + end)
    p.out_x = out.x
    p.out_y = out.y
    if out.candidate >= 0:
        back = found.list[out.candidate].piece
        p.back_face = back.face
        p.back_a = back.a
        p.back_b = back.b
        p.back_t = back.t
        p.back_z = back.z
    wedge = wedge_of(start - center, end - center)
    p.direction = wedge.first
    p.width = wedge.width
    p.area = shadow_area(wedge)
    p.cover = p.area
    p.sloped = wp.where(sloped, 1, 0)
    p.candidate = i
    p.next = pieces.first[i]
    pieces.first[i] = slot
    pieces.list[slot] = p


@wp.func
def _alone_visible(c: Candidate, opened: int) -> bool:
    """Whether the only candidate of a pixel is seen.

    A layer in front of it that ended between it and the centre would have an edge here, so only the side on
    which the centre lies can tell.
    """
    if c.piece.inside == 0:
        return c.hidden_out == 0
    return c.at_inside != 1 and (c.hidden_out == 0 or opened != 0)


@wp.kernel(enable_backward=False)
def select_visible(
    found: Candidates,
    seen: Seen,
    outline_only: int,
    # output
    pieces: PieceList,
):
    """Append the parts of the candidates that are seen, and chain those of each candidate.

    ``outline_only`` leaves out what is not against the background.
    """
    i = wp.tid()
    if i >= found.count[0] or i >= found.list.shape[0]:
        return
    pieces.first[i] = -1
    c = found.list[i]
    if c.concave != 0:
        return
    p = c.piece
    camera = (p.view + seen.first_view) % seen.intrinsics.shape[0]
    same_layer = _LAYER_PX * p.z / seen.intrinsics[camera, 0]
    alone = found.heads[p.view, p.y, p.x] == i and c.next < 0
    cuts = cuts_t()
    n = wp.int32(0)
    if not alone:
        cuts = _cuts(i, c, found.heads, found.list)
        n = wp.int32(cuts[7])
    first = float(0.0)
    for k in range(n + 1):
        last = float(1.0)
        if k < n:
            last = cuts[k]
        m = c.start + 0.5 * (first + last) * (c.end - c.start)
        out = Beyond()
        out.x = p.out_x
        out.y = p.out_y
        out.candidate = -1
        visible = last > first
        if visible and p.face_out < 0 and (p.inside != 0 or not alone):
            out = _beyond(i, c, m, same_layer, found.heads, found.list, seen.face_index, seen.depth)
        if alone:
            visible = _alone_visible(c, out.opened)
        elif visible:
            visible = _layers(i, c, m, same_layer, found.heads, found.list, seen.face_index, seen.depth) <= 0
        if visible and outline_only != 0:
            visible = out.candidate < 0 and shows_background(seen.face_index, p.view, out.x, out.y)
        if visible:
            # An edge twice as far as the surface at the centre tells nothing of what is between.
            sloped = p.inside != 0 and c.at_inside == 0 and p.z <= 2.0 * seen.depth[p.view, p.y, p.x]
            _emit(i, c, first, last, out, sloped, found, pieces)
        first = last
