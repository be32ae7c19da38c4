"""The visible outline as a list of pieces, one for every pixel that a visible edge passes through.

A pixel's true value is the integral of the scene over its square, and what differs between that and the
sample at its centre lies behind the edges as seen from the centre. What a piece of edge inside the pixel
hides from the centre, as far as the next piece behind it, shows the far side of the piece (`shares`). This is
exact for piecewise constant images, also where several edges cross a pixel or an object is thinner than one,
and a convex combination whatever the pieces are. With ``J`` the jump across an edge (inner minus outer
side), the derivative is the boundary integral ``J * int (velocity . normal) dl`` over the piece (Reynolds'
transport theorem, as used by Li et al. 2018 for edge sampling), here in closed form. The idea to correct only
the pixels at detected silhouette edges is that of Laine et al. 2020, section 3.4; area and visibility are
decided differently.

On which side of an edge a pixel's centre lies is what the rasteriser decided: the same test of the same ray,
and closer than its grid resolves, what it drew.

Edges are those between a face towards and a face away from the camera, open ones, and those at which an
attribute jumps (creases, texture seams). Whether an edge is seen is decided per piece from the faces at the
pixel centres on both of its sides. Where several edges pass through one pixel, `visibility` cuts them
at their crossings and decides part by part.

Curves in which surfaces pass through each other are edges too, found in `crossing`.

Bias, by construction: the jump is taken as constant over a piece, and the shading of a pixel as that of its
centre (of the edge, on the far side of it).
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project
from dr_perception.render.outline.bent import ideal_line, seen_in, straight_step
from dr_perception.render.outline.piece import Candidate, Candidates, Piece
from dr_perception.render.outline.probe import (
    SceneView,
    buffer_pixel,
    clip_span,
    depth_order_inside,
    hidden_outside,
)
from dr_perception.render.scene.intrinsics import camera_from_row
from dr_perception.render.shading.inputs import Seen, Surfaces

EDGE_JUMPS = 1
"""Flag of an edge at which colour or normal jumps although the surface goes on."""
EDGE_CLOSED = 2
"""Flag of an edge of a closed mesh with outward faces, where concave edges are never an outline."""

_JUMPS = wp.constant(EDGE_JUMPS)
_CLOSED = wp.constant(EDGE_CLOSED)
_INNER = wp.constant(wp.vec3(0.37, 0.93, 0.011))
"""Direction in which the inner side of a crease lies, where neither is in front.

It says which, so that the order of vertices does not; edges seldom run across it.
"""
_SNAP_MARGIN = wp.constant(0.006)
"""Distance from an edge [px] below which the rasteriser's grid may put a pixel's centre on its other side."""
_CLEAR_PX = wp.constant(1.0e-3)
"""Least distance of a piece from the pixel's centre: what single precision tells apart in large images."""
_MAX_SEGMENTS = wp.constant(256)


@wp.func
def _step_out(outward: wp.vec2) -> wp.vec2i:
    """To the neighbour of a pixel that lies farthest in a direction."""
    if wp.abs(outward[0]) >= wp.abs(outward[1]):
        return wp.vec2i(wp.where(outward[0] > 0.0, 1, -1), 0)
    return wp.vec2i(0, wp.where(outward[1] > 0.0, 1, -1))


@wp.func
def _has_corner(face: int, a: int, b: int, faces: wp.array[wp.vec3i]) -> bool:
    """Whether one of two vertices is a corner of a face."""
    f = faces[face]
    return f[0] == a or f[1] == a or f[2] == a or f[0] == b or f[1] == b or f[2] == b


@wp.func
def _center_inside(
    s: SceneView,
    distance: float,
    z_edge: float,
    x: int,
    y: int,
    seen: Seen,
    mesh: Surfaces,
) -> bool:
    """Whether a pixel's centre, ``distance`` px to the inner side of an edge, is inside of it.

    Closer than the rasteriser resolves, what it drew there decides: the inner face or, at an outline, one of
    those around the edge's ends; on the outer side there is nothing or something farther away.
    """
    inside = distance > 0.0
    if wp.abs(distance) < _SNAP_MARGIN:
        here = seen.face_index[s.view, y, x]
        if here < 0:
            inside = False
        elif here == s.face:
            inside = True
        elif s.crease != 0:
            inside = inside and here != s.other
        elif _has_corner(here, s.a, s.b, mesh.faces):
            inside = True
        elif seen.depth[s.view, y, x] > z_edge:
            inside = False
    return inside


