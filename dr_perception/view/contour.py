"""Points on the visible occluding contour of a model, from the edges of its mesh.

An edge between a front and a back face lies on the occluding contour. Points are spread over these edges at a
chosen spacing on the image and kept where the z-buffer shows the model on the inner and something farther, or
nothing, on the outer side. Taken from the mesh they are exact below a pixel, which contour pixels of a
rendered mask are not.
"""

import warp as wp

from dr_perception.body.model_buffers import CREASE_COSINE
from dr_perception.body.model_mesh import ModelMesh, is_unseen
from dr_perception.device.poses import Poses, place, pose_of
from dr_perception.raster.project import IdealCamera, project_ideal
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import Viewport
from dr_perception.raster.zbuffer import key_face, key_inverse_z

_CREASE_COSINE = wp.constant(CREASE_COSINE)
OUTER = wp.constant(0)
"""Contour against the background or another object."""
INNER = wp.constant(1)
"""Contour of a part of the model in front of another part of it."""
OPEN = wp.constant(2)
"""As `OUTER`, but at an open edge of the mesh: the object may go on where its model ends."""


@wp.struct
class ContourSample:
    """A point of the occluding contour in the model's frame, with the direction that leaves the model.

    normal: of the curved surface that the faces stand for, zero at creases.
    """

    point: wp.vec3
    outward: wp.vec3
    normal: wp.vec3
    kind: int


@wp.struct
class VisibleContour:
    """Samples (P, M) of the contours that renders show, whose cameras stand in ``cameras`` (P,).

    ``count`` (P,) says how many were found, of which only M have room.
    """

    samples: wp.array2d[ContourSample]
    count: wp.array[int]
    cameras: wp.array[IdealCamera]


@wp.struct
class ContourRules:
    """Which points of the edges are taken.

    spacing_px: distance of points in rendered pixels. step_px: how far from the contour its two sides are
    looked up. inner_tolerance: a point is hidden when the inner side is nearer than it by more than this
    share of its depth. outer_gap: it is no contour when the outer side is not farther by this share. near:
    what is nearer to the camera is left out [m].
    """

    spacing_px: float
    step_px: float
    inner_tolerance: float
    outer_gap: float
    near: float


@wp.func
def contour_size(contour: VisibleContour, problem: int) -> int:
    """Number of samples of a problem."""
    return wp.min(contour.count[problem], contour.samples.shape[1])


@wp.func
def _is_front(plane: wp.vec4, eye_obj: wp.vec3) -> bool:
    return plane[0] * eye_obj[0] + plane[1] * eye_obj[1] + plane[2] * eye_obj[2] > plane[3]


@wp.func
def _uniform(seed: int) -> float:
    """A fixed number in [0, 1) for each edge: spreads samples over edges shorter than the spacing."""
    return wp.randf(wp.uint32(seed + 1) * wp.uint32(747796405))


@wp.func
def _key_at(keys: wp.array3d[wp.uint64], view: int, uv: wp.vec2, v: Viewport) -> wp.uint64:
    x = wp.int32(wp.floor(uv[0] + 0.5)) - v.x0
    y = wp.int32(wp.floor(uv[1] + 0.5)) - v.y0
    key = wp.uint64(0xFFFFFFFFFFFFFFFF)
    if x >= 0 and y >= 0 and x < v.width and y < v.height:
        key = keys[view, y, x]
    return key


@wp.func
def _is_contour(edge: wp.vec4i, planes: wp.array[wp.vec4], eye_obj: wp.vec3) -> bool:
    """Whether an edge is open, or lies between a front and a back face."""
    if edge[3] < 0:
        return True
    return _is_front(planes[edge[2]], eye_obj) != _is_front(planes[edge[3]], eye_obj)


@wp.func
def _is_guessed(edge: wp.vec4i, mesh: ModelMesh) -> bool:
    """Whether a face at an edge is one that nobody ever saw: the surface may turn away elsewhere."""
    guessed = is_unseen(mesh, edge[2])
    if edge[3] >= 0:
        guessed = guessed or is_unseen(mesh, edge[3])
    return guessed


@wp.func
def _edge_normal(edge: wp.vec4i, planes: wp.array[wp.vec4]) -> wp.vec3:
    """Sum of the normals of the faces of an edge."""
    a = planes[edge[2]]
    normal = wp.vec3(a[0], a[1], a[2])
    if edge[3] >= 0:
        b = planes[edge[3]]
        normal = normal + wp.vec3(b[0], b[1], b[2])
    return normal


