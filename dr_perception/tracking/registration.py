"""Depth images that are shifted against their colour images are put back, once the shift is certain.

A shift that is known to a fraction of a pixel still costs every frame what weights and pairs do under it to a
pose: with a depth camera 15 mm beside the colour camera, poses were 5 to 15 mm off while the shift was known
to 0.2 px. What is left after whole pixels were taken out is estimated on, as it was before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.mixture import Weighted
from dr_perception.geometry.frame import Frame
from dr_perception.measure.consider import NAMES, NUM_PARAMETERS

_CERTAIN = 4.0
"""Standard deviations that a shift must differ from what is taken out, whatever else is wrong."""
_MOVES = 0.75
"""Pixels by which an estimate must differ from what is taken out: rounding is not to go to and fro."""
_SHIFT = [NAMES.index("depth_shift_u"), NAMES.index("depth_shift_v")]


class Registration:
    """The shift of the depth image against the colour image that is taken out of the frames.

    Attributes:
        taken_out: Consider parameters (T,) that the newest frame does not show any more.
    """

    def __init__(self) -> None:
        """Nothing is taken out."""
        self.taken_out = np.zeros(NUM_PARAMETERS)
        self._known = np.zeros(2)

    def learn(self, errors: Weighted) -> None:
        """Take in what is known of the parameters by now, for the frames to come."""
        mean = errors.mean[_SHIFT]
        variance = np.diag(errors.second_moment)[_SHIFT] - mean**2
        move = mean - self._known
        certain = np.abs(move) > _CERTAIN * np.sqrt(np.maximum(variance, 0.0))
        moves = np.where(certain & (np.abs(move) > _MOVES), np.round(move), 0.0)
        self._known += moves

    def corrected(self, frame: Frame) -> Frame:
        """The next frame with its depths where the colour image shows what they belong to."""
        self.taken_out[_SHIFT] = self._known
        u_px, v_px = (int(x) for x in self._known)
        if frame.depth is None or (u_px, v_px) == (0, 0):
            return frame
        return replace(frame, depth=shifted_back(frame.depth, u_px, v_px))


def shifted_back(depth: NDArray[Any], u_px: int, v_px: int) -> NDArray[Any]:
    """A depth image (H, W) moved by whole pixels; what moves in from outside was not measured, 0.

    Args:
        depth: The image.
        u_px: By how many columns it is shifted to the right.
        v_px: By how many rows it is shifted down.
    """
    out = np.zeros_like(depth)
    into, come_from = zip(
        *(_overlap(n, s) for n, s in zip(depth.shape, (v_px, u_px), strict=True)), strict=True
    )
    out[into] = depth[come_from]
    return out


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """Where pixels go to and where they come from along one axis."""
    kept = max(size - abs(shift), 0)
    first_into, first_from = max(-shift, 0), max(shift, 0)
    return slice(first_into, first_into + kept), slice(first_from, first_from + kept)