@wp.func
def _candidate(
    s: SceneView, start: wp.vec2, end: wp.vec2, x: int, y: int, t: float, z: float, outward: wp.vec2
) -> Candidate:
    """A candidate without what is known of its sides."""
    piece = Piece()
    piece.view = s.view
    piece.x = x
    piece.y = y
    piece.a = s.a
    piece.b = s.b
    piece.face = s.face
    piece.face_out = wp.where(s.crease != 0, s.other, -1)
    piece.back_face = -1
    piece.t = t
    piece.z = z
    piece.outward = outward
    piece.middle = 0.5 * (start + end)
    c = Candidate()
    c.piece = piece
    c.start = start
    c.end = end
    c.concave = s.concave
    return c


@wp.struct
class Cut:
    """What of an edge lies in one pixel."""

    start: wp.vec2
    end: wp.vec2
    x: int
    y: int
    t: float
    """Where its middle is along the edge, from 0 to 1."""
    p: wp.vec3
    """That point [m]."""


@wp.func
def _add_piece(
    s: SceneView,
    cut: Cut,
    seen: Seen,
    mesh: Surfaces,
    found: Candidates,
):
    """Append the piece of an edge in a pixel, unless it is surely hidden."""
    start = cut.start
    end = cut.end
    x = cut.x
    y = cut.y
    p = cut.p
    along = end - start
    outward = s.side * wp.vec2(along[1], -along[0])
    step = _step_out(outward)
    length = wp.length(along)
    distance = wp.dot(outward, start - wp.vec2(float(x), float(y))) / length
    tested = distance
    if s.bent != 0:
        q = seen.rays[s.camera, y + s.y0, x + s.x0]
        d = wp.vec3(q[0], q[1], 1.0)
        if not seen_in(s, p, d, x, y, seen.rays):
            return
        tested = wp.dot(s.line, d)
    inside = _center_inside(s, tested, p[2], x, y, seen, mesh)
    # The piece is moved to the side of the centre on which the rasteriser has it.
    clear = wp.where(inside, wp.max(distance, _CLEAR_PX), wp.min(distance, -_CLEAR_PX))
    move = ((clear - distance) / length) * outward
    beyond = buffer_pixel(s, x + step[0], y + step[1])
    within = wp.vec2i(x, y)
    out = beyond
    if not inside:
        within = buffer_pixel(s, x - step[0], y - step[1])
        out = wp.vec2i(x, y)
    if s.crease == 0 and out[0] >= 0:
        outer = seen.face_index[s.view, out[1], out[0]]
        if outer >= 0 and (outer == s.face or outer == s.other):
            out = buffer_pixel(s, out[0] + step[0], out[1] + step[1])
    at_inside = wp.int32(0)
    if within[0] >= 0:
        at_inside = depth_order_inside(s, p[2], within[0], within[1], seen, mesh)
    hidden_out = False
    if out[0] >= 0:
        inverse_z = 1.0 / p[2]
        d = wp.vec3(p[0] * inverse_z, p[1] * inverse_z, 1.0)
        hidden_out = hidden_outside(s, d, p[2], out[0], out[1], seen, mesh)
    if at_inside == 1 and hidden_out:
        return
    slot = wp.atomic_add(found.count, 0, 1)
    if slot >= found.list.shape[0]:
        return
    c = _candidate(s, start + move, end + move, x, y, cut.t, p[2], outward)
    c.piece.out_x = out[0]
    c.piece.out_y = out[1]
    c.piece.inside = wp.where(inside, 1, 0)
    c.at_inside = at_inside
    c.hidden_out = wp.where(hidden_out, 1, 0)
    c.in_x = within[0]
    c.in_y = within[1]
    c.next = wp.atomic_exch(found.heads, s.view, y, x, slot)
    found.list[slot] = c


