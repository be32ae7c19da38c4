"""Whether an object can be where somebody says it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel

LEAST_PX = 4.0
"""An object that spans fewer pixels shows neither outline nor orientation."""


def check_before_camera(model: ObjectModel, T_cam_obj: NDArray[np.float64], what: str) -> None:
    """Check that a model at a pose (4, 4) stands before the camera.

    Raises:
        ValueError: It reaches behind the camera.
    """
    z, radius_m = _place(model, T_cam_obj)[2], model.radius_m
    if z <= radius_m:
        raise ValueError(
            f"{what} {model.name!r} reaches behind the camera: its centre is {z:.3f} m in front of it, its "
            f"radius is {radius_m:.3f} m; is the mesh in the wrong unit?"
        )


def check_in_view(model: ObjectModel, camera: Camera, T_cam_obj: NDArray[np.float64], what: str) -> None:
    """Check that a model at a pose (4, 4) can be seen and measured.

    Raises:
        ValueError: It reaches behind the camera, lies outside the image, or is too small in it.
    """
    check_before_camera(model, T_cam_obj, what)
    x, y, z = center = _place(model, T_cam_obj)
    span_px = camera.fx * model.diameter_m / z
    if span_px < LEAST_PX:
        raise ValueError(
            f"{what} {model.name!r} spans {span_px:.2g} pixels, too few to be measured: it is {z:.4g} m away "
            f"and {model.diameter_m:.3g} m large; are pose and mesh in the same unit?"
        )
    low, high = _image_bounds(camera)
    ray = np.append(np.clip([x / z, y / z], low, high), 1.0)
    ray /= np.linalg.norm(ray)
    if np.linalg.norm(center - (center @ ray) * ray) <= model.radius_m:
        return
    u, v = camera.cx + camera.fx * x / z, camera.cy + camera.fy * y / z
    raise ValueError(
        f"{what} {model.name!r} lies outside the image: its centre is at column {u:.0f} and row {v:.0f} of "
        f"{camera.width} x {camera.height} pixels"
    )


def _place(model: ObjectModel, T_cam_obj: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centre of the model [m] in the camera's frame (3,)."""
    place: NDArray[np.float64] = T_cam_obj[:3, :3] @ model.center + T_cam_obj[:3, 3]
    return place


def _image_bounds(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest ideal coordinates (2,) in the image; where the lens model ends, none."""
    share = np.linspace(0.0, 1.0, 9)
    sides = [
        np.stack(pair, axis=1) for e in (0.0 * share, 0.0 * share + 1.0) for pair in ((share, e), (e, share))
    ]
    rim = np.concatenate(sides) * [camera.width, camera.height] - 0.5
    ideal = camera.undistort((rim - [camera.cx, camera.cy]) / [camera.fx, camera.fy])
    if not np.isfinite(ideal).all():
        return np.full(2, -np.inf), np.full(2, np.inf)
    return ideal.min(axis=0), ideal.max(axis=0)
