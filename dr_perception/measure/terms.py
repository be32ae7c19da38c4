"""Recorded launches of every modality for one model view, one variant per stage."""

from __future__ import annotations

import warp as wp

from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import Launch, record
from dr_perception.measure.brightness import Light
from dr_perception.measure.color import ColorNoise, accumulate_color, fit_light
from dr_perception.measure.color_histogram import ColorHistograms
from dr_perception.measure.config import ColorConfig, ContourConfig, DepthConfig, StageConfig
from dr_perception.measure.contour_lines import (
    ContourLine,
    LineNoise,
    LineSearch,
    accumulate_lines,
    measure_lines_by_region,
    measure_lines_by_step,
)
from dr_perception.measure.depth import DepthNoise, DepthPoint, accumulate_depth, measure_depth
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.view.model_view import ModelView

_CUDA_LANES = 128


def num_lanes(device: wp.Device) -> int:
    """Threads that share the rows of a problem: one on a CPU, whose kernels are serial."""
    return _CUDA_LANES if device.is_cuda else 1


class DepthTerm:
    """Surface samples of one view, paired with measured depths, then turned into rows at every step."""

    def __init__(
        self,
        view: ModelView,
        poses: PoseArrays,
        frame: FrameBuffers,
        config: DepthConfig,
        sums: wp.array,
    ) -> None:
        """Allocate the pairs."""
        self._points = wp.zeros(view.surface.shape, dtype=DepthPoint, device=frame.device)
        self._view, self._poses, self._frame, self._config, self._sums = view, poses, frame, config, sums

    def launches(self, stage: StageConfig) -> tuple[Launch, Launch]:
        """Launches that pair samples with depths and that add the rows of the pairs, as a stage wants."""
        view, frame, config, every = self._view, self._frame, self._config, stage.depth_every
        noise = DepthNoise()
        noise.sigma_m = config.sigma_m + stage.depth_sigma_m
        noise.sigma_per_m2 = config.sigma_per_m2
        noise.lateral_px = config.lateral_px
        noise.cutoff = config.cutoff_sigma
        noise.shared_px2 = config.shared_px2
        noise.spacing_px = view.settings.surface_stride_px
        problems, room = view.surface.shape
        samples = [view.surface, view.surface_count]
        where = [self._poses.R.array, self._poses.t.array, self._poses.active, frame.params]
        measure = record(
            measure_depth,
            (problems, -(-room // every)),
            [*samples, *where, frame.depth.array, noise, every],
            [self._points],
            frame.device,
        )
        lanes = num_lanes(frame.device)
        accumulate = record(
            accumulate_depth,
            (problems, lanes),
            [*samples, self._points, *where, view.cameras, noise, every, lanes],
            [self._sums],
            frame.device,
        )
        return measure, accumulate


class ContourTerm:
    """Lines of one view: measured once a stage, then turned into rows at every step."""

    def __init__(
        self,
        view: ModelView,
        poses: PoseArrays,
        frame: FrameBuffers,
        histograms: ColorHistograms,
        config: ContourConfig,
        sums: wp.array,
    ) -> None:
        """Allocate the lines and record their rows."""
        self.lines = wp.zeros(view.contour.shape, dtype=ContourLine, device=frame.device)
        self._samples = [view.contour, view.contour_count]
        self._poses = [poses.R.array, poses.t.array]
        self._frame = frame
        self._histograms = histograms
        self._config = config
        lanes = num_lanes(frame.device)
        noise = LineNoise()
        noise.cutoff = config.cutoff_sigma
        noise.shared_px = config.shared_px
        noise.spacing_px = view.settings.contour_spacing_px
        self.accumulate = record(
            accumulate_lines,
            (view.contour.shape[0], lanes),
            [
                *self._samples,
                self.lines,
                *self._poses,
                poses.active,
                frame.params,
                view.cameras,
                noise,
                lanes,
            ],
            [sums],
            frame.device,
        )

    def measurement(self, stage: StageConfig) -> Launch:
        """Launch that measures the lines as a stage wants them."""
        c, frame = self._config, self._frame
        search = LineSearch()
        search.reach = c.reach_px
        search.step_px = stage.line_step_px
        search.sharpness = c.sharpness
        search.prior_sigma_px = c.prior_sigma_px * stage.line_step_px
        search.occlusion_m = c.occlusion_m + 2.0 * stage.depth_sigma_m
        search.color_sigma = c.color_sigma
        images = [frame.params, frame.color.array, frame.depth.array]
        if stage.lines == "region":
            search.floor_px = c.region_floor_px * stage.line_step_px
            kernel, extra = measure_lines_by_region, [self._histograms.log_ratio]
        else:
            search.floor_px = c.step_floor_px
            search.inner_floor_px = c.inner_floor_px
            kernel, extra = measure_lines_by_step, [c.half_window_px, c.level_width_px]
        inputs = [*self._samples, *self._poses, *images, *extra, search]
        return record(kernel, self.lines.shape, inputs, [self.lines], frame.device)


class ColorTerm:
    """Brightness of a textured model.

    Light is measured once a stage, then rows are formed at every step.
    """

    def __init__(
        self,
        view: ModelView,
        poses: PoseArrays,
        frame: FrameBuffers,
        config: ColorConfig,
        sums: wp.array,
        enabled: wp.array | None = None,
    ) -> None:
        """Allocate the light of every problem and record its fit and its rows.

        Args:
            view: Where the samples are taken from.
            poses: Poses being refined.
            frame: The images.
            config: Noise.
            sums: Row sums and counts to add to.
            enabled: Whether to form rows (P,), as kernels decide; always if None.
        """
        n = view.surface.shape[0]
        self.lights = wp.zeros(n, dtype=Light, device=frame.device)
        if enabled is None:
            enabled = wp.full(n, 1, dtype=int, device=frame.device)
        noise = ColorNoise()
        noise.sigma = config.sigma
        noise.cutoff = config.cutoff_sigma
        noise.lateral_px = config.lateral_px
        noise.shared_px2 = config.shared_px2
        noise.spacing_px = view.settings.surface_stride_px
        noise.hidden_m = config.occlusion_m
        samples = [view.surface, view.surface_count]
        where = [poses.R.array, poses.t.array]
        images = [frame.params, frame.color.array, frame.depth.array]
        lanes = num_lanes(frame.device)
        self.measure = [
            record(
                fit_light, n, [*samples, *where, *images, noise, enabled, refit], [self.lights], frame.device
            )
            for refit in (0, 1)
        ]
        self.accumulate = record(
            accumulate_color,
            (n, lanes),
            [*samples, self.lights, *where, poses.active, *images, view.cameras, noise, lanes],
            [sums],
            frame.device,
        )
