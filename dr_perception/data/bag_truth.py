"""Reference poses recorded in a bag: of objects and of the camera, as stamped poses or as transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.bag_messages import deserialize
from dr_perception.data.bag_recovery import StoredMessage
from dr_perception.data.stamps import nearest_stamp
from dr_perception.geometry.se3 import invert, make_transform, matrix_from_quaternion

__all__ = ["CAMERA_NAME", "POSE_TYPES", "TruthPoses"]

_POSE = "geometry_msgs/msg/PoseStamped"
_POSE_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
_TRANSFORMS = "tf2_msgs/msg/TFMessage"
POSE_TYPES = (_POSE, _POSE_COVARIANCE, _TRANSFORMS)
"""Message types that carry poses."""

CAMERA_NAME = "camera"
"""The pose of this name is the camera's in the world, not an object's."""


class TruthPoses:
    """Poses by name and stamp.

    The name is the last part of the topic that is not ``pose`` (``/ground_truth/mug/pose``), or a transform's
    child frame. A pose in the frame of the images is ``T_cam_obj``; one in another frame is combined with the
    pose of the camera in that frame.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        """Remember which topics to read."""
        self.topics = list(topics)
        self._poses: dict[str, dict[int, tuple[str, NDArray[np.float64]]]] = {}
        self._stamps: dict[str, list[int]] = {}

    @property
    def names(self) -> list[str]:
        """Names of the objects, sorted."""
        return sorted(set(self._poses) - {CAMERA_NAME})

    def add(self, message: StoredMessage) -> None:
        """Take the poses of one serialised message of one of `POSE_TYPES`.

        Raises:
            ValueError: It is no valid message, or a rotation in it is none.
        """
        msg = deserialize(message.data, message.message_type)
        if message.message_type == _TRANSFORMS:
            for item in msg.transforms:
                move = item.transform
                self._put(item.child_frame_id, item.header, move.translation, move.rotation)
            return
        pose = msg.pose if message.message_type == _POSE else msg.pose.pose
        self._put(_name(message.topic), msg.header, pose.position, pose.orientation)

    def finish(self) -> None:
        """Sort the stamps; to be called when all messages are in."""
        self._stamps = {name: sorted(poses) for name, poses in self._poses.items()}

    def objects_at(self, stamp_ns: int, frame_id: str, tolerance_ns: int) -> dict[str, NDArray[np.float64]]:
        """Poses of objects in the camera frame.

        Args:
            stamp_ns: Stamp of the frame [ns].
            frame_id: Name of the camera frame; a pose in a frame without name is taken to be in it.
            tolerance_ns: Largest difference of stamps [ns].

        Returns:
            ``{name: T_cam_obj (4, 4)}``, without those that are not known at this time.
        """
        camera = self._at(CAMERA_NAME, stamp_ns, tolerance_ns)
        found: dict[str, NDArray[np.float64]] = {}
        for name in self.names:
            entry = self._at(name, stamp_ns, tolerance_ns)
            if entry is None:
                continue
            parent, T = entry
            if parent in ("", frame_id):
                found[name] = T
            elif camera is not None and camera[0] == parent:
                found[name] = invert(camera[1]) @ T
        return found

    def camera_at(self, stamp_ns: int, tolerance_ns: int) -> NDArray[np.float64] | None:
        """Pose of the camera in the world ``T_world_cam`` (4, 4); None if it is not known at this time."""
        entry = self._at(CAMERA_NAME, stamp_ns, tolerance_ns)
        return None if entry is None else entry[1]

    def _at(self, name: str, stamp_ns: int, tolerance_ns: int) -> tuple[str, NDArray[np.float64]] | None:
        """Parent frame and pose nearest in time."""
        place = nearest_stamp(self._stamps.get(name, ()), stamp_ns, tolerance_ns)
        return None if place is None else self._poses[name][self._stamps[name][place]]

    def _put(self, name: str, header: Any, position: Any, orientation: Any) -> None:
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        R = matrix_from_quaternion(np.array([orientation.x, orientation.y, orientation.z, orientation.w]))
        T = make_transform(R, np.array([position.x, position.y, position.z]))
        self._poses.setdefault(name, {})[stamp] = (header.frame_id, T)


def _name(topic: str) -> str:
    """Name of the object that a topic is about."""
    parts = [part for part in topic.split("/") if part]
    return parts[-2] if len(parts) > 1 and parts[-1] == "pose" else parts[-1]
