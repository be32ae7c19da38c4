"""A recorded sequence as messages to publish.

The messages of a bag go out as the bytes that were recorded, on the topics of the bag. Frames of another
source become raw images; depth that is not in millimetres becomes float metres (REP 118 knows nothing
else).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dr_perception.data.bag_messages import BagMessages, header_stamp_ns
from dr_perception.data.bag_writer import BagWriter
from dr_perception.data.rosbag2 import RosbagSource
from dr_perception.data.source import FrameSource
from dr_perception.geometry.frame import Frame
from dr_perception.ros.conversions import camera_info_message, image_message, time_message
from dr_perception.ros.frames import CAMERA_INFO, COLOR, DEPTH

__all__ = ["Playback", "PlayedMessage", "make_playback"]

_KINDS = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


@dataclass(frozen=True, eq=False)
class PlayedMessage:
    """One message to publish."""

    role: str
    """"color", "depth" or "camera_info"."""
    stamp_ns: int
    """Stamp of its header [ns]."""
    payload: Any
    """The message, or its serialised bytes."""


class Playback(Protocol):
    """What the player plays."""

    @property
    def topics(self) -> dict[str, tuple[str, type]]:
        """Topic and message type of each role."""

    def __iter__(self) -> Iterator[PlayedMessage]:
        """The messages in their order."""


def make_playback(source: FrameSource) -> Playback:
    """The playback of a sequence.

    Raises:
        ValueError: The sequence has no colour or no depth.
    """
    return BagPlayback(source) if isinstance(source, RosbagSource) else FramePlayback(source)


class BagPlayback:
    """Messages of a rosbag2 recording, as they were recorded."""

    def __init__(self, source: RosbagSource) -> None:
        """Find the topics of a recording.

        Raises:
            ValueError: There is no colour or no depth.
        """
        found = source.topics
        if not (found.color and found.depth):
            raise ValueError(f"{source.path} needs colour and depth to be played to the node, has {found}")
        self._bag = BagMessages(source.path)
        names = {COLOR: found.color, DEPTH: found.depth, CAMERA_INFO: found.info}
        self._roles = {topic: role for role, topic in names.items()}
        self.topics: dict[str, tuple[str, type]] = {
            role: (topic, _KINDS.get(self._bag.topics[topic], CameraInfo)) for role, topic in names.items()
        }

    def __iter__(self) -> Iterator[PlayedMessage]:
        """The messages in the order of their log time."""
        for message in self._bag.messages(self._roles):
            data = bytes(message.data)
            yield PlayedMessage(self._roles[message.topic], header_stamp_ns(data), data)


class FramePlayback:
    """Frames of any source as raw images."""

    def __init__(self, source: FrameSource, frame_id: str = "camera_color_optical_frame") -> None:
        """Remember the source, and the camera frame for frames that do not name theirs."""
        self._source, self._frame_id = source, frame_id
        self.topics: dict[str, tuple[str, type]] = {
            COLOR: (BagWriter.COLOR_TOPIC, Image),
            DEPTH: (BagWriter.DEPTH_TOPIC, Image),
            CAMERA_INFO: (BagWriter.INFO_TOPIC, CameraInfo),
        }

    def __iter__(self) -> Iterator[PlayedMessage]:
        """Three messages a frame."""
        for frame in self._source:
            if frame.color is None or frame.depth is None:
                raise ValueError(f"'{self._source.name}' needs colour and depth to be played to the node")
            header = Header(stamp=time_message(frame.stamp_ns), frame_id=frame.frame_id or self._frame_id)
            info = camera_info_message(header, frame.camera)
            yield PlayedMessage(CAMERA_INFO, frame.stamp_ns, info)
            yield PlayedMessage(COLOR, frame.stamp_ns, image_message(header, frame.color))
            yield PlayedMessage(DEPTH, frame.stamp_ns, image_message(header, _publishable_depth(frame)))


def _publishable_depth(frame: Frame) -> np.ndarray:
    assert frame.depth is not None
    if frame.depth.dtype == np.uint16 and np.isclose(frame.depth_scale_m, 0.001):
        return frame.depth
    return frame.depth_m()
