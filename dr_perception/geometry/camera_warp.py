# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""The camera as Warp functions in float32: the twins of `dr_perception.geometry.camera`.

All are differentiable by ``wp.Tape`` with respect to the point and to every parameter in `CameraParams`; to
collect the derivatives of the parameters pass the struct in a ``wp.array(dtype=CameraParams,
requires_grad=True)`` (Warp keeps no adjoint of a struct passed by value). Points behind the camera are the
caller's business: nothing here tests z.
"""

import numpy as np
import warp as wp

from dr_perception.geometry.camera import Camera

__all__ = [
    "MODEL_BROWN",
    "MODEL_EQUIDISTANT",
    "MODEL_PINHOLE",
    "CameraParams",
    "camera_params",
    "distort",
    "distort_jacobian",
    "mat23",
    "project",
    "project_jacobian",
    "ray",
    "undistort",
    "vec8",
]

MODEL_PINHOLE = 0
"""No distortion."""
MODEL_BROWN = 1
"""plumb_bob and rational_polynomial: k = k1, k2, p1, p2, k3, k4, k5, k6."""
MODEL_EQUIDISTANT = 2
"""equidistant: k = k1, k2, k3, k4, unused."""

vec8 = wp.types.vector(length=8, dtype=wp.float32)
mat23 = wp.types.matrix(shape=(2, 3), dtype=wp.float32)

_PINHOLE = wp.constant(MODEL_PINHOLE)
_EQUIDISTANT = wp.constant(MODEL_EQUIDISTANT)
_NEWTON_STEPS = wp.constant(8)
_THETA_MAX = wp.constant(1.5690)  # 89.9 degrees


@wp.struct
class CameraParams:
    """Intrinsics and distortion; lengths in pixels."""

    fx: wp.float32
    fy: wp.float32
    cx: wp.float32
    cy: wp.float32
    width: wp.int32
    height: wp.int32
    model: wp.int32
    k: vec8


def camera_params(camera: Camera) -> CameraParams:
    """The Warp struct of a camera.

    A camera with coefficients keeps its model even if they are all zero, so that derivatives with respect to
    them exist.
    """
    params = CameraParams()
    params.fx, params.fy, params.cx, params.cy = camera.fx, camera.fy, camera.cx, camera.cy
    params.width, params.height = camera.width, camera.height
    params.model = MODEL_PINHOLE
    if camera.distortion_model == "equidistant":
        params.model = MODEL_EQUIDISTANT
    elif camera.distortion:
        params.model = MODEL_BROWN
    k = np.zeros(8, dtype=np.float32)
    k[: len(camera.distortion)] = camera.distortion
    params.k = vec8(*k.tolist())
    return params


@wp.func
def _theta_d(k: vec8, theta: float) -> float:
    s = theta * theta
    return theta * (1.0 + s * (k[0] + s * (k[1] + s * (k[2] + s * k[3]))))


@wp.func
def _theta_d_slope(k: vec8, theta: float) -> float:
    s = theta * theta
    return 1.0 + s * (3.0 * k[0] + s * (5.0 * k[1] + s * (7.0 * k[2] + s * 9.0 * k[3])))


@wp.func
def _distort_brown(k: vec8, xn: wp.vec2) -> wp.vec2:
    x = xn[0]
    y = xn[1]
    r2 = x * x + y * y
    radial = (1.0 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))) / (1.0 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])))
    return wp.vec2(
        x * radial + 2.0 * k[2] * x * y + k[3] * (r2 + 2.0 * x * x),
        y * radial + k[2] * (r2 + 2.0 * y * y) + 2.0 * k[3] * x * y,
    )


@wp.func
def _distort_equidistant(k: vec8, xn: wp.vec2) -> wp.vec2:
    r2 = wp.dot(xn, xn)
    factor = 1.0 + r2 * (k[0] - 1.0 / 3.0)
    if r2 > 1.0e-6:
        r = wp.sqrt(r2)
        factor = _theta_d(k, wp.atan(r)) / r
    return factor * xn


@wp.func
def distort(cam: CameraParams, xn: wp.vec2) -> wp.vec2:
    """Normalised ideal to normalised distorted coordinates."""
    if cam.model == _PINHOLE:
        return xn
    if cam.model == _EQUIDISTANT:
        return _distort_equidistant(cam.k, xn)
    return _distort_brown(cam.k, xn)


@wp.func
def _jacobian_brown(k: vec8, xn: wp.vec2) -> wp.mat22:
    x = xn[0]
    y = xn[1]
    r2 = x * x + y * y
    top = 1.0 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))
    bottom = 1.0 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]))
    radial = top / bottom
    slope = (
        k[0] + r2 * (2.0 * k[1] + 3.0 * r2 * k[4]) - radial * (k[5] + r2 * (2.0 * k[6] + 3.0 * r2 * k[7]))
    ) / bottom
    off = 2.0 * slope * x * y + 2.0 * k[2] * x + 2.0 * k[3] * y
    return wp.mat22(
        radial + 2.0 * slope * x * x + 2.0 * k[2] * y + 6.0 * k[3] * x,
        off,
        off,
        radial + 2.0 * slope * y * y + 6.0 * k[2] * y + 2.0 * k[3] * x,
    )


@wp.func
def _jacobian_equidistant(k: vec8, xn: wp.vec2) -> wp.mat22:
    r2 = wp.dot(xn, xn)
    factor = 1.0 + r2 * (k[0] - 1.0 / 3.0)
    stretch = 2.0 * (k[0] - 1.0 / 3.0)  # (slope - factor) / r2, the limit on the axis
    if r2 > 1.0e-6:
        r = wp.sqrt(r2)
        theta = wp.atan(r)
        factor = _theta_d(k, theta) / r
        stretch = (_theta_d_slope(k, theta) / (1.0 + r2) - factor) / r2
    return factor * wp.identity(n=2, dtype=wp.float32) + stretch * wp.outer(xn, xn)


@wp.func
def distort_jacobian(cam: CameraParams, xn: wp.vec2) -> wp.mat22:
    """Derivative of `distort` with respect to its point."""
    if cam.model == _PINHOLE:
        return wp.identity(n=2, dtype=wp.float32)
    if cam.model == _EQUIDISTANT:
        return _jacobian_equidistant(cam.k, xn)
    return _jacobian_brown(cam.k, xn)


@wp.func
def _solve_brown(k: vec8, xd: wp.vec2) -> wp.vec2:
    steps = int(_NEWTON_STEPS)
    xn = wp.vec2(xd[0], xd[1])
    for _ in range(steps):
        xn = xn - wp.inverse(_jacobian_brown(k, xn)) * (_distort_brown(k, xn) - xd)
    return xn


@wp.func
def _solve_theta(k: vec8, r: float) -> float:
    steps = int(_NEWTON_STEPS)
    theta = float(r)
    for _ in range(steps):
        theta = theta - (_theta_d(k, theta) - r) / _theta_d_slope(k, theta)
    return theta


# The iterations have no derivative of their own. The Newton step that follows them is taped at the solution
# held fixed, which gives exactly the derivative of the implicit function: dx = J^-1 (dxd - d distort/dk dk).
@wp.func_grad(_solve_brown)
def _solve_brown_grad(k: vec8, xd: wp.vec2, adj_ret: wp.vec2):
    pass


@wp.func_grad(_solve_theta)
def _solve_theta_grad(k: vec8, r: float, adj_ret: float):
    pass


@wp.func
def _undistort_brown(k: vec8, xd: wp.vec2) -> wp.vec2:
    xn = _solve_brown(k, xd)
    return xn - wp.inverse(_jacobian_brown(k, xn)) * (_distort_brown(k, xn) - xd)


@wp.func
def _undistort_equidistant(k: vec8, xd: wp.vec2) -> wp.vec2:
    r2 = wp.dot(xd, xd)
    factor = 1.0 - r2 * (k[0] - 1.0 / 3.0)
    if r2 > 1.0e-6:
        r = wp.sqrt(r2)
        theta = _solve_theta(k, r)
        theta = theta - (_theta_d(k, theta) - r) / _theta_d_slope(k, theta)
        factor = wp.tan(wp.min(theta, _THETA_MAX)) / r
    return factor * xd


@wp.func
def undistort(cam: CameraParams, xd: wp.vec2) -> wp.vec2:
    """Inverse of `distort`: eight Newton steps from `xd`.

    It never tests convergence: inside the field of view of a real lens the steps converge monotonically to
    float32 rounding; outside, the value is meaningless (angles are clamped to 89.9 degrees). `Camera.rays`
    marks such pixels.
    """
    if cam.model == _PINHOLE:
        return xd
    if cam.model == _EQUIDISTANT:
        return _undistort_equidistant(cam.k, xd)
    return _undistort_brown(cam.k, xd)


@wp.func
def project(cam: CameraParams, p: wp.vec3) -> wp.vec2:
    """Pixel of a point in the camera frame [m]; z must be positive."""
    xd = distort(cam, wp.vec2(p[0] / p[2], p[1] / p[2]))
    return wp.vec2(cam.fx * xd[0] + cam.cx, cam.fy * xd[1] + cam.cy)


@wp.func
def nearest_pixel(cam: CameraParams, p: wp.vec3):
    """Column and row of the pixel nearest to a point's image, and whether it is in the image; z > 0."""
    uv = project(cam, p)
    x = wp.int32(wp.floor(uv[0] + 0.5))
    y = wp.int32(wp.floor(uv[1] + 0.5))
    return x, y, x >= 0 and y >= 0 and x < cam.width and y < cam.height


@wp.func
def project_jacobian(cam: CameraParams, p: wp.vec3) -> mat23:
    """Derivative of `project` with respect to the point [px/m]."""
    inv_z = 1.0 / p[2]
    xn = wp.vec2(p[0] * inv_z, p[1] * inv_z)
    D = distort_jacobian(cam, xn)
    a = cam.fx * inv_z
    b = cam.fy * inv_z
    return mat23(
        a * D[0, 0],
        a * D[0, 1],
        -a * (D[0, 0] * xn[0] + D[0, 1] * xn[1]),
        b * D[1, 0],
        b * D[1, 1],
        -b * (D[1, 0] * xn[0] + D[1, 1] * xn[1]),
    )


@wp.func
def ray(cam: CameraParams, uv: wp.vec2) -> wp.vec3:
    """Viewing ray (x, y, 1) of a pixel."""
    xn = undistort(cam, wp.vec2((uv[0] - cam.cx) / cam.fx, (uv[1] - cam.cy) / cam.fy))
    return wp.vec3(xn[0], xn[1], 1.0)
