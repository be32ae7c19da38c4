"""What the node says about itself on /diagnostics: the input, the tracker, and each object.

Errors and changes go out at once, the rest once a period of image time. While no frames come a timer
repeats the last known state with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Header

from dr_perception.ros.conversions import time_message
from dr_perception.ros.qos import RESULTS
from dr_perception.ros.sync import StampSynchronizer
from dr_perception.tracking.result import ObjectState, Status, TrackResult

__all__ = ["Diagnostics", "input_status"]

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LEVELS = {Status.TRACKING: OK, Status.OCCLUDED: WARN, Status.LOST: ERROR}
MATCHED_SHARE = 0.9
"""Below this share of complete frames per camera_info message the input is reported as incomplete."""


class Diagnostics:
    """Collects what happened and publishes it as a DiagnosticArray."""

    def __init__(self, node: Node, synchronizer: StampSynchronizer, period_s: float) -> None:
        """Advertise the topic.

        Args:
            node: The node; its name stands before every status.
            synchronizer: Where messages are counted.
            period_s: Time between messages while nothing changes [s]; 0: with every frame.
        """
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", RESULTS)
        self._name = node.get_name()
        self._synchronizer = synchronizer
        self._period_ns = int(1e9 * period_s)
        self._stamp_ns, self._published_ns = 0, -1
        self._window = _Window()
        self._levels: list[bytes] = []
        self.errors = 0
        self.dropped = 0
        self.tracked = 0

    def frame(self, result: TrackResult, warning: str = "") -> None:
        """Report a tracked frame, with what was wrong with its images or noticed of the stream."""
        self.tracked += 1
        self._stamp_ns = result.stamp_ns
        noticed = "; ".join(finding.text for finding in result.diagnosis)
        statuses = [self._tracker("tracking", warning or noticed, result.timing_ms)]
        statuses += [self._object_status(name, state) for name, state in result.objects.items()]
        self._publish([self._input(), *statuses])

    def waiting(self, stamp_ns: int, message: str, warning: str = "") -> None:
        """Report a frame that was not tracked, because nothing is started yet or it starts now."""
        self._stamp_ns = stamp_ns
        self._publish([self._input(), self._tracker(message, warning, {})])

    def error(self, stamp_ns: int, message: str) -> None:
        """Report a frame that could not be used, at once."""
        self.errors += 1
        self._stamp_ns = stamp_ns
        self._levels = []
        self._publish([self._input(), self._status("tracker", ERROR, message, self._counters({}))])

    def silence(self) -> None:
        """Report that no frames come, stamped with the last one."""
        received = ", ".join(f"{count} {topic}" for topic, count in self._synchronizer.received.items())
        message = f"no complete frame in the last second (messages so far: {received})"
        self._levels = []
        self._publish([self._status("input", WARN, message, self._input_values())])

    def _publish(self, statuses: list[DiagnosticStatus]) -> None:
        """Send, unless nothing changed and the period is not over."""
        levels = [status.level for status in statuses]
        elapsed = self._stamp_ns - self._published_ns
        if levels == self._levels and 0 <= elapsed < self._period_ns:
            return
        self._levels, self._published_ns = levels, self._stamp_ns
        header = Header(stamp=time_message(self._stamp_ns))
        self._publisher.publish(DiagnosticArray(header=header, status=statuses))

    def _status(self, part: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
        pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
        return DiagnosticStatus(name=f"{self._name}: {part}", level=level, message=message, values=pairs)

    def _tracker(self, message: str, warning: str, timing_ms: Mapping[str, float]) -> DiagnosticStatus:
        level = WARN if warning else OK
        return self._status("tracker", level, warning or message, self._counters(timing_ms))

    def _object_status(self, name: str, state: ObjectState) -> DiagnosticStatus:
        deviations = np.sqrt(np.clip(np.diag(state.covariance), 0.0, None))
        values = {
            "status": state.status.name,
            "score": state.score,
            "visible_fraction": state.visible_fraction,
            "sigma_translation_mm": 1e3 * float(np.linalg.norm(deviations[:3])),
            "sigma_rotation_deg": float(np.degrees(np.linalg.norm(deviations[3:]))),
        }
        return self._status(name, LEVELS[state.status], state.reason or state.status.value, values)

    def _input(self) -> DiagnosticStatus:
        frames, promised = self._window.update(
            self._synchronizer.frames, self._synchronizer.received["camera_info"]
        )
        level, message = input_status(frames, promised)
        return self._status("input", level, message, self._input_values())

    def _input_values(self) -> dict[str, Any]:
        counts = self._synchronizer
        values: dict[str, Any] = {f"received_{topic}": count for topic, count in counts.received.items()}
        values |= {f"unmatched_{topic}": count for topic, count in counts.unmatched.items()}
        return values | {"frames": counts.frames, "dropped": self.dropped}

    def _counters(self, timing_ms: Mapping[str, float]) -> dict[str, Any]:
        values: dict[str, Any] = {"frames_tracked": self.tracked, "frame_errors": self.errors}
        return values | {f"{part}_ms": value for part, value in timing_ms.items()}


class _Window:
    """Counts of the last one to two hundred camera_info messages, so that old trouble is forgotten."""

    LENGTH = 100

    def __init__(self) -> None:
        self._starts = [(0, 0), (0, 0)]

    def update(self, frames: int, promised: int) -> tuple[int, int]:
        if promised - self._starts[1][1] >= self.LENGTH:
            self._starts = [self._starts[1], (frames, promised)]
        return frames - self._starts[0][0], promised - self._starts[0][1]


def input_status(frames: int, promised: int) -> tuple[bytes, str]:
    """Level and sentence for the input.

    Args:
        frames: Complete frames of late.
        promised: camera_info messages in the same time.
    """
    if promised >= 10 and frames < MATCHED_SHARE * promised:
        return WARN, (
            f"only {frames} complete frames for {promised} camera_info messages: images are lost or their "
            "stamps differ (with Fast DDS give the camera driver config/fastdds_shm.xml)"
        )
    return OK, "complete frames"


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
