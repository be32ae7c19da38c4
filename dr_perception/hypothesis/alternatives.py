"""What a pose may be instead: what its shape hardly tells from it, and what the images leave open.

One place for fits and searches. All poses are of the model's centre frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import retract
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries
from dr_perception.hypothesis.spin import spin_by_color
from dr_perception.hypothesis.tables import SearchModel

_SLIDES = 8
"""Poses to either side along what is left open."""
_SLIDE = 0.8
"""The farthest of them, of the reach."""


@dataclass(frozen=True)
class Guess:
    """Where a pose is expected."""

    T_cam_center: NDArray[np.float64]
    """The pose (4, 4)."""
    sigma_rad: float
    """Standard deviation of its turn."""


def twins(search: SearchModel, T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (P K, 4, 4) that have nearly the shape of poses (P, 4, 4); colours may tell them apart.

    The twins are found once per model (`SearchModel.twins`). Without them 8 instead of 6 of 48 searches in
    masks of kinds of objects were wrong, and in real frames 4 instead of 3 of 89 in masks and 15 instead of
    14 of 59 in whole frames (`benchmarks/real.py`).
    """
    return np.asarray((T[:, None] @ search.twins).reshape(-1, 4, 4))


def slides(
    T: NDArray[np.float64], information: NDArray[np.float64], diameter_m: float, reach_m: float
) -> NDArray[np.float64]:
    """Poses (N, 4, 4) along the motion that a refined pose (4, 4) knows least about, itself in the middle.

    A mug whose handle is at the wrong place lies on its measured surface like the right one, and only a turn
    about its axis leads from one to the other: such a valley is the direction of least ``information``
    (6, 6), followed as one motion up to most of ``reach_m``. Turns count by how far they move the surface.
    Without them 19 instead of 11 of 2,400 simulated fits were wrong and 29 instead of 15 more than 2 mm off
    (`benchmarks/fit.py refine`, five seeds).
    """
    scale = np.repeat([1.0, 2.0 / diameter_m], 3)
    valley = np.linalg.eigh(information * np.outer(scale, scale))[1][:, 0] * scale
    way = _SLIDE * reach_m * np.linspace(-1.0, 1.0, 2 * _SLIDES + 1)
    return retract(T, way[:, None] * valley)


def most_probable_turn(
    search: SearchModel,
    frame: Frame,
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
    guess: Guess,
) -> NDArray[np.float64]:
    """A pose (4, 4) turned about the axis of revolution that its shape nearly has, if any.

    Depth and outlines know no turn: it is that of the guess, and where a label shows more, that of the label
    (`spin_by_color`, which explains ``depth`` and ``tau_m``). Of fits to frames of a
    bottle and a toothed disc from up to 50 mm and 30 degrees off, without the turn of the guess 26 instead of
    11 of 108 to the disc were wrong; without the label 10 instead of none of 108 to the bottle were more
    than 2 mm off.
    """
    if search.axis is None:
        return T
    T = Symmetries(continuous=(ContinuousSymmetry(*search.axis),)).closest(guess.T_cam_center, T)
    if search.label is None or frame.color is None:
        return T
    return spin_by_color(search.label, frame.camera, frame.color, depth, T, tau_m, guess.sigma_rad)
