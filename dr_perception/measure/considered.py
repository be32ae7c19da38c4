"""What the images say of consider parameters at the pose that a refinement ended at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.device_array import SharedArray
from dr_perception.device.recording import Launch, capture, fill, record
from dr_perception.measure.config import StageConfig
from dr_perception.measure.consider import (
    NUM_CROSS,
    NUM_PARAMETERS,
    Circumstances,
    consider_color,
    consider_depth,
    consider_lines,
)
from dr_perception.measure.contour_lines import ContourLine
from dr_perception.measure.region_lines import measure_lines_by_region
from dr_perception.measure.step_lines import StepWindow, sharpen_lines
from dr_perception.measure.terms import ColorTerm, DepthTerm, Measured, OutlineTerm, Term, line_search

Array = NDArray[np.float64]

_REACH = StageConfig(lines="region", line_step_px=2.0)
"""Outlines are sought 20 pixels to either side, for what a 15 mm baseline does at 0.6 m."""
_SHARP_HALF_PX = 2
_UPPER = np.zeros((6, 6), dtype=np.intp)
_UPPER[np.triu_indices(6)] = np.arange(21)
_UPPER = np.maximum(_UPPER, _UPPER.T)
"""Where each element of a pose's information stands among the sums: its upper triangle comes first."""
_ENDS = np.cumsum([21, 6, 6 * NUM_PARAMETERS, NUM_PARAMETERS**2, NUM_PARAMETERS])
"""Where the pose's information, gradient, sums across, those of the parameters and their gradient end."""
_SHARED, _OWN_LINES, _FAR_LINES = range(3)
"""Rows of depth and colour; of the outlines that the pose was fitted to; of outlines sought far away."""


@dataclass(frozen=True)
class Sums:
    """Normal equations of a pose (6) and the parameters (T) together."""

    H: Array
    """Of the pose (6, 6), about the model's centre, along the camera's axes."""
    g: Array
    """(6,)."""
    H_xt: Array
    """Across (6, T)."""
    H_tt: Array
    """Of the parameters (T, T)."""
    g_t: Array
    """(T,)."""
    chi2: float
    """Squared residuals in standard deviations of noise, robust, each independent one counted once."""
    rows: float
    """How many independent ones there are."""

    @staticmethod
    def unpack(flat: NDArray[np.float32]) -> Sums:
        """From the kernels' order (`NUM_CROSS`,)."""
        values = flat.astype(np.float64)
        g, H_xt, H_tt, g_t = (values[a:b] for a, b in pairwise(_ENDS))
        H_xt, H_tt = H_xt.reshape(6, -1), H_tt.reshape(NUM_PARAMETERS, -1)
        return Sums(values[_UPPER], g, H_xt, H_tt, g_t, float(values[-2]), float(values[-1]))


@dataclass(frozen=True)
class Considered:
    """What one problem's rows say."""

    used: Sums
    """Of the rows that the pose was fitted to: how errors of the parameters have moved it."""
    far: Sums
    """With outlines sought far away instead: what the images say of the parameters."""


class ConsiderTerm:
    """Measures sums across pose and parameters for every pose of a view; the images and samples stand."""

    def __init__(self, measured: Measured, terms: tuple[Term, ...], center: Array) -> None:
        """Allocate and record.

        Args:
            measured: What the terms compare.
            terms: Whose pairs, lines and lights of the last stage are looked at.
            center: Of the model's bounding sphere in its frame [m] (3,).
        """
        self._frame = measured.frame
        n, device = measured.view.surface.samples.shape[0], measured.frame.device
        self._count = n
        self._sums = SharedArray((3, n, NUM_CROSS), float, device)
        self._about = SharedArray(n, Circumstances, device)
        self._about.host["center"] = center
        self._lines = wp.zeros(measured.view.contour.samples.shape, dtype=ContourLine, device=device)
        depth, outline, color = terms
        assert isinstance(depth, DepthTerm) and isinstance(outline, OutlineTerm)
        assert isinstance(color, ColorTerm)
        plain = [fill(self._sums.array, 0), self._of_depth(measured, depth)]
        near = [self._of_color(measured, color), self._of_lines(measured, outline, outline.lines, _OWN_LINES)]
        far = [
            *self._search(measured, outline.lines),
            self._of_lines(measured, outline, self._lines, _FAR_LINES),
        ]
        self._plain, self._near, self._full = (
            capture(launches, device) for launches in (plain, [*plain, *near], [*plain, *near, *far])
        )

    def _of_depth(self, m: Measured, depth: DepthTerm) -> Launch:
        where = [m.poses.struct, m.frame.images]
        inputs = [m.view.surface, depth.points, *where, depth.noise(), self._about.array]
        return record(consider_depth, self._count, inputs, [self._sums.array[_SHARED]], m.frame.device)

    def _of_color(self, m: Measured, color: ColorTerm) -> Launch:
        where = [m.poses.struct, m.frame.images]
        inputs = [m.view.surface, color.lights, *where, color.noise, self._about.array]
        return record(consider_color, self._count, inputs, [self._sums.array[_SHARED]], m.frame.device)

    def _of_lines(self, m: Measured, outline: OutlineTerm, lines: wp.array, k: int) -> Launch:
        where = [m.poses.struct, m.frame.images]
        widened = int(k == _FAR_LINES)
        inputs = [m.view.contour, lines, *where, outline.noise(), self._about.array, widened]
        return record(consider_lines, self._count, inputs, [self._sums.array[k]], m.frame.device)

    def _search(self, m: Measured, near: wp.array) -> list[Launch]:
        """Launches that seek outlines far away and then measure them where they were found."""
        search, window = line_search(m.sensor, _REACH), StepWindow()
        search.floor_px = m.sensor.contour.step_floor_px
        window.half, window.level = _SHARP_HALF_PX, m.sensor.contour.level_width_px
        contour, images, device = m.view.contour, m.frame.images, m.frame.device
        inputs = [contour, m.poses.struct, images, m.histograms.log_ratio, search]
        seek = record(measure_lines_by_region, self._lines.shape, inputs, [self._lines], device)
        inputs = [contour, near, images, window, search]
        return [seek, record(sharpen_lines, self._lines.shape, inputs, [self._lines], device)]

    def measure(self, velocity: Array | None = None) -> list[Considered]:
        """What the rows of every problem say; waits for the device.

        Args:
            velocity: Of the centre of every problem (P, 6), along the camera's axes; at rest if None.
        """
        shared, own, far = self._summed(self._full, velocity)
        used, sought = shared + own, shared + far
        return [Considered(Sums.unpack(u), Sums.unpack(s)) for u, s in zip(used, sought, strict=True)]

    def measure_used(self, velocity: Array | None = None) -> list[Sums]:
        """`Considered.used` alone, for a fraction of the time."""
        shared, own, _ = self._summed(self._near, velocity)
        return [Sums.unpack(used) for used in shared + own]

    def _summed(self, launch: Launch, velocity: Array | None) -> NDArray[np.float32]:
        self._about.host["velocity"] = 0.0 if velocity is None else velocity
        self._about.push()
        (launch if self._frame.has_color else self._plain)()
        self._sums.pull()
        return self._sums.host
