"""A frame of the core from the ROS messages of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.ros.conversions import color_array, depth_array, stamp_ns

__all__ = ["CAMERA_INFO", "COLOR", "DEPTH", "FrameBuilder"]

COLOR, DEPTH, CAMERA_INFO = "color", "depth", "camera_info"
"""Names of the topics, relative to the node's namespace."""


class FrameBuilder:
    """Converts messages; the camera is made anew only when the calibration changes."""

    def __init__(self, depth_scale_m: float) -> None:
        """Set the metres per unit of an integer depth image."""
        self._depth_scale_m = depth_scale_m
        self._calibration: tuple[Any, ...] = ()
        self._camera: Camera | None = None

    def build(self, messages: Mapping[str, Any]) -> Frame:
        """The frame of a complete set of messages, stamped as the colour image.

        Raises:
            ValueError: An encoding is unknown, sizes differ, or the calibration is not usable.
        """
        color, depth = color_array(messages[COLOR]), depth_array(messages[DEPTH])
        return Frame(
            color=color,
            depth=depth.values,
            camera=self._camera_of(messages[CAMERA_INFO]),
            stamp_ns=stamp_ns(messages[COLOR]),
            depth_scale_m=self._depth_scale_m if depth.values.dtype == np.uint16 else depth.scale_m,
            frame_id=messages[COLOR].header.frame_id,
        )

    def _camera_of(self, info: CameraInfo) -> Camera:
        roi = info.roi
        calibration = (
            *(info.width, info.height, info.distortion_model, tuple(info.k), tuple(info.d)),
            *(roi.x_offset, roi.y_offset, roi.width, roi.height, info.binning_x, info.binning_y),
        )
        if self._camera is None or calibration != self._calibration:
            self._camera, self._calibration = Camera.from_camera_info(info), calibration
        return self._camera
