"""One tracked object: prediction, refinement, health."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dr_perception.body.prepared import model_buffers
from dr_perception.device.evidence import CONTRADICTED
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import angle_between, covariance_about, local
from dr_perception.hypothesis.refiner import PoseRefiner, RecordedSequence
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.hypothesis.tables import search_model
from dr_perception.measure.frame_buffers import Box, FrameBuffers
from dr_perception.measure.modalities import OUTLINE
from dr_perception.tracking.confidence import Confidence, Proposal, Resemblance
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.diagnosis import Diagnosis
from dr_perception.tracking.estimator import LARGEST_VARIANCES, Estimator
from dr_perception.tracking.health import Agreement, gain
from dr_perception.tracking.reasons import is_too_small, why_unlikely, why_unseen
from dr_perception.tracking.result import ObjectState, Status
from dr_perception.view.others import PosedBody

_START_COVARIANCE = np.diag(np.repeat([0.01, 0.1], 3) ** 2)
_FOUND_COVARIANCE = np.diag(np.repeat([0.02, 1.0], 3) ** 2)
"""Belief in a pose that a search found.

A turn that nothing measures is not known, however well the rest fits.
"""
_RESTART_COVARIANCE = np.diag(np.repeat([0.05, 0.5], 3) ** 2)
"""Belief in the last pose after time jumped: as far as the wide stages reach."""
_CONSIDER_EVERY = 3
"""Measured frames from one look at errors that frames share to the next, at first; then ever more.

