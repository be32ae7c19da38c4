"""Whether the pose of an object that was out of sight is the right one of those that fit.

Refinement is local: a mug found again may sit in an optimum with its handle behind it, with depth and outline
in perfect agreement. What one pose explains cannot tell that; looking for others that explain more can.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import angle_between
from dr_perception.tracking.pattern_memory import PatternMemory

_REGAINED = 0.5
"""Probability of a pose that a refinement reached from a place where the object was not expected any more."""
_FOUND = 0.9
"""Share of the searches in which an object that is there is found (`benchmarks/fit.py search`: 97 %)."""
_FOUND_LATER = 0.5
"""The same where another search has missed it: what hid it, as a model without the side seen, may stay.

Assumed: `benchmarks/track.py --recovery` has no such case.
"""
_SAFE = 0.9
_ALIKE = 0.05

Proposal = tuple[NDArray[np.float64], float]
"""A pose (4, 4) that a search found, and its probability."""


class Confidence:
    """Probability that no other optimum than the one being tracked is right.

    A pose regained after the object was lost starts with even odds. A search that looks for a better one and
    brings none raises the odds by how seldom a search misses an object that is there (Bayes' rule); by less
    where a search found the pose itself, and further ones tell no more. How the pattern shows at the pose,
    beside how it showed while the pose was certain, tells as well.
    """

    def __init__(self) -> None:
        """A pose that was given is not doubted."""
        self._before, self._misses = 1.0, 1.0
        self._is_found = False
        self._pattern, self._pattern_odds = PatternMemory(), 1.0

    @property
    def value(self) -> float:
        """The probability: what searches say, and how the pattern shows beside how it did before."""
        if self._before >= 1.0:
            return 1.0
        odds = self._pattern_odds * self._before / ((1.0 - self._before) * self._misses)
        return odds / (1.0 + odds)

    @property
    def in_doubt(self) -> bool:
        """Whether another search is worth its time."""
        return self.value < _SAFE

    @property
    def doubt(self) -> float:
        """Probability that the pose is another one, as a covariance counts it: while that is looked into.

        What is left afterwards is the score's. A tenth of a chance of being a diameter off would outweigh
        all that the images say of the pose, for ever.
        """
        return 1.0 - self.value if self.in_doubt else 0.0

    def given(self) -> None:
        """Somebody who knows told the pose."""
        self._before = 1.0

    def look(self, shown: float, possible: float) -> None:
        """Take in how the pattern shows at the newest pose.

        Args:
            shown: Share of the evidence that the pattern could give.
            possible: That evidence, a log likelihood ratio.
        """
        if self.in_doubt:
            self._pattern_odds = self._pattern.odds(shown, possible)
        else:
            self._pattern.learn(shown, possible)

    def update(self, found: float | None, unexpected: bool, challenged: bool) -> None:
        """Take in how the newest pose came about.

        Args:
            found: Probability that a search gave to it, if one led to it.
            unexpected: Whether the object had been out of sight, and may be anywhere.
            challenged: Whether it was compared with what a search for better poses brought, and kept.
        """
        if found is not None or unexpected:
            self._before, self._misses = max(found or 0.0, _REGAINED), 1.0
            self._is_found = found is not None
            self._pattern.begin()
            self._pattern_odds = 1.0
        elif challenged:
            self._misses = 1.0 - (_FOUND_LATER if self._is_found else _FOUND)


class Resemblance:
    """Tells whether two poses of a model are the same but for small errors, over its symmetries."""

    def __init__(self, model: ObjectModel, spread: NDArray[np.float64]) -> None:
        """Keep the model and the second moments ``tr(M) I - M`` of its surface about its centre (3, 3)."""
        self._model = model
        self._spread = spread

    def __call__(self, T_a: NDArray[np.float64], T_b: NDArray[np.float64]) -> bool:
        """Whether the surface moves by less than a twentieth of the diameter, root mean square."""
        model = self._model
        T_b = model.symmetries.closest(T_a, T_b)
        shift = (T_a[:3, :3] - T_b[:3, :3]) @ model.center + T_a[:3, 3] - T_b[:3, 3]
        angle = float(angle_between(T_a[:3, :3], T_b[:3, :3]))
        turned = 4.0 * math.sin(0.5 * angle) ** 2 * float(np.max(np.linalg.eigvalsh(self._spread)))
        return math.sqrt(float(shift @ shift) + turned) < _ALIKE * model.diameter_m
