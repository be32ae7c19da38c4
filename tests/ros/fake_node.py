"""The node with a stand-in for the tracker, as a process of its own."""

from __future__ import annotations

import sys

import numpy as np

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.ros.node import TrackerNode
from dr_perception.ros.tracker_node import run
from dr_perception.tracking.result import ObjectState, Status, TrackResult

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ],
    dtype=np.int32,
)
CUBE = ObjectModel("cube", Mesh(0.1 * CORNERS - 0.05, FACES, None, None, None))
COVARIANCE = np.diag(np.arange(1.0, 7.0)) * 1e-6


class FakeTracker:
    """Pose of the cube: its depth is the mean depth of the image, its rotation stays as it was given."""

    def start(self, frame: Frame, poses: dict[str, np.ndarray | None]) -> None:
        given = poses["cube"]
        self.T_start = np.eye(4) if given is None else given

    def reset(self) -> None:
        self.T_start = np.eye(4)

    def track(self, frame: Frame) -> TrackResult:
        if frame.color[0, 0, 0] == 13:
            raise RuntimeError("thirteen in the first pixel")
        T = self.T_start.copy()
        T[2, 3] = float(frame.depth.astype(np.float64).mean()) * frame.depth_scale_m
        status = Status.TRACKING if frame.depth.any() else Status.LOST
        state = ObjectState(T, COVARIANCE, status, 0.75, 0.5)
        return TrackResult({"cube": state}, frame.stamp_ns, timing_ms={"total": 0.1})


if __name__ == "__main__":
    sys.exit(run(lambda: TrackerNode(tracker=FakeTracker(), models={"cube": CUBE})))