None at once: colours and motion of what was just started are not known yet.
"""
_AS_GOOD = 0.03
"""Share of the evidence for a pose by which that for another may be smaller and count as equal."""
_FADING = 0.9
"""Share of its score that an object keeps for every frame that does not show it."""
_JUMP_CHI2 = 22.5
"""What a squared normalised step of six degrees of freedom exceeds once in a thousand times."""


def _is_as_good(rank: tuple[bool, float], other: tuple[bool, float]) -> bool:
    """Whether an outcome explains the images about as well as another, both by their ranks."""
    return rank[0] >= other[0] and rank[1] > (1.0 - _AS_GOOD) * other[1]


class ObjectTrack:
    """State and buffers of one object.

    Attributes:
        T_cam_obj: Newest pose (4, 4), or the frozen one of a lost object.
        status: Health after the newest frame.
        measured_information: What the newest frame says about the pose (6, 6), about the model's centre along
            the camera's axes; None if it was not measured.
    """

    def __init__(
        self, model: ObjectModel, frame: FrameBuffers, config: TrackerConfig, diagnosis: Diagnosis
    ) -> None:
        """Prepare the model and record every stage; what frames say of its errors goes to ``diagnosis``."""
        self.model = model
        self._diagnosis = diagnosis
        self.config = config
        buffers = model_buffers(model, config.body.mesh_error, frame.device)
        learns = config.learn_brightness
        learns = config.learn_brightness
        views = search_model(model, config.body.mesh_error, frame.device).views
        self.refiner = PoseRefiner(
            model, frame, config.refiner, views, buffers=buffers, learns=learns, considers=True
        )
        self.stages = self.refiner.record_sequence(config.stages)
        self.wide_stages = self.refiner.record_sequence(config.wide_stages)
        self._estimator = Estimator(model, self.refiner, config)
        self._posed = PosedBody(buffers, self._estimator.predicted)
        self._resemblance = Resemblance(model, SurfaceUncertainty(model).spread)
        self._proposals: list[Proposal] = []
        self.confidence = Confidence()
        self._forget()

    def _forget(self) -> None:
        self.T_cam_obj: NDArray[np.float64] | None = None
        self.status = Status.LOST
        self._bad_frames = 0
        self._frames_since_learning = 0
        self._frames_to_consider, self._considered = _CONSIDER_EVERY, 0
        self._drawn_alone = True  # samples of a render with other objects in front lack what these hid
        self._score = 0.0
        self._visible_fraction = 0.0
        self._is_measured = self._challenged = False
        self._held_frames = 0
        self._before_hold: NDArray[np.float64] | None = None
        self._reason = "not started"
        self._estimator.begin(np.eye(4), np.diag(LARGEST_VARIANCES))
        self._estimator.systematic[:] = 0.0
        self._diagnosis.forget(self.model.name)

    def reset(self) -> None:
        """Forget the pose; the object is not tracked until it is started again."""
        self._forget()

    def start(self, T_cam_obj: NDArray[np.float64], found: float | None = None) -> None:
        """Begin at a pose; the colours under it are learned from the frame that was announced.

        ``found`` is the probability that a search gave to it; None if somebody told it who knows.
        """
        self._forget()
        self._estimator.begin(T_cam_obj, _START_COVARIANCE)
        self.refiner.frame.upload(self.box(self.config.margin_px))
        self.refiner.set_poses(T_cam_obj[None])
        self.refiner.view.render()
        self.refiner.histograms.learn(1.0)
        if self.refiner.learned is not None:
            self.refiner.learned.begin()
        self.T_cam_obj = T_cam_obj.copy()
        self.status, self._reason = Status.TRACKING, ""
        self._score = 1.0
        self.confidence.given()
        if found is not None:
            self.confidence.update(found, unexpected=False, challenged=False)

    def appear(self, proposals: list[Proposal]) -> None:
        """Begin where a search found an object that was never seen: to be tried in the frame worked on."""
        self.start(proposals[0][0])
        self.status, self._score, self._reason = Status.LOST, 0.0, "found by a search, to be confirmed"
        self._estimator.begin(proposals[0][0], _FOUND_COVARIANCE)
        self._proposals = proposals

    def adopt(self, other: ObjectTrack) -> None:
        """Go on from what another track of the same object knows, which looked at images of another size."""
        for name in ("T_cam_obj", "status", "confidence", "_score", "_reason", "_bad_frames", "_held_frames"):
            setattr(self, name, getattr(other, name))
        self._visible_fraction, self._before_hold = other._visible_fraction, other._before_hold
        self._estimator.adopt(other._estimator)
        self._drawn_alone = False  # nothing is drawn yet
        self.refiner.histograms.take_over(other.refiner.histograms)
        if self.refiner.learned is not None and other.refiner.learned is not None:
            self.refiner.learned.take_over(other.refiner.learned)

    def restart(self, reason: str) -> None:
        """Time jumped: the object is looked for where it was, and searched for if it is not there."""
        self._estimator.stop()
        self._estimator.covariance[:] += _RESTART_COVARIANCE
        self._before_hold = None
        self._proposals, self._challenged = [], False
        self.status, self._bad_frames, self._held_frames = Status.LOST, 0, 0
        self._reason = reason

    def hold(self, reason: str) -> None:
        """The frame brings no news: report the prediction; the next one starts from the same belief."""
        assert self.T_cam_obj is not None
        self._is_measured = False
        self._proposals, self._challenged = [], False
        self._held_frames += 1
        if self._held_frames >= self.config.health.occluded_patience_frames:
            self.status = Status.LOST
        elif self.status is Status.TRACKING:
            self.status = Status.OCCLUDED
        if self.status is not Status.LOST:
            self.T_cam_obj = self.predicted
        self._score *= _FADING
        self._reason = reason

    def predict(self, dt_s: float) -> None:
        """Move the prediction to the next frame; a lost object stays where it was.

        After a frame without news the belief is still that of the frame before it, and so must ``dt_s`` be.
        """
        if self._before_hold is not None:
            self._estimator.covariance[:] = self._before_hold
        self._before_hold = self._estimator.covariance.copy()
        self._periods = max(dt_s / self.config.motion.nominal_period_s, 1.0)
        self._estimator.predict(dt_s, moving=self.status is not Status.LOST)

    @property
    def predicted(self) -> NDArray[np.float64]:
        """Pose (4, 4) expected in the frame being worked on."""
        return self._estimator.predicted_pose

    @predicted.setter
    def predicted(self, T_cam_obj: NDArray[np.float64]) -> None:
        self._estimator.expect(T_cam_obj)

    @property
    def posed(self) -> PosedBody:
        """The object at its predicted pose, once it was placed there, for other objects' views to draw."""
        return self._posed

    @property
    def measured_information(self) -> NDArray[np.float64] | None:
        """Information (6, 6) of the newest frame alone, see the class."""
        return self._estimator.measured_information if self._is_measured else None

    def consider(self) -> None:
        """Let the frame that was measured tell of errors that frames share, as often as it is worth it.

        While there is one, every frame's pose moves under it in its own way.
        """
        if not self._is_measured:
            return
        self._frames_to_consider -= 1
        if self._frames_to_consider >= 0 and self._considered > 0 and not self._diagnosis.has_doubts:
            return
        assert self.refiner.considered is not None
        prior = self.refiner.solver.priors.host["information"][0].astype(np.float64)
        velocity = self._estimator.velocity[None]
        if self._frames_to_consider >= 0:
            used = self.refiner.considered.measure_used(velocity)[0]
            self._estimator.systematic[:] = self._diagnosis.of_pose(self.model.name, used, prior)
            return
        self._considered += 1
        self._frames_to_consider = max(_CONSIDER_EVERY, self._considered * _CONSIDER_EVERY // 10)
        considered = self.refiner.considered.measure(velocity)[0]
        lines = self.refiner.solver.best.host[0, int(OUTLINE)]
        contour = float(self.refiner.view.counts.host[1, 0]), float(lines[int(CONTRADICTED)])
        self._estimator.systematic[:] = self._diagnosis.add(self.model.name, considered, prior, contour)

    def propose(self, proposals: list[Proposal], rivals: bool) -> None:
        """Try poses that a search found, in the frame being worked on.

        Args:
            proposals: Poses (4, 4) in the last frame with their probabilities.
            rivals: Whether the search was for better ones than the pose that is being tracked.
        """
        assert self.T_cam_obj is not None
        self._challenged = rivals and self.status is Status.TRACKING
        if self._challenged:
            T_now = self.T_cam_obj
            proposals = [(T, p) for T, p in proposals if not self._resemblance(T, T_now)]
        self._proposals = proposals

    def box(self, margin_px: float) -> Box:
        """Box of pixels around the predicted object, with a margin; may be empty."""
        u0, v0, u1, v1 = self._estimator.image_extent
        camera = self.refiner.frame.camera
        x0, y0 = max(int(u0 - margin_px), 0), max(int(v0 - margin_px), 0)
        x1, y1 = min(int(u1 + margin_px) + 2, camera.width), min(int(v1 + margin_px) + 2, camera.height)
        return (x0, y0, max(x1, x0), max(y1, y0))

    def wide_boxes(self) -> list[Box]:
        """Boxes of pixels that `step_wide` may look at."""
        places = (self.predicted, *(T for T, _ in self._proposals))
        return [self.refiner.image_box(T, self.config.wide_margin_px) for T in places]

    def step(self, others: Sequence[PosedBody]) -> bool:
        """Measure the pose in the uploaded frame and judge it.

        Returns:
            Whether the judgement stands; if not, `step_wide` is to be called with its boxes uploaded.
        """
        self._is_measured = False
        alone = not others
        reuse = alone and self._drawn_alone and self._estimator.view_change < self.config.view_change_rad
        self._drawn_alone = alone
        self.refiner.refine_sequence(self.stages, others, reuse)
        self._agreement = self._estimator.judge(rendered=not reuse)
        health, shift_px = self.config.health, self._shift_px()
        if shift_px > health.repeat_shift_px:
            # Steps from far off end short of the optimum: go on from there.
            self.refiner.refine_sequence(self.stages, others)
            self._agreement = self._estimator.judge(rendered=True)
        if self._unexpected_turn() > health.unexpected_turn_rad:
            self._try_expected_turn(others)
        # The longer ago the last frame, the less the prediction excludes other optima.
        if shift_px > health.retry_shift_px / self._periods or self._is_doubtful(self._agreement):
            return False
        self._decide(self._agreement)
        return True

    def _unexpected_turn(self) -> float:
        """Angle [rad] between the measured and the predicted orientation."""
        if self._agreement.shift_m < self.config.health.unexpected_turn_rad * self.model.radius_m:
            return 0.0
        return float(angle_between(self.predicted[:3, :3], self.measured_pose[:3, :3]))

    def _try_expected_turn(self, others: Sequence[PosedBody]) -> None:
        """Start again where the object was found, but turned as expected.

        A part with teeth or many equal sides looks the same a tooth farther: of orientations that explain the
        images as well, the least surprising one is taken. Else it would seem to spin by a tooth a frame.
        """
        first, turn = self._outcome(self._agreement), self._unexpected_turn()
        T = first[3].copy()
        center = T[:3, :3] @ self.model.center + T[:3, 3]
        T[:3, :3] = self.predicted[:3, :3]
        T[:3, 3] = center - T[:3, :3] @ self.model.center
        self.refiner.set_poses(T[None])
        self.refiner.refine_sequence(self.stages, others)
        self._agreement = self._estimator.judge(rendered=True)
        as_good = _is_as_good(self._outcome(self._agreement)[1], first[1])
        if not as_good or self._unexpected_turn() > turn:
            self._agreement = first[0]
            self._estimator.restore(first[2])

    def step_wide(self, others: Sequence[PosedBody]) -> None:
        """Try the wide stages from the prediction and from proposals as well.

        Of the outcomes that agree with the images, the one that explains most of them is judged.
        """
        tries = [(self.predicted, self._estimator.covariance.copy())]
        tries += [(T, _FOUND_COVARIANCE) for T, _ in self._proposals]
        outcomes = [self._outcome(self._agreement)]
        for T, covariance in tries:
            outcomes.append(self._outcome(self.measure(self.wide_stages, T, covariance, others)))
        chosen = max(range(len(outcomes)), key=lambda k: outcomes[k][1])
        if chosen == 1 and _is_as_good(outcomes[0][1], outcomes[1][1]):
            chosen = 0  # the wide stages jump farther, perhaps by a tooth
        agreement, _, measurement, T_best = outcomes[chosen]
        if chosen < len(outcomes) - 1:
            self._estimator.restore(measurement)
        found = [
            p
            for (_, p), o in zip(self._proposals, outcomes[2:], strict=True)
            if self._resemblance(o[3], T_best)
        ]
        jump = chosen > 0 and self._is_jump(T_best)
        self._challenged = self._challenged and not jump
        self._decide(agreement, max(found, default=None))
        if jump or found:
            self._estimator.stop()

    def _outcome(
        self, agreement: Agreement
    ) -> tuple[Agreement, tuple[bool, float], NDArray[np.void], NDArray[np.float64]]:
        """What was measured last: agreement, its rank among others, the measurement and its pose (4, 4)."""
        value = gain(self.refiner.solver.best.host[0])
        rank = (self._is_good(agreement), value)
        return agreement, rank, self._estimator.measurement(), self.measured_pose

    def _is_jump(self, T: NDArray[np.float64]) -> bool:
        """Whether the last pose must have been wrong: no motion that is expected leads to this one (4, 4)."""
        v, w = np.split(local(self.predicted, T), 2)
        xi = np.concatenate([v + np.cross(w, T[:3, :3] @ self.model.center), w])
        return float(xi @ np.linalg.solve(self._estimator.covariance, xi)) > _JUMP_CHI2

    def measure(
        self,
        stages: RecordedSequence,
        T_cam_obj: NDArray[np.float64],
        covariance: NDArray[np.float64],
        others: Sequence[PosedBody] = (),
    ) -> Agreement:
        """Refine from a pose (4, 4) with a covariance (6, 6) of its centre, without believing the outcome."""
        self._estimator.start_at(T_cam_obj, covariance)
        self.refiner.refine_sequence(stages, others)
        return self._estimator.judge(rendered=True)

    @property
    def measured_pose(self) -> NDArray[np.float64]:
        """Pose (4, 4) that was measured last, believed or not."""
        return self._estimator.measured_pose

    def _shift_px(self) -> float:
        """How far the surface lies from where it was expected."""
        depth_m = max(self._estimator.predicted_center[2], self.model.radius_m)
        return self.refiner.frame.camera.fx * self._agreement.shift_m / depth_m

    def _is_doubtful(self, agreement: Agreement) -> bool:
        """Whether a pose fits badly, or there is another place to try."""
        unsure = agreement.score < self.config.health.retry_score
        return bool(self._proposals) or unsure or not self._is_good(agreement)

    def _is_good(self, agreement: Agreement) -> bool:
        health = self.config.health
        least = health.found_score if self.status is Status.LOST else health.good_score
        return agreement.support >= health.min_samples and agreement.score >= least

    def _decide(self, agreement: Agreement, found: float | None = None) -> None:
        """Believe a measurement or not; ``found`` is the probability that a search gave to it."""
        self._visible_fraction = agreement.visible_fraction
        hidden = (
            agreement.visible_fraction < self.config.health.min_visible_fraction
            or agreement.samples == 0
            or is_too_small(self._estimator.image_extent)
        )
        if not hidden and self._is_good(agreement):
            unexpected = self._bad_frames + self._held_frames >= self.config.health.patience_frames
            self.confidence.update(found, unexpected, self._challenged)
            self._accept(agreement)
        else:
            self._reject(agreement, hidden)
        self._proposals, self._challenged = [], False
        self._before_hold = None

    def _accept(self, agreement: Agreement) -> None:
        # A jump to another tooth is no spin: what is unexpected changes the velocity step by step.
        unexpected = self._unexpected_turn()
        self._estimator.accept(min(self.config.health.unexpected_turn_rad / max(unexpected, 1e-9), 1.0))
        if self._bad_frames > 0:
            self._estimator.stop()  # where it was believed to be is not where it was
        elif self.confidence.in_doubt:
            self._estimator.stop_turning()  # a spin that nothing shows would go on from frame to frame
        self._is_measured = True
        self.T_cam_obj = self._estimator.measured_pose
        self.status, self._reason = Status.TRACKING, ""
        self._score = agreement.score * agreement.certainty
        self._bad_frames = self._held_frames = 0
        self._frames_since_learning += 1
        if self._frames_since_learning >= self.config.color_learning_interval:
            self._frames_since_learning = 0
            self.refiner.histograms.learn(self.config.color_learning_rate)
            if self.refiner.learned is not None and not self.confidence.in_doubt:
                self.refiner.learned.learn()

    def _reject(self, agreement: Agreement, hidden: bool) -> None:
        health, extent, camera = self.config.health, self._estimator.image_extent, self.refiner.frame.camera
        self._bad_frames += 1
        self._estimator.stop()
        patience = health.occluded_patience_frames if hidden else health.patience_frames
        if self._bad_frames >= patience:
            self.status = Status.LOST
        elif self.status is Status.TRACKING:
            self.status = Status.OCCLUDED
        if hidden:
            self._score *= _FADING
            self._reason = why_unseen(agreement, extent, camera)
            if self._bad_frames >= patience:
                self._reason += f", for {self._bad_frames} frames"
        else:
            self._score = min(agreement.score, self._score)
            self._reason = why_unlikely(agreement, extent, camera, health.min_samples)

    @property
    def score(self) -> float:
        """Probability that the pose is right, 0 to 1."""
        return self._score * self.confidence.value

    @property
    def center_covariance(self) -> NDArray[np.float64]:
        """Covariance (6, 6) of the pose of the model's centre, along the camera's axes."""
        return self._estimator.covariance.copy()

    def take_over(
        self, T_cam_obj: NDArray[np.float64], center_covariance: NDArray[np.float64] | None
    ) -> None:
        """Set the pose (4, 4) of a joint estimate, and its covariance if that knows it better."""
        self.T_cam_obj = T_cam_obj
        self._estimator.take_over(T_cam_obj, center_covariance)

    def state(self) -> ObjectState:
        """What is known of the object, for the outside."""
        assert self.T_cam_obj is not None
        return ObjectState(
            T_cam_obj=self.T_cam_obj.copy(),
            covariance=self._reported_covariance(),
            status=self.status,
            score=self.score,
            visible_fraction=self._visible_fraction,
            reason=self._reason,
        )

    def _reported_covariance(self) -> NDArray[np.float64]:
        """Covariance (6, 6) about the model's origin."""
        assert self.T_cam_obj is not None
        lever = -self.T_cam_obj[:3, :3] @ self.model.center
        covariance = covariance_about(lever, self._estimator.covariance + self._estimator.systematic)
        return 0.5 * (covariance + covariance.T)
