"""What edges add to the derivative: points on them, the jump of the image there, and how they move.

A pixel is an integral over its square. Where the image jumps across an edge its derivative has a part that
runs along the edge (Li et al. 2018, eq. 5-7): with the edge at ``x(theta)``, unit normal ``n`` and the image
``f-`` behind and ``f+`` in front of it,

    integral over the edge of (f- - f+) n . dx/dtheta ds.

An edge is drawn by its projected length, a point on it uniformly in space; two rays look to either side. A
hidden outline needs no test: both rays see the same surface, and the jump vanishes.
"""

import warp as wp

from dr_perception.geometry.camera_warp import project, project_jacobian, ray
from dr_perception.rays.film import CastImages, Film, camera_of, see
from dr_perception.rays.hits import RayGeometry
from dr_perception.rays.look import CastLights, CastSurface, Seen, place

NEAR_M = wp.constant(1.0e-3)
"""Depth [m] before which edges are cut; nothing is projected there."""
STEP_PX = wp.constant(1.0e-3)
"""How far from an edge the two rays look.

The error is this times the slope of the image; in single precision a ray is good to 1e-4 px.
"""

OUTLINE = wp.constant(1)
CREASE = wp.constant(2)


@wp.struct
class CastEdges:
    """Edges of all instances; see `SceneTopology`."""

    edges: wp.array[wp.vec4i]
    """Two vertices and two faces; the second face is -1 where the edge is open."""
    opposite: wp.array[wp.vec2i]
    """The third vertex of either face."""
    jumps: wp.array[int]
    """Whether normals, colours or texture coordinates differ between the faces."""


@wp.struct
class EdgeDraw:
    """How edges are drawn, by view and edge; for shadows by light and edge."""

    kind: wp.array2d[int]
    weight: wp.array2d[wp.float64]
    cumulative: wp.array2d[wp.float64]
    span: wp.array2d[wp.vec2]
    """Part of the edge that is in front of the camera."""
    seed: int


@wp.struct
class EdgePoints:
    """Points on edges by view and sample."""

    row: wp.array2d[int]
    """Edge; for shadows light times edges plus edge; -1 where there is nothing."""
    along: wp.array2d[float]
    across: wp.array2d[wp.vec2]
    """Normal of the edge in the image times its length element over the density of the sample."""
    value: wp.array2d[float]
    """Gradient of the image times its jump."""
    receiver: wp.array2d[int]
    """Face on which a shadow's edge lies."""


@wp.func
def in_camera(geometry: RayGeometry, surface: CastSurface, view: int, k: int, vertex: int) -> wp.vec3:
    """A vertex of an instance in the camera frame [m]."""
    return geometry.R_cam_inst[view, k] * place(surface, vertex) + geometry.t_cam_inst[view, k]


@wp.func
def face_normal(geometry: RayGeometry, surface: CastSurface, view: int, face: int) -> wp.vec3:
    """Outer normal of a face in the camera frame, twice as long as its area."""
    f = surface.faces[face]
    a = place(surface, f[0])
    n = wp.cross(place(surface, f[1]) - a, place(surface, f[2]) - a)
    return geometry.R_cam_inst[view, surface.face_instance[face]] * n


@wp.func
def turns_from(
    geometry: RayGeometry, surface: CastSurface, view: int, edge: wp.vec4i, light: wp.vec3
) -> bool:
    """Whether an edge bounds what a light without distance meets: open, or between its lit and dark side."""
    if edge[3] < 0:
        return True
    one = wp.dot(face_normal(geometry, surface, view, edge[2]), light)
    return one * wp.dot(face_normal(geometry, surface, view, edge[3]), light) <= 0.0


@wp.func
def _before_camera(a: wp.vec3, b: wp.vec3) -> wp.vec2:
    """Range of the parameter from a to b beyond the near depth; empty (1, 0) where nothing is."""
    if a[2] <= NEAR_M and b[2] <= NEAR_M:
        return wp.vec2(1.0, 0.0)
    low = 0.0
    high = 1.0
    if a[2] < NEAR_M:
        low = (NEAR_M - a[2]) / (b[2] - a[2])
    if b[2] < NEAR_M:
        high = (NEAR_M - a[2]) / (b[2] - a[2])
    return wp.vec2(low, high)


