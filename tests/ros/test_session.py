"""When the tracker starts and from which poses; needs no ROS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.ros.session import TrackingSession
from dr_perception.tracking.result import TrackResult

CAMERA = Camera(4, 3, 5.0, 5.0, 1.5, 1.0)
POSE = np.array([[1.0, 0, 0, 0.1], [0, 1, 0, 0.2], [0, 0, 1, 0.9], [0, 0, 0, 1]])


def frame(stamp: int) -> Frame:
    return Frame(None, np.ones((3, 4), np.float32), CAMERA, stamp)


class Recorder:
    """Writes down what the session asks for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, Any]] = []
        self.fail = False
        self.resets = 0

    def start(self, frame: Frame, poses: Mapping[str, Any]) -> None:
        self.calls.append(("start", frame.stamp_ns, dict(poses)))
        if self.fail:
            raise ValueError("no such luck")

    def reset(self) -> None:
        self.resets += 1

    def track(self, frame: Frame) -> TrackResult:
        self.calls.append(("track", frame.stamp_ns, None))
        return TrackResult({}, frame.stamp_ns)


def kinds(tracker: Recorder) -> list[tuple[str, int]]:
    return [(kind, stamp) for kind, stamp, _ in tracker.calls]


def test_the_first_frame_starts_and_the_following_are_tracked() -> None:
    tracker = Recorder()
    session = TrackingSession(tracker, ["a", "b"], {"a": POSE})
    results = [session.step(frame(stamp)) for stamp in (1, 2, 3)]
    assert kinds(tracker) == [("start", 1), ("track", 2), ("track", 3)]
    assert results[0] is None
    assert [result.stamp_ns for result in results[1:]] == [2, 3]
    poses = tracker.calls[0][2]
    assert np.array_equal(poses["a"], POSE)
    assert poses["b"] is None


def test_without_auto_start_nothing_happens_before_the_request() -> None:
    tracker = Recorder()
    session = TrackingSession(tracker, ["a", "b"], auto_start=False)
    assert session.step(frame(1)) is None
    session.set_initial_pose("b", POSE)
    assert session.request_start() == "starting on the next frame: initial pose given for b; searching for a"
    session.step(frame(2))
    session.request_start()
    session.step(frame(3))
    assert kinds(tracker) == [("start", 2), ("start", 3)]
    assert tracker.resets == 2


def test_a_start_that_fails_is_tried_again_on_the_next_frame() -> None:
    tracker = Recorder()
    tracker.fail = True
    session = TrackingSession(tracker, ["a"])
    with pytest.raises(ValueError, match="no such luck"):
        session.step(frame(1))
    tracker.fail = False
    session.step(frame(2))
    session.step(frame(3))
    assert kinds(tracker) == [("start", 1), ("start", 2), ("track", 3)]


def test_reset_forgets_the_poses() -> None:
    tracker = Recorder()
    session = TrackingSession(tracker, ["a"], {"a": POSE})
    session.reset()
    assert tracker.resets == 1
    assert session.step(frame(1)) is None
    assert not session.tracking
    session.request_start()
    session.step(frame(2))
    assert tracker.calls == [("start", 2, {"a": None})]


@pytest.mark.parametrize(
    ("name", "pose", "named"),
    [("c", POSE, "'c', which is not tracked"), ("a", 2.0 * POSE, "initial pose of 'a'")],
)
def test_bad_initial_poses_are_refused(name: str, pose: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TrackingSession(Recorder(), ["a", "b"], {name: pose})
