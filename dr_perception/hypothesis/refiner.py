"""Refinement of poses of one model in one frame: render, measure, step; coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.body.prepared import blank_texels, model_buffers
from dr_perception.device.device_array import SharedArray
from dr_perception.device.evidence import GAIN
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import Launch, capture, record
from dr_perception.estimate.information import DIRECTION_ERROR_RAD
from dr_perception.estimate.pose_solver import PoseSolver
from dr_perception.estimate.report import PoseReport, Reporter, report_poses
from dr_perception.geometry.mesh_measure import surface_spread
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import move_origin
from dr_perception.hypothesis.config import BodyConfig, RefinerConfig
from dr_perception.hypothesis.judge_kernels import ViewTable
from dr_perception.hypothesis.looks_kernels import Looks, judge_looks
from dr_perception.hypothesis.posterior import (
    CERTAINTY,
    COLORS_TELL,
    EXPLAINS,
    EXPLAINS_ELSEWHERE,
    LEAST_GAIN,
    LOG_ODDS,
    PALETTE,
    SHARPNESS,
    Figures,
    judge_refined,
)
from dr_perception.hypothesis.surface_uncertainty import posterior_of
from dr_perception.measure.color_histogram import ColorHistograms
from dr_perception.measure.config import StageConfig
from dr_perception.measure.considered import ConsiderTerm
from dr_perception.measure.frame_buffers import Box, FrameBuffers
from dr_perception.measure.learned_brightness import BrightnessTexels, LearnedBrightness
from dr_perception.measure.modalities import MODALITIES
from dr_perception.measure.terms import TERMS, Measured, Term, stage_launches
from dr_perception.view.model_view import ModelView, ViewSettings
from dr_perception.view.others import PosedBody


@dataclass(frozen=True)
class RecordedStage:
    """A stage captured with one refiner's buffers."""

    config: StageConfig
    draw: Launch | None
    """Draws the model, if the stage renders; other models are drawn after it."""
    work: Launch
    """Samples what was drawn, measures lines and takes the stage's steps."""
    work_without_color: Launch
    """The same with depth alone."""


@dataclass(frozen=True)
class RecordedSequence:
    """Stages that always run one after the other."""

    stages: tuple[RecordedStage, ...]
    whole: Launch
    """All of them in one replay, for an object that no other model is drawn before."""
    whole_without_color: Launch
    reusing: Launch
    """The same with the samples of the last render."""
    reusing_without_color: Launch


@dataclass(frozen=True)
class Refinement:
    """Outcome of a batch of refinements."""

    T_cam_obj: NDArray[np.float64]
    """Poses (P, 4, 4)."""
    evidence: NDArray[np.float32]
    """Evidence of every modality at the poses (P, M, `NUM_SUMS`)."""
    problems: NDArray[np.void]
    """Final state of the solver (P,), see `dr_perception.estimate.levenberg_marquardt.Problem`."""
    counts: NDArray[np.int32]
    """Visible surface samples, contour samples and covered grid pixels (3, P)."""
    information: NDArray[np.float64]
    """Credible information of the measurements alone (P, 6, 6), without any prior, about the model's centre.

    Translation [1/m^2], then rotation [1/rad^2], along the camera's axes. See
    `dr_perception.estimate.information.credible`.
    """
    covariance: NDArray[np.float64]
    """Of the poses of the model's frame (P, 6, 6), along the camera's axes; holds the model's own errors.

    Directions that nothing measures get the standard deviation of a pose known to a diameter and half a turn.
    """
    figures: NDArray[np.float64]
    """What the evidence says of each (P, K), see `dr_perception.hypothesis.posterior.Figures`."""

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """Log odds that the images show the object at each pose (P,)."""
        return self.figures[:, int(LOG_ODDS)]

    @property
    def ranking(self) -> NDArray[np.float64]:
        """Log likelihood (P,) but for a constant: what poses at one place of a frame are compared by."""
        return self._weighed(EXPLAINS)

    @property
    def ranking_of_places(self) -> NDArray[np.float64]:
        """The same for poses at different places."""
        return self._weighed(EXPLAINS_ELSEWHERE)

    def _weighed(self, explains: float) -> NDArray[np.float64]:
        gain = 0.5 * self.evidence[:, :, int(GAIN)].sum(axis=1, dtype=np.float64)
        told = SHARPNESS * self.log_odds + COLORS_TELL * self.figures[:, int(PALETTE)]
        return np.asarray(told + explains * np.log(np.maximum(gain, LEAST_GAIN)))

    @property
    def score(self) -> NDArray[np.float64]:
        """Probability that each pose is right (P,)."""
        return self.score_with(0.0)

    def score_with(self, log_prior: float) -> NDArray[np.float64]:
        """Probability that each pose is right (P,) under other log prior odds than those of a guess."""
        odds = np.exp(-np.clip(self.log_odds + log_prior, -50.0, 50.0))
        return self.figures[:, int(CERTAINTY)] / (1.0 + odds)

    @property
    def cost(self) -> NDArray[np.float64]:
        """Robust objective (P,)."""
        return self.problems["cost"].astype(np.float64)

    @property
    def last_step(self) -> NDArray[np.float64]:
        """Length of the last step tried (P,), metres plus radians."""
        return self.problems["step"].astype(np.float64)

    @property
    def surface_samples(self) -> NDArray[np.int32]:
        """Visible surface samples (P,)."""
        return self.counts[0]

    @property
    def contour_samples(self) -> NDArray[np.int32]:
        """Visible contour samples (P,)."""
        return self.counts[1]


