"""A picture of one CAD model from a chosen side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import make_transform

__all__ = ["draw_portrait", "look_at_model"]

FIELD_OF_VIEW_RAD = 0.6
BACKGROUND = (0.86, 0.88, 0.91)


def look_at_model(
    model: ObjectModel, azimuth_deg: float, elevation_deg: float, margin: float = 1.08
) -> NDArray[np.float64]:
    """Pose ``T_cam_obj`` that shows the whole model, its z axis upwards, in a view of `FIELD_OF_VIEW_RAD`.

    Args:
        model: The model.
        azimuth_deg: Direction of the camera around the z axis of the model [degrees].
        elevation_deg: Height of the camera above the xy plane of the model [degrees].
        margin: Space around the bounding sphere, 1 = none.
    """
    a, e = np.deg2rad([azimuth_deg, elevation_deg])
    backward = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    R_cam_obj = np.stack([right, np.cross(right, backward), -backward])
    distance = margin * model.radius_m / np.sin(0.5 * FIELD_OF_VIEW_RAD)
    return make_transform(R_cam_obj, np.array([0.0, 0.0, distance]) - R_cam_obj @ model.center)


def draw_portrait(
    model: ObjectModel,
    size: tuple[int, int] = (640, 480),
    azimuth_deg: float = 35.0,
    elevation_deg: float = 30.0,
) -> NDArray[np.uint8]:
    """Render a model with its colours under a soft light.

    Args:
        model: The model.
        size: Width and height of the picture [px].
        azimuth_deg: See `look_at_model`.
        elevation_deg: See `look_at_model`.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: The size is not positive.
    """
    from dr_perception.render import Scene, render

    width, height = size
    if min(size) < 1:
        raise ValueError(f"the size of a picture must be positive, got {width}x{height}")
    focal = 0.5 * min(size) / np.tan(0.5 * FIELD_OF_VIEW_RAD)
    camera = Camera(width, height, focal, focal, 0.5 * (width - 1), 0.5 * (height - 1))
    T_cam_obj = look_at_model(model, azimuth_deg, elevation_deg)
    return render(Scene.of(model, T_cam_obj, background=BACKGROUND), camera).color_uint8()
