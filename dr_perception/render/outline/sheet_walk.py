"""Straight walks over the surface that a pixel sees, from face to face along a line on the image.

A *sheet* is what hangs together without folding over, from faces towards the camera to faces away from it.
Creases and texture seams, where attributes jump, lie within sheets; a walk can be told to stop at them.
"""

import warp as wp

from dr_perception.render.shading.inputs import Surfaces
from dr_perception.render.shading.interpolation import intersect

_MAX_STEPS = wp.constant(48)


@wp.struct
class SheetPoint:
    """Where a walk ended."""

    face: int
    w: wp.vec3
    """Barycentric coordinates in the face."""
    at: float
    """Distance walked, as a share of the step."""
    arrived: int
    """1 if the walk came to its limit, 0 if the sheet ended before or a crease was met."""
    beyond: int
    """Face beyond the crease that was met, else -1."""


@wp.func
def clamped_weights(d: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec3:
    """Barycentric coordinates of a ray in a face, kept inside of it where a face seen edge-on would not."""
    hit = intersect(d, a, b, c)
    w = wp.vec3(wp.max(hit[0], 0.0), wp.max(hit[1], 0.0), wp.max(hit[2], 0.0))
    return w / (w[0] + w[1] + w[2])


@wp.func
def _corner(corners: wp.vec3i, vertex: int) -> int:
    return wp.where(corners[0] == vertex, 0, wp.where(corners[1] == vertex, 1, 2))


@wp.func
def _continuous(
    f: int,
    g: int,
    edge: int,
    mesh: Surfaces,
) -> bool:
    """Whether normals and texture coordinates agree on both sides of an edge."""
    same = bool(True)
    corners = mesh.faces[f]
    for i in range(2):
        mine = (edge + i) % 3
        yours = _corner(mesh.faces[g], corners[mine])
        if mesh.normal_index[f][mine] != mesh.normal_index[g][yours]:
            same = False
        if wp.length_sq(mesh.corner_uv[f, mine] - mesh.corner_uv[g, yours]) > 1.0e-10:
            same = False
    return same


@wp.func
def facing_of(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> float:
    """1 for a face turned to the camera, -1 for one turned away."""
    return wp.where(wp.dot(wp.cross(b - a, c - a), a) < 0.0, 1.0, -1.0)


@wp.struct
class Exit:
    """Where a line leaves a face: edge, -1 if it ends inside, and how far along the line that is."""

    edge: int
    at: float


@wp.func
def edges_of(a: wp.vec3, b: wp.vec3, c: wp.vec3, turned: float) -> wp.mat33:
    """Functions of a ray, positive beyond the edges of a face; ``turned`` is the sign of `facing_of`."""
    return turned * wp.matrix_from_rows(wp.cross(a, b), wp.cross(b, c), wp.cross(c, a))


@wp.func
def exit_of(
    edges: wp.mat33, d: wp.vec3, step: wp.vec3, first: float, limit: float, around: wp.vec3i, came_from: int
) -> Exit:
    """Where the line ``d + at * step``, followed from ``first`` to ``limit``, leaves a face.

    ``edges`` are those of `edges_of`, ``around`` holds the neighbours over them, and the line does not go
    back to the face it came from.
    """
    # Edge i is left where its function turns positive.
    now = edges * d
    slope = edges * step
    out = Exit()
    out.edge = -1
    out.at = limit
    for i in range(3):
        if slope[i] > 0.0 and (around[i] != came_from or around[i] < 0):
            there = wp.max(-now[i] / slope[i], first)
            if there < out.at:
                out.at = there
                out.edge = i
    return out


@wp.func
def walk_sheet(
    view: int,
    start: int,
    d: wp.vec3,
    step: wp.vec3,
    first: float,
    limit: float,
    creases: int,
    mesh: Surfaces,
) -> SheetPoint:
    """Walk over a sheet on the line ``d + at * step``.

    From ``at = first`` on face ``start`` to ``at = limit``, to the end of the sheet, or with ``creases`` to
    the first edge at which normals or texture coordinates jump.
    """
    out = SheetPoint()
    f = start
    came_from = wp.int32(-1)
    turned = float(0.0)
    at = first
    beyond = wp.int32(-1)
    arrived = wp.int32(0)
    steps = wp.int32(0)
    while steps < _MAX_STEPS:
        steps += 1
        corners = mesh.faces[f]
        a = mesh.p_cam[view, corners[0]]
        b = mesh.p_cam[view, corners[1]]
        c = mesh.p_cam[view, corners[2]]
        facing = facing_of(a, b, c)
        if turned == 0.0:
            turned = facing
        if facing != turned:
            # The sheet has folded over: the walk ended on the face before.
            f = came_from
            steps = _MAX_STEPS
        else:
            around = mesh.neighbors[f]
            leave = exit_of(edges_of(a, b, c, turned), d, step, at, limit, around, came_from)
            at = leave.at
            next = wp.int32(-1)
            if leave.edge < 0:
                arrived = 1
            else:
                next = around[leave.edge]
            if next >= 0 and creases != 0:
                if not _continuous(f, next, leave.edge, mesh):
                    # Beyond a crease the sheet goes on, unless it folds over there.
                    g = mesh.faces[next]
                    if (
                        facing_of(mesh.p_cam[view, g[0]], mesh.p_cam[view, g[1]], mesh.p_cam[view, g[2]])
                        == turned
                    ):
                        beyond = next
                    next = -1
            if next >= 0:
                came_from = f
                f = next
            else:
                steps = _MAX_STEPS
    corners = mesh.faces[f]
    out.face = f
    out.at = at
    out.arrived = arrived
    out.beyond = beyond
    out.w = clamped_weights(
        d + at * step,
        mesh.p_cam[view, corners[0]],
        mesh.p_cam[view, corners[1]],
        mesh.p_cam[view, corners[2]],
    )
    return out
