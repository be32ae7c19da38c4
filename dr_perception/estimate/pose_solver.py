"""The host side of the batched Levenberg-Marquardt solver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.device_array import SharedArray
from dr_perception.device.evidence import NUM_SUMS
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import Launch, record
from dr_perception.estimate.information import DIRECTION_ERROR_RAD
from dr_perception.estimate.levenberg_marquardt import PosePrior, Problem, begin, decide_and_step

_INITIAL_DAMPING = 1.0e-3
_TOLERANCE = 3.0e-5
"""Steps below this many metres plus radians end the search: a tenth of what sensors allow."""


class PoseSolver:
    """Moves a batch of poses down the sum of robust rows and a Gaussian prior.

    Attributes:
        poses: The poses; trial poses during `run`, the best ones after it.
        sums: Where modalities accumulate their evidence (P, M, `NUM_SUMS`).
        best: Evidence at the best poses (P, M, `NUM_SUMS`).
        priors: Belief about every pose (P,) of `PosePrior`.
        problems: State of every problem (P,) of `Problem`.
    """

    def __init__(
        self,
        poses: PoseArrays,
        num_problems: int,
        num_modalities: int,
        device: wp.DeviceLike,
        spread: NDArray[np.float64] | None = None,
    ) -> None:
        """Allocate the state of every problem.

        Args:
            poses: The poses.
            num_problems: How many.
            num_modalities: How many kinds of rows there are, M.
            device: Where kernels run.
            spread: Second moments (3, 3) of the model's surface about its centre [m^2]; with it, turns that
                are no better measured than errors of the model's directions would explain are left to the
                prior.
        """
        self.poses = poses
        self.sums = SharedArray((num_problems, num_modalities, NUM_SUMS), float, device)
        self.best = SharedArray((num_problems, num_modalities, NUM_SUMS), float, device)
        self.priors = SharedArray(num_problems, PosePrior, device)
        self.problems = SharedArray(num_problems, Problem, device)
        state = [self.problems.array, poses.struct]
        self._begin = record(begin, num_problems, [_INITIAL_DAMPING], state, device)
        outputs = [*state, self.sums.array, self.best.array]
        direction_errors = DIRECTION_ERROR_RAD**2 * (np.zeros((3, 3)) if spread is None else spread)
        inputs = [self.priors.array, wp.mat33(*direction_errors.ravel())]
        self._step, self._finish = (
            record(decide_and_step, num_problems, [*inputs, last, _TOLERANCE], outputs, device)
            for last in (0, 1)
        )

    def forget(self) -> None:
        """Have no priors and no sums of rows, as at first."""
        for shared in (self.sums, self.best, self.priors):
            shared.array.zero_()
            shared.pull()

    def set_prior(self, T: NDArray[np.float64], information: NDArray[np.float64]) -> None:
        """Set the prior of every problem: means (P, 4, 4) and information matrices (P, 6, 6) or (6, 6)."""
        host = self.priors.host
        host["R"] = T[:, :3, :3]
        host["t"] = T[:, :3, 3]
        host["information"] = information
        self.priors.push()

    def launches(
        self, accumulate: Sequence[Launch], steps: int, measure: Sequence[Launch] = ()
    ) -> list[Launch]:
        """Launches that take up to ``steps`` accepted or rejected steps.

        Args:
            accumulate: Launches that add rows at the trial poses.
            steps: How many.
            measure: Launches that run once, at the poses of the start.
        """
        sequence = [self._begin, *measure]
        for _ in range(steps):
            sequence += [*accumulate, self._step]
        return [*sequence, *accumulate, self._finish]

    def pull(self) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """Evidence at the best poses (P, M, `NUM_SUMS`) and the state of every problem (P,).

        Waits for the device.
        """
        self.best.pull()
        self.problems.pull()
        return self.best.host, self.problems.host
