"""A synthetic RGB-D camera for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from graph import Graph
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dr_perception.geometry.camera import Camera
from dr_perception.ros.conversions import camera_info_message, image_message, time_message

CAMERA = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
FIRST_STAMP_NS = 1_700_000_000_123_456_789
PERIOD_NS = 33_333_333


class CameraPublisher:
    """Publishes colour, depth and camera_info, each frame with a stamp of its own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        profile = QoSProfile(depth=100)
        kinds = {"color": Image, "depth": Image, "camera_info": CameraInfo}
        self.topics = {t: graph.node.create_publisher(kind, t, profile) for t, kind in kinds.items()}
        self.count = 0

    def connect(self) -> None:
        """Wait until a node listens to all topics."""
        for topic, publisher in self.topics.items():
            self.graph.wait_for(f"a subscriber of {topic}", publisher.get_subscription_count)

    def header(self) -> Header:
        self.count += 1
        return Header(stamp=time_message(self.stamp_ns), frame_id="camera_optical")

    @property
    def stamp_ns(self) -> int:
        """Stamp of the last frame."""
        return FIRST_STAMP_NS + self.count * PERIOD_NS

    def publish(
        self, color: np.ndarray | None = None, depth: np.ndarray | None = None, **changes: Any
    ) -> int:
        """Publish one frame and return its stamp; ``color_encoding=...`` changes a field of a message."""
        color = np.zeros((48, 64, 3), np.uint8) if color is None else color
        depth = np.full((48, 64), 1000, np.uint16) if depth is None else depth
        header = self.header()
        messages = {
            "color": image_message(header, color),
            "depth": image_message(header, depth),
            "camera_info": camera_info_message(header, CAMERA),
        }
        for change, value in changes.items():
            topic, _, field = change.partition("_")
            setattr(messages[topic], field, value)
        for topic, message in messages.items():
            self.topics[topic].publish(message)
        return self.stamp_ns