@wp.struct
class Segment:
    """A straight part of an edge on the image, with its ends' places along the edge and depths [m]."""

    start: wp.vec2
    end: wp.vec2
    t_start: float
    t_end: float
    z_start: float
    z_end: float


@wp.func
def _walk(
    s: SceneView,
    segment: Segment,
    pa: wp.vec3,
    pb: wp.vec3,
    seen: Seen,
    mesh: Surfaces,
    found: Candidates,
):
    """Cut a straight segment at the borders of the pixels it passes (Amanatides and Woo 1987)."""
    start = segment.start
    e = segment.end - start
    span = wp.vec2(0.0, 1.0)
    span = clip_span(start[0], e[0], -0.4999, float(s.width) - 0.5001, span)
    span = clip_span(start[1], e[1], -0.4999, float(s.height) - 0.5001, span)
    length = wp.length(e)
    if span[1] <= span[0] or length < 1.0e-6:
        return
    now = span[0]
    x = wp.int32(wp.floor(start[0] + now * e[0] + 0.5))
    y = wp.int32(wp.floor(start[1] + now * e[1] + 0.5))
    shortest = 1.0e-4 / length
    for _i in range(s.width + s.height + 2):
        next_x = float(2.0)
        next_y = float(2.0)
        if e[0] > 1.0e-12:
            next_x = (float(x) + 0.5 - start[0]) / e[0]
        elif e[0] < -1.0e-12:
            next_x = (float(x) - 0.5 - start[0]) / e[0]
        if e[1] > 1.0e-12:
            next_y = (float(y) + 0.5 - start[1]) / e[1]
        elif e[1] < -1.0e-12:
            next_y = (float(y) - 0.5 - start[1]) / e[1]
        leave = wp.min(wp.min(next_x, next_y), span[1])
        if leave > now + shortest and x >= 0 and y >= 0 and x < s.width and y < s.height:
            middle = 0.5 * (now + leave)
            # The middle on the image is not the middle in space: undo the perspective.
            z = segment.z_start
            u = middle * z / ((1.0 - middle) * segment.z_end + middle * z)
            cut = Cut()
            cut.start = start + now * e
            cut.end = start + leave * e
            cut.x = x
            cut.y = y
            cut.t = segment.t_start + u * (segment.t_end - segment.t_start)
            cut.p = pa + cut.t * (pb - pa)
            _add_piece(s, cut, seen, mesh, found)
        if leave >= span[1]:
            return
        now = wp.max(now, leave)
        if next_x <= next_y:
            x += wp.where(e[0] > 0.0, 1, -1)
        else:
            y += wp.where(e[1] > 0.0, 1, -1)


@wp.func
def _trace(
    s: SceneView,
    cam: CameraParams,
    near: float,
    pa: wp.vec3,
    pb: wp.vec3,
    seen: Seen,
    mesh: Surfaces,
    found: Candidates,
):
    """Draw one edge: cut at the near plane, bent by the lens, in straight segments."""
    first = float(0.0)
    last = float(1.0)
    if pa[2] < near:
        first = (near - pa[2]) / (pb[2] - pa[2])
    if pb[2] < near:
        last = (near - pa[2]) / (pb[2] - pa[2])
    origin = wp.vec2(float(s.x0), float(s.y0))
    e = pb - pa
    if cam.model != 0:
        s.bent = 1
        s.line = ideal_line(cam, s.side, pa + first * e, pa + last * e)
    start = project(cam, pa + first * e) - origin
    step = last - first
    walked = wp.int32(0)
    while first < last and walked < _MAX_SEGMENTS:
        walked += 1
        step = wp.min(step, last - first)
        if s.bent != 0:
            step = straight_step(cam, pa, e, first, step)
        then = first + step
        if walked == _MAX_SEGMENTS:
            then = last
        end = project(cam, pa + then * e) - origin
        segment = Segment()
        segment.start = start
        segment.end = end
        segment.t_start = first
        segment.t_end = then
        segment.z_start = pa[2] + first * e[2]
        segment.z_end = pa[2] + then * e[2]
        _walk(s, segment, pa, pb, seen, mesh, found)
        first = then
        start = end
        step *= 1.5


