"""rosbag2 recordings as frames: images paired by stamp, calibration, and recorded ground truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.bag_messages import BagMessages, deserialize, header_stamp_ns
from dr_perception.data.bag_recovery import StoredMessage
from dr_perception.data.bag_topics import (
    COMPRESSED_IMAGE,
    GROUND_TRUTH_ROOT,
    IMAGE,
    ImageTopics,
    choose_topics,
)
from dr_perception.data.bag_truth import POSE_TYPES, TruthPoses
from dr_perception.data.image_codec import (
    DepthImage,
    decode_color,
    decode_compressed_color,
    decode_compressed_depth,
    decode_depth,
)
from dr_perception.data.source import DamagedSequenceError
from dr_perception.data.stamps import match_stamps, nearest_stamp
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame

__all__ = ["RosbagSource"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """One frame: where its images are on their topics, counted from 0."""

    stamp_ns: int
    color: int | None
    depth: int | None


class RosbagSource:
    """A rosbag2 recording as a `FrameSource`.

    With colour and depth, a frame is a pair of equal stamps (or the nearest within the tolerance) and carries
    the stamp of its colour image; images without a partner are skipped and counted in `unmatched`.
    """

    scene_id = 0

    def __init__(
        self,
        path: str | Path,
        color_topic: str | None = None,
        depth_topic: str | None = None,
        info_topic: str | None = None,
        tolerance_s: float = 0.005,
        rectified: bool | None = None,
        ground_truth_topics: Sequence[str] | None = None,
        depth_scale_m: float | None = None,
    ) -> None:
        """Read stamps, calibrations and poses; images are read while iterating.

        Args:
            path: rosbag2 folder or single ``.mcap``/``.db3`` file.
            color_topic: Topic of the colour image; "" for none; None: chosen by encoding and name.
            depth_topic: Topic of the depth image, registered to the colour image; likewise.
            info_topic: Topic of the calibration; None: the one beside the images.
            tolerance_s: Largest difference of the stamps of one frame [s].
            rectified: Whether the images are rectified, so that P and no distortion holds; None: if the
                topic's name has ``rect``.
            ground_truth_topics: Topics of reference poses; None: all pose topics below ``/ground_truth/``.
            depth_scale_m: Metres per unit of an integer depth image; None: a millimetre (REP 118).

        Raises:
            FileNotFoundError: The path does not exist.
            ValueError: The recording is empty or cannot be read, or its topics do not fit.
        """
        self.path = Path(path)
        if not tolerance_s >= 0.0:
            raise ValueError(f"tolerance_s must not be negative, got {tolerance_s}")
        if depth_scale_m is not None and not depth_scale_m > 0.0:
            raise ValueError(f"depth_scale_m must be positive, got {depth_scale_m}")
        self._tolerance_ns = round(1e9 * tolerance_s)
        self._depth_scale_m = depth_scale_m
        self._bag = BagMessages(self.path)
        self.topics: ImageTopics = self._choose(color_topic, depth_topic, info_topic)
        """The topics in use."""
        image = self.topics.color or self.topics.depth
        self._rectified = "rect" in image.rsplit("/", 1)[-1] if rectified is None else rectified
        self._truth = TruthPoses(self._pose_topics(ground_truth_topics))
        self._damage = self._index()
        self.image_ids: Sequence[int] = range(len(self._plans))
        self._truth.finish()
        if not self._plans:
            reason = f": {self._damage}" if self._damage else f" (tolerance {tolerance_s} s)"
            raise ValueError(f"bag {self.path} has no complete frame on {self.topics}{reason}")

    @property
    def name(self) -> str:
        """Name of the folder or file."""
        return self.path.resolve().stem

    @property
    def stamps_ns(self) -> Sequence[int]:
        """Stamps of the frames [ns]."""
        return [plan.stamp_ns for plan in self._plans]

    @property
    def damage(self) -> DamagedSequenceError | None:
        """What is raised after the last frame; None if the recording is intact."""
        return self._damage

    @cached_property
    def camera(self) -> Camera:
        """Camera of the first frame."""
        return self._camera_at(self._plans[0].stamp_ns)

    @property
    def object_ids(self) -> Mapping[str, int]:
        """Objects with recorded poses, numbered from 1 by name, since a bag has no object numbers."""
        return {name: number for number, name in enumerate(self._truth.names, start=1)}

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._plans)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order of their stamps."""
        yield from self._frames()
        if self._damage is not None:
            raise self._damage

    def ground_truth(self, index: int) -> dict[str, NDArray[np.float64]] | None:
        """Recorded poses of frame `index` (those with its stamp, or the nearest within the tolerance)."""
        stamp = self._plans[index].stamp_ns
        return self._truth.objects_at(stamp, self._frame_id, self._tolerance_ns) or None

    def _frames(self) -> Iterator[Frame]:
        """Read the images once, decode those that are planned, and emit frames in order."""
        needed = self._needed()
        waiting: dict[int, dict[str, Any]] = {}
        counts = dict.fromkeys(self._image_topics(), 0)
        emitted = 0
        for message in self._bag.messages(self._image_topics()):
            place = (message.topic, counts[message.topic])
            counts[message.topic] += 1
            frame = needed.get(place)
            if frame is None:
                continue
            waiting.setdefault(frame, {})[message.topic] = message.data
            while len(waiting.get(emitted, ())) == len(counts):
                yield self._frame(self._plans[emitted], waiting.pop(emitted))
                emitted += 1
                if emitted == len(self._plans):
                    return

    def _needed(self) -> dict[tuple[str, int], int]:
        """Frame of each planned image."""
        needed: dict[tuple[str, int], int] = {}
        for number, plan in enumerate(self._plans):
            if plan.color is not None:
                needed[self.topics.color, plan.color] = number
            if plan.depth is not None:
                needed[self.topics.depth, plan.depth] = number
        return needed

    def _frame(self, plan: _Plan, raw: dict[str, bytes]) -> Frame:
        """Decode the images of one frame."""
        color, depth = None, DepthImage(None, 1.0)  # type: ignore[arg-type]
        topic = self.topics.color or self.topics.depth
        try:
            if plan.color is not None:
                topic = self.topics.color
                color = self._decode_color(raw[topic])
            if plan.depth is not None:
                topic = self.topics.depth
                depth = self._decode_depth(raw[topic])
                if self._depth_scale_m is not None and depth.values.dtype == np.uint16:
                    depth = depth._replace(scale_m=self._depth_scale_m)
            return Frame(
                color=color,
                depth=depth.values,
                camera=self._camera_at(plan.stamp_ns),
                stamp_ns=plan.stamp_ns,
                depth_scale_m=depth.scale_m,
                T_world_cam=self._truth.camera_at(plan.stamp_ns, self._tolerance_ns),
                frame_id=self._frame_id,
            )
        except (ValueError, TypeError) as error:
            place = f"bag {self.path}, topic {topic}, stamp {plan.stamp_ns} ns"
            raise type(error)(f"{place}: {error}") from error

    def _decode_color(self, data: bytes) -> NDArray[np.uint8]:
        kind = self._bag.topics[self.topics.color]
        msg = deserialize(data, kind)
        if kind == COMPRESSED_IMAGE:
            return decode_compressed_color(msg.data, msg.format)
        return decode_color(msg.data, msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian))

    def _decode_depth(self, data: bytes) -> DepthImage:
        kind = self._bag.topics[self.topics.depth]
        msg = deserialize(data, kind)
        if kind == COMPRESSED_IMAGE:
            return decode_compressed_depth(msg.data, msg.format)
        return decode_depth(msg.data, msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian))

    def _index(self) -> DamagedSequenceError | None:
        """Read the recording once: stamps of images, calibrations and poses; returns its damage, if any."""
        stamps: dict[str, list[int]] = {topic: [] for topic in self._image_topics()}
        self._cameras: dict[int, Camera] = {}
        self._parsed: dict[bytes, Camera] = {}
        self._frame_id = ""
        damage = None
        try:
            wanted = {*stamps, self.topics.info, *self._truth.topics}
            for message in self._bag.messages(wanted):
                if message.topic in stamps:
                    stamps[message.topic].append(header_stamp_ns(message.data))
                elif message.topic == self.topics.info:
                    self._add_camera(message.data)
                else:
                    self._add_truth(message)
        except DamagedSequenceError as error:
            damage = error
        self._camera_stamps = sorted(self._cameras)
        if not self._cameras:
            raise ValueError(f"bag {self.path} has no intact message on {self.topics.info}") from damage
        self._plan(stamps)
        return damage

    def _plan(self, stamps: Mapping[str, list[int]]) -> None:
        """Decide which images make frames."""
        for topic, values in stamps.items():
            if len(values) > 1 and not any(values):
                raise ValueError(f"bag {self.path}: all {len(values)} stamps of {topic} are 0")
        color = stamps.get(self.topics.color)
        depth = stamps.get(self.topics.depth)
        if color is not None and depth is not None:
            pairs = match_stamps(color, depth, self._tolerance_ns)
            self._plans = [_Plan(color[i], i, k) for i, k in pairs]
        else:
            only = match_stamps(color or depth or (), color or depth or (), 0)
            keys = ((i, None) if color is not None else (None, i) for i, _ in only)
            values = color or depth or []
            self._plans = [_Plan(values[i], *key) for (i, _), key in zip(only, keys, strict=True)]
        self.unmatched = {topic: len(values) - len(self._plans) for topic, values in stamps.items()}
        """Number of images without a partner, by topic."""
        if any(self.unmatched.values()):
            _log.info("bag %s: images without a partner: %s", self.path, self.unmatched)

    def _add_camera(self, data: bytes) -> None:
        stamp = header_stamp_ns(data)
        # All but the stamp: equal calibrations are parsed once and share what a camera caches.
        content = data[:4] + data[12:]
        if content not in self._parsed:
            try:
                msg = deserialize(data, self._bag.topics[self.topics.info])
                self._parsed[content] = Camera.from_camera_info(msg, rectified=self._rectified)
            except ValueError as error:
                place = f"bag {self.path}, topic {self.topics.info}, stamp {stamp} ns"
                raise ValueError(f"{place}: {error}") from error
            self._frame_id = self._frame_id or msg.header.frame_id
        self._cameras[stamp] = self._parsed[content]

    def _add_truth(self, message: StoredMessage) -> None:
        try:
            self._truth.add(message)
        except ValueError as error:
            raise ValueError(f"bag {self.path}, topic {message.topic}: {error}") from error

    def _camera_at(self, stamp_ns: int) -> Camera:
        """Calibration with this stamp, or the nearest one."""
        nearest = nearest_stamp(self._camera_stamps, stamp_ns)
        assert nearest is not None
        return self._cameras[self._camera_stamps[nearest]]

    def _image_topics(self) -> list[str]:
        return [topic for topic in (self.topics.color, self.topics.depth) if topic]

    def _pose_topics(self, chosen: Sequence[str] | None) -> list[str]:
        """Topics of ground truth."""
        available = {topic for topic, kind in self._bag.topics.items() if kind in POSE_TYPES}
        if chosen is None:
            return sorted(topic for topic in available if topic.startswith(GROUND_TRUTH_ROOT))
        missing = sorted(set(chosen) - available)
        if missing:
            raise ValueError(f"bag {self.path} has no pose topics {missing}; it has {sorted(available)}")
        return list(chosen)

    def _choose(self, color: str | None, depth: str | None, info: str | None) -> ImageTopics:
        """Choose the topics; a missing one is blamed on the damage if there is any."""
        try:
            return choose_topics(str(self.path), self._bag.topics, self._first_encoding, color, depth, info)
        except ValueError as error:
            if self._bag.damage is None:
                raise
            raise DamagedSequenceError(f"{self._bag.damage}; in what is intact: {error}") from error

    def _first_encoding(self, topic: str) -> str:
        """Encoding or format of the first message of an image topic."""
        for message in self._bag.messages([topic]):
            try:
                msg = deserialize(message.data, message.message_type)
            except ValueError as error:
                raise ValueError(f"bag {self.path}, topic {topic}: {error}") from error
            return str(msg.encoding if message.message_type == IMAGE else msg.format)
        return ""
