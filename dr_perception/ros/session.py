"""What the node does with frames, without ROS: when to start, from which poses, and what follows.

The order is that of the offline replay: the tracker starts on one frame and tracks every following one. So
the same frames give the same poses.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import check_transform
from dr_perception.tracking.result import TrackResult

__all__ = ["TrackerLike", "TrackingSession"]


class TrackerLike(Protocol):
    """The part of `dr_perception.Tracker` that is used here."""

    def start(self, frame: Frame, poses: Mapping[str, NDArray[np.float64] | None]) -> object:
        """Begin at the given poses; None asks for a search."""

    def track(self, frame: Frame) -> TrackResult:
        """Estimate the poses in the next frame."""

    def reset(self) -> None:
        """Forget all poses."""


class TrackingSession:
    """Feeds frames to a tracker: waiting, starting on the next frame, or tracking. Safe between threads."""

    def __init__(
        self,
        tracker: TrackerLike,
        names: list[str],
        poses: Mapping[str, NDArray[np.float64]] | None = None,
        auto_start: bool = True,
    ) -> None:
        """Prepare a session.

        Args:
            tracker: The tracker.
            names: Names of the tracked objects.
            poses: Poses to start from, T_cam_obj (4, 4) by name; the other objects are searched for.
            auto_start: Start on the first frame.

        Raises:
            ValueError: A pose belongs to no object or is not rigid.
        """
        self._tracker = tracker
        self._names = list(names)
        self._poses: dict[str, NDArray[np.float64]] = {}
        self._start_pending = auto_start
        self._tracking = False
        self._lock = threading.Lock()
        for name, pose in (poses or {}).items():
            self.set_initial_pose(name, pose)

    @property
    def tracking(self) -> bool:
        """Whether the tracker has started."""
        return self._tracking

    def set_initial_pose(self, name: str, T_cam_obj: NDArray[np.float64]) -> None:
        """Remember where an object is for the next start.

        Raises:
            ValueError: The object is not tracked, or the pose is not rigid.
        """
        if name not in self._names:
            raise ValueError(f"initial pose of {name!r}, which is not tracked; tracked are {self._names}")
        pose = check_transform(T_cam_obj, f"initial pose of {name!r}")
        with self._lock:
            self._poses[name] = pose

    def request_start(self) -> str:
        """Start, or start again, on the next frame; return a sentence that says from which poses."""
        with self._lock:
            self._start_pending, self._tracking = True, False
            given = [name for name in self._names if name in self._poses]
        searched = [name for name in self._names if name not in given]
        parts = [f"initial pose given for {', '.join(given)}"] if given else []
        parts += [f"searching for {', '.join(searched)}"] if searched else []
        return f"starting on the next frame: {'; '.join(parts)}"

    def reset(self) -> str:
        """Stop tracking and forget all poses; return a sentence that says so."""
        with self._lock:
            self._start_pending, self._tracking = False, False
            self._poses.clear()
            self._tracker.reset()
        return "stopped; call start to begin again"

    def step(self, frame: Frame) -> TrackResult | None:
        """Use one frame.

        Returns:
            The poses, or None while waiting for a start and for the frame that the tracker starts on.
        """
        with self._lock:
            if self._start_pending:
                self._tracker.reset()
                self._tracker.start(frame, {name: self._poses.get(name) for name in self._names})
                self._start_pending, self._tracking = False, True
                return None
            return self._tracker.track(frame) if self._tracking else None
