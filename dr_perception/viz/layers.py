"""Which object is seen at each pixel and how its surface is turned: the only call of viz that renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import transform_points
from dr_perception.viz.stage import shared_stage

__all__ = ["Layers", "render_layers"]

WINDOW_STEP_PX = 64
"""Windows are widened to multiples of this, so that the renderer finds buffers of their size again."""


@dataclass(frozen=True)
class Layers:
    """Images of the models; objects hide each other."""

    instance: NDArray[np.int32]
    """(H, W) index of the object in the order of the poses, -1 = background."""
    depth: NDArray[np.float32]
    """(H, W) depth [m], 0 = background."""
    facing: NDArray[np.float32]
    """(H, W) cosine between the surface normal and the direction to the camera, 0..1."""


def render_layers(
    models: Mapping[str, ObjectModel], poses: Mapping[str, NDArray[np.float64]], camera: Camera
) -> Layers:
    """Render models at their poses.

    Args:
        models: Models by name.
        poses: (4, 4) ``T_cam_obj`` by name; the order numbers the objects.
        camera: Camera of the images, with its lens distortion.

    Returns:
        The images, empty where nothing is in view.

    Raises:
        KeyError: A pose has no model.
    """
    shape = (camera.height, camera.width)
    layers = Layers(np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    window = _window(models, poses, camera)
    if window is None:
        return layers
    images = _draw(models, poses, camera, window)
    layers.depth[window] = images["depth"]
    layers.instance[window] = images["instance"]
    rays = camera.rays()[window]
    along = images["normal"][..., 2] + (images["normal"][..., :2] * rays).sum(axis=2)
    facing = np.abs(along) / np.sqrt(1.0 + (rays**2).sum(axis=2))
    layers.facing[window] = np.where(images["instance"] >= 0, np.minimum(facing, 1.0), 0.0)
    return layers


def _draw(
    models: Mapping[str, ObjectModel],
    poses: Mapping[str, NDArray[np.float64]],
    camera: Camera,
    window: tuple[slice, slice],
) -> dict[str, NDArray]:
    """Depth, instance and normal of the window."""
    rows, columns = window
    crop = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return shared_stage().draw([models[name] for name in poses], np.array(list(poses.values())), camera, crop)


def _window(
    models: Mapping[str, ObjectModel], poses: Mapping[str, NDArray[np.float64]], camera: Camera
) -> tuple[slice, slice] | None:
    """Rows and columns that hold the projections of all bounding spheres; None when they miss the image."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for name, T_cam_obj in poses.items():
        model = models[name]
        centre = transform_points(T_cam_obj, model.center)
        if centre[2] <= -model.radius_m:
            continue
        if centre[2] <= 2.0 * model.radius_m or camera.has_distortion:
            return slice(0, camera.height), slice(0, camera.width)
        u, v = centre[:2] / centre[2] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
        reach = 1.3 * model.radius_m * np.array([camera.fx, camera.fy]) / (centre[2] - model.radius_m)
        low, high = np.minimum(low, np.subtract((u, v), reach)), np.maximum(high, np.add((u, v), reach))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None
    x0, y0 = np.floor(low / WINDOW_STEP_PX) * WINDOW_STEP_PX
    x1, y1 = np.ceil((high + 1.0) / WINDOW_STEP_PX) * WINDOW_STEP_PX
    x0, x1 = (int(v) for v in np.clip((x0, x1), 0, camera.width))
    y0, y1 = (int(v) for v in np.clip((y0, y1), 0, camera.height))
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None
