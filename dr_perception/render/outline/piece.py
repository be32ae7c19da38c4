"""What is known of the places at which edges pass through pixels."""

import warp as wp


@wp.struct
class Piece:
    """A straight piece of a visible edge inside one pixel of one view."""

    view: int
    x: int
    y: int
    out_x: int
    """Pixel whose centre shows what lies beyond the edge; -1: outside the view, taken as background."""
    out_y: int
    back_face: int
    """Where no pixel centre shows what lies beyond: the face that does, at its edge; else -1."""
    back_a: int
    """That edge, and where on it, as `a`, `b`, `t` and `z` are of the piece's own."""
    back_b: int
    back_t: float
    back_z: float
    a: int
    """End of the edge: index of a vertex."""
    b: int
    face: int
    """Face on the inner, nearer side."""
    face_out: int
    """Face on the outer side of a crease or crossing, -1 of an outline."""
    crossing: int
    """1 where two surfaces pass through each other; then the piece lies on no edge, and ``a`` and ``b`` are
    any corners."""
    t: float
    """Where the piece's middle lies between a (0) and b (1), in space."""
    z: float
    """Depth there [m]."""
    inside: int
    """1 if the pixel's centre lies on the inner side, as the rasteriser decides."""
    area: float
    """Share of the pixel that shows the far side of the piece, as seen from the pixel's centre."""
    cover: float
    """The same with no pieces behind it but those against the background, where coverage jumps."""
    sloped: int
    """1 if the pixel's centre shows the near side, so that two places tell how that changes there."""
    direction: float
    """Where what the piece hides from the centre begins, in the measure of `shares`."""
    width: float
    """How far it goes."""
    candidate: int
    """Where the piece comes from."""
    next: int
    """Another piece of the same candidate, or -1."""
    outward: wp.vec2
    """Normal of the piece on the image, pointing outwards, times its length [px]."""
    middle: wp.vec2
    """Middle of the piece [px], in pixels of the view."""


@wp.struct
class Candidate:
    """A piece before it is known whether it is seen."""

    piece: Piece
    start: wp.vec2
    end: wp.vec2
    at_inside: int
    """What the pixel centre on the inner side shows.

    0 the edge's own sheet of surface, 1 one in front of it, 2 the sheet has ended before the centre.
    """
    hidden_out: int
    """1 if the surface at the pixel centre on the outer side lies in front of the edge."""
    concave: int
    """1 for edges that are no outline but at which layers of surface begin."""
    in_x: int
    in_y: int
    next: int
    """Another candidate in the same pixel, or -1."""


@wp.struct
class Candidates:
    """The list that is added to, and its last entry in every pixel."""

    heads: wp.array3d[int]
    list: wp.array[Candidate]
    count: wp.array[int]


@wp.struct
class PieceList:
    """The pieces that are seen."""

    first: wp.array[int]
    """First piece of each candidate, or -1."""
    list: wp.array[Piece]
    count: wp.array[int]
