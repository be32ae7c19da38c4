"""How plainly the pattern of an object shows, and what that says of a pose in doubt.

What share of the evidence that a model's pattern could give shows in the images depends on the scan, the
light and the camera: 0.3 with one, 0.05 with another, so that a single frame can hardly tell a faint pattern
from the wrong one. An object that was tracked has shown how plainly its own pattern shows.
"""

from __future__ import annotations

import math

_LEAST_POSSIBLE = 8.0
"""Evidence that a view must be able to give to count: less than the noise of three tells nothing."""
_NOISE = 3.0
"""Standard deviation of the evidence that pixels give to a pattern which is not there."""
_WRONG = 0.04
"""That of the share at wrong poses, beyond noise (`benchmarks/calibrate_posterior.py`: 0.03 to 0.05)."""
_SPREAD = 0.3
"""Share by which what shows changes with view and light, relative."""
_ODD = 0.01
"""Share of right poses that look as wrong ones do."""
_DOUBTFUL = 0.1
"""How many times likelier a look must be at the right pose to be learned: a pose may slip unnoticed."""
_LONGEST = 50.0
"""Looks that are remembered."""
_NEWEST = 0.3
"""Weight of the newest look at a pose in doubt."""


class PatternMemory:
    """Learns how an object looks while its pose is certain, and compares it with that while it is not."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._looks = self._mean = self._variance = 0.0
        self._recent: float | None = None

    def learn(self, shown: float, possible: float) -> None:
        """Take in a look at a pose that is certain.

        Args:
            shown: Share of the evidence that the pattern could give.
            possible: That evidence, a log likelihood ratio.
        """
        self._recent = None
        if possible < _LEAST_POSSIBLE or self._ratio(shown, possible) < _DOUBTFUL:
            return
        self._looks = min(self._looks + 1.0, _LONGEST)
        off = shown - self._mean
        self._mean += off / self._looks
        self._variance += (off * off - self._variance) / self._looks

    def begin(self) -> None:
        """The pose is another one from now on."""
        self._recent = None

    def odds(self, shown: float, possible: float) -> float:
        """How many times likelier the looks since `begin` are at the right pose than at a wrong one, up to 1.

        A pattern that shows proves nothing: a mug with level bands shows them at any turn. When such looks
        raised the odds up to five times, a mug regained 40 degrees off was believed for 10 frames
        (`benchmarks/honesty.py`, frozen frames of scene 1).
        """
        if possible < _LEAST_POSSIBLE:
            return 1.0
        recent = shown if self._recent is None else self._recent + _NEWEST * (shown - self._recent)
        self._recent = recent
        return self._ratio(recent, possible)

    def _ratio(self, shown: float, possible: float) -> float:
        if self._looks == 0.0:
            return 1.0
        noise = (_NOISE / possible) ** 2
        as_before = _gauss(shown - self._mean, self._variance + (_SPREAD * self._mean) ** 2 + noise)
        otherwise = _gauss(shown, _WRONG**2 + noise)
        return min((1.0 - _ODD) * as_before / otherwise + _ODD, 1.0)


def _gauss(x: float, variance: float) -> float:
    """Density of a Gaussian number about zero; never so small that ratios have no meaning."""
    return max(math.exp(-0.5 * x * x / variance), 1e-12) / math.sqrt(variance)
