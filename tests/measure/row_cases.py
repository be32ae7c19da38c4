"""One problem's samples, poses and sums, as the tests of rows need them."""

import numpy as np
import warp as wp

from dr_perception.device.poses import Poses
from dr_perception.geometry import make_transform, retract
from dr_perception.geometry.camera_warp import CameraParams, camera_params
from dr_perception.geometry.se3 import exp_so3
from dr_perception.measure.images import Images
from dr_perception.raster.project import IdealCamera
from dr_perception.view.contour import ContourSample, VisibleContour
from dr_perception.view.surface_samples import SurfaceSample, VisibleSurface

POSE = make_transform(exp_so3(np.array([0.3, -0.5, 0.2])), np.array([0.04, -0.03, 0.6]))
NO_CUTOFF = 100.0


def structs(dtype, **fields):
    """One problem's samples (1, N) as a Warp array of structs."""
    n = len(next(iter(fields.values())))
    host = np.zeros((1, n), dtype=dtype.numpy_dtype())
    for key, value in fields.items():
        host[key][0] = value
    return wp.array(host, dtype=dtype, device="cpu")


def poses_at(T, active=1):
    """One pose (4, 4), as kernels take it."""
    poses = Poses()
    poses.R = wp.array(T[None, None, :3, :3].astype(np.float32), dtype=wp.mat33, device="cpu")
    poses.t = wp.array(T[None, None, :3, 3].astype(np.float32), dtype=wp.vec3, device="cpu")
    poses.active = wp.array([active], dtype=int, device="cpu")
    return poses


def images_of(camera, color=0, depth=0.0):
    """Images of a camera from arrays (H, W, 3) and (H, W), or from one value each."""
    shape = (camera.height, camera.width)
    color = np.broadcast_to(np.asarray(color, np.uint8), (*shape, 3))
    images = Images()
    images.lens = wp.array([camera_params(camera)], dtype=CameraParams, device="cpu")
    images.color = wp.array(np.ascontiguousarray(color), dtype=wp.vec3ub, device="cpu")
    depth = np.broadcast_to(np.asarray(depth, np.float32), shape)
    images.depth = wp.array(np.ascontiguousarray(depth), dtype=float, device="cpu")
    return images


def _visible(made, samples, fx, found):
    made.samples, made.cameras = samples, render_camera(fx)
    made.count = wp.array([samples.shape[1] if found is None else found], dtype=int, device="cpu")
    return made


def surface_of(fx=1.0, found=None, **fields):
    """One problem's surface samples, from a render of some focal length [px]; all were ``found`` if None."""
    return _visible(VisibleSurface(), structs(SurfaceSample, **fields), fx, found)


def contour_of(fx=1.0, found=None, **fields):
    """One problem's contour samples, from a render of some focal length [px]; all were ``found`` if None."""
    return _visible(VisibleContour(), structs(ContourSample, **fields), fx, found)


def unpack(total, modality=0):
    """(H, g, sums) of the only problem."""
    sums = total.numpy()[0, modality].astype(np.float64)
    H = np.zeros((6, 6))
    H[np.triu_indices(6)] = sums[:21]
    return H + np.triu(H, 1).T, sums[21:27], sums


def central_differences(residual, step=1.0e-6):
    """Derivative (6,) of a residual by the tangent vector (v, w)."""
    rows = [
        (residual(retract(POSE, xi)) - residual(retract(POSE, -xi))) / (2.0 * step) for xi in step * np.eye(6)
    ]
    return np.array(rows)


def render_camera(fx):
    """The camera of one render, whose pixels are those of the image if the focal lengths agree."""
    camera = IdealCamera()
    camera.fx = camera.fy = fx
    return wp.array([camera], dtype=IdealCamera, device="cpu")
