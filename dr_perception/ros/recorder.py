"""Records what the node publishes: poses, and status, score and times from its diagnostics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node

from dr_perception.evaluation.records import PoseRecord
from dr_perception.ros.conversions import stamp_ns, transform_from_pose
from dr_perception.ros.publishers import topic_names
from dr_perception.ros.qos import RESULTS
from dr_perception.tracking.result import Status

__all__ = ["PoseRecorder"]


class PoseRecorder:
    """Listens to a tracker node that sends diagnostics with every frame (``node.diagnostics_period_s:=0``).

    Attributes:
        poses: The messages by (stamp [ns], object name), exactly as they came.
        problems: Sentences of frames that the node could not use, by stamp [ns].
        frames: Stamps of the frames that the node is done with, in the order of their coming.
    """

    def __init__(self, node: Node, names: Iterable[str], tracker_node: str = "/tracker_node") -> None:
        """Subscribe.

        Args:
            node: The node that listens.
            names: The tracked objects.
            tracker_node: Full name of the tracker's node.
        """
        self.poses: dict[tuple[int, str], PoseWithCovarianceStamped] = {}
        self.problems: dict[int, str] = {}
        self.frames: list[int] = []
        self._health: dict[tuple[int, str], tuple[Status, float]] = {}
        self._times: dict[int, dict[str, float]] = {}
        self._node, self._names = node, tuple(names)
        self._prefix = tracker_node.rpartition("/")[2] + ": "
        self._topics = {name: f"{tracker_node}/{t}/pose" for name, t in topic_names(self._names).items()}
        for name, topic in self._topics.items():

            def receive(message: PoseWithCovarianceStamped, name: str = name) -> None:
                self.poses[stamp_ns(message), name] = message

            node.create_subscription(PoseWithCovarianceStamped, topic, receive, RESULTS)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, RESULTS)

    @property
    def connected(self) -> bool:
        """Whether the tracker offers all topics."""
        return all(self._node.count_publishers(topic) for topic in (*self._topics.values(), "/diagnostics"))

    def complete(self, stamp: int) -> bool:
        """Whether everything about a frame has come in."""
        expected = {name for (s, name) in self._health if s == stamp}
        return stamp in self.frames and all((stamp, name) in self.poses for name in expected)

    def records(self) -> list[PoseRecord]:
        """Everything recorded, ordered by stamp, then by object.

        Raises:
            ValueError: A pose came without its diagnostics.
        """
        records = []
        for stamp, name in sorted(self.poses, key=lambda key: (key[0], self._names.index(key[1]))):
            if (stamp, name) not in self._health:
                raise ValueError(f"no diagnostics for the pose of {name!r} at {stamp}: set their period to 0")
            message, (status, score) = self.poses[stamp, name].pose, self._health[stamp, name]
            covariance = np.reshape(np.asarray(message.covariance, dtype=np.float64), (6, 6))
            T = transform_from_pose(message.pose)
            records.append(PoseRecord(stamp, name, T, covariance, status, score))
        return records

    def times_ms(self, part: str = "total") -> dict[int, float]:
        """Milliseconds that the node spent in a part of the step, by stamp."""
        return {stamp: times[part] for stamp, times in self._times.items() if part in times}

    def _hear(self, message: DiagnosticArray) -> None:
        stamp = stamp_ns(message)
        statuses = {
            status.name.removeprefix(self._prefix): status
            for status in message.status
            if status.name.startswith(self._prefix)
        }
        tracker = statuses.get("tracker")
        if tracker is None:
            return
        self.frames.append(stamp)
        values = {pair.key: pair.value for pair in tracker.values}
        self._times[stamp] = {
            key.removesuffix("_ms"): float(v) for key, v in values.items() if key.endswith("_ms")
        }
        if tracker.level == tracker.ERROR:
            self.problems[stamp] = tracker.message
        for name in self._names:
            if name in statuses:
                pairs = {pair.key: pair.value for pair in statuses[name].values}
                self._health[stamp, name] = (Status[pairs["status"]], float(pairs["score"]))
