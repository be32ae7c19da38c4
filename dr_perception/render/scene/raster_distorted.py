"""The rasteriser for lenses with distortion.

Coverage is tested at the undistorted position of each pixel centre.

A triangle is straight in the ideal plane and bent on the image. Which pixels to test is bounded by the image
of points along its
edges (a lens is one-to-one, so the border of the image of a triangle is the image of its border); a triangle
that reaches
beyond the corners of the image, where lens polynomials may fold back, is tested everywhere.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project
from dr_perception.raster.project import IdealCamera, project_ideal
from dr_perception.raster.renders import Renders
from dr_perception.raster.zbuffer import (
    Corners,
    InverseDepthPlane,
    _cut,
    _fill_distorted,
    _plane_of,
    _signed_area2,
    _triangle,
    corners_of,
)
from dr_perception.render.scene.intrinsics import camera_from_row
from dr_perception.render.shading.inputs import Seen

_STEPS = wp.constant(4)


@wp.func
def _grow(box: wp.vec4, uv: wp.vec2) -> wp.vec4:
    return wp.vec4(wp.min(box[0], uv[0]), wp.min(box[1], uv[1]), wp.max(box[2], uv[0]), wp.max(box[3], uv[1]))


@wp.func
def _grow_edge(box: wp.vec4, cam: CameraParams, p: wp.vec3, q: wp.vec3) -> wp.vec4:
    for i in range(_STEPS):
        box = _grow(box, project(cam, p + (float(i) / float(_STEPS)) * (q - p)))
    return box


@wp.func
def _reach(camera: IdealCamera, ideal: wp.array2d[wp.vec2]) -> float:
    """Largest distance from the principal point to a corner of the image in the ideal plane [px].

    0 if none has a ray.
    """
    center = wp.vec2(camera.cx, camera.cy)
    rows = ideal.shape[0] - 1
    columns = ideal.shape[1] - 1
    reach = float(0.0)
    for i in range(4):
        r = wp.length(ideal[(i // 2) * rows, (i % 2) * columns] - center)
        if r > reach:
            reach = r
    return reach


@wp.func
def _draw(
    corners: Corners,
    known: InverseDepthPlane,
    face: int,
    view: int,
    cam: CameraParams,
    cull: int,
    ideal: wp.array2d[wp.vec2],
    renders: Renders,
):
    """Draw a face in front of the near plane."""
    p = corners.a
    q = corners.b
    r = corners.c
    camera = renders.cameras[view]
    v = renders.viewports[view]
    a = project_ideal(camera, p)
    b = project_ideal(camera, q)
    c = project_ideal(camera, r)
    front = _signed_area2(a, b, c) < 0.0
    if cull != 0 and not front:
        return
    center = wp.vec2(camera.cx, camera.cy)
    farthest = wp.max(wp.length(a - center), wp.max(wp.length(b - center), wp.length(c - center)))
    x_first = v.x0
    y_first = v.y0
    x_last = v.x0 + v.width - 1
    y_last = v.y0 + v.height - 1
    if farthest < _reach(camera, ideal) * 1.1:
        box = wp.vec4(1.0e6, 1.0e6, -1.0e6, -1.0e6)
        box = _grow_edge(box, cam, p, q)
        box = _grow_edge(box, cam, q, r)
        box = _grow_edge(box, cam, r, p)
        # Between the sampled points an edge can bulge by a small part of its length.
        pad = 1.0 + 0.02 * wp.max(box[2] - box[0], box[3] - box[1])
        x_first = wp.max(x_first, wp.int32(wp.floor(box[0] - pad)))
        y_first = wp.max(y_first, wp.int32(wp.floor(box[1] - pad)))
        x_last = wp.min(x_last, wp.int32(wp.ceil(box[2] + pad)))
        y_last = wp.min(y_last, wp.int32(wp.ceil(box[3] + pad)))
    t = _triangle(a, b, c, p[2], q[2], r[2], front)
    _fill_distorted(t, known, face, view, v, wp.vec4i(x_first, y_first, x_last, y_last), ideal, renders.keys)


@wp.kernel(enable_backward=False)
def rasterize_distorted(
    p_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    seen: Seen,
    ideal_positions: wp.array3d[wp.vec2],
    near: float,
    cull: wp.array[int],
    # output
    renders: Renders,
):
    """Draw every face into every view's z-buffer; see `dr_perception.raster.zbuffer.rasterize_pinhole`."""
    view, f = wp.tid()
    face = faces[f]
    a = p_cam[view, face[0]]
    b = p_cam[view, face[1]]
    c = p_cam[view, face[2]]
    n = wp.int32(0)
    if a[2] > near:
        n += 1
    if b[2] > near:
        n += 1
    if c[2] > near:
        n += 1
    if n == 0:
        return
    k = (view + seen.first_view) % seen.intrinsics.shape[0]
    cam = camera_from_row(seen.intrinsics, seen.models, k)
    ideal = ideal_positions[k]
    if n == 3:
        _draw(corners_of(a, b, c), InverseDepthPlane(), f, view, cam, cull[view], ideal, renders)
        return
    # Turn the corners until the odd one out is first; the winding stays.
    p = a
    q = b
    r = c
    if (n == 1 and b[2] > near) or (n == 2 and b[2] <= near):
        p = b
        q = c
        r = a
    elif (n == 1 and c[2] > near) or (n == 2 and c[2] <= near):
        p = c
        q = a
        r = b
    plane = _plane_of(renders.cameras[view], corners_of(a, b, c), near)
    if n == 1:
        left = corners_of(p, _cut(p, q, near), _cut(p, r, near))
        _draw(left, plane, f, view, cam, cull[view], ideal, renders)
    else:
        pq = _cut(q, p, near)
        _draw(corners_of(pq, q, r), plane, f, view, cam, cull[view], ideal, renders)
        pr = _cut(r, p, near)
        _draw(corners_of(pq, r, pr), plane, f, view, cam, cull[view], ideal, renders)
