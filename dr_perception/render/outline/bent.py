"""Edges that a lens bends: straight segments that stand for their curves, and the side that a ray is on.

The rasteriser tests the undistorted ray of a pixel's centre against the straight edge. Whether a centre lies
inside an edge is decided in the same way here; the segments say how much of a pixel lies on either side.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project
from dr_perception.render.outline.probe import SceneView

_BULGE_PX = wp.constant(1.0 / 128.0)
"""How far the curve of an edge may leave the segments: as far as the rasteriser's grid moves vertices."""
_MAX_SHORTER = wp.constant(6)


@wp.func
def seen_in(s: SceneView, p: wp.vec3, d: wp.vec3, x: int, y: int, rays: wp.array3d[wp.vec2]) -> bool:
    """Whether a point that a bent lens puts into a pixel with the ray ``d`` is near that ray.

    Polynomials fold back beyond the image and put points there into it that no pixel sees.
    """
    row = y + s.y0
    column = x + s.x0
    right = rays[s.camera, row, wp.min(column + 1, rays.shape[2] - 1)]
    left = rays[s.camera, row, wp.max(column - 1, 0)]
    below = rays[s.camera, wp.min(row + 1, rays.shape[1] - 1), column]
    above = rays[s.camera, wp.max(row - 1, 0), column]
    apart = wp.length(wp.vec2(p[0] / p[2] - d[0], p[1] / p[2] - d[1]))
    return apart <= wp.length(right - left) + wp.length(below - above)


@wp.func
def _off_line(a: wp.vec2, b: wp.vec2, p: wp.vec2) -> float:
    """Distance of a point from the line through two others, from the first if they are one."""
    e = b - a
    d = p - a
    length = wp.length(e)
    if length < 1.0e-6:
        return wp.length(d)
    return wp.abs(e[0] * d[1] - e[1] * d[0]) / length


@wp.func
def straight_step(cam: CameraParams, pa: wp.vec3, e: wp.vec3, first: float, longest: float) -> float:
    """How far to go along an edge from ``first`` for the lens to keep it straight enough."""
    start = project(cam, pa + first * e)
    step = longest
    for _i in range(_MAX_SHORTER):
        end = project(cam, pa + (first + step) * e)
        bulge = wp.max(
            _off_line(start, end, project(cam, pa + (first + step / 3.0) * e)),
            _off_line(start, end, project(cam, pa + (first + step / 1.5) * e)),
        )
        if bulge <= _BULGE_PX:
            return step
        # The bulge of a short curve grows with the square of its length.
        step *= wp.max(0.9 * wp.sqrt(_BULGE_PX / bulge), 0.1)
    return step


@wp.func
def ideal_line(cam: CameraParams, side: float, p: wp.vec3, q: wp.vec3) -> wp.vec3:
    """An edge before the lens bends it, as the rasteriser tests it.

    The product with a ray (x, y, 1) is the distance to the inner side [px].
    """
    f = wp.vec2(cam.fx, cam.fy)
    start = wp.cw_mul(f, wp.vec2(p[0] / p[2], p[1] / p[2]))
    along = wp.cw_mul(f, wp.vec2(q[0] / q[2], q[1] / q[2])) - start
    inward = -side * wp.normalize(wp.vec2(along[1], -along[0]))
    return wp.vec3(inward[0] * f[0], inward[1] * f[1], -wp.dot(inward, start))
