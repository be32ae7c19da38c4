"""Poses, vertices and normals to the cameras, with their derivatives.

Views are hypotheses x cameras: view ``v`` shows hypothesis ``v // C`` through camera ``v % C``. The tangent
vectors are those
of DESIGN section 2: ``t' = t + v``, ``R' = exp(w) R``, along the axes of the scene (world) frame.
"""

import warp as wp

from dr_perception.geometry.se3_warp import retract_rotation, retract_translation
from dr_perception.raster.blocks import BEHIND, BLOCK, NOWHERE_M, IntoCamera, SeenVertices, move_vertices
from dr_perception.raster.project import IdealCamera
from dr_perception.raster.types import SUBPIXEL_BITS, Viewport

vec6 = wp.types.vector(length=6, dtype=wp.float32)
"""Tangent vector (v, w)."""

_BITS = wp.constant(wp.int32(SUBPIXEL_BITS))
_MARGIN = wp.constant(4)
"""Pixels around what is drawn that outlines and their neighbours may reach."""
_NOWHERE = wp.constant(NOWHERE_M)
_BEHIND = wp.constant(wp.int32(BEHIND))
_BLOCK = wp.constant(BLOCK)
VERTEX_BLOCK = BLOCK
"""Vertices that one thread of the reductions sums before it touches shared memory."""


@wp.func
def _v(xi: vec6) -> wp.vec3:
    return wp.vec3(xi[0], xi[1], xi[2])


@wp.func
def _w(xi: vec6) -> wp.vec3:
    return wp.vec3(xi[3], xi[4], xi[5])


@wp.kernel
def compose_poses(
    R_world_obj: wp.array2d[wp.mat33],
    t_world_obj: wp.array2d[wp.vec3],
    pose: wp.array2d[vec6],
    R_world_cam: wp.array[wp.mat33],
    t_world_cam: wp.array[wp.vec3],
    camera_pose: wp.array[vec6],
    first_view: int,
    # output
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
):
    """Pose of every instance in every view, each pose moved by its tangent vector."""
    view, i = wp.tid()
    h = (view + first_view) // R_world_cam.shape[0]
    c = (view + first_view) % R_world_cam.shape[0]
    R = retract_rotation(_w(pose[h, i]), R_world_obj[h, i])
    t = retract_translation(_v(pose[h, i]), t_world_obj[h, i])
    R_cam_world = wp.transpose(retract_rotation(_w(camera_pose[c]), R_world_cam[c]))
    R_cam_obj[view, i] = R_cam_world * R
    t_cam_obj[view, i] = R_cam_world * (t - retract_translation(_v(camera_pose[c]), t_world_cam[c]))


@wp.kernel
def rotate_lights(
    R_world_cam: wp.array[wp.mat33],
    camera_pose: wp.array[vec6],
    light_directions: wp.array[wp.vec3],
    # output
    light_cam: wp.array2d[wp.vec3],
    R_out: wp.array[wp.mat33],
):
    """Unit directions towards the lights in the frame of each camera, and the camera's orientation."""
    c = wp.tid()
    R = retract_rotation(_w(camera_pose[c]), R_world_cam[c])
    R_out[c] = R
    for k in range(light_directions.shape[0]):
        light_cam[c, k] = wp.transpose(R) * wp.normalize(light_directions[k])


@wp.func
def _box(around: wp.vec4i, v: Viewport) -> wp.vec4i:
    """Pixels of a view in a box of the grid, and some more around for what looks at neighbours."""
    return wp.vec4i(
        wp.max((around[0] >> _BITS) - v.x0 - _MARGIN, 0),
        wp.max((around[1] >> _BITS) - v.y0 - _MARGIN, 0),
        wp.min((around[2] >> _BITS) - v.x0 + _MARGIN, v.width - 1),
        wp.min((around[3] >> _BITS) - v.y0 + _MARGIN, v.height - 1),
    )


@wp.struct
class Posed:
    """Vertices of all instances, and where these are in every view."""

    vertices: wp.array[wp.vec3]
    """Places of the meshes [m]."""
    source: wp.array[int]
    """Place of each vertex, (V,); those of an instance follow each other as its mesh's do."""
    instance: wp.array[int]
    """Instance of each vertex, (V,), ascending."""
    R_cam_obj: wp.array2d[wp.mat33]
    t_cam_obj: wp.array2d[wp.vec3]


