"""Refinement of a batch of poses of one model in one frame, with buffers that are kept between calls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.prepared import model_buffers
from dr_perception.device.evidence import INLIERS, ROWS
from dr_perception.device.session import current_session
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import covariance_about, move_origin
from dr_perception.hypothesis.config import RefinerConfig
from dr_perception.hypothesis.errors import PoseErrors, error_model
from dr_perception.hypothesis.posterior import VISIBLE
from dr_perception.hypothesis.refiner import PoseRefiner, RecordedStage, Refinement
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.hypothesis.tables import search_model
from dr_perception.measure.config import StageConfig
from dr_perception.measure.frame_buffers import Box, FrameBuffers
from dr_perception.measure.modalities import DEPTH

MOST_ROUNDS = 8
"""With one, 24 instead of 15 of 2,400 simulated fits were more than 2 mm off (`benchmarks/fit.py refine`),
and with 5 three of 480 still on their way, mostly a bottle turning to its label."""
SETTLED = 1.0
"""Squared step, in standard deviations of all directions together, after which a pose is settled."""
_VIEW_CHANGE_RAD = 0.01
"""Turn of the viewpoint about an object up to which visible points and outlines are still those drawn."""


@dataclass(frozen=True)
class BatchSettings:
    """Everything besides the model that determines a `BatchRefiner`."""

    camera: Camera
    config: RefinerConfig
    stages: tuple[StageConfig, ...]
    num_problems: int
    device: str = "cpu"


class BatchRefiner:
    """A refiner with its frame buffers and stages, for any frame of one size."""

    def __init__(self, model: ObjectModel, settings: BatchSettings) -> None:
        """Allocate."""
        config, num_problems, device = settings.config, settings.num_problems, settings.device
        self.frame = FrameBuffers(settings.camera, device)
        buffers = model_buffers(model, config.body.mesh_error, self.frame.device)
        views = search_model(model, config.body.mesh_error, self.frame.device).views
        self.refiner = PoseRefiner(
            model, self.frame, config, views, num_problems=num_problems, buffers=buffers, considers=True
        )
        self._errors = error_model(config.sensor, config.body)
        self._prior = np.diag(np.repeat([model.diameter_m, np.pi], 3) ** -2.0)
        self._center = model.center
        self.stages: list[RecordedStage] = [self.refiner.record_stage(stage) for stage in settings.stages]
        repeated = settings.stages[-1].model_copy(update={"render": False})
        self._repeated = self.refiner.record_stage(repeated)
        self._drawn_from = np.zeros((num_problems, 3), np.float32)
        self.num_problems = num_problems
        self.iterations = sum(stage.steps for stage in settings.stages)

    def refined(self, refinement: Refinement, count: int) -> Refined:
        """The first ``count`` of poses that were refined last, with what their rows say of errors."""
        assert self.refiner.considered is not None
        errors = PoseErrors(self.refiner.considered.measure(), self._errors, self._prior)
        return Refined(refinement, self.iterations, count, errors, self._center)

    def load(self, frame: Frame, box: Box) -> None:
        """Upload what is in a box of a frame, and forget all that was known of earlier ones."""
        self.frame.clear()
        self.frame.begin(frame)
        self.frame.upload(box)
        self.refiner.forget()
        self.forget_view()

    def start(self, T_cam_obj: NDArray[np.float64]) -> None:
        """Set poses (P, 4, 4), P at most the number of problems; the rest repeats the first."""
        missing = self.num_problems - len(T_cam_obj)
        self.refiner.set_poses(np.concatenate([T_cam_obj, np.repeat(T_cam_obj[:1], missing, axis=0)]))

    def refine_last(self) -> bool:
        """Run the last stage; it draws only if a viewpoint has turned about its object since it last did.

        Whether it drew.
        """
        eye = self.refiner.viewpoints()
        turned = np.square(eye - self._drawn_from).sum(axis=1).max() > _VIEW_CHANGE_RAD**2
        if turned:
            self._drawn_from = eye
        self.refiner.refine([self.stages[-1] if turned else self._repeated])
        return bool(turned)

    def forget_view(self) -> None:
        """Let the next last stage draw: the samples are of other poses."""
        self._drawn_from[:] = 0.0

    def learn_colors(self) -> None:
        """Render at the current poses and learn the colours of object and background there afresh."""
        self.refiner.view.render()
        if self.frame.has_color:
            self.refiner.histograms.learn(1.0)


def batch_refiner(model: ObjectModel, settings: BatchSettings, kind: str = "refine") -> BatchRefiner:
    """A refiner of the current session, which keeps a few for every mesh; `BatchRefiner.load` comes first.

    One serves all calibrations of images of one size.

    Args:
        model: What is refined.
        settings: How.
        kind: What for; one that is used over several frames must not be taken for something else meanwhile.
    """
    width, height = settings.camera.width, settings.camera.height
    key = replace(settings, camera=Camera(width, height, width, width, 0.5 * width, 0.5 * height))
    batch = current_session().scratch(model.mesh, kind, key, lambda: BatchRefiner(model, settings))
    batch.frame.take_camera(settings.camera)
    return batch


@dataclass(frozen=True)
class Refined:
    """Refined poses of one model."""

    refinement: Refinement
    iterations: int
    count: int
    errors: PoseErrors
    """What errors of model and calibration have done to them."""
    center: NDArray[np.float64]
    """Of the model's bounding sphere, in its frame [m] (3,)."""

    @property
    def T_cam_obj(self) -> NDArray[np.float64]:
        """Poses (P, 4, 4)."""
        return self.refinement.T_cam_obj[: self.count]

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """Log odds that the images show the object at each pose (P,)."""
        return self.refinement.log_odds[: self.count]

    @property
    def ranking(self) -> NDArray[np.float64]:
        """Log likelihood (P,) but for a constant: what poses in one frame are compared by."""
        return self.refinement.ranking[: self.count]

    @property
    def ranking_of_places(self) -> NDArray[np.float64]:
        """The same (P,) for poses at different places of the frame."""
        return self.refinement.ranking_of_places[: self.count]

    @property
    def explained(self) -> NDArray[np.float64]:
        """Share of measured depths that agree with each pose (P,); 1 where none was measured."""
        sums = self.refinement.evidence[: self.count, int(DEPTH)].astype(np.float64)
        return np.asarray((sums[:, int(INLIERS)] + 1e-9) / (sums[:, int(ROWS)] + 1e-9))

    def _systematic(self, i: int) -> NDArray[np.float64]:
        """What errors add to the covariance (6, 6) of a pose of the model's frame."""
        lever = -self.refinement.T_cam_obj[i, :3, :3] @ self.center
        covariance = covariance_about(lever, self.errors.covariance(i))
        return 0.5 * (covariance + covariance.T)

    def estimate(self, i: int, log_prior: float = 0.0) -> PoseEstimate:
        """Estimate of one pose; ``log_prior`` are the log prior odds beside those of a guess."""
        r = self.refinement
        moved = float(r.problems["moved"][i])
        converged = moved < SETTLED
        return PoseEstimate(
            T_cam_obj=r.T_cam_obj[i].copy(),
            covariance=r.covariance[i] + self._systematic(i),
            score=float(r.score_with(log_prior)[i]),
            converged=converged,
            iterations=self.iterations,
            cost=float(r.cost[i]),
            visible_fraction=float(r.figures[i, int(VISIBLE)]),
            reason="" if converged else f"the last measurement moved it by {moved**0.5:.1f} sigma",
        )


