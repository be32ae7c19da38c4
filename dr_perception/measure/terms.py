"""Recorded launches of every modality for one model view, one variant per stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import warp as wp

from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import Launch, record
from dr_perception.measure.brightness import Light
from dr_perception.measure.color import ColorNoise, accumulate_color, fit_light
from dr_perception.measure.color_histogram import ColorHistograms
from dr_perception.measure.config import ContourConfig, SensorConfig, StageConfig
from dr_perception.measure.contour_lines import ContourLine, LineSearch
from dr_perception.measure.depth import DepthNoise, DepthPoint, accumulate_depth, measure_depth
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.measure.line_rows import LineNoise, accumulate_lines
from dr_perception.measure.region_lines import measure_lines_by_region
from dr_perception.measure.step_lines import StepWindow, measure_lines_by_step
from dr_perception.view.model_view import ModelView

_CUDA_LANES = 128


def num_lanes(device: wp.Device) -> int:
    """Threads that share the rows of a problem: one on a CPU, whose kernels are serial."""
    return _CUDA_LANES if device.is_cuda else 1


@dataclass(frozen=True)
class Measured:
    """What terms compare: a view of the model at some poses with a frame."""

    view: ModelView
    poses: PoseArrays
    frame: FrameBuffers
    histograms: ColorHistograms
    evidence: wp.array
    """Where rows are added (P, M, `NUM_SUMS`)."""
    sensor: SensorConfig
    patterned: wp.array | None = None
    """Whether to compare colours (P,), as kernels decide; always if None."""
    has_pattern: bool = False
    """Whether the model may have colours to compare."""


@dataclass(frozen=True)
class TermLaunches:
    """What a term does in a stage."""

    pair: Sequence[Launch] = field(default=())
    """Run once a stage, or before every step if the stage pairs again."""
    measure: Sequence[Launch] = field(default=())
    """Run once a stage."""
    rows: Sequence[Launch] = field(default=())
    """Run at every step."""


class Term(Protocol):
    """One modality of one view."""

    needs_color: bool
    """Whether it looks at the colour image."""

    def __init__(self, measured: Measured) -> None:
        """Allocate what rows need."""

    def launches(self, stage: StageConfig) -> TermLaunches:
        """What a stage wants of it; nothing where it takes no part."""


class DepthTerm:
    """Surface samples of one view, paired with measured depths, then turned into rows at every step."""

    needs_color = False

    def __init__(self, measured: Measured) -> None:
        """Allocate the pairs."""
        self._m = measured
        shape = measured.view.surface.samples.shape
        self.points = wp.zeros(shape, dtype=DepthPoint, device=measured.frame.device)

    def noise(self, extra_sigma_m: float = 0.0) -> DepthNoise:
        """The sensor's noise for kernels, with a constant part added."""
        config = self._m.sensor.depth
        noise = DepthNoise()
        noise.sigma_m = config.sigma_m + extra_sigma_m
        noise.sigma_per_m2 = config.sigma_per_m2
        noise.lateral_px = self._m.sensor.registration.lateral_px
        noise.cutoff = config.cutoff_sigma
        noise.shared_px2 = config.shared_px2
        noise.spacing_px = self._m.view.settings.surface_stride_px
        return noise

    def launches(self, stage: StageConfig) -> TermLaunches:
        """Launches that pair samples with depths and that add the rows of the pairs."""
        view, frame, poses, every = self._m.view, self._m.frame, self._m.poses, stage.depth_every
        noise = self.noise(stage.depth_sigma_m)
        problems, room = view.surface.samples.shape
        inputs = [view.surface, poses.struct, frame.images, noise, every]
        shape = (problems, -(-room // every))
        pair = record(measure_depth, shape, inputs, [self.points], frame.device)
        lanes = num_lanes(frame.device)
        inputs = [view.surface, self.points, poses.struct, frame.images, noise, every, lanes]
        rows = record(accumulate_depth, (problems, lanes), inputs, [self._m.evidence], frame.device)
        return TermLaunches(pair=[pair], rows=[rows])


def line_search(sensor: SensorConfig, stage: StageConfig) -> LineSearch:
    """How a stage searches lines, for kernels."""
    config = sensor.contour
    search = LineSearch()
    search.reach = config.reach_px
    search.step_px = stage.line_step_px
    search.sharpness = config.sharpness
    search.prior_sigma_px = config.prior_sigma_px * stage.line_step_px
    search.occlusion_m = sensor.depth.occlusion_m + 2.0 * stage.depth_sigma_m
    search.color_sigma = sensor.color.channel_sigma
    region = stage.lines == "region"
    search.floor_px = config.region_floor_px * stage.line_step_px if region else config.step_floor_px
    search.inner_floor_px = config.inner_floor_px
    return search


def step_window(config: ContourConfig) -> StepWindow:
    """Where a step's levels are taken, for kernels."""
    window = StepWindow()
    window.half, window.level = config.half_window_px, config.level_width_px
    return window


class OutlineTerm:
    """Lines of one view: measured once a stage, then turned into rows at every step."""

    needs_color = True

    def __init__(self, measured: Measured) -> None:
        """Allocate the lines and record their rows."""
        self._m = measured
        view, frame, poses = measured.view, measured.frame, measured.poses
        self.lines = wp.zeros(view.contour.samples.shape, dtype=ContourLine, device=frame.device)
        lanes = num_lanes(frame.device)
        inputs = [view.contour, self.lines, poses.struct, frame.images, self.noise(), lanes]
        shape = (self.lines.shape[0], lanes)
        self._rows = record(accumulate_lines, shape, inputs, [measured.evidence], frame.device)

    def noise(self) -> LineNoise:
        """How rows are weighed, for kernels."""
        noise = LineNoise()
        noise.cutoff = self._m.sensor.contour.cutoff_sigma
        noise.shared_px = self._m.sensor.contour.shared_px
        noise.spacing_px = self._m.view.settings.contour_spacing_px
        return noise

    def launches(self, stage: StageConfig) -> TermLaunches:
        """Launches that measure the lines as a stage wants them and add their rows."""
        if stage.lines == "none":
            return TermLaunches()
        m = self._m
        if stage.lines == "region":
            kernel, extra = measure_lines_by_region, m.histograms.log_ratio
        else:
            kernel, extra = measure_lines_by_step, step_window(m.sensor.contour)
        inputs = [m.view.contour, m.poses.struct, m.frame.images, extra, line_search(m.sensor, stage)]
        measure = record(kernel, self.lines.shape, inputs, [self.lines], m.frame.device)
        return TermLaunches(measure=[measure], rows=[self._rows])


class ColorTerm:
    """Brightness of a textured model: light is measured once a stage, rows are formed at every step."""

    needs_color = True

    def __init__(self, measured: Measured) -> None:
        """Allocate the light of every problem and record its fit and its rows."""
        self._has_pattern = measured.has_pattern
        view, frame, poses = measured.view, measured.frame, measured.poses
        device, n = frame.device, view.surface.samples.shape[0]
        self.lights = wp.zeros(n, dtype=Light, device=device)
        enabled = measured.patterned
        if enabled is None:
            enabled = wp.full(n, 1, dtype=int, device=device)
        self.noise = noise = self._noise(measured)
        lanes = num_lanes(device)
        seen = wp.zeros(view.surface.samples.shape, dtype=float, device=device)
        inputs = [view.surface, poses.struct, frame.images, noise, enabled]
        self._measure = [
            record(fit_light, n, [*inputs, refit], [seen, self.lights], device) for refit in (0, 1)
        ]
        inputs = [view.surface, self.lights, poses.struct, frame.images, noise, lanes]
        self._rows = record(accumulate_color, (n, lanes), inputs, [measured.evidence], device)

    @staticmethod
    def _noise(measured: Measured) -> ColorNoise:
        config = measured.sensor.color
        noise = ColorNoise()
        noise.sigma = config.pattern_sigma
        noise.cutoff = config.cutoff_sigma
        noise.lateral_px = config.pattern_px
        noise.shared_px2 = config.shared_px2
        noise.spacing_px = measured.view.settings.surface_stride_px
        noise.hidden_m = measured.sensor.depth.occlusion_m
        return noise

    def launches(self, stage: StageConfig) -> TermLaunches:
        """Launches that fit the light and add rows, in stages whose outlines are measured finely."""
        if stage.lines != "step" or not self._has_pattern:
            return TermLaunches()
        return TermLaunches(measure=self._measure, rows=[self._rows])


TERMS: tuple[type[Term], ...] = (DepthTerm, OutlineTerm, ColorTerm)
"""Every modality, in the order of `dr_perception.measure.modalities.MODALITIES`."""


def stage_launches(terms: Sequence[Term], stage: StageConfig) -> tuple[list[Launch], list[Launch]]:
    """What some terms do in a stage: launches before its steps, and launches of every step."""
    pair: list[Launch] = []
    measure: list[Launch] = []
    rows: list[Launch] = []
    for term in terms:
        part = term.launches(stage)
        pair += part.pair
        measure += part.measure
        rows += part.rows
    return ([*pair, *measure], rows) if stage.pair_once else (measure, [*pair, *rows])