@wp.func
def _may_be_seen(film: Film, p: wp.vec2, q: wp.vec2) -> bool:
    """Whether the box around a chord, widened by half its length for the bow of a lens, meets the image."""
    slack = 2.0 + 0.5 * wp.length(q - p)
    w, h = float(film.width), float(film.height)
    outside = wp.max(p[0], q[0]) < -slack or wp.min(p[0], q[0]) > w + slack
    return not (outside or wp.max(p[1], q[1]) < -slack or wp.min(p[1], q[1]) > h + slack)


@wp.kernel(enable_backward=False)
def weigh_edges(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    film: Film,
    table: CastEdges,
    # output
    draw: EdgeDraw,
):
    """Projected length [px] of every edge across which the image may jump, and 0 for all others."""
    view, e = wp.tid()
    edge = table.edges[e]
    k = surface.face_instance[edge[2]]
    a = in_camera(geometry, surface, view, k, edge[0])
    b = in_camera(geometry, surface, view, k, edge[1])
    kind = wp.int32(0)
    if edge[3] < 0:
        kind = OUTLINE
    else:
        one = wp.dot(face_normal(geometry, surface, view, edge[2]), a)
        if one * wp.dot(face_normal(geometry, surface, view, edge[3]), a) <= 0.0:
            kind = OUTLINE
        elif table.jumps[e] != 0:
            kind = CREASE
        elif lights.shadows != 0:
            # a body's own shadow begins at edges, where its faces turn away from a light
            camera = view % lights.light_cam.shape[0]
            for i in range(lights.light_colors.shape[0]):
                if turns_from(geometry, surface, view, edge, lights.light_cam[camera, i]):
                    kind = CREASE
    draw.weight[view, e] = wp.float64(0.0)
    draw.kind[view, e] = kind
    part = _before_camera(a, b)
    draw.span[view, e] = part
    if kind == 0 or part[0] >= part[1]:
        return
    camera_now = camera_of(film, view)
    p = project(camera_now, a + part[0] * (b - a))
    q = project(camera_now, a + part[1] * (b - a))
    if _may_be_seen(film, p, q):
        draw.weight[view, e] = wp.float64(wp.length(q - p))


@wp.kernel(enable_backward=False)
def accumulate(
    draw: EdgeDraw,
    # output
    cumulative: wp.array2d[wp.float64],
):
    """Sums of the weights of a view up to each edge."""
    view = wp.tid()
    total = wp.float64(0.0)
    for e in range(cumulative.shape[1]):
        total += draw.weight[view, e]
        cumulative[view, e] = total


@wp.func
def total_weight(draw: EdgeDraw, view: int) -> wp.float64:
    """Sum of the weights of a view."""
    return draw.cumulative[view, draw.cumulative.shape[1] - 1]


