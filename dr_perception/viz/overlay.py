"""Overlay of tracked models on a colour image: tinted body, outline, axes and a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import transform_points
from dr_perception.tracking.result import Status
from dr_perception.viz.labels import draw_label
from dr_perception.viz.layers import Layers, render_layers
from dr_perception.viz.palette import STATE_COLORS, object_color

__all__ = ["Health", "draw_overlay"]

TINT = 0.38
OUTLINE_SIGMA_PX = 1.1
AXIS_COLORS = ((235, 60, 60), (60, 200, 80), (70, 120, 255))
FIXED_POINT_BITS = 4

Image = NDArray[np.uint8]
Pose = NDArray[np.float64]


class Health(Protocol):
    """What the label says about an object: ``ObjectState`` and ``PoseRecord`` both fit."""

    @property
    def status(self) -> Status:
        """Whether the object is tracked, occluded or lost."""

    @property
    def score(self) -> float:
        """Probability that the pose is right, 0..1."""


def draw_overlay(
    color: Image,
    models: Mapping[str, ObjectModel],
    poses: Mapping[str, Pose | None],
    camera: Camera,
    states: Mapping[str, Health] | None = None,
    names: bool = True,
) -> Image:
    """Draw models at their poses over an image.

    Args:
        color: (H, W, 3) uint8 RGB image, left as it is.
        models: Models by name; their order gives the colours.
        poses: (4, 4) ``T_cam_obj`` by name; None, NaN or absent: not drawn.
        camera: Camera of the image.
        states: Health by name: a lost object is drawn as an outline only, in the colour of its state, and the
            label says so.
        names: Whether to draw labels.

    Returns:
        (H, W, 3) uint8 RGB picture.

    Raises:
        ValueError: The image is not (H, W, 3) uint8 of the camera's size, or a pose has no model.
    """
    if color.shape != (camera.height, camera.width, 3) or color.dtype != np.uint8:
        raise ValueError(
            f"overlay needs ({camera.height}, {camera.width}, 3) uint8, got {color.shape} {color.dtype}"
        )
    unknown = sorted(set(poses) - set(models))
    if unknown:
        raise ValueError(f"no model for the poses of {unknown}; models: {sorted(models)}")
    drawn = {
        n: np.asarray(T, dtype=np.float64) for n, T in poses.items() if T is not None and np.isfinite(T).all()
    }
    layers = render_layers(models, drawn, camera)
    order = {name: k for k, name in enumerate(models)}
    picture = color.copy()
    for index, name in enumerate(drawn):
        status = _status(states, name)
        rgb = STATE_COLORS[Status.LOST] if status is Status.LOST else object_color(order[name])
        _paint(picture, layers, index, rgb, body=status is not Status.LOST)
    for name, T in drawn.items():
        _axes(picture, models[name], T, camera)
    for index, name in enumerate(drawn if names else ()):
        _label(picture, layers, index, name, object_color(order[name]), states)
    return picture


def _status(states: Mapping[str, Health] | None, name: str) -> Status:
    return Status.TRACKING if states is None or name not in states else states[name].status


def _paint(picture: Image, layers: Layers, index: int, rgb: tuple[int, int, int], *, body: bool) -> None:
    """Tint the visible pixels of one object and draw its outline, in place."""
    import cv2

    mask = layers.instance == index
    if not mask.any():
        return
    rows, columns = (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
    window = np.s_[max(rows[0] - 6, 0) : rows[-1] + 7, max(columns[0] - 6, 0) : columns[-1] + 7]
    patch = picture[window].astype(np.float32)
    cover = mask[window].astype(np.float32)
    tint = np.asarray(rgb, dtype=np.float32)
    if body:
        shade = (0.45 + 0.75 * layers.facing[window])[..., None]
        patch += (TINT * cover)[..., None] * (np.minimum(tint * shade, 255.0) - patch)
    soft = cv2.GaussianBlur(cover, (0, 0), OUTLINE_SIGMA_PX)
    edge = (soft > 0.01) & (soft < 0.99)
    halo = edge * np.exp(-(((soft - 0.30) / 0.30) ** 2))
    line = edge * np.exp(-(((soft - 0.5) / 0.25) ** 2))
    patch *= 1.0 - 0.45 * halo[..., None]
    patch += line[..., None] * (tint - patch)
    picture[window] = np.clip(np.rint(patch), 0, 255).astype(np.uint8)


def _axes(picture: Image, model: ObjectModel, T_cam_obj: Pose, camera: Camera) -> None:
    """Draw the axes of the model's frame, x red, y green, z blue, in place."""
    import cv2

    tips = np.vstack([np.zeros(3), 0.4 * model.diameter_m * np.eye(3)])
    corners = transform_points(T_cam_obj, tips)
    if corners[:, 2].min() <= 1e-3:
        return
    pixels = camera.project(corners)
    if not np.isfinite(pixels).all() or np.abs(pixels).max() > 1e5:
        return
    ends = [tuple(int(v) for v in p) for p in np.rint(pixels * 2**FIXED_POINT_BITS)]
    for k in np.argsort(-corners[1:, 2]):
        for rgb, width in (((20, 20, 20), 4), (AXIS_COLORS[k], 2)):
            cv2.line(picture, ends[0], ends[k + 1], rgb, width, cv2.LINE_AA, FIXED_POINT_BITS)


def _label(
    picture: Image,
    layers: Layers,
    index: int,
    name: str,
    rgb: tuple[int, int, int],
    states: Mapping[str, Health] | None,
) -> None:
    """Draw name and health above the visible part of the object, in place."""
    rows, columns = np.nonzero(layers.instance == index)
    if len(rows) == 0:
        return
    text, status = name, _status(states, name)
    if states is not None and name in states:
        text += f"  {states[name].score:.2f}"
    if status is not Status.TRACKING:
        text, rgb = f"{text}  {status.value}", STATE_COLORS[status]
    draw_label(picture, text, (int(columns.mean()), int(rows.min()) - 8), rgb)
