"""How much of a pixel each visible piece of outline gives to what lies on its far side.

A piece hides a part of the pixel from the pixel's centre: its *shadow*. What is seen there is the far side of
the piece, as far as the next piece behind it: a pixel is cut into the part that no piece hides, which the
centre stands for, and one part for every piece. The parts are disjoint whatever the pieces are, so that a
blended value is a convex combination: coverage cannot leave [0, 1], nor colour what is there to mix.

Directions from the centre are measured along the border of the pixel, from 0 to 4 counter-clockwise; a wedge
then has a quarter of its length as its area.
"""

import warp as wp

from dr_perception.render.outline.piece import Candidate, Piece
from dr_perception.render.outline.probe import shows_background

_SHORTEST = wp.constant(1.0e-6)
"""Wedge, as a length of border, below which a part is not worth cutting."""
_SLIVER = wp.constant(2.0e-3)
"""Wedge that two pieces may share by rounding where they meet; its area is 1/2000 of a pixel at most."""


@wp.func
def _direction(p: wp.vec2) -> float:
    """Where a direction leaves a unit square, measured along its border."""
    if wp.abs(p[0]) >= wp.abs(p[1]):
        if p[0] == 0.0:
            return 0.0
        return wp.where(p[0] > 0.0, 0.5, 2.5) + 0.5 * p[1] / p[0]
    return wp.where(p[1] > 0.0, 1.5, 3.5) - 0.5 * p[0] / p[1]


@wp.func
def _border(direction: float) -> wp.vec2:
    """The vector that has a direction, of any length."""
    u = direction - 4.0 * wp.floor(0.25 * direction)
    if u < 1.0:
        return wp.vec2(1.0, 2.0 * u - 1.0)
    if u < 2.0:
        return wp.vec2(3.0 - 2.0 * u, 1.0)
    if u < 3.0:
        return wp.vec2(-1.0, 5.0 - 2.0 * u)
    return wp.vec2(2.0 * u - 7.0, -1.0)


@wp.func
def _wrapped(direction: float) -> float:
    """The same direction from 0 to 4."""
    return direction - 4.0 * wp.floor(0.25 * direction)


@wp.struct
class Wedge:
    """What a piece hides, as seen from the centre of its pixel."""

    a: wp.vec2
    b: wp.vec2
    first: float
    """Direction in which it begins, counter-clockwise."""
    width: float
    """Length along the border, at most 2."""


@wp.func
def wedge_of(start: wp.vec2, end: wp.vec2) -> Wedge:
    """The wedge of a segment, given from the centre."""
    w = Wedge()
    w.a = start
    w.b = end
    if start[0] * end[1] - start[1] * end[0] < 0.0:
        w.a = end
        w.b = start
    w.first = _direction(w.a)
    w.width = _wrapped(_direction(w.b) - w.first)
    if w.width > 2.5:
        w.width = 4.0 - w.width  # next to nothing, and turned over by rounding
    return w


@wp.func
def shadow_area(w: Wedge) -> float:
    """Area of the unit square that a segment inside it hides from the centre."""
    return wp.max(0.25 * w.width - 0.5 * (w.a[0] * w.b[1] - w.a[1] * w.b[0]), 0.0)


@wp.func
def _cut(w: Wedge, direction: float) -> wp.vec2:
    """Where a ray from the centre meets a segment, or the nearer of its ends."""
    ray = _border(direction)
    e = w.b - w.a
    across = ray[0] * e[1] - ray[1] * e[0]
    s = float(0.0)
    if across != 0.0:
        s = wp.clamp((ray[1] * w.a[0] - ray[0] * w.a[1]) / across, 0.0, 1.0)
    return w.a + s * e


@wp.func
def _in_front(w: Wedge, first: float, last: float) -> float:
    """Area between the centre and a segment, in a part of its wedge."""
    p = _cut(w, first)
    q = _cut(w, last)
    return 0.5 * wp.abs(p[0] * q[1] - p[1] * q[0])


@wp.func
def against_background(p: Piece, face_index: wp.array3d[int]) -> bool:
    """Whether coverage jumps at a piece."""
    return p.face_out < 0 and p.back_face < 0 and shows_background(face_index, p.view, p.out_x, p.out_y)


@wp.func
def _wedge_of_piece(i: int, center: wp.vec2, pieces: wp.array[Piece]) -> Wedge:
    """The wedge of a piece, as `wedge_of` found it."""
    w = Wedge()
    w.first = pieces[i].direction
    w.width = pieces[i].width
    outward = pieces[i].outward
    half = 0.5 * wp.vec2(-outward[1], outward[0])
    middle = pieces[i].middle - center
    w.a = middle - half
    w.b = middle + half
    if w.a[0] * w.b[1] - w.a[1] * w.b[0] < 0.0:
        w.a = middle + half
        w.b = middle - half
    return w


@wp.func
def _first_from(j: int, candidates: wp.array[Candidate], first_piece: wp.array[int]) -> int:
    """First piece of a candidate of a pixel or of one after it, or -1."""
    found = wp.int32(-1)
    k = j
    while k >= 0 and found < 0:
        found = first_piece[k]
        k = candidates[k].next
    return found


