"""What the node publishes for a tracked frame. Everything carries the header of the image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from dr_perception.config import NodeConfig
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.ros.conversions import (
    image_message,
    pose_with_covariance_message,
    time_message,
    transform_message,
)
from dr_perception.ros.markers import MarkerFactory
from dr_perception.ros.qos import RESULTS, TRANSFORMS
from dr_perception.tracking.result import ObjectState, Status, TrackResult

__all__ = ["ResultPublisher", "topic_names"]


def topic_names(names: Iterable[str]) -> dict[str, str]:
    """Object names as parts of topic names: letters, digits and underscores, not starting with a digit.

    Raises:
        ValueError: Two objects would share a topic.
    """
    topics: dict[str, str] = {}
    for name in names:
        token = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_") or "object"
        token = f"object_{token}" if token[0].isdigit() else token
        if token in topics.values():
            raise ValueError(
                f"object {name!r} and another one would share the topic ~/{token}/pose: rename one"
            )
        topics[name] = token
    return topics


class ResultPublisher:
    """Poses, TF, markers and overlay. Markers and overlay are made only while somebody listens."""

    def __init__(self, node: Node, models: Mapping[str, ObjectModel], config: NodeConfig) -> None:
        """Advertise the topics.

        Args:
            node: The node.
            models: Tracked objects by name.
            config: The node's settings.
        """
        self._models, self._config = models, config
        self._markers = MarkerFactory(models)
        self._poses = {
            name: node.create_publisher(PoseWithCovarianceStamped, f"~/{token}/pose", RESULTS)
            for name, token in topic_names(models).items()
        }
        self._tf_publisher = node.create_publisher(TFMessage, "/tf", TRANSFORMS)
        self._marker_publisher = node.create_publisher(MarkerArray, "~/markers", RESULTS)
        self._overlay_publisher = node.create_publisher(Image, "~/overlay", RESULTS)

    def publish(self, result: TrackResult, frame: Frame) -> None:
        """Publish all objects that have a pose, stamped with the stamp of the frame."""
        found = {name: s for name, s in result.objects.items() if np.isfinite(s.T_cam_obj).all()}
        frame_id = self._config.camera_frame or frame.frame_id
        header = Header(stamp=time_message(result.stamp_ns), frame_id=frame_id)
        for name, state in found.items():
            pose = pose_with_covariance_message(state.T_cam_obj, state.covariance)
            self._poses[name].publish(PoseWithCovarianceStamped(header=header, pose=pose))
        if self._config.publish_tf:
            self._tf_publisher.publish(TFMessage(transforms=_transforms(header, found)))
        if self._config.publish_markers and self._marker_publisher.get_subscription_count():
            self._marker_publisher.publish(self._markers.markers(header, found))
        if frame.color is not None and self._overlay_publisher.get_subscription_count():
            self._overlay_publisher.publish(image_message(header, self._overlay(frame, found)))

    def _overlay(self, frame: Frame, found: Mapping[str, ObjectState]) -> np.ndarray:
        from dr_perception.viz.overlay import draw_overlay

        assert frame.color is not None
        poses = {name: state.T_cam_obj for name, state in found.items()}
        return draw_overlay(frame.color, self._models, poses, frame.camera, states=found)


def _transforms(header: Header, objects: Mapping[str, ObjectState]) -> list[TransformStamped]:
    """Camera to object, for the objects that are not lost: a transform cannot say how sure it is."""
    return [
        TransformStamped(header=header, child_frame_id=name, transform=transform_message(state.T_cam_obj))
        for name, state in objects.items()
        if state.status is not Status.LOST
    ]