@wp.func
def pick(draw: EdgeDraw, view: int, target: wp.float64) -> int:
    """First edge of a view whose cumulative weight exceeds ``target``."""
    low = wp.int32(0)
    high = draw.cumulative.shape[1] - 1
    while low < high:
        middle = (low + high) / 2
        if draw.cumulative[view, middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@wp.func
def target_of(draw: EdgeDraw, view: int, i: int, count: int) -> wp.float64:
    """Where sample ``i`` of ``count`` lies in the sum of the weights: one at random in each equal part."""
    state = wp.rand_init(draw.seed, view * count + i)
    return (wp.float64(i) + wp.float64(wp.randf(state))) / wp.float64(count) * total_weight(draw, view)


@wp.func
def place_in(draw: EdgeDraw, view: int, row: int, target: wp.float64) -> float:
    """Parameter of a sample along its edge."""
    part = draw.span[view, row]
    inside = 1.0 - wp.float32((draw.cumulative[view, row] - target) / draw.weight[view, row])
    return part[0] + wp.clamp(inside, 0.0, 1.0) * (part[1] - part[0])


@wp.func
def pixel_at(film: Film, x: wp.vec2) -> wp.vec2i:
    """Column and row of the pixel of a point of the image; column -1 outside."""
    column, row = wp.int32(wp.floor(x[0] + 0.5)), wp.int32(wp.floor(x[1] + 0.5))
    if column < 0 or row < 0 or column >= film.width or row >= film.height:
        column = -1
    return wp.vec2i(column, row)


@wp.func
def weighted_jump(grads: CastImages, view: int, at: wp.vec2i, inner: Seen, outer: Seen) -> float:
    """Gradient of the images of a pixel times their jump from ``outer``; empty ones count as zero."""
    total = 0.0
    if grads.depth.shape[0] > 0:
        total += grads.depth[view, at[1], at[0]] * (inner.depth - outer.depth)
    if grads.silhouette.shape[0] > 0:
        total += grads.silhouette[view, at[1], at[0]] * (inner.silhouette - outer.silhouette)
    if grads.normal.shape[0] > 0:
        total += wp.dot(grads.normal[view, at[1], at[0]], inner.normal - outer.normal)
    if grads.color.shape[0] > 0:
        total += wp.dot(grads.color[view, at[1], at[0]], inner.color - outer.color)
    return total


@wp.func
def _beside(face: int, edge: wp.vec4i) -> bool:
    return face >= 0 and (face == edge[2] or face == edge[3])


@wp.kernel(enable_backward=False)
def sample_edges(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    film: Film,
    table: CastEdges,
    draw: EdgeDraw,
    grads: CastImages,
    # output
    points: EdgePoints,
):
    """Draw points on edges and look to either side of each.

    A crease counts only where the rays see its own two faces, so that no outline close by is taken for it.
    """
    view, i = wp.tid()
    count = points.row.shape[1]
    points.row[view, i] = -1
    if total_weight(draw, view) <= wp.float64(0.0):
        return
    target = target_of(draw, view, i, count)
    e = pick(draw, view, target)
    if draw.weight[view, e] <= wp.float64(0.0):
        return
    edge = table.edges[e]
    k = surface.face_instance[edge[2]]
    s = place_in(draw, view, e, target)
    e12 = geometry.R_cam_inst[view, k] * (place(surface, edge[1]) - place(surface, edge[0]))
    p = in_camera(geometry, surface, view, k, edge[0]) + s * e12
    camera = camera_of(film, view)
    x = project(camera, p)
    at = pixel_at(film, x)
    part = draw.span[view, e]
    tangent = project_jacobian(camera, p) * e12 * (part[1] - part[0])
    length = wp.length(tangent)
    if at[0] < 0 or length <= 0.0:
        return
    n = wp.vec2(tangent[1], -tangent[0]) / length
    inner = see(geometry, surface, lights, film, view, ray(camera, x - STEP_PX * n), at)
    outer = see(geometry, surface, lights, film, view, ray(camera, x + STEP_PX * n), at)
    if draw.kind[view, e] == CREASE and not (_beside(inner.face, edge) and _beside(outer.face, edge)):
        return
    density = wp.float32(draw.weight[view, e] / total_weight(draw, view)) * float(count)
    points.row[view, i] = e
    points.along[view, i] = s
    points.across[view, i] = (length / density) * n
    points.value[view, i] = weighted_jump(grads, view, at, inner, outer)


@wp.kernel
def edge_motion(
    geometry: RayGeometry,
    surface: CastSurface,
    film: Film,
    table: CastEdges,
    points: EdgePoints,
    # output
    total: wp.array[wp.float64],
):
    """A number whose derivative is what the edges add: the sum of ``value * across . x``."""
    view, i = wp.tid()
    e = points.row[view, i]
    if e >= 0 and points.value[view, i] != 0.0:
        edge = table.edges[e]
        k = surface.face_instance[edge[2]]
        s = points.along[view, i]
        middle = (1.0 - s) * place(surface, edge[0]) + s * place(surface, edge[1])
        x = project(
            camera_of(film, view), geometry.R_cam_inst[view, k] * middle + geometry.t_cam_inst[view, k]
        )
        wp.atomic_add(total, 0, wp.float64(points.value[view, i] * wp.dot(points.across[view, i], x)))