@wp.func
def _piece_after(
    i: int, pieces: wp.array[Piece], candidates: wp.array[Candidate], first_piece: wp.array[int]
) -> int:
    """The next piece of a pixel, or -1."""
    found = pieces[i].next
    if found < 0:
        found = _first_from(candidates[pieces[i].candidate].next, candidates, first_piece)
    return found


@wp.func
def _any_meet(
    begin: int, pieces: wp.array[Piece], candidates: wp.array[Candidate], first_piece: wp.array[int]
) -> bool:
    """Whether the wedges of two pieces of a pixel have a part in common."""
    meet = bool(False)
    i = begin
    while i >= 0 and not meet:
        first = pieces[i].direction
        width = pieces[i].width
        i = _piece_after(i, pieces, candidates, first_piece)
        j = i
        while j >= 0 and not meet:
            after = _wrapped(pieces[j].direction - first)
            meet = after < width - _SLIVER or 4.0 - after < pieces[j].width - _SLIVER
            j = _piece_after(j, pieces, candidates, first_piece)
    return meet


@wp.func
def _next_end(
    w: Wedge,
    now: float,
    begin: int,
    center: wp.vec2,
    pieces: wp.array[Piece],
    candidates: wp.array[Candidate],
    first_piece: wp.array[int],
) -> float:
    """Next direction after ``now`` in which a piece of the pixel begins or ends, or the wedge does."""
    then = w.first + w.width
    j = begin
    while j >= 0:
        other = _wedge_of_piece(j, center, pieces)
        for k in range(2):
            at = now + _wrapped(other.first + float(k) * other.width - now)
            if at > now + _SHORTEST and at < then:
                then = at
        j = _piece_after(j, pieces, candidates, first_piece)
    return then


@wp.struct
class Shares:
    """Shares of a pixel that a piece gives to its far side."""

    area: float
    """As far as the next piece behind it."""
    cover: float
    """As far as the next one against the background."""
    behind: int
    """1 if the piece lies behind another one."""


@wp.func
def _shares(
    i: int,
    begin: int,
    center: wp.vec2,
    face_index: wp.array3d[int],
    pieces: wp.array[Piece],
    candidates: wp.array[Candidate],
    first_piece: wp.array[int],
) -> Shares:
    """What a piece of a pixel gives to its far side."""
    w = _wedge_of_piece(i, center, pieces)
    shares = Shares()
    now = w.first
    last = w.first + w.width
    while now < last - _SHORTEST:
        then = _next_end(w, now, begin, center, pieces, candidates, first_piece)
        middle = 0.5 * (now + then)
        mine = _in_front(w, now, then)
        next = wp.vec2(0.25 * (then - now), 0.25 * (then - now))
        j = begin
        while j >= 0:
            other = _wedge_of_piece(j, center, pieces)
            if j != i and _wrapped(middle - other.first) < other.width:
                yours = _in_front(other, now, then)
                if yours > mine or (yours == mine and j > i):
                    next[0] = wp.min(next[0], yours)
                    if against_background(pieces[j], face_index):
                        next[1] = wp.min(next[1], yours)
                else:
                    shares.behind = 1
            j = _piece_after(j, pieces, candidates, first_piece)
        shares.area += wp.max(next[0] - mine, 0.0)
        shares.cover += wp.max(next[1] - mine, 0.0)
        now = then
    return shares


@wp.func
def _total_area(
    begin: int, pieces: wp.array[Piece], candidates: wp.array[Candidate], first_piece: wp.array[int]
) -> float:
    total = float(0.0)
    i = begin
    while i >= 0:
        total += pieces[i].area
        i = _piece_after(i, pieces, candidates, first_piece)
    return total


@wp.kernel(enable_backward=False)
def share_pixels(
    heads: wp.array3d[int],
    candidates: wp.array[Candidate],
    candidate_count: wp.array[int],
    face_index: wp.array3d[int],
    first_piece: wp.array[int],
    # output
    pieces: wp.array[Piece],
):
    """Set ``area``, ``cover`` and ``sloped`` of the pieces in pixels that have several."""
    k = wp.tid()
    if k >= candidate_count[0] or k >= candidates.shape[0]:
        return
    if candidates[k].next < 0:
        return  # the last one of its pixel, and no other is looked at twice
    p = candidates[k].piece
    if heads[p.view, p.y, p.x] != k:
        return
    begin = _first_from(k, candidates, first_piece)
    if begin < 0:
        return
    if _piece_after(begin, pieces, candidates, first_piece) < 0:
        return
    hidden = _total_area(begin, pieces, candidates, first_piece)
    if hidden > 1.0 or _any_meet(begin, pieces, candidates, first_piece):
        center = wp.vec2(float(p.x), float(p.y))
        i = begin
        while i >= 0:
            shares = _shares(i, begin, center, face_index, pieces, candidates, first_piece)
            pieces[i].area = shares.area
            pieces[i].cover = shares.cover
            if shares.behind != 0:
                pieces[i].sloped = 0
            i = _piece_after(i, pieces, candidates, first_piece)
        hidden = _total_area(begin, pieces, candidates, first_piece)
    if hidden > 0.5:
        i = begin
        while i >= 0:
            pieces[i].sloped = 0
            i = _piece_after(i, pieces, candidates, first_piece)
