"""Whether depths may be in another unit than is stated: then objects stand where no depth ever is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dr_perception.estimate.finding import Finding
from dr_perception.geometry.frame import Frame

_GRID = 40
"""Pixels that are looked at along either side of the depth image."""
_APART = math.sqrt(10.0)
"""Factor by which all depths but a twentieth are nearer, or farther, than the objects: half way to a unit."""
_TAIL = 0.05
_FRAMES = 3
"""In a row, so that a hand before the lens is no unit."""


class DepthUnit:
    """Compares depths with the distances of objects that are expected in view and not seen."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._strange = 0
        self.findings: tuple[Finding, ...] = ()

    def look(self, frame: Frame, distances_m: Sequence[float]) -> None:
        """Take in a frame.

        Args:
            frame: The frame.
            distances_m: Of the objects that are expected; none where one of them was seen.
        """
        power = self._power(frame, distances_m)
        self._strange = 0 if power == 0 else self._strange + 1
        if self._strange < _FRAMES:
            self.findings = ()
            return
        factor = 10.0**power
        side = "beyond" if power > 0 else "before"
        text = (
            f"nearly all depths are {side} the objects, {factor:g} times as far as they are expected: is "
            f"the depth's unit (depth_scale_m = {frame.depth_scale_m:g}) right?"
        )
        self.findings = (Finding("depth", "unit", factor, 0.0, text),)

    @staticmethod
    def _power(frame: Frame, distances_m: Sequence[float]) -> int:
        """Power of ten that depths are off by; 0 where they might be right."""
        if frame.depth is None or not distances_m:
            return 0
        rows, columns = (max(n // _GRID, 1) for n in frame.depth.shape)
        depth = np.asarray(frame.depth[::rows, ::columns], dtype=np.float64) * frame.depth_scale_m
        depth = depth[depth > 0.0]
        if depth.size == 0:
            return 0
        nearest, farthest = np.quantile(depth, [_TAIL, 1.0 - _TAIL])
        if farthest * _APART < min(distances_m) or nearest > _APART * max(distances_m):
            return round(math.log10(float(np.median(depth)) / float(np.median(distances_m))))
        return 0
