"""Whether an image shows the mirror image of a model's pattern, as exporters that flip an axis make it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.device.device_array import SharedArray
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import record
from dr_perception.hypothesis.judge_kernels import ViewTable
from dr_perception.hypothesis.looks_kernels import PATTERN, Looks, judge_looks
from dr_perception.measure.frame_buffers import FrameBuffers

_MIRRORS = np.stack([np.diag([-1.0, 1.0, 1.0]), np.diag([1.0, -1.0, 1.0]), np.diag([1.0, 1.0, -1.0])])


class MirroredLooks:
    """Judges the patterns that a model mirrored along its axes, about its centre, would show at a pose.

    The point ``S p`` of a mirrored model is seen where ``R S`` takes ``p``, so that the stored views of the
    model itself serve at poses whose matrices are no rotations. Only a shape that is its own mirror image in
    such a plane fits its depth and outline both ways; any other one is told by these.
    """

    def __init__(self, views: ViewTable, frame: FrameBuffers, hidden_m: float) -> None:
        """Allocate and record; ``hidden_m`` in front of a point something hides it."""
        self._frame, self._poses = frame, PoseArrays(len(_MIRRORS), frame.device)
        self._has_color = SharedArray(1, int, frame.device)
        self._looks = SharedArray(len(_MIRRORS), Looks, frame.device)
        inputs = [self._poses.struct, views, frame.images, hidden_m, self._has_color.array]
        self._judge = record(judge_looks, len(_MIRRORS), inputs, [self._looks.array], frame.device)

    def best(self, T_cam_center: NDArray[np.float64]) -> float:
        """Log likelihood ratio of the best mirror image's pattern at a pose (4, 4) of the centre.

        Waits for the device.
        """
        T = np.repeat(T_cam_center[None], len(_MIRRORS), axis=0)
        T[:, :3, :3] = T[:, :3, :3] @ _MIRRORS
        self._poses.set(T)
        self._has_color.host[:] = self._frame.has_color
        self._has_color.push()
        self._judge()
        self._looks.pull()
        return float(self._looks.host[:, int(PATTERN)].max())