@wp.struct
class Extent:
    """What the vertices of each view tell of it."""

    boxes: wp.array[wp.vec4i]
    """Pixels outside of which nothing is seen: first column and row, last column and row."""
    astray: wp.array[int]
    """Number of vertices that are not finite, of the first ``span``, and one more if intrinsics are not."""
    cull: wp.array[int]
    """Set to 0 where a vertex is not in front of the near plane: inside a mesh, or
    where it is cut, back faces are seen."""


@wp.func
def _run(instance: wp.array[int], first: int, last: int) -> int:
    """How many vertices from ``first`` on belong to one instance: a block at most, or one."""
    count = wp.min(last - first, _BLOCK)
    return wp.where(instance[first + count - 1] == instance[first], count, 1)


@wp.func
def _lost(p_cam: wp.array2d[wp.vec3], view: int, first: int, count: int, near: float) -> int:
    """How many of the vertices from ``first`` on are nowhere."""
    lost = wp.int32(0)
    for i in range(first, first + count):
        z = p_cam[view, i][2]
        if not (z <= near or z < _NOWHERE):
            lost += 1
    return lost


@wp.kernel(enable_backward=False)
def transform_vertices(
    posed: Posed,
    cameras: wp.array[IdealCamera],
    viewports: wp.array[Viewport],
    near: float,
    bounded: int,
    span: int,
    # output
    seen: SeenVertices,
    extent: Extent,
):
    """Vertices of all instances to camera coordinates and the ideal image plane, ``span`` a thread.

    The boxes hold the whole views unless ``bounded``, which takes a single thread a view.
    """
    view, block = wp.tid()
    camera = cameras[view]
    into = IntoCamera()
    into.camera = camera
    into.near = near
    around = wp.vec4i(1 << 30, 1 << 30, -(1 << 30), -(1 << 30))
    whole = bounded == 0
    lost = wp.int32(0)
    last = wp.min(block * span + span, posed.source.shape[0])
    i = block * span
    while i < last:
        count = _run(posed.instance, i, last)
        k = posed.instance[i]
        into.R_cam_obj = posed.R_cam_obj[view, k]
        into.t_cam_obj = posed.t_cam_obj[view, k]
        box = move_vertices(posed.vertices, posed.source[i], count, into, view, i, seen)
        around = wp.vec4i(
            wp.min(around[0], box[0]),
            wp.min(around[1], box[1]),
            wp.max(around[2], box[2]),
            wp.max(around[3], box[3]),
        )
        if box[0] == _BEHIND:
            whole = True
            extent.cull[view] = 0
            lost += _lost(seen.p_cam, view, i, count, near)
        i += count
    if block == 0:
        scale = camera.fx * camera.fy * camera.cx * camera.cy
        extent.astray[view] = lost + wp.where(scale == scale, 0, 1)
        v = viewports[view]
        extent.boxes[view] = wp.vec4i(0, 0, v.width - 1, v.height - 1)
        if not whole:
            extent.boxes[view] = _box(around, v)


@wp.kernel(enable_backward=False)
def rotate_normals(
    normals: wp.array[wp.vec3],
    normal_source: wp.array[int],
    normal_instance: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    span: int,
    # output
    n_cam: wp.array2d[wp.vec3],
):
    """Shading normals of all instances to camera axes, ``span`` of them a thread."""
    view, block = wp.tid()
    for i in range(block * span, wp.min(block * span + span, normal_source.shape[0])):
        n_cam[view, i] = R_cam_obj[view, normal_instance[i]] * normals[normal_source[i]]


@wp.func
def _flush(
    view: int, k: int, R: wp.mat33, t: wp.vec3, R_grad: wp.array2d[wp.mat33], t_grad: wp.array2d[wp.vec3]
):
    if k >= 0 and R_grad.shape[0] > 0:
        wp.atomic_add(R_grad, view, k, R)
        wp.atomic_add(t_grad, view, k, t)


