"""Which of the candidate pieces of `outline` are seen, and which parts of them.

Where a pixel has one candidate, the surfaces at the pixel centres on both of its sides decide. Where it has
several, each is cut
at its crossings with the others, and layers of surface are counted along the way from the pixel's centre to
the part: every
edge at which two faces fold over begins (or ends) a layer, and the number of layers at the centre is known
from what the
z-buffer shows there. A part of an outline is seen if just outside it no layer at its depth or nearer is left
(Appel 1967, "The notion of quantitative invisibility", here within one pixel).
"""

import warp as wp

from dr_perception.render.outline import Candidate, Piece
from dr_perception.render.outline_probe import shadow_area, shows_background

_MAX_CUTS = wp.constant(6)
_LAYER_PX = wp.constant(3.0)
"""Edges whose depths differ by less than this many pixels' width belong to one layer."""

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
        if c.inside != 0:
            count = wp.where(c.at_inside == 1, 1, 0)
    elif c.inside != 0:
        # The layer that ends at the edge itself does not count; unless it covers the centre, one too many was
        # taken off.
        count = wp.where(c.at_inside == 1, 1, 0)
        if c.at_inside == 2 and (face_index[p.view, p.y, p.x] < 0 or depth[p.view, p.y, p.x] > limit):
            count = -1
    elif face_index[p.view, p.y, p.x] >= 0 and depth[p.view, p.y, p.x] <= limit:
        count = 1
    center = wp.vec2(float(p.x), float(p.y))
    j = heads[p.view, p.y, p.x]
    while j >= 0:
        o = candidates[j]
        if j != i and o.piece.face_out < 0 and o.piece.z <= limit:
            if _crossing(center, m, o.start, o.end) >= 0.0:
                count += wp.where(o.inside != 0, -1, 1)
        j = o.next
    return count


@wp.func
def _beyond(
    i: int,
    c: Candidate,
    m: wp.vec2,
    same_layer: float,
    heads: wp.array3d[int],
    candidates: wp.array[Candidate],
) -> wp.vec2i:
    """Pixel whose centre shows what lies beyond point m.

    Behind the last deeper edge on the way to it, if there is one.
    """
    p = c.piece
    found = wp.vec2i(p.out_x, p.out_y)
    if p.out_x < 0:
        return found
    origin = wp.vec2(float(p.out_x), float(p.out_y))
    limit = p.z + same_layer
    last = float(0.0)
    for k in range(2):
        j = heads[p.view, p.y, p.x]
        if k == 1:
            if p.out_x == p.x and p.out_y == p.y:
                return found
            j = heads[p.view, p.out_y, p.out_x]
        while j >= 0:
            o = candidates[j]
            if j != i and o.concave == 0 and o.piece.face_out < 0 and o.piece.z > limit:
                at = _crossing(origin, m, o.start, o.end)
                if at > last:
                    entering = wp.dot(o.piece.outward, o.start - origin) < 0.0
                    last = at
                    found = wp.vec2i(
                        wp.where(entering, o.in_x, o.piece.out_x), wp.where(entering, o.in_y, o.piece.out_y)
                    )
            j = o.next
    return found


@wp.func
def _emit(
    c: Candidate,
    start: wp.vec2,
    end: wp.vec2,
    share: float,
    out: wp.vec2i,
    pieces: wp.array[Piece],
    count: wp.array[int],
):
    slot = wp.atomic_add(count, 0, 1)
    if slot >= pieces.shape[0]:
        return
    p = c.piece
    center = wp.vec2(float(p.x), float(p.y))
    area = shadow_area(start - center, end - center)
    p.area = wp.where(c.inside != 0, -area, area)
    p.outward = share * p.outward
    p.middle = 0.5 * (start + end)
    p.out_x = out[0]
    p.out_y = out[1]
    pieces[slot] = p


@wp.kernel(enable_backward=False)
def select_visible(
    heads: wp.array3d[int],
    candidates: wp.array[Candidate],
    candidate_count: wp.array[int],
    face_index: wp.array3d[int],
    depth: wp.array3d[float],
    intrinsics: wp.array2d[float],
    outline_only: int,
    first_view: int,
    # output
    pieces: wp.array[Piece],
    count: wp.array[int],
):
    """Append the parts of the candidates that are seen.

    ``outline_only`` leaves out what is not against the background.
    """
    i = wp.tid()
    if i >= candidate_count[0] or i >= candidates.shape[0]:
        return
    c = candidates[i]
    if c.concave != 0:
        return
    p = c.piece
    out = wp.vec2i(p.out_x, p.out_y)
    if heads[p.view, p.y, p.x] == i and c.next < 0:
        background = shows_background(face_index, p.view, p.out_x, p.out_y)
        if c.at_inside != 1 and c.hidden_out == 0 and (outline_only == 0 or background):
            _emit(c, c.start, c.end, 1.0, out, pieces, count)
        return
    camera = (p.view + first_view) % intrinsics.shape[0]
    same_layer = _LAYER_PX * p.z / intrinsics[camera, 0]
    cuts = _cuts(i, c, heads, candidates)
    n = wp.int32(cuts[7])
    first = float(0.0)
    for k in range(n + 1):
        last = float(1.0)
        if k < n:
            last = cuts[k]
        m = c.start + 0.5 * (first + last) * (c.end - c.start)
        if last > first and _layers(i, c, m, same_layer, heads, candidates, face_index, depth) <= 0:
            if p.face_out < 0:
                out = _beyond(i, c, m, same_layer, heads, candidates)
            if outline_only == 0 or shows_background(face_index, p.view, out[0], out[1]):
                start = c.start + first * (c.end - c.start)
                end = c.start + last * (c.end - c.start)
                _emit(c, start, end, last - first, out, pieces, count)
        first = last
