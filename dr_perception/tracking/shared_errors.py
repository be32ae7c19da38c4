"""When a tracked object tells of errors that frames share, and what they add to its covariance."""

from __future__ import annotations

import numpy as np

from dr_perception.device.evidence import CONTRADICTED
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.errors import Displacement
from dr_perception.hypothesis.judge_kernels import ViewTable
from dr_perception.hypothesis.looks_kernels import PATTERN
from dr_perception.hypothesis.mirror import MirroredLooks
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.measure.modalities import OUTLINE
from dr_perception.tracking.diagnosis import Diagnosis
from dr_perception.tracking.estimator import Estimator

_CONSIDER_EVERY = 3
"""Measured frames from one look at errors that frames share to the next, at first; then ever more.

None at once: colours and motion of what was just started are not known yet.
"""

_PLAIN = 5.0
"""Log likelihood ratio of a pattern that shows plainly: it is that of the model, and no mirror image need be
compared. Right models of three scenes have 11 to 20, mirrored ones -5 to 0."""


class SharedErrors:
    """Lets the frames of one object tell a diagnosis of errors that frames share.

    Attributes:
        covariance: What they add to the covariance of the centre's pose (6, 6), along the camera's axes.
            Predictions do not hold it: such errors do not change from frame to frame.
        certainty: Probability that they displace the pose by less than makes it wrong; 1 while none is
            probable.
    """

    def __init__(
        self,
        model: ObjectModel,
        refiner: PoseRefiner,
        estimator: Estimator,
        diagnosis: Diagnosis,
        views: ViewTable,
    ) -> None:
        """Nothing was told yet; ``views`` hold the pattern of the model, if it has one."""
        self._name, self._surface = model.name, SurfaceUncertainty(model)
        self._refiner, self._estimator, self._diagnosis = refiner, estimator, diagnosis
        self._mirrored: MirroredLooks | None = None
        if views.colors.size > 0:
            hidden_m = refiner.config.sensor.depth.occlusion_m
            self._mirrored = MirroredLooks(views, refiner.frame, hidden_m)
        self._begin()

    def _begin(self) -> None:
        self._frames_to_consider, self._considered = _CONSIDER_EVERY, 0
        self.covariance, self.certainty = np.zeros((6, 6)), 1.0

    def forget(self) -> None:
        """Take back what the object told, and begin anew."""
        self._begin()
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
            self._take(self._diagnosis.of_pose(self._name, used, prior))
            return
        self._considered += 1
        self._frames_to_consider = (
            _CONSIDER_EVERY if self._diagnosis.has_doubts else max(_CONSIDER_EVERY, self._considered)
        )
        theta = self._diagnosis.estimate(self._name)
        considered = refiner.considered.measure(velocity, None if theta is None else theta[None])[0]
        lines = refiner.solver.best.host[0, int(OUTLINE)]
        contour = float(refiner.view.counts.host[1, 0]), float(lines[int(CONTRADICTED)])
        self._take(self._diagnosis.add(self._name, considered, prior, contour, theta))
        self._compare_mirrored()

    def _compare_mirrored(self) -> None:
        """Let the frame tell whether the pattern of a mirrored model shows better than that of the model."""
        if self._mirrored is None:
            return
        looks = float(self._refiner.looks.host[0, int(PATTERN)])
        if looks < _PLAIN:
            T_cam_center = self._refiner.poses.get()[0]
            self._diagnosis.compare_mirrored(self._name, self._mirrored.best(T_cam_center) - looks)
        else:
            self._diagnosis.compare_mirrored(self._name, -looks)

    def _take(self, displacement: Displacement) -> None:
        self.covariance, self.certainty = displacement.second_moment, 1.0
        if self._diagnosis.has_doubts:
            # Their prior alone would take 5 % off every score, where less than 1 % of real fits are wrong.
            R_cam_obj = self._estimator.measured_pose[:3, :3]
            self.certainty = displacement.probability_within(self._surface, R_cam_obj)
