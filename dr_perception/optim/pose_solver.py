"""The host side of the batched Levenberg-Marquardt solver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.optim.levenberg_marquardt import PosePrior, Problem, begin, decide_and_step
from dr_perception.render.device_array import SharedArray
from dr_perception.render.model_view import PoseArrays
from dr_perception.render.recording import Launch, record
from dr_perception.residuals.normal_equations import NUM_SUMS

DIRECTION_ERROR_RAD = 0.015
"""Standard deviation of the directions of rows, nearly a degree: facets, and what was simplified away.

Judged by how much rows seem to see of the spin of a body of revolution, it is 0.006 for normals, 0.016 for
outlines and for gradients of brightness.
"""
_INITIAL_DAMPING = 1.0e-3
_TOLERANCE = 3.0e-5
"""Steps below this many metres plus radians end the search: a tenth of what sensors allow."""


_PLACE_IN_SUMS = np.zeros((6, 6), dtype=np.intp)
_PLACE_IN_SUMS[np.triu_indices(6)] = np.arange(21)
_PLACE_IN_SUMS = np.maximum(_PLACE_IN_SUMS, _PLACE_IN_SUMS.T)


class PoseSolver:
    """Moves a batch of poses down the sum of robust rows and a Gaussian prior.

    Attributes:
        poses: The poses; trial poses during `run`, the best ones after it.
        sums: Where terms accumulate rows (P, `NUM_SUMS`).
        best: Sums at the best poses (P, `NUM_SUMS`).
        priors: Belief about every pose (P,) of `PosePrior`.
        direction_errors: Second moments (3, 3) of the model's surface [m^2] times the variance of its
            directions, zero if the surface is not known.
    """

    def __init__(
        self,
        poses: PoseArrays,
        num_problems: int,
        device: wp.DeviceLike,
        spread: NDArray[np.float64] | None = None,
    ) -> None:
        """Allocate the state of every problem.

        Args:
            poses: The poses.
            num_problems: How many.
            device: Where kernels run.
            spread: Second moments (3, 3) of the model's surface about its centre [m^2]; with it, turns that
                are no better measured than errors of the model's directions would explain are left to the
                prior.
        """
        self.poses = poses
        self.sums = SharedArray((num_problems, NUM_SUMS), float, device)
        self.best = SharedArray((num_problems, NUM_SUMS), float, device)
        self.priors = SharedArray(num_problems, PosePrior, device)
        self._problems = SharedArray(num_problems, Problem, device)
        trial = [poses.R.array, poses.t.array]
        state = [self._problems.array, poses.active]
        self._begin = record(begin, num_problems, [*trial, _INITIAL_DAMPING], state, device)
        outputs = [*state, self.sums.array, self.best.array, *trial]
        self.direction_errors = DIRECTION_ERROR_RAD**2 * (np.zeros((3, 3)) if spread is None else spread)
        inputs = [self.priors.array, wp.mat33(*self.direction_errors.ravel())]
        self._step, self._finish = (
            record(decide_and_step, num_problems, [*inputs, last, _TOLERANCE], outputs, device)
            for last in (0, 1)
        )

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
        """Sums at the best poses (P, `NUM_SUMS`) and the state of every problem (P,).

        Waits for the device.
        """
        self.best.pull()
        self._problems.pull()
        return self.best.host, self._problems.host


def information_matrix(sums: NDArray[np.float32]) -> NDArray[np.float64]:
    """Symmetric (P, 6, 6) information in float64 from rows of sums (P, `NUM_SUMS`)."""
    return sums[:, _PLACE_IN_SUMS].astype(np.float64)


def credible_information(
    information: NDArray[np.float64], R: NDArray[np.float64], direction_errors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Information (6, 6) about the centre without what errors of the model's directions put in.

    The solver does not follow it either, see `dr_perception.optim.levenberg_marquardt.credible_gradient`.

    Args:
        information: Of the rows (6, 6).
        R: Rotation of the pose (3, 3).
        direction_errors: As in `PoseSolver`.
    """
    if not direction_errors.any():
        return information
    # Turns are counted in radii, so that eigenvalues compare.
    scale = np.ones(6)
    scale[3:] = DIRECTION_ERROR_RAD / np.sqrt(0.5 * np.trace(direction_errors))
    left = information.copy()
    left[3:, 3:] -= np.trace(information[:3, :3]) * (R @ direction_errors @ R.T)
    values, vectors = np.linalg.eigh(left * np.outer(scale, scale))
    scaled = (vectors * np.maximum(values, 0.0)) @ vectors.T
    result: NDArray[np.float64] = scaled / np.outer(scale, scale)
    return result
