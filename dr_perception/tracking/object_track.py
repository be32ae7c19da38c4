"""One tracked object: prediction, refinement, health."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting.refiner import PoseRefiner, RecordedStage, Refinement
from dr_perception.fitting.search_model import model_buffers
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import local
from dr_perception.render.recording import Launch
from dr_perception.residuals.frame_buffers import Box, FrameBuffers
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.health import Agreement, agreement_of
from dr_perception.tracking.motion import MotionModel
from dr_perception.tracking.result import ObjectState, Status
from dr_perception.tracking.uncertainty import SurfaceUncertainty, covariance_about

_START_COVARIANCE = np.diag(np.repeat([0.01, 0.1], 3) ** 2)
_FOUND_COVARIANCE = np.diag(np.repeat([0.02, 1.0], 3) ** 2)
"""Belief in a pose that a search found.

A turn that nothing measures is not known, however well the rest fits.
"""
_LARGEST_VARIANCES = np.repeat([0.5, np.pi], 3) ** 2


def _bounded(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shrink the directions whose standard deviation exceeds the largest one that is reported."""
    if (covariance.diagonal() <= _LARGEST_VARIANCES).all():
        return covariance
    scale = np.minimum(1.0, np.sqrt(_LARGEST_VARIANCES / covariance.diagonal()))
    return covariance * scale[:, None] * scale[None, :]