@wp.kernel(enable_backward=False)
def reduce_vectors(
    vectors: wp.array[wp.vec3],
    source: wp.array[int],
    instance: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    g_cam: wp.array2d[wp.vec3],
    # output
    R_grad: wp.array2d[wp.mat33],
    t_grad: wp.array2d[wp.vec3],
    vectors_grad: wp.array[wp.vec3],
):
    """Gradients in camera coordinates to poses and to vectors of the models: adjoint of ``R x + t``.

    A thread sums a block of vectors and adds once an instance. Empty outputs are skipped.
    """
    view, block = wp.tid()
    first = block * _BLOCK
    last = wp.min(first + _BLOCK, source.shape[0])
    current = wp.int32(-1)
    R_sum = wp.mat33()
    t_sum = wp.vec3()
    i = first
    while i < last:
        g = g_cam[view, i]
        if g[0] != 0.0 or g[1] != 0.0 or g[2] != 0.0:
            k = instance[i]
            if k != current:
                _flush(view, current, R_sum, t_sum, R_grad, t_grad)
                R_sum = wp.mat33()
                t_sum = wp.vec3()
                current = k
            R_sum += wp.outer(g, vectors[source[i]])
            t_sum += g
            if vectors_grad.shape[0] > 0:
                wp.atomic_add(vectors_grad, source[i], wp.transpose(R_cam_obj[view, k]) * g)
        i += 1
    _flush(view, current, R_sum, t_sum, R_grad, t_grad)


@wp.kernel(enable_backward=False)
def join_vertices(
    vertices: wp.array[wp.vec3],
    member_start: wp.array[int],
    members: wp.array[int],
    # output
    places: wp.array[wp.vec3],
):
    """Mean of the vertices of each place; exactly their position where it is one."""
    i = wp.tid()
    first = vertices[members[member_start[i]]]
    offset = wp.vec3()
    for j in range(member_start[i] + 1, member_start[i + 1]):
        offset += vertices[members[j]] - first
    places[i] = first + offset / float(member_start[i + 1] - member_start[i])


@wp.kernel(enable_backward=False)
def join_vertices_adjoint(
    member_start: wp.array[int],
    members: wp.array[int],
    g_places: wp.array[wp.vec3],
    # output
    g_vertices: wp.array[wp.vec3],
):
    """Gradients of the places to their vertices, in equal shares; a vertex belongs to one place."""
    i = wp.tid()
    share = g_places[i] / float(member_start[i + 1] - member_start[i])
    for j in range(member_start[i], member_start[i + 1]):
        g_vertices[members[j]] += share


@wp.func
def _area_normal(f: wp.vec3i, vertices: wp.array[wp.vec3]) -> wp.vec3:
    a = vertices[f[0]]
    return wp.cross(vertices[f[1]] - a, vertices[f[2]] - a)


@wp.kernel(enable_backward=False)
def smooth_normals(
    vertices: wp.array[wp.vec3],
    model_faces: wp.array[wp.vec3i],
    group_start: wp.array[int],
    group_faces: wp.array[int],
    # output
    normals: wp.array[wp.vec3],
):
    """Unit normal of every smoothing group: its faces' normals weighted by their areas."""
    g = wp.tid()
    total = wp.vec3()
    for j in range(group_start[g], group_start[g + 1]):
        total += _area_normal(model_faces[group_faces[j]], vertices)
    normals[g] = wp.normalize(total)


@wp.kernel(enable_backward=False)
def smooth_normals_adjoint(
    vertices: wp.array[wp.vec3],
    model_faces: wp.array[wp.vec3i],
    group_start: wp.array[int],
    group_faces: wp.array[int],
    g_normals: wp.array[wp.vec3],
    # output
    g_vertices: wp.array[wp.vec3],
):
    """Gradients of the normals to the vertices of their faces."""
    g = wp.tid()
    incoming = g_normals[g]
    total = wp.vec3()
    for j in range(group_start[g], group_start[g + 1]):
        total += _area_normal(model_faces[group_faces[j]], vertices)
    length = wp.length(total)
    if length == 0.0 or wp.length_sq(incoming) == 0.0:
        return
    n = total / length
    w = (incoming - wp.dot(incoming, n) * n) / length
    for j in range(group_start[g], group_start[g + 1]):
        f = model_faces[group_faces[j]]
        a = vertices[f[0]]
        to_b = wp.cross(vertices[f[2]] - a, w)
        to_c = wp.cross(w, vertices[f[1]] - a)
        wp.atomic_add(g_vertices, f[1], to_b)
        wp.atomic_add(g_vertices, f[2], to_c)
        wp.atomic_add(g_vertices, f[0], -(to_b + to_c))
