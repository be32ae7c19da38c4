"""Kernels of edge sampling: which edges are outlines, samples on them, how they move with the scene."""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project, project_jacobian, ray
from dr_perception.rays.hits import RayGeometry, nearest_hit
from dr_perception.rays.shading import RayLights, RaySurfaces, lit, surface_at

NO_CREASES = wp.constant(0)
FLAT_CREASES = wp.constant(1)
ALL_CREASES = wp.constant(2)


@wp.struct
class EdgeList:
    """Edges of all instances. The sampling density of an edge is proportional to its projected length."""

    instance: wp.array[wp.int32]
    vertices: wp.array[wp.vec2i]
    """Rows among the concatenated vertices of the surfaces."""
    faces: wp.array[wp.vec2i]
    """Rows among the concatenated faces; the second is -1 for an open edge, which is always sampled."""


@wp.struct
class PixelValues:
    """What one ray sees."""

    depth: float
    silhouette: float
    normal: wp.vec3
    color: wp.vec3
    instance: int
    face: int
    """Row among the concatenated faces."""


@wp.func
def _face_side(surfaces: RaySurfaces, R: wp.mat33, t: wp.vec3, first_vertex: int, face: int) -> float:
    """Positive when the camera is on the inner side of the face's plane, negative on its outer side."""
    c = surfaces.faces[face]
    p = surfaces.vertices[first_vertex + c[0]]
    e1 = surfaces.vertices[first_vertex + c[1]] - p
    e2 = surfaces.vertices[first_vertex + c[2]] - p
    return wp.dot(R * wp.cross(e1, e2), R * p + t)


@wp.func
def _clip_near(a: wp.vec3, b: wp.vec3, near: float) -> wp.vec2:
    """Range of the parameter along a -> b where z exceeds ``near``; empty (1, 0) when nowhere."""
    if a[2] <= near and b[2] <= near:
        return wp.vec2(1.0, 0.0)
    low = 0.0
    high = 1.0
    if a[2] < near:
        low = (near - a[2]) / (b[2] - a[2])
    if b[2] < near:
        high = (near - a[2]) / (b[2] - a[2])
    return wp.vec2(low, high)


@wp.func
def _may_be_seen(camera: CameraParams, p: wp.vec2, q: wp.vec2) -> bool:
    """Whether the box around a chord, widened by half its length for the bow of a lens, meets the image."""
    slack = 2.0 + 0.5 * wp.length(q - p)
    w, h = float(camera.width), float(camera.height)
    outside = wp.max(p[0], q[0]) < -slack or wp.min(p[0], q[0]) > w + slack
    return not (outside or wp.max(p[1], q[1]) < -slack or wp.min(p[1], q[1]) > h + slack)


@wp.kernel(enable_backward=False)
def weigh_edges(
    edges: EdgeList,
    surfaces: RaySurfaces,
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
    cameras: wp.array[CameraParams],
    creases: int,
    near: float,
    # output
    weight: wp.array2d[wp.float64],
    crease: wp.array2d[wp.int32],
    span: wp.array2d[wp.vec2],
):
    """Sampling weight of every edge in every view: its projected length [px], or 0 where nothing jumps at it.

    ``creases`` is `NO_CREASES`, `FLAT_CREASES`, those of instances whose faces are shaded flat, or
    `ALL_CREASES`.
    """
    view, e = wp.tid()
    k = edges.instance[e]
    pose_R, pose_t = R[view, k], t[view, k]
    weight[view, e] = wp.float64(0.0)
    pair = edges.faces[e]
    crease[view, e] = 0
    if pair[1] >= 0:
        first = surfaces.first_vertex[k]
        one = _face_side(surfaces, pose_R, pose_t, first, pair[0])
        if one * _face_side(surfaces, pose_R, pose_t, first, pair[1]) > 0.0:
            if creases == NO_CREASES or (creases == FLAT_CREASES and surfaces.smooth[k] != 0):
                return
            crease[view, e] = 1
    ends = edges.vertices[e]
    a = pose_R * surfaces.vertices[ends[0]] + pose_t
    b = pose_R * surfaces.vertices[ends[1]] + pose_t
    part = _clip_near(a, b, near)
    span[view, e] = part
    if part[0] >= part[1]:
        return
    p = project(cameras[view], a + part[0] * (b - a))
    q = project(cameras[view], a + part[1] * (b - a))
    if _may_be_seen(cameras[view], p, q):
        weight[view, e] = wp.float64(wp.length(q - p))


