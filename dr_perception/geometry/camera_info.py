"""Cameras from ``sensor_msgs/CameraInfo`` messages, read by their fields so that no ROS is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.distortion import COEFFICIENT_COUNTS

__all__ = ["camera_from_info"]

_ALIASES = {"fisheye": "equidistant", "kannala_brandt4": "equidistant", "radtan": "plumb_bob"}


def camera_from_info(msg: Any, rectified: bool = False) -> Camera:
    """Camera of a CameraInfo message; see `Camera.from_camera_info`.

    Args:
        msg: Object with ``width height k d p distortion_model`` (``K D P`` as in ROS 1 do too) and, if the
            driver fills them, ``roi binning_x binning_y``.
        rectified: Use P and no distortion.

    Raises:
        ValueError: K (or P) is zero, the model is unknown, or what `Camera` refuses.
    """
    name = "p" if rectified else "k"
    matrix = np.asarray(_field(msg, name), dtype=np.float64).reshape(3, -1)
    if not np.any(matrix):
        raise ValueError(f"uncalibrated camera: {name.upper()} of the CameraInfo message is all zero")
    model, coefficients = ("plumb_bob", ()) if rectified else _distortion(msg)
    camera = Camera.from_matrix(matrix[:, :3], msg.width, msg.height, coefficients, model)
    return _binned(msg, _region_of_interest(msg, camera))


def _field(msg: Any, name: str) -> Any:
    return getattr(msg, name) if hasattr(msg, name) else getattr(msg, name.upper())


def _distortion(msg: Any) -> tuple[str, tuple[float, ...]]:
    values = tuple(float(value) for value in _field(msg, "d"))
    model = str(msg.distortion_model).strip().lower()
    model = _ALIASES.get(model, model)
    # Zero coefficients of an equidistant lens are an ideal fisheye, not a pinhole.
    if not values or (model != "equidistant" and not any(values)):
        return "plumb_bob", ()
    if model not in COEFFICIENT_COUNTS:
        known = ", ".join(COEFFICIENT_COUNTS)
        raise ValueError(
            f"the CameraInfo message has distortion model {msg.distortion_model!r}; known are {known}"
        )
    longest = max(COEFFICIENT_COUNTS[model])
    if len(values) > longest and not any(values[longest:]):
        values = values[:longest]
    return model, values


def _region_of_interest(msg: Any, camera: Camera) -> Camera:
    roi = getattr(msg, "roi", None)
    if roi is None or roi.width == 0 or roi.height == 0:
        return camera
    x0, y0, width, height = int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)
    if x0 + width > camera.width or y0 + height > camera.height:
        raise ValueError(
            f"the region of interest {width}x{height} at ({x0}, {y0}) reaches outside the image of "
            f"{camera.width}x{camera.height} px in the CameraInfo message"
        )
    return camera.cropped(x0, y0, width, height)


def _binned(msg: Any, camera: Camera) -> Camera:
    bx = max(int(getattr(msg, "binning_x", 0)), 1)
    by = max(int(getattr(msg, "binning_y", 0)), 1)
    if bx == 1 and by == 1:
        return camera
    width, height = camera.width // bx, camera.height // by
    return camera.cropped(0, 0, width * bx, height * by).resized(width, height)