class PoseRefiner:
    """Refines a batch of poses of one model against the images in a `FrameBuffers`.

    Inside, the model's frame is moved to the centre of its bounding sphere, so that turning and moving are
    decoupled wherever the mesh has its origin.
    """

    def __init__(
        self,
        model: ObjectModel,
        frame: FrameBuffers,
        config: RefinerConfig,
        views: ViewTable | None = None,
        *,
        num_problems: int = 1,
        buffers: ModelBuffers | None = None,
        learns: bool = False,
        considers: bool = False,
    ) -> None:
        """Simplify and upload the model (unless ``buffers`` holds it already) and allocate everything.

        With ``views``, where the model has colours, refined poses are also judged by their pattern.
        With ``learns`` the brightness of the surface can be learned (`learned`) if the model has none.
        With ``considers`` errors that frames share are measured (`considered`).
        """
        # Not the model itself: what is kept for a mesh must not keep the mesh.
        self.center, self.radius_m = model.center, model.radius_m
        self.config = config
        self.num_problems = num_problems
        self.frame = frame
        self.buffers = buffers or model_buffers(model, config.body.mesh_error, frame.device)
        self.poses = PoseArrays(num_problems, frame.device)
        sampling, sensor = config.sampling, config.sensor
        settings = ViewSettings(
            size_px=sampling.render_size_px,
            surface_stride_px=sampling.surface_stride_px,
            contour_spacing_px=sampling.contour_spacing_px,
            max_contour_samples=sampling.max_contour_samples,
        )
        texels = None
        if learns and not self.buffers.has_texture and sensor.color.enabled:
            texels = BrightnessTexels(blank_texels(model, config.body.mesh_error, frame.device))
        self.view = ModelView(
            self.buffers,
            model.radius_m,
            self.poses,
            num_problems,
            settings,
            None if texels is None else texels.baked,
        )
        spread = surface_spread(model.mesh, model.center)
        self.solver = PoseSolver(self.poses, num_problems, len(MODALITIES), frame.device, spread)
        self.histograms = ColorHistograms(self.view, self.poses, frame, num_problems)
        self.learned: LearnedBrightness | None = None
        if texels is not None:
            limits = [sensor.depth.occlusion_m, sensor.color.least_contrast]
            self.learned = LearnedBrightness(texels, self.view, self.poses, frame, *limits)
        measured = Measured(
            self.view,
            self.poses,
            frame,
            self.histograms,
            self.solver.sums.array,
            sensor,
            patterned=None if self.learned is None else self.learned.enabled,
            has_pattern=sensor.color.enabled and (self.buffers.has_texture or self.learned is not None),
        )
        self.terms: tuple[Term, ...] = tuple(term(measured) for term in TERMS)
        self.considered = ConsiderTerm(measured, self.terms, model.center) if considers else None
        self._center = np.eye(4)
        self._center[:3, 3] = model.center
        self.posterior = posterior_of(model, self.view.settings.max_contour_samples)
        self._record_report(reporter_of(model, spread, config.body), views)

    def _record_report(self, reporter: Reporter, views: ViewTable | None) -> None:
        """Record what is said of refined poses: covariances, how the looks agree, how probable they are."""
        frame, num_problems, occlusion_m = self.frame, self.num_problems, self.config.sensor.depth.occlusion_m
        self._reports = SharedArray(num_problems, PoseReport, frame.device)
        inputs = [reporter, self.poses.struct, self.solver.best.array]
        report = record(report_poses, num_problems, inputs, [self._reports.array], frame.device)
        self._has_color = SharedArray(1, int, frame.device)
        self.looks = SharedArray(num_problems, Looks, frame.device)
        self._judge_looks: Launch | None = None
        if views is not None and views.colors.size > 0:
            inputs = [self.poses.struct, views, frame.images, occlusion_m, self._has_color.array]
            judge = record(judge_looks, num_problems, inputs, [self.looks.array], frame.device)
            self._judge_looks = capture([judge], frame.device)
        self._figures = SharedArray(num_problems, Figures, frame.device)
        inputs = [self.posterior, self._has_color.array, self._reports.array]
        inputs += [self.solver.best.array, self.view.counts.array, self.looks.array]
        judge = record(judge_refined, num_problems, inputs, [self._figures.array], frame.device)
        self._report = (report, judge)

    def record_stage(self, stage: StageConfig) -> RecordedStage:
        """Bind a stage to this refiner's buffers."""
        draw, full, plain = (capture(part, self.frame.device) for part in self._launches(stage))
        return RecordedStage(stage, draw if stage.render else None, full, plain)

    def record_sequence(self, stages: Sequence[StageConfig]) -> RecordedSequence:
        """Bind stages that always run one after the other."""
        reusing = [stage.model_copy(update={"render": False}) for stage in stages]
        variants = []
        for variant in (stages, reusing):
            parts = [self._launches(stage) for stage in variant]
            for k in (1, 2):
                launches = [launch for part in parts for launch in (*part[0], *part[k])]
                variants.append(capture(launches, self.frame.device))
        return RecordedSequence(tuple(self.record_stage(stage) for stage in stages), *variants)

    def _launches(self, stage: StageConfig) -> tuple[list[Launch], list[Launch], list[Launch]]:
        """Launches of a stage: drawing, work with all images, work with depth alone."""
        draw = self.view.draw_launches() if stage.render else []
        sample = self.view.sample_launches() if stage.render else []
        work = []
        for terms in (self.terms, [term for term in self.terms if not term.needs_color]):
            measure, rows = stage_launches(terms, stage)
            work.append([*sample, *self.solver.launches(rows, stage.steps, measure)])
        return draw, work[0], work[1]

    def forget(self) -> None:
        """Forget priors, colours and samples of earlier frames."""
        self.solver.forget()
        self.histograms.forget()
        self.view.counts.array.zero_()

    def set_poses(self, T_cam_obj: NDArray[np.float64]) -> None:
        """Set the poses (P, 4, 4) that the next refinement starts from."""
        self.poses.set(T_cam_obj @ self._center)

    def set_prior(self, T_cam_obj: NDArray[np.float64], information: NDArray[np.float64]) -> None:
        """Set the priors: means (P, 4, 4) and information (6, 6) or (P, 6, 6) about the model's centre."""
        self.solver.set_prior(T_cam_obj @ self._center, information)

    def image_box(self, T_cam_obj: NDArray[np.float64], margin_px: float) -> Box:
        """Pixels that hold the bounding sphere at a pose (4, 4), with a margin; may be empty."""
        center = T_cam_obj[:3, :3] @ self.center + T_cam_obj[:3, 3]
        return self.image_box_around(center.tolist(), margin_px)

    def image_box_around(self, center_cam: Sequence[float], margin_px: float) -> Box:
        """Pixels that hold the bounding sphere about a point [m], with a margin; may be empty."""
        camera = self.frame.camera
        whole = (0, 0, camera.width, camera.height)
        x, y, z = center_cam
        r = self.radius_m
        if z <= 1.1 * r:
            return whole
        if camera.has_distortion:
            corners = [[x + a * r, y + b * r, z + c * r] for a in (-1, 1) for b in (-1, 1) for c in (-1, 0)]
            uv = camera.project(np.array(corners))
            if not np.isfinite(uv).all():
                return whole
            (u0, v0), (u1, v1) = uv.min(axis=0).tolist(), uv.max(axis=0).tolist()
        else:
            u0, u1 = (
                camera.cx + camera.fx * (x + s * r) / (z - s * math.copysign(r, x + s * r))
                for s in (-1.0, 1.0)
            )
            v0, v1 = (
                camera.cy + camera.fy * (y + s * r) / (z - s * math.copysign(r, y + s * r))
                for s in (-1.0, 1.0)
            )
        x0, y0 = max(int(u0 - margin_px), 0), max(int(v0 - margin_px), 0)
        x1, y1 = min(int(u1 + margin_px) + 2, camera.width), min(int(v1 + margin_px) + 2, camera.height)
        return (x0, y0, max(x1, x0), max(y1, y0))

    def refine(self, stages: Sequence[RecordedStage], others: Sequence[PosedBody] = ()) -> None:
        """Run stages on the frame that was uploaded, behind others; nothing waits for the device."""
        for stage in stages:
            if stage.draw is not None:
                stage.draw()
                if others:
                    self.view.draw_others(others)
            if self.frame.has_color:
                stage.work()
            else:
                stage.work_without_color()

    def refine_sequence(
        self, sequence: RecordedSequence, others: Sequence[PosedBody] = (), reuse: bool = False
    ) -> None:
        """Run recorded stages, in one replay where no other models are drawn.

        With ``reuse`` nothing is drawn: the samples of the last render serve.
        """
        has_color = self.frame.has_color
        if reuse:
            (sequence.reusing if has_color else sequence.reusing_without_color)()
        elif others:
            self.refine(sequence.stages, others)
        else:
            (sequence.whole if has_color else sequence.whole_without_color)()

    def poses_of_model(self) -> NDArray[np.float64]:
        """Poses (P, 4, 4) of the model's frame, rounded to single precision; waits for the device."""
        return move_origin(self.poses.get(), -self.center)

    def viewpoints(self) -> NDArray[np.float32]:
        """Directions (P, 3) from the model's centre to the camera, in its frame; waits for the device."""
        self.poses.R.pull()
        self.poses.t.pull()
        eye = -(self.poses.t.host[:, None] @ self.poses.R.host[:, 0])[:, 0]
        eye /= np.sqrt(np.square(eye).sum(axis=1, keepdims=True))
        return eye

    def moved(self) -> NDArray[np.float32]:
        """Squared distance (P,) that the last stage moved each pose by, in standard deviations.

        Waits for the device.
        """
        self.solver.problems.pull()
        moved: NDArray[np.float32] = self.solver.problems.host["moved"]
        return moved

    def judge_looks(self) -> None:
        """Compare the pattern of the model with the image at the poses; nothing waits for the device."""
        self._has_color.host[:] = self.frame.has_color
        self._has_color.push()
        if self._judge_looks is not None:
            self._judge_looks()

    def result(self) -> Refinement:
        """Poses and sums after `refine`; waits for the device."""
        self.judge_looks()
        for launch in self._report:
            launch()
        self._reports.pull()
        self._figures.pull()
        sums, problems = self.solver.pull()
        counts = self.view.pull_counts().copy()
        np.minimum(counts[1], self.view.contour.samples.shape[1], out=counts[1])
        reports = self._reports.host
        T, information, covariance = (reports[name].copy() for name in ("T", "information", "covariance"))
        figures = self._figures.host.astype(np.float64)
        return Refinement(T, sums.copy(), problems.copy(), counts, information, covariance, figures)


def reporter_of(model: ObjectModel, spread: NDArray[np.float64], body: BodyConfig) -> Reporter:
    """What the reporting kernel knows of a model whose surface has second moments ``spread`` (3, 3) [m^2]."""
    reporter = Reporter()
    reporter.center = wp.vec3d(*model.center)
    reporter.spread = wp.mat33d(*spread.ravel())
    reporter.direction_error_rad = DIRECTION_ERROR_RAD
    reporter.unknown = wp.spatial_vectord(*np.repeat([model.diameter_m**-2, np.pi**-2], 3))
    reporter.floor = wp.spatial_vectord(*body.variances)
    return reporter
