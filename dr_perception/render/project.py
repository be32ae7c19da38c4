"""Vertices of posed instances to camera coordinates and to the ideal (undistorted) image plane."""

import warp as wp


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
