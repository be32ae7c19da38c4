"""Vertices of posed instances to camera coordinates and to the ideal (undistorted) image plane."""

import warp as wp

_NEAREST_M = wp.constant(0.02)
SPHERE_MARGIN = 1.12
"""Half the width of a view over the radius of what it holds."""
_SPHERE_MARGIN = wp.constant(SPHERE_MARGIN)


@wp.struct
class IdealCamera:
    """Pinhole part of a camera: focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


@wp.func
def project_ideal(camera: IdealCamera, p_cam: wp.vec3) -> wp.vec2:
    """Pixel coordinates of a point in front of the camera, before lens distortion."""
    inverse_z = 1.0 / p_cam[2]
    return wp.vec2(camera.fx * p_cam[0] * inverse_z + camera.cx, camera.fy * p_cam[1] * inverse_z + camera.cy)


@wp.kernel(enable_backward=False)
def transform_vertices(
    vertices_obj: wp.array[wp.vec3],
    vertex_instance: wp.array[int],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    cameras: wp.array[IdealCamera],
    near: float,
    # output
    p_cam: wp.array2d[wp.vec3],
    screen: wp.array2d[wp.vec2],
):
    """Move every vertex into every view; poses are indexed ``[view, instance]``."""
    view, i = wp.tid()
    k = vertex_instance[i]
    p = R_cam_obj[view, k] * vertices_obj[i] + t_cam_obj[view, k]
    p_cam[view, i] = p
    if p[2] > near:
        screen[view, i] = project_ideal(cameras[view], p)


@wp.kernel(enable_backward=False)
def aim_cameras(
    t_cam_obj: wp.array2d[wp.vec3],
    radius_m: float,
    size_px: float,
    # output
    cameras: wp.array[IdealCamera],
):
    """Zoom every view's camera so that its object's sphere fills a square render that starts at (0, 0)."""
    view = wp.tid()
    t = t_cam_obj[view, 0]
    z = wp.max(t[2], _NEAREST_M)
    half = _SPHERE_MARGIN * radius_m / wp.max(z - 0.3 * radius_m, _NEAREST_M)
    camera = IdealCamera()
    camera.fx = 0.5 * size_px / half
    camera.fy = camera.fx
    camera.cx = 0.5 * size_px - 0.5 - camera.fx * t[0] / z
    camera.cy = 0.5 * size_px - 0.5 - camera.fy * t[1] / z
    cameras[view] = camera