@wp.struct
class Edges:
    """Edges of all instances, and how the faces of every view are turned."""

    edges: wp.array[wp.vec4i]
    """Two vertices and two faces, -1 for none."""
    opposite: wp.array[wp.vec2i]
    """The third corners of these faces."""
    flags: wp.array[int]
    facing: wp.array2d[wp.int8]


@wp.func
def _find_edge(
    view: int,
    e: int,
    edges: Edges,
    mesh: Surfaces,
    seen: Seen,
    near: float,
    creases: int,
    found: Candidates,
):
    edge = edges.edges[e]
    pa = mesh.p_cam[view, edge[0]]
    pb = mesh.p_cam[view, edge[1]]
    if pa[2] <= near and pb[2] <= near:
        return
    # The plane through the eye and the edge: on which of its sides do the two faces lie?
    m = wp.cross(pa, pb - pa)
    side = wp.dot(m, mesh.p_cam[view, edges.opposite[e][0]] - pa)
    face = edge[2]
    other = edge[3]
    crease = wp.int32(0)
    concave = wp.int32(0)
    if other >= 0:
        to_other = mesh.p_cam[view, edges.opposite[e][1]] - pa
        side_other = wp.dot(m, to_other)
        flags = edges.flags[e]
        if side * side_other < 0.0:
            if creases == 0 or (flags & _JUMPS) == 0:
                return
            crease = 1
        f = mesh.faces[face]
        corner = mesh.p_cam[view, f[0]]
        n = wp.cross(mesh.p_cam[view, f[1]] - corner, mesh.p_cam[view, f[2]] - corner)
        front = wp.dot(n, pa) < 0.0
        if (flags & _CLOSED) != 0:
            if crease != 0 and not front:
                return
            if crease == 0 and wp.dot(n, to_other) > 0.0:
                concave = 1
        swap = crease == 0 and not front
        if crease != 0:
            swap = side * wp.dot(m, _INNER) < 0.0
        if swap:
            face = edge[3]
            other = edge[2]
            side = side_other
    s = SceneView()
    s.view = view
    s.camera = (view + seen.first_view) % seen.intrinsics.shape[0]
    v = seen.viewports[view]
    s.x0 = v.x0
    s.y0 = v.y0
    s.width = v.width
    s.height = v.height
    s.a = edge[0]
    s.b = edge[1]
    s.face = face
    s.other = other
    s.crease = crease
    s.side = wp.where(side > 0.0, 1.0, -1.0)
    s.concave = concave
    cam = camera_from_row(seen.intrinsics, seen.models, s.camera)
    _trace(s, cam, near, pa, pb, seen, mesh, found)


@wp.kernel(enable_backward=False)
def find_outline(
    edges: Edges,
    mesh: Surfaces,
    seen: Seen,
    near: float,
    creases: int,
    span: int,
    # output
    found: Candidates,
):
    """List what may be visible of every discontinuity edge of every view; ``count`` may exceed the room.

    A thread looks at ``span`` edges, and passes over those between two faces that are turned the same way
    (`raster.rasterize_scene`), unless an attribute jumps there.
    """
    view, block = wp.tid()
    last = wp.min(block * span + span, edges.edges.shape[0])
    e = block * span
    while e < last:
        edge = edges.edges[e]
        turned = wp.int8(0)
        if edge[3] >= 0:
            turned = edges.facing[view, edge[2]]
            if turned != edges.facing[view, edge[3]]:
                turned = wp.int8(0)
        if turned == wp.int8(0) or (creases != 0 and (edges.flags[e] & _JUMPS) != 0):
            _find_edge(view, e, edges, mesh, seen, near, creases, found)
        e += 1