class ObjectTrack:
    """State and buffers of one object.

    Attributes:
        T_cam_obj: Newest pose (4, 4), or the frozen one of a lost object.
        predicted: Pose (4, 4) expected in the frame being worked on.
        status: Health after the newest frame.
        measured_information: What the newest frame says about the pose (6, 6), about the model's centre along
            the camera's axes; None if it was not measured.
    """

    def __init__(self, model: ObjectModel, frame: FrameBuffers, config: TrackerConfig) -> None:
        """Prepare the model and record every stage."""
        self.model = model
        self.config = config
        buffers = model_buffers(model, config.refiner.sampling.mesh_error, frame.device)
        self.refiner = PoseRefiner(model, frame, config.refiner, buffers=buffers)
        self._stages = [self.refiner.record_stage(stage) for stage in config.stages]
        self._wide_stages = [self.refiner.record_stage(stage) for stage in config.wide_stages]
        self._motion = MotionModel(config.motion)
        self._uncertainty = SurfaceUncertainty(model)
        floor = config.uncertainty
        self._covariance_floor = np.diag(np.repeat([floor.floor_m, floor.floor_rad], 3) ** 2)
        self._proposals: list[NDArray[np.float64]] = []
        self._forget()

    def _forget(self) -> None:
        self.T_cam_obj: NDArray[np.float64] | None = None
        self.predicted = np.eye(4)
        self.status = Status.LOST
        self._covariance = np.diag(_LARGEST_VARIANCES)
        self._bad_frames = 0
        self._frames_since_learning = 0
        self._score = 0.0
        self._visible_fraction = 0.0
        self.measured_information: NDArray[np.float64] | None = None
        self._reason = "not started"
        self._motion.stop()

    def reset(self) -> None:
        """Forget the pose; the object is not tracked until it is started again."""
        self._forget()

    def start(self, T_cam_obj: NDArray[np.float64]) -> None:
        """Begin at a pose; the colours under it are learned from the frame that was announced."""
        self._forget()
        self.predicted = T_cam_obj.copy()
        self._covariance = _START_COVARIANCE
        for box in self.boxes():
            self.refiner.frame.upload(box)
        self.refiner.set_poses(T_cam_obj[None])
        self.refiner.view.render()
        self.refiner.histograms.learn(1.0)
        self.T_cam_obj = T_cam_obj.copy()
        self.status, self._reason = Status.TRACKING, ""
        self._score = 1.0

    def predict(self, dt_s: float) -> None:
        """Move the prediction to the next frame; a lost object stays where it was."""
        assert self.T_cam_obj is not None
        self._dt_s = dt_s
        if self.status is Status.LOST:
            self.predicted = self.T_cam_obj.copy()
        else:
            self.predicted = self._motion.predict(self.T_cam_obj, dt_s)
        self._covariance = _bounded(self._covariance + self._motion.process_covariance(dt_s))

    def elapsed_s(self, stamp_ns: int, previous_ns: int) -> float:
        """Time between two frames, see `MotionModel.elapsed_s`."""
        return self._motion.elapsed_s(stamp_ns, previous_ns)

    def predicted_center(self) -> NDArray[np.float64]:
        """Predicted pose (4, 4) of the model moved to the centre of its bounding sphere."""
        T = self.predicted.copy()
        T[:3, 3] += T[:3, :3] @ self.model.center
        return T

    def propose(self, poses: list[NDArray[np.float64]]) -> None:
        """Look for a lost object at poses (4, 4) that a search found, in the frame being worked on."""
        self._proposals = poses

    def boxes(self) -> list[Box]:
        """Boxes of pixels that the next step may look at."""
        margin = self.config.search_margin_px
        return [self.refiner.image_box(T, margin) for T in (self.predicted, *self._proposals)]

    def step(self, occluders: Sequence[Launch]) -> None:
        """Measure the pose in the uploaded frame and judge it."""
        self.measured_information = None
        best = self._refine(self._stages, self.predicted, self._covariance, occluders)
        if self._is_doubtful(*best[:2]):
            tries = [(self.predicted, self._covariance), *((T, _FOUND_COVARIANCE) for T in self._proposals)]
            wide = [self._refine(self._wide_stages, T, covariance, occluders) for T, covariance in tries]
            best = max([best, *wide], key=lambda outcome: outcome[1].score * outcome[1].support)
        self._proposals = []
        self._judge(*best)

    def _is_doubtful(self, refinement: Refinement, agreement: Agreement) -> bool:
        """Whether a pose fits badly, or lies so far from the prediction that a nearer fit may have won."""
        health = self.config.health
        if not self._is_good(agreement) or agreement.score < health.retry_score:
            return True
        T = refinement.T_cam_obj[0]
        v, w = np.split(local(self.predicted, T), 2)
        v = v + np.cross(w, T[:3, :3] @ self.model.center)
        moved_m = math.hypot(*v) + math.hypot(*w) * self.model.radius_m
        depth_m = max(T[2, 3], self.model.radius_m)
        return self.refiner.frame.camera.fx * moved_m > health.retry_shift_px * depth_m

    def _refine(
        self,
        stages: Sequence[RecordedStage],
        T: NDArray[np.float64],
        covariance: NDArray[np.float64],
        occluders: Sequence[Launch],
    ) -> tuple[Refinement, Agreement, NDArray[np.float64]]:
        """Refine from a belief; returns the outcome, its agreement and the prior information that it used."""
        prior = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
        self.refiner.set_poses(T[None])
        self.refiner.set_prior(T[None], prior)
        self.refiner.refine(stages, occluders)
        refinement = self.refiner.result()
        return refinement, agreement_of(refinement, self.refiner.frame.has_color), prior

    def _is_good(self, agreement: Agreement) -> bool:
        health = self.config.health
        least = health.found_score if self.status is Status.LOST else health.good_score
        return agreement.support >= health.min_samples and agreement.score >= least

    def _judge(self, refinement: Refinement, agreement: Agreement, prior: NDArray[np.float64]) -> None:
        health = self.config.health
        self._visible_fraction = agreement.visible_fraction
        hidden = (
            agreement.visible_fraction < health.min_visible_fraction or refinement.surface_samples[0] == 0
        )
        if not hidden and self._is_good(agreement):
            self._accept(refinement, agreement, prior)
            return
        self._bad_frames += 1
        self._motion.stop()
        if hidden:
            self._score *= 0.9
            if self._bad_frames >= health.occluded_patience_frames:
                self.status = Status.LOST
                self._reason = f"hidden for {self._bad_frames} frames"
            elif self.status is not Status.LOST:
                self.status = Status.OCCLUDED
                self._reason = (
                    f"only {100.0 * agreement.visible_fraction:.0f} % of the visible side is not hidden"
                )
            return
        self._score = min(agreement.score, self._score)
        if self._bad_frames >= health.patience_frames:
            self.status = Status.LOST
        elif self.status is Status.TRACKING:
            self.status = Status.OCCLUDED
        self._reason = f"{agreement.describe()}, which makes the pose {100.0 * agreement.score:.0f} % likely"

    def _accept(self, refinement: Refinement, agreement: Agreement, prior: NDArray[np.float64]) -> None:
        assert self.T_cam_obj is not None
        T = refinement.T_cam_obj[0]
        information = self._uncertainty.credible(T[:3, :3], refinement.information[0])
        estimated = np.asarray(np.linalg.inv(information + prior), dtype=np.float64)
        posterior = estimated + self._covariance_floor
        if self.status is Status.TRACKING:
            # Without the floor: with it the gain would exceed one and the velocity run away.
            self._motion.update(self.T_cam_obj, T, self._dt_s, estimated @ information)
        self.T_cam_obj = T
        self._covariance = posterior
        self.measured_information = information
        self.status, self._reason = Status.TRACKING, ""
        self._score = agreement.score * self._uncertainty.probability_right(T[:3, :3], posterior)
        self._bad_frames = 0
        self._frames_since_learning += 1
        if self._frames_since_learning >= self.config.color_learning_interval:
            self._frames_since_learning = 0
            self.refiner.histograms.learn(self.config.color_learning_rate)

    @property
    def score(self) -> float:
        """Probability that the pose is right, 0 to 1."""
        return self._score

    @property
    def center_covariance(self) -> NDArray[np.float64]:
        """Covariance (6, 6) of the pose of the model's centre, along the camera's axes."""
        return self._covariance

    def take_over(
        self, T_cam_obj: NDArray[np.float64], center_covariance: NDArray[np.float64] | None
    ) -> None:
        """Set the pose (4, 4) of a joint estimate, and its covariance if that knows it better."""
        self.T_cam_obj = T_cam_obj
        if center_covariance is not None:
            self._covariance = _bounded(center_covariance)

    def state(self) -> ObjectState:
        """What is known of the object, for the outside."""
        assert self.T_cam_obj is not None
        return ObjectState(
            T_cam_obj=self.T_cam_obj.copy(),
            covariance=covariance_about(-self.T_cam_obj[:3, :3] @ self.model.center, self._covariance),
            status=self.status,
            score=self._score,
            visible_fraction=self._visible_fraction,
            reason=self._reason,
        )