@wp.func
def _corner_of(face: wp.vec3i, vertex: int) -> int:
    return wp.where(face[0] == vertex, 0, wp.where(face[1] == vertex, 1, 2))


@wp.func
def _smooth_normal(edge: wp.vec4i, s: float, mesh: ModelMesh) -> wp.vec3:
    """Unit normal of the curved surface at a share ``s`` of an edge; zero if the edge is open or a crease."""
    normal = wp.vec3()
    if edge[3] >= 0:
        a = mesh.planes[edge[2]]
        b = mesh.planes[edge[3]]
        if a[0] * b[0] + a[1] * b[1] + a[2] * b[2] > _CREASE_COSINE:
            face = mesh.faces[edge[2]]
            n_a = mesh.corner_normals[3 * edge[2] + _corner_of(face, edge[0])]
            n_b = mesh.corner_normals[3 * edge[2] + _corner_of(face, edge[1])]
            normal = wp.normalize(n_a + s * (n_b - n_a))
    return normal


@wp.func
def _kind_at(
    keys: wp.array3d[wp.uint64],
    view: int,
    uv: wp.vec2,
    step: wp.vec2,
    v: Viewport,
    inverse_z: float,
    rules: ContourRules,
    num_faces: int,
) -> int:
    """Kind of the contour at an image point, from what lies a step to its sides; -1 if it is not seen."""
    inner = _key_at(keys, view, uv - step, v)
    inner_face = key_face(inner)
    visible = inner_face >= 0 and inner_face < num_faces
    if visible:
        visible = key_inverse_z(inner) < inverse_z * (1.0 + rules.inner_tolerance)
    outer = _key_at(keys, view, uv + step, v)
    outer_face = key_face(outer)
    if visible and outer_face >= 0:
        visible = key_inverse_z(outer) < inverse_z * (1.0 - rules.outer_gap)
    if not visible:
        return -1
    return wp.where(outer_face >= 0 and outer_face < num_faces, INNER, OUTER)


@wp.kernel(enable_backward=False)
def sample_contour(
    mesh: ModelMesh,
    poses: Poses,
    renders: Renders,
    rules: ContourRules,
    # output
    contour: VisibleContour,
):
    """Append visible contour points; faces from those of the mesh on are other bodies'."""
    view, e = wp.tid()
    edge = mesh.edges[e]
    pose = pose_of(poses, view)
    R = pose.R
    eye = -(wp.transpose(R) * pose.t)
    if not _is_contour(edge, mesh.planes, eye) or _is_guessed(edge, mesh):
        return
    p_a = place(pose, mesh.vertices[edge[0]])
    p_b = place(pose, mesh.vertices[edge[1]])
    if p_a[2] <= rules.near or p_b[2] <= rules.near:
        return
    camera = renders.cameras[view]
    a = project_ideal(camera, p_a)
    b = project_ideal(camera, p_b)
    length = wp.length(b - a)
    n = wp.int32(length / rules.spacing_px + _uniform(e))
    if n == 0 or length < 1.0e-4:
        return
    tangent = (b - a) / length
    out_px = wp.vec2(tangent[1], -tangent[0])
    n_cam = R * _edge_normal(edge, mesh.planes)
    middle = 0.5 * (p_a + p_b)
    # Image direction of the normal: its projection as seen from the point.
    n_px = wp.vec2(n_cam[0] * middle[2] - n_cam[2] * middle[0], n_cam[1] * middle[2] - n_cam[2] * middle[1])
    if wp.dot(out_px, n_px) < 0.0:
        out_px = -out_px
    v = renders.viewports[view]
    num_faces = mesh.faces.shape[0]
    for k in range(n):
        s_px = (float(k) + 0.5) / float(n)
        # Even spacing on the image is not even in space: undo the perspective.
        s = s_px * p_a[2] / (p_b[2] + s_px * (p_a[2] - p_b[2]))
        p = p_a + s * (p_b - p_a)
        uv = a + s_px * (b - a)
        step = rules.step_px * out_px
        kind = _kind_at(renders.keys, view, uv, step, v, 1.0 / p[2], rules, num_faces)
        if kind == OUTER and edge[3] < 0:
            kind = OPEN
        if kind >= 0:
            slot = wp.atomic_add(contour.count, view, 1)
            if slot < contour.samples.shape[1]:
                out = ContourSample()
                out.point = wp.transpose(R) * (p - pose.t)
                out.outward = wp.transpose(R) * wp.vec3(out_px[0], out_px[1], 0.0)
                out.normal = _smooth_normal(edge, s, mesh)
                out.kind = kind
                contour.samples[view, slot] = out
