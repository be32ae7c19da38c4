"""Where on the image a tracked object may be: the box around it at its predicted pose.

Like the kernels of `dr_perception.tracking.belief` this serves one object and always runs on the CPU.
"""

import warp as wp

from dr_perception.geometry.camera_warp import MODEL_PINHOLE, CameraParams, project
from dr_perception.tracking.belief import Belief

_PINHOLE = wp.constant(MODEL_PINHOLE)
_WHOLE = wp.constant(wp.vec4(-1.0e6, -1.0e6, 1.0e6, 1.0e6))


@wp.struct
class Shape:
    """Bounds of a surface about the centre of its bounding sphere [m]: a box in its own frame, the sphere."""

    lower: wp.vec3
    upper: wp.vec3
    radius: float


@wp.func
def _sphere_side(focal: float, center: float, x: float, z: float, side: float, radius: float) -> float:
    """Pixel, along one axis, that a sphere does not reach beyond on one side (-1 or 1)."""
    edge = x + side * radius
    return center + focal * edge / (z - side * radius * wp.sign(edge))


@wp.kernel(enable_backward=False)
def image_extent(
    shape: Shape,
    lens: wp.array[CameraParams],
    beliefs: wp.array[Belief],
    # output
    extents: wp.array[wp.vec4],
):
    """Smallest and largest pixels (u, v, u, v) of a surface at its predicted pose, inside the image or not.

    A box along the model's axes and the sphere both hold the surface; so does what they share. Far beyond the
    image where either comes close to the camera.
    """
    camera = lens[0]
    R = wp.mat33(beliefs[0].predicted_R)
    t = wp.vec3(beliefs[0].predicted_t)
    extents[0] = _WHOLE
    if t[2] <= 1.1 * shape.radius:
        return
    low = wp.vec2(1.0e6, 1.0e6)
    high = wp.vec2(-1.0e6, -1.0e6)
    for k in range(8):
        corner = wp.vec3(
            wp.where((k & 1) == 0, shape.lower[0], shape.upper[0]),
            wp.where((k & 2) == 0, shape.lower[1], shape.upper[1]),
            wp.where((k & 4) == 0, shape.lower[2], shape.upper[2]),
        )
        p = R * corner + t
        uv = project(camera, p)
        # A corner may lie behind the camera though the sphere does not; NaN fails the comparison.
        if p[2] <= 0.0 or not (wp.dot(uv, uv) < 1.0e12):
            return
        low = wp.min(low, uv)
        high = wp.max(high, uv)
    if camera.model == _PINHOLE:
        r = shape.radius
        low[0] = wp.max(low[0], _sphere_side(camera.fx, camera.cx, t[0], t[2], -1.0, r))
        low[1] = wp.max(low[1], _sphere_side(camera.fy, camera.cy, t[1], t[2], -1.0, r))
        high[0] = wp.min(high[0], _sphere_side(camera.fx, camera.cx, t[0], t[2], 1.0, r))
        high[1] = wp.min(high[1], _sphere_side(camera.fy, camera.cy, t[1], t[2], 1.0, r))
    extents[0] = wp.vec4(low[0], low[1], high[0], high[1])
