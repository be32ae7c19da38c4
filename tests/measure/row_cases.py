"""One problem's samples, poses and sums, as the tests of rows need them."""

import numpy as np
import warp as wp

from dr_perception.geometry import make_transform, retract
from dr_perception.geometry.se3 import exp_so3
from dr_perception.raster.project import IdealCamera

POSE = make_transform(exp_so3(np.array([0.3, -0.5, 0.2])), np.array([0.04, -0.03, 0.6]))
NO_CUTOFF = 100.0


def structs(dtype, **fields):
    """One problem's samples (1, N) as a Warp array of structs."""
    n = len(next(iter(fields.values())))
    host = np.zeros((1, n), dtype=dtype.numpy_dtype())
    for key, value in fields.items():
        host[key][0] = value
    return wp.array(host, dtype=dtype, device="cpu")


def pose_arrays(T):
    return [
        wp.array(T[None, None, :3, :3].astype(np.float32), dtype=wp.mat33, device="cpu"),
        wp.array(T[None, None, :3, 3].astype(np.float32), dtype=wp.vec3, device="cpu"),
        wp.array([1], dtype=int, device="cpu"),
    ]


def unpack(total):
    """(H, g, sums) of the only problem."""
    sums = total.numpy()[0, 0].astype(np.float64)
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
