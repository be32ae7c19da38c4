"""Poses of a batch on a device, which the host sets and reads and kernels move."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.device_array import SharedArray
from dr_perception.device.poses import Poses


class PoseArrays:
    """Poses of a batch on a device.

    Rotations (P, 1), translations (P, 1) in metres, and which are still being moved.

    Attributes:
        struct: All three as kernels take them, bound once.
    """

    def __init__(self, num_problems: int, device: wp.DeviceLike) -> None:
        """Allocate poses."""
        self.R = SharedArray((num_problems, 1), wp.mat33, device)
        self.t = SharedArray((num_problems, 1), wp.vec3, device)
        self.active = wp.full(num_problems, 1, dtype=int, device=device)
        self.struct = Poses()
        self.struct.R, self.struct.t, self.struct.active = self.R.array, self.t.array, self.active

    def set(self, T: NDArray[np.float64]) -> None:
        """Write poses of shape (P, 4, 4)."""
        self.R.host[:, 0] = T[:, :3, :3]
        self.t.host[:, 0] = T[:, :3, 3]
        self.R.push()
        self.t.push()

    def get(self) -> NDArray[np.float64]:
        """Read poses of shape (P, 4, 4) in float64; waits for the device."""
        self.R.pull()
        self.t.pull()
        T = np.zeros((len(self.R.host), 4, 4))
        T[:, :3, :3] = self.R.host[:, 0]
        T[:, :3, 3] = self.t.host[:, 0]
        T[:, 3, 3] = 1.0
        return T