@wp.func
def _see(
    geometry: RayGeometry,
    surfaces: RaySurfaces,
    lights: RayLights,
    view: int,
    d: wp.vec3,
    background_depth: float,
    background_color: wp.vec3,
) -> PixelValues:
    out = PixelValues()
    out.depth = background_depth
    out.color = background_color
    out.instance = -1
    out.face = -1
    hit = nearest_hit(geometry, view, wp.vec3(0.0, 0.0, 0.0), d, 1.0e4)
    if hit.instance >= 0:
        R = geometry.R_cam_inst[view, hit.instance]
        s = surface_at(surfaces, R, geometry.t_cam_inst[view, hit.instance], hit.instance, hit.face, d)
        out.instance = hit.instance
        out.face = surfaces.first_face[hit.instance] + hit.face
        out.depth = s.z
        out.silhouette = 1.0
        out.normal = s.normal
        out.color = lit(geometry, lights, view, s)
    return out


@wp.func
def _is_beside(seen: PixelValues, instance: int, pair: wp.vec2i) -> bool:
    """Whether a ray saw one of the faces of an edge."""
    return seen.instance == instance and (seen.face == pair[0] or seen.face == pair[1])


@wp.func
def _pick_edge(cumulative: wp.array2d[wp.float64], view: int, target: wp.float64) -> int:
    """First edge whose cumulative weight exceeds ``target``."""
    low = wp.int32(0)
    high = cumulative.shape[1] - 1
    while low < high:
        middle = (low + high) / 2
        if cumulative[view, middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@wp.kernel(enable_backward=False)
def sample_edges(
    geometry: RayGeometry,
    surfaces: RaySurfaces,
    lights: RayLights,
    edges: EdgeList,
    cameras: wp.array[CameraParams],
    weight: wp.array2d[wp.float64],
    crease: wp.array2d[wp.int32],
    cumulative: wp.array2d[wp.float64],
    span: wp.array2d[wp.vec2],
    points: wp.array2d[wp.float64],
    step_px: float,
    background_depth: float,
    background_color: wp.vec3,
    # output
    edge: wp.array2d[wp.int32],
    along: wp.array2d[wp.float32],
    across: wp.array2d[wp.vec2],
    pixel: wp.array2d[wp.vec2i],
    jump_depth: wp.array2d[wp.float32],
    jump_silhouette: wp.array2d[wp.float32],
    jump_normal: wp.array2d[wp.vec3],
    jump_color: wp.array2d[wp.vec3],
):
    """Draw points on the outlines and look to either side of each.

    ``across`` is the normal of the projected edge times its length element over the density of the sample:
    the boundary integral of any image functional is the sum of ``adjoint . jump * across . dx``.
    """
    view, i = wp.tid()
    edge[view, i] = -1
    total = cumulative[view, cumulative.shape[1] - 1]
    if total <= wp.float64(0.0):
        return
    target = points[view, i] * total
    e = _pick_edge(cumulative, view, target)
    if weight[view, e] <= wp.float64(0.0):
        return
    inside = 1.0 - wp.float32((cumulative[view, e] - target) / weight[view, e])
    part = span[view, e]
    s = part[0] + wp.clamp(inside, 0.0, 1.0) * (part[1] - part[0])
    k = edges.instance[e]
    R, t = geometry.R_cam_inst[view, k], geometry.t_cam_inst[view, k]
    ends = edges.vertices[e]
    e12 = R * (surfaces.vertices[ends[1]] - surfaces.vertices[ends[0]])
    p = R * surfaces.vertices[ends[0]] + t + s * e12
    camera = cameras[view]
    x = project(camera, p)
    column, row = wp.int32(wp.floor(x[0] + 0.5)), wp.int32(wp.floor(x[1] + 0.5))
    if column < 0 or row < 0 or column >= camera.width or row >= camera.height:
        return
    tangent = project_jacobian(camera, p) * e12 * (part[1] - part[0])
    length = wp.length(tangent)
    if length <= 0.0:
        return
    n = wp.vec2(tangent[1], -tangent[0]) / length
    inner = _see(
        geometry, surfaces, lights, view, ray(camera, x - step_px * n), background_depth, background_color
    )
    outer = _see(
        geometry, surfaces, lights, view, ray(camera, x + step_px * n), background_depth, background_color
    )
    beside = edges.faces[e]
    if crease[view, e] != 0 and not (_is_beside(inner, k, beside) and _is_beside(outer, k, beside)):
        return
    edge[view, i] = e
    along[view, i] = s
    pixel[view, i] = wp.vec2i(column, row)
    across[view, i] = wp.float32(total / weight[view, e]) / float(points.shape[1]) * length * n
    jump_depth[view, i] = inner.depth - outer.depth
    jump_silhouette[view, i] = inner.silhouette - outer.silhouette
    jump_normal[view, i] = inner.normal - outer.normal
    jump_color[view, i] = inner.color - outer.color


@wp.kernel(enable_backward=False)
def weigh_jumps(
    edge: wp.array2d[wp.int32],
    pixel: wp.array2d[wp.vec2i],
    jump_depth: wp.array2d[wp.float32],
    jump_silhouette: wp.array2d[wp.float32],
    jump_normal: wp.array2d[wp.vec3],
    jump_color: wp.array2d[wp.vec3],
    g_depth: wp.array3d[wp.float32],
    g_silhouette: wp.array3d[wp.float32],
    g_normal: wp.array3d[wp.vec3],
    g_color: wp.array3d[wp.vec3],
    # output
    value: wp.array2d[wp.float32],
):
    """Image adjoints times the jump of the images, per sample; empty adjoint arrays count as zero."""
    view, i = wp.tid()
    total = 0.0
    if edge[view, i] >= 0:
        p = pixel[view, i]
        if g_depth.shape[0] > 0:
            total += g_depth[view, p[1], p[0]] * jump_depth[view, i]
        if g_silhouette.shape[0] > 0:
            total += g_silhouette[view, p[1], p[0]] * jump_silhouette[view, i]
        if g_normal.shape[0] > 0:
            total += wp.dot(g_normal[view, p[1], p[0]], jump_normal[view, i])
        if g_color.shape[0] > 0:
            total += wp.dot(g_color[view, p[1], p[0]], jump_color[view, i])
    value[view, i] = total


@wp.kernel
def boundary_motion(
    edges: EdgeList,
    edge: wp.array2d[wp.int32],
    along: wp.array2d[wp.float32],
    across: wp.array2d[wp.vec2],
    value: wp.array2d[wp.float32],
    surfaces: RaySurfaces,
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
    cameras: wp.array[CameraParams],
    # output
    total: wp.array[wp.float64],
):
    """A scalar whose derivative at this point is the boundary term: the sum of ``value * across . x``."""
    view, i = wp.tid()
    e = edge[view, i]
    if e >= 0 and value[view, i] != 0.0:
        k = edges.instance[e]
        ends = edges.vertices[e]
        s = along[view, i]
        a = surfaces.vertices[ends[0]]
        b = surfaces.vertices[ends[1]]
        x = project(cameras[view], R[view, k] * ((1.0 - s) * a + s * b) + t[view, k])
        wp.atomic_add(total, 0, wp.float64(value[view, i] * wp.dot(across[view, i], x)))
