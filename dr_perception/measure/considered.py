"""What the images say of consider parameters at the pose that a refinement ended at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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
WEAK = np.diag(np.repeat([0.1, 1.0], 3) ** -2)
"""Information of a pose that is known to 0.1 m and a radian: what nothing measures must not be singular."""
_UPPER = np.zeros((6, 6), dtype=np.intp)
_UPPER[np.triu_indices(6)] = np.arange(21)
_UPPER = np.maximum(_UPPER, _UPPER.T)
"""Where each element of a pose's information stands among the sums: its upper triangle comes first."""
_ENDS = np.cumsum([21, 6, 6 * NUM_PARAMETERS, NUM_PARAMETERS**2, NUM_PARAMETERS])
"""Where the pose's information, gradient, sums across, those of the parameters and their gradient end."""


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
        device = measured.frame.device
        self._lines = wp.zeros(measured.view.contour.samples.shape, dtype=ContourLine, device=device)
        depth, outline, color = terms
        assert isinstance(depth, DepthTerm) and isinstance(outline, OutlineTerm)
        assert isinstance(color, ColorTerm)
        self._seek = capture(self._search(measured, outline.lines), device)
        self._used = _Rows(measured, (depth, outline, color), outline.lines, center)
        self._used.about.host["fitted"] = 1
        self._far = _Rows(measured, (depth, outline, color), self._lines, center)

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

    def measure(self, velocity: Array | None = None, theta: Array | None = None) -> list[Considered]:
        """What the rows of every problem say; waits for the device.

        Args:
            velocity: Of the centre of every problem (P, 6), along the camera's axes; at rest if None.
            theta: Parameters (P, T) as estimated so far, by which outliers are told; none if None.
        """
        if self._frame.has_color:
            self._seek()
        far = self._far.sums(self._frame.has_color, velocity)
        if theta is not None and theta.any():
            xi = [np.linalg.solve(s.H + WEAK, s.g - s.H_xt @ t) for s, t in zip(far, theta, strict=True)]
            far = self._far.sums(self._frame.has_color, velocity, theta, np.stack(xi))
        used = self.measure_used(velocity)
        return [Considered(u, f) for u, f in zip(used, far, strict=True)]

    def measure_used(self, velocity: Array | None = None) -> list[Sums]:
        """`Considered.used` alone, for a fraction of the time."""
        return self._used.sums(self._frame.has_color, velocity)


class _Rows:
    """Sums over the rows of a pose with one set of lines."""

    def __init__(
        self, m: Measured, terms: tuple[DepthTerm, OutlineTerm, ColorTerm], lines: wp.array, center: Array
    ) -> None:
        self._m, self._count, device = m, m.view.surface.samples.shape[0], m.frame.device
        self._sums = SharedArray((self._count, NUM_CROSS), float, device)
        self.about = SharedArray(self._count, Circumstances, device)
        self.about.host["center"] = center
        depth, outline, color = terms
        plain = [fill(self._sums.array, 0), self._of_depth(depth)]
        self._plain = capture(plain, device)
        self._full = capture([*plain, self._of_color(color), self._of_lines(outline, lines)], device)

    def _of_depth(self, depth: DepthTerm) -> Launch:
        return self._record(consider_depth, [self._m.view.surface, depth.points], depth.noise())

    def _of_color(self, color: ColorTerm) -> Launch:
        return self._record(consider_color, [self._m.view.surface, color.lights], color.noise)

    def _of_lines(self, outline: OutlineTerm, lines: wp.array) -> Launch:
        return self._record(consider_lines, [self._m.view.contour, lines], outline.noise())

    def _record(self, kernel: wp.Kernel, what: list[Any], noise: Any) -> Launch:
        frame = self._m.frame
        inputs = [*what, self._m.poses.struct, frame.images, noise, self.about.array]
        return record(kernel, self._count, inputs, [self._sums.array], frame.device)

    def sums(
        self,
        has_color: bool,
        velocity: Array | None,
        theta: Array | float = 0.0,
        xi: Array | float = 0.0,
    ) -> list[Sums]:
        """Those of every problem; waits for the device."""
        about = self.about.host
        about["velocity"] = 0.0 if velocity is None else velocity
        about["theta"], about["xi"] = theta, xi
        self.about.push()
        (self._full if has_color else self._plain)()
        self._sums.pull()
        return [Sums.unpack(one) for one in self._sums.host]