def settle(batch: BatchRefiner, count: int) -> Refinement:
    """Repeat the last stage until the best of the first ``count`` poses is settled.

    Each round pairs and measures afresh, since lines and pairs are those of the pose before.
    """
    for _ in range(MOST_ROUNDS):
        best = 0 if count == 1 else int(np.argmax(batch.refiner.result().ranking[:count]))
        if batch.refiner.moved()[best] < SETTLED:
            break
        batch.refine_last()
    return batch.refiner.result()


def refine_batch(
    model: ObjectModel,
    frame: Frame,
    T_cam_center: NDArray[np.float64],
    config: SearchConfig,
    device: wp.Device,
) -> Refined:
    """Refine poses (P, 4, 4) of the model's centre frame.

    Depth first, then colours learned there and outlines; the last stage until the best pose is settled.
    """
    T = move_origin(T_cam_center, -model.center)
    count = max(len(T), config.finalists)
    settings = BatchSettings(frame.camera, config.refiner, config.stages, count, str(device))
    with current_session():
        batch = batch_refiner(model, settings)
        batch.load(frame, (0, 0, frame.camera.width, frame.camera.height))
        batch.start(T)
        batch.refiner.refine(batch.stages[:1])
        batch.learn_colors()
        batch.refiner.refine(batch.stages[1:])
        return batch.refined(settle(batch, len(T)), len(T))
