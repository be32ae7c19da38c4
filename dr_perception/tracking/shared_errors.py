"""When a tracked object tells of errors that frames share, and what they add to its covariance."""

from __future__ import annotations

import numpy as np

from dr_perception.device.evidence import CONTRADICTED
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.measure.modalities import OUTLINE
from dr_perception.tracking.diagnosis import Diagnosis
from dr_perception.tracking.estimator import Estimator

_CONSIDER_EVERY = 3
"""Measured frames from one look at errors that frames share to the next, at first; then ever more.

None at once: colours and motion of what was just started are not known yet.
"""


class SharedErrors:
    """Lets the frames of one object tell a diagnosis of errors that frames share."""

    def __init__(self, name: str, refiner: PoseRefiner, estimator: Estimator, diagnosis: Diagnosis) -> None:
        """Nothing was told yet."""
        self._name, self._refiner, self._estimator, self._diagnosis = name, refiner, estimator, diagnosis
        self._frames_to_consider, self._considered = _CONSIDER_EVERY, 0

    def forget(self) -> None:
        """Take back what the object told, and begin anew."""
        self._frames_to_consider, self._considered = _CONSIDER_EVERY, 0
        self._estimator.systematic[:] = 0.0
        self._diagnosis.forget(self._name)

    def consider(self) -> None:
        """Let the frame that was measured tell of errors that frames share, as often as it is worth it.

        While there is one, every frame's pose moves under it in its own way.
        """
        self._frames_to_consider -= 1
        if self._frames_to_consider >= 0 and self._considered > 0 and not self._diagnosis.has_doubts:
            return
        refiner = self._refiner
        assert refiner.considered is not None
        prior = refiner.solver.priors.host["information"][0].astype(np.float64)
        velocity = self._estimator.velocity[None]
        if self._frames_to_consider >= 0:
            used = refiner.considered.measure_used(velocity)[0]
            self._estimator.systematic[:] = self._diagnosis.of_pose(self._name, used, prior)
            return
        self._considered += 1
        self._frames_to_consider = max(_CONSIDER_EVERY, self._considered)
        considered = refiner.considered.measure(velocity)[0]
        lines = refiner.solver.best.host[0, int(OUTLINE)]
        contour = float(refiner.view.counts.host[1, 0]), float(lines[int(CONTRADICTED)])
        self._estimator.systematic[:] = self._diagnosis.add(self._name, considered, prior, contour)
