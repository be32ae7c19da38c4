"""Intrinsics as a differentiable array: rays of pixels, and how gradients come back to the parameters.

A row of intrinsics is ``fx, fy, cx, cy, k[0..7]`` in pixels, with the coefficients ordered as in
`dr_perception.geometry.camera_warp.CameraParams`. The ray of a fixed pixel solves ``project(theta, d) = uv``,
so by the
implicit function theorem ``dd/dtheta = -(dproject/dd)^-1 dproject/dtheta``: no Newton iteration is
differentiated.
"""

import warp as wp

from dr_perception.geometry.camera_warp import (
    MODEL_EQUIDISTANT,
    MODEL_PINHOLE,
    CameraParams,
    distort,
    distort_jacobian,
    ray,
    vec8,
)
from dr_perception.raster.project import IdealCamera

NUM_INTRINSICS = 12
"""Length of a row of intrinsics."""

_PINHOLE = wp.constant(MODEL_PINHOLE)
_EQUIDISTANT = wp.constant(MODEL_EQUIDISTANT)


@wp.func
def camera_from_row(intrinsics: wp.array2d[float], models: wp.array[int], camera: int) -> CameraParams:
    """The camera struct of one row of intrinsics (size left at zero: no function here needs it)."""
    cam = CameraParams()
    cam.fx = intrinsics[camera, 0]
    cam.fy = intrinsics[camera, 1]
    cam.cx = intrinsics[camera, 2]
    cam.cy = intrinsics[camera, 3]
    cam.model = models[camera]
    k = vec8()
    for i in range(8):
        k[i] = intrinsics[camera, 4 + i]
    cam.k = k
    return cam


@wp.func
def add_intrinsics_gradient(
    cam: CameraParams, xn: wp.vec2, g_uv: wp.vec2, camera: int, grad: wp.array2d[float]
):
    """Add ``g_uv . d project / d theta`` at the normalised ideal point ``xn`` to one row of gradients."""
    xd = distort(cam, xn)
    wp.atomic_add(grad, camera, 0, g_uv[0] * xd[0])
    wp.atomic_add(grad, camera, 1, g_uv[1] * xd[1])
    wp.atomic_add(grad, camera, 2, g_uv[0])
    wp.atomic_add(grad, camera, 3, g_uv[1])
    if cam.model == _PINHOLE:
        return
    x = xn[0]
    y = xn[1]
    r2 = x * x + y * y
    gx = g_uv[0] * cam.fx
    gy = g_uv[1] * cam.fy
    along = gx * x + gy * y
    if cam.model == _EQUIDISTANT:
        # xd = theta_d / r * xn with theta_d = theta (1 + k1 theta^2 + ...).
        r = wp.sqrt(r2)
        theta = wp.atan(r)
        scale = 1.0
        if r > 1.0e-6:
            scale = theta / r
        t2 = theta * theta
        power = t2
        for i in range(4):
            wp.atomic_add(grad, camera, 4 + i, along * scale * power)
            power = power * t2
        return
    k = cam.k
    top = 1.0 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))
    bottom = 1.0 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]))
    over = along / bottom
    under = -along * top / (bottom * bottom)
    r4 = r2 * r2
    r6 = r4 * r2
    wp.atomic_add(grad, camera, 4, over * r2)
    wp.atomic_add(grad, camera, 5, over * r4)
    wp.atomic_add(grad, camera, 6, 2.0 * gx * x * y + gy * (r2 + 2.0 * y * y))
    wp.atomic_add(grad, camera, 7, gx * (r2 + 2.0 * x * x) + 2.0 * gy * x * y)
    wp.atomic_add(grad, camera, 8, over * r6)
    wp.atomic_add(grad, camera, 9, under * r2)
    wp.atomic_add(grad, camera, 10, under * r4)
    wp.atomic_add(grad, camera, 11, under * r6)


@wp.kernel(enable_backward=False)
def cast_rays(
    intrinsics: wp.array2d[float],
    models: wp.array[int],
    # output
    rays: wp.array3d[wp.vec2],
    ideal_positions: wp.array3d[wp.vec2],
):
    """Ray (x, y of (x, y, 1)) of every pixel of every camera, and where a pinhole would see it."""
    c, y, x = wp.tid()
    cam = camera_from_row(intrinsics, models, c)
    d = ray(cam, wp.vec2(float(x), float(y)))
    rays[c, y, x] = wp.vec2(d[0], d[1])
    if ideal_positions.shape[0] > 0:
        ideal_positions[c, y, x] = wp.vec2(cam.fx * d[0] + cam.cx, cam.fy * d[1] + cam.cy)


@wp.kernel(enable_backward=False)
def fill_ideal_cameras(
    intrinsics: wp.array2d[float],
    # output
    cameras: wp.array[IdealCamera],
):
    """Pinhole part of the camera of every view."""
    view = wp.tid()
    c = view % intrinsics.shape[0]
    out = IdealCamera()
    out.fx = intrinsics[c, 0]
    out.fy = intrinsics[c, 1]
    out.cx = intrinsics[c, 2]
    out.cy = intrinsics[c, 3]
    cameras[view] = out


@wp.kernel(enable_backward=False)
def pull_rays_to_intrinsics(
    rays: wp.array3d[wp.vec2],
    rays_grad: wp.array3d[wp.vec2],
    intrinsics: wp.array2d[float],
    models: wp.array[int],
    # output
    intrinsics_grad: wp.array2d[float],
):
    """Chain the gradient with respect to the rays of fixed pixels to the intrinsics."""
    c, y, x = wp.tid()
    g = rays_grad[c, y, x]
    if g[0] == 0.0 and g[1] == 0.0:
        return
    cam = camera_from_row(intrinsics, models, c)
    d = rays[c, y, x]
    D = distort_jacobian(cam, d)
    J = wp.mat22(cam.fx * D[0, 0], cam.fx * D[0, 1], cam.fy * D[1, 0], cam.fy * D[1, 1])
    g_uv = -(wp.transpose(wp.inverse(J)) * g)
    add_intrinsics_gradient(cam, d, g_uv, c, intrinsics_grad)
