"""One tracked object: prediction, refinement, health."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dr_perception.body.prepared import model_buffers
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.hypothesis.tables import search_model
from dr_perception.measure.frame_buffers import Box, FrameBuffers
from dr_perception.tracking.attempts import Attempts
from dr_perception.tracking.confidence import Confidence, Proposal, Resemblance
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.diagnosis import Diagnosis
from dr_perception.tracking.estimator import FOUND_COVARIANCE, LARGEST_VARIANCES, Estimator
from dr_perception.tracking.health import Agreement
from dr_perception.tracking.result import ObjectState, Status
from dr_perception.tracking.shared_errors import SharedErrors
from dr_perception.tracking.standing import Standing, is_hidden
from dr_perception.view.others import PosedBody

_START_COVARIANCE = np.diag(np.repeat([0.01, 0.1], 3) ** 2)
_RESTART_COVARIANCE = np.diag(np.repeat([0.05, 0.5], 3) ** 2)
"""Belief in the last pose after time jumped: as far as the wide stages reach."""


class ObjectTrack:
    """State and buffers of one object.

    Attributes:
        T_cam_obj: Newest pose (4, 4), or the frozen one of a lost object.
        measured_information: What the newest frame says about the pose (6, 6), about the model's centre along
            the camera's axes; None if it was not measured.
    """

    def __init__(
        self, model: ObjectModel, frame: FrameBuffers, config: TrackerConfig, diagnosis: Diagnosis
    ) -> None:
        """Prepare the model and record every stage; what frames say of its errors goes to ``diagnosis``."""
        self.model = model
        self.config = config
        buffers = model_buffers(model, config.body.mesh_error, frame.device)
        learns = config.learn_brightness
        views = search_model(model, config.body.mesh_error, frame.device).views
        self.refiner = PoseRefiner(
            model, frame, config.refiner, views, buffers=buffers, learns=learns, considers=True
        )
        self._estimator = Estimator(model, self.refiner, config)
        self._attempts = Attempts(model, self.refiner, self._estimator, config)
        self._errors = SharedErrors(model, self.refiner, self._estimator, diagnosis, views)
        self._posed = PosedBody(buffers, self._estimator.predicted)
        self._resemblance = Resemblance(model, SurfaceUncertainty(model).spread)
        self._proposals: list[Proposal] = []
        self.confidence = Confidence()
        self._forget()

    def _forget(self) -> None:
        self.T_cam_obj: NDArray[np.float64] | None = None
        self._standing = Standing()
        self._frames_since_learning = 0
        self._drawn_alone = True  # samples of a render with other objects in front lack what these hid
        self._is_measured = self._challenged = False
        self._before_hold: tuple[NDArray[np.float64], float] | None = None
        self._estimator.begin(np.eye(4), np.diag(LARGEST_VARIANCES))
        self._errors.forget()

    @property
    def status(self) -> Status:
        """Health after the newest frame."""
        return self._standing.status

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
        self._standing = Standing(Status.TRACKING, score=1.0, reason="")
        self.confidence.given()
        if found is not None:
            self.confidence.update(found, unexpected=False, challenged=False)

    def appear(self, proposals: list[Proposal]) -> None:
        """Begin where a search found an object that was never seen: to be tried in the frame worked on."""
        self.start(proposals[0][0])
        self._standing = Standing(reason="found by a search, to be confirmed")
        self._estimator.begin(proposals[0][0], FOUND_COVARIANCE)
        self._proposals = proposals

    def adopt(self, other: ObjectTrack) -> None:
        """Go on from what another track of the same object knows, which looked at images of another size."""
        self.T_cam_obj, self.confidence = other.T_cam_obj, other.confidence
        self._standing, self._before_hold = other._standing, other._before_hold
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
        self._standing = self._standing.restarted(reason)

    def hold(self, reason: str) -> None:
        """The frame brings no news: report the prediction; the next one starts from the same belief."""
        assert self.T_cam_obj is not None
        self._is_measured = False
        self._proposals, self._challenged = [], False
        self._standing = self._standing.held(reason, self.config.health)
        if self.status is not Status.LOST:
            self.T_cam_obj = self.predicted

    def predict(self, dt_s: float) -> None:
        """Move the prediction to the next frame; a lost object stays where it was.

        After a frame without news the belief is still that of the frame before it, and so must ``dt_s`` be.
        """
        if self._before_hold is not None:
            self._estimator.covariance[:], self._estimator.unseen_periods = self._before_hold
        self._before_hold = self._estimator.covariance.copy(), self._estimator.unseen_periods
        self._estimator.predict(dt_s, moving=self.status is not Status.LOST)

    @property
    def predicted(self) -> NDArray[np.float64]:
        """Pose (4, 4) expected in the frame being worked on."""
        return self._estimator.predicted_pose

    @predicted.setter
    def predicted(self, T_cam_obj: NDArray[np.float64]) -> None:
        self._estimator.expect(T_cam_obj)

    @property
    def distance_m(self) -> float:
        """How far from the camera, along its axis, the centre is expected."""
        return float(self._estimator.predicted_center[2])

    @property
    def posed(self) -> PosedBody:
        """The object at its predicted pose, once it was placed there, for other objects' views to draw."""
        return self._posed

    @property
    def measured_information(self) -> NDArray[np.float64] | None:
        """Information (6, 6) of the newest frame alone, see the class."""
        return self._estimator.measured_information if self._is_measured else None

    def consider(self) -> None:
        """Let the frame that was measured tell of errors that frames share, as often as it is worth it."""
        # A pose in doubt tells nothing of errors: it may be another one.
        if self._is_measured and not self.confidence.in_doubt:
            self._errors.consider()

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
        near = self._attempts.narrow(self._standing, others, reuse)
        if not near or self._is_doubtful(self._attempts.best.agreement):
            return False
        self._decide(None, jump=False)
        return True

    def step_wide(self, others: Sequence[PosedBody]) -> None:
        """Try the wide stages from the prediction and from proposals as well, and judge what is best then."""
        proposed = self._attempts.wide(self._standing, self._proposals, others)
        T_best = self._attempts.best.T_cam_obj
        found = max(
            (o.found for o in proposed if o.found is not None and self._resemblance(o.T_cam_obj, T_best)),
            default=None,
        )
        jump = self._attempts.is_jump
        self._challenged = self._challenged and not jump
        self._decide(found, jump)
        if jump or found is not None:
            self._estimator.stop()

    def _is_doubtful(self, agreement: Agreement) -> bool:
        """Whether a pose fits badly, or there is another place to try."""
        unsure = agreement.score < self.config.health.retry_score
        return bool(self._proposals) or unsure or not self._standing.is_good(agreement, self.config.health)

    def _decide(self, found: float | None, jump: bool) -> None:
        """Believe the best outcome or not.

        Args:
            found: The probability that a search gave to it, if one did.
            jump: Whether no motion that is expected leads there: it was or is another place.
        """
        health, extent = self.config.health, self._estimator.image_extent
        agreement = self._attempts.best.agreement
        good = self._standing.is_good(agreement, health)
        if good and not is_hidden(agreement, extent, health):
            unexpected = jump or self._standing.is_unexpected(health)
            self.confidence.update(found, unexpected, self._challenged)
            self.confidence.look(agreement.shown, agreement.possible_looks)
            self._accept(agreement)
        else:
            self._estimator.stop()
            self._standing = self._standing.rejected(agreement, extent, self.refiner.frame.camera, health)
        self._proposals, self._challenged = [], False
        self._before_hold = None

    def _accept(self, agreement: Agreement) -> None:
        self._estimator.accept()
        if self._standing.bad_frames > 0:
            self._estimator.stop()  # where it was believed to be is not where it was
        elif self.confidence.in_doubt:
            self._estimator.stop_turning()  # a spin that nothing shows would go on from frame to frame
        self._is_measured = True
        self.T_cam_obj = self._attempts.best.T_cam_obj
        self._standing = self._standing.accepted(agreement)
        self._learn()

    def _learn(self) -> None:
        """Learn colours where the object is believed to be, in one frame of some."""
        self._frames_since_learning += 1
        if self._frames_since_learning >= self.config.color_learning_interval:
            self._frames_since_learning = 0
            self.refiner.histograms.learn(self.config.color_learning_rate)
            if self.refiner.learned is not None and not self.confidence.in_doubt:
                self.refiner.learned.learn()

    @property
    def score(self) -> float:
        """Probability that the pose is right, 0 to 1."""
        return self._standing.score * self.confidence.value * self._errors.certainty

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
        doubt, R_cam_obj = self.confidence.doubt, self.T_cam_obj[:3, :3]
        lost = self.status is Status.LOST
        return ObjectState(
            T_cam_obj=self.T_cam_obj.copy(),
            covariance=self._estimator.reported_covariance(R_cam_obj, self._errors.covariance, doubt, lost),
            status=self.status,
            score=self.score,
            visible_fraction=self._standing.visible_fraction,
            reason=self._standing.reason,
        )
