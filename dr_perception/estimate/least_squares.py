"""Least squares over named blocks with bounds and priors, and what is known at the optimum.

For few unknowns and many residuals, such as a calibration from images: the problem gives its normal
equations, of whose residuals nothing else is asked. Levenberg-Marquardt with Nielsen's damping (1999); bounds
by holding numbers that would leave them (projected Newton, Bertsekas 1982).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.first_order import Values
from dr_perception.estimate.gauges import Gauge, find_gauges, open_directions
from dr_perception.estimate.unknowns import Prior, Unknowns

Array = NDArray[np.float64]

__all__ = ["LeastSquaresResult", "Normal", "Problem", "solve_least_squares"]

_FIRST_DAMPING = 1.0e-4
_LEAST_DAMPING = 1.0e-9
_MOST_DAMPING = 1.0e8
"""A step is then a hundred-millionth of that of the plain problem: what remains is rounding."""
_OPEN = 1.0e-9
"""Share of its own information that a direction must have to be moved along: 1e-7 in single precision is
the rounding of a derivative, its square 1e-14 that of the information, of thousands of residuals."""


@dataclass(frozen=True)
class Normal:
    """Normal equations of the unknowns in units of their scales: ``H step = -g``."""

    H: Array
    """(N, N)."""
    g: Array
    """(N,), half the derivative of chi^2."""
    chi2: float
    """Sum of the squared normalised residuals."""


class Problem(Protocol):
    """What is minimised."""

    unknowns: Unknowns
    """The unknowns."""
    rows: int
    """Number of residuals."""

    def chi2(self, values: Values) -> float:
        """Sum of squared normalised residuals."""

    def linearise(self, values: Values) -> Normal:
        """Normal equations, and the sum."""


@dataclass(frozen=True)
class LeastSquaresResult:
    """Outcome of a minimisation, and what is known there.

    Attributes:
        values: Best values of the blocks.
        chi2: Sum of the squared normalised residuals there, priors not counted.
        rows: Number of residuals.
        iterations: Steps that were tried.
        converged: Whether a further step would be short against the uncertainty of the estimate.
        reason: What stopped it, in words.
        gauges: What the data and the priors leave open.
        unknowns: Which numbers were sought.
        history: chi^2 with priors after every accepted step, starting with the first.
    """

    values: Values
    chi2: float
    rows: int
    iterations: int
    converged: bool
    reason: str
    gauges: tuple[Gauge, ...]
    unknowns: Unknowns = field(repr=False)
    information: Array = field(repr=False)
    """Normal matrix (N, N) at the end in units of the scales, with priors; rows of numbers that stopped at a
    bound are like the others."""
    history: tuple[float, ...] = field(default=(), repr=False)

    @property
    def noise_factor(self) -> float:
        """How much larger the residuals are than their noise says, 1 where model and noise are right."""
        return float(np.sqrt(self.chi2 / max(self.rows - self.unknowns.size, 1)))

    def covariance(self, names: Iterable[str]) -> Array:
        """Covariance of the unknown numbers of blocks, one after the other, with their units.

        Poses' as (v, w). Numbers that are known have no row. It is that of the noise that was given; where
        `noise_factor` is above one, residuals were larger.

        Raises:
            ValueError: A block takes part in a gauge, or there is no such block.
        """
        names = list(names)
        if missing := [name for name in names if name not in self.unknowns.index]:
            raise ValueError(f"unknown blocks {missing}, expected names out of {list(self.unknowns.index)}")
        at = np.concatenate([p[p >= 0] for p in (self.unknowns.index[name] for name in names)])
        if open_ones := [g for g in self.gauges if self._open_share()[at].any() and {*g.blocks} & {*names}]:
            raise ValueError(f"the covariance of {names} is not finite. {open_ones[0]}: give a prior")
        scale = self.unknowns.scale[at]
        return np.asarray(self._inverse()[np.ix_(at, at)] * scale[:, None] * scale)

    def sigma(self, name: str) -> Array:
        """Standard deviations of the numbers of a block, in the shape of its gradient.

        0 where a number is known, infinite where it takes part in a gauge.
        """
        place = self.unknowns.index[name]
        free = place >= 0
        out, at = np.zeros(place.shape), place[free]
        known = np.sqrt(self._inverse().diagonal()[at]) * self.unknowns.scale[at]
        out[free] = np.where(self._open_share()[at], np.inf, known)
        return out

    def _open_share(self) -> NDArray[np.bool_]:
        """Which unknowns take part in a gauge."""
        share = sum(((g.directions**2).sum(1) for g in self.gauges), np.zeros(self.unknowns.size))
        return np.asarray(share > 1e-4)  # a hundredth of the typical change

    def _inverse(self) -> Array:
        """Inverse of the information where it says anything; gauges are left out."""
        N = self.unknowns.size
        gauge = np.concatenate([np.zeros((N, 0)), *(g.directions for g in self.gauges)], axis=1)
        rest = np.linalg.svd(gauge, full_matrices=True)[0][:, gauge.shape[1] :]
        return np.asarray(rest @ np.linalg.inv(rest.T @ self.information @ rest) @ rest.T)


class _WithPriors:
    """A problem with its priors added."""

    def __init__(self, problem: Problem, priors: Mapping[str, Prior]) -> None:
        self._problem, self._priors = problem, priors

    def linearise(self, values: Values) -> Normal:
        data = self._problem.linearise(values)
        H, g, chi2 = data.H, data.g, data.chi2
        for more in self._terms(values):
            H, g, chi2 = H + more[0], g + more[1], chi2 + more[2]
        return Normal(H, g, chi2)

    def chi2(self, values: Values) -> float:
        return self._problem.chi2(values) + self.of_priors(values)

    def of_priors(self, values: Values) -> float:
        return sum(term[2] for term in self._terms(values))

    def _terms(self, values: Values) -> list[tuple[Array, Array, float]]:
        return [p.normal(name, values, self._problem.unknowns) for name, p in self._priors.items()]


def solve_least_squares(
    problem: Problem,
    *,
    start: Values | None = None,
    priors: Mapping[str, Prior] | None = None,
    iterations: int = 50,
    tolerance: float = 1e-4,
) -> LeastSquaresResult:
    """Most probable values of the unknowns, from given ones; chi^2 never rises.

    Args:
        problem: What is minimised.
        start: First values; None: those of the blocks.
        priors: Gaussians by the names of blocks.
        iterations: Most steps, rejected ones included.
        tolerance: Stop when a step would lower chi^2 by less: 1e-4 is a hundredth of a standard deviation.

    Raises:
        ValueError: Values, residuals or priors that are not finite or do not fit.
    """
    unknowns, whole = problem.unknowns, _WithPriors(problem, priors or {})
    values = unknowns.start() if start is None else unknowns.moved(start, np.zeros(unknowns.size))
    here, damping, growth, tried = whole.linearise(values), _FIRST_DAMPING, 2.0, 0
    history = [_finite(here.chi2)]
    reason = "limit of iterations"
    while tried < iterations:
        low, high = unknowns.room(values)
        if _decrement(here, low, high) < tolerance:
            reason = "a further step would be short against the uncertainty of the estimate"
            break
        step = np.clip(_step(here, damping, low, high), low, high)
        promised = -float(2.0 * here.g @ step + step @ here.H @ step)
        there = unknowns.moved(values, step)
        tried += 1
        chi2 = whole.chi2(there)
        if chi2 < here.chi2:
            gain = (here.chi2 - chi2) / max(promised, 1e-300)
            damping = max(damping * max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3), _LEAST_DAMPING)
            values, here, growth = there, whole.linearise(there), 2.0
            history.append(here.chi2)
        elif (new := _nearer(whole, there, here, low, high)) is not None:
            values, here, growth = there, new, 2.0
            history.append(here.chi2)
        elif damping > _MOST_DAMPING:
            reason = "no step lowers the cost: what is left is rounding of the residuals"
            break
        else:
            damping, growth = damping * growth, 2.0 * growth
    low, high = unknowns.room(values)
    converged = _decrement(here, low, high) < (tolerance if tried == iterations else 1.0)
    gauges = find_gauges(open_directions(here.H), unknowns.owner)
    chi2 = here.chi2 - whole.of_priors(values)
    return LeastSquaresResult(
        values, chi2, problem.rows, tried, converged, reason, gauges, unknowns, here.H, tuple(history)
    )


def _nearer(whole: _WithPriors, there: Values, here: Normal, low: Array, high: Array) -> Normal | None:
    """Normal equations at a step that raised chi^2, if it halved what Newton's step would be.

    The natural monotonicity test (Deuflhard 2011, section 3.1.1).
    Where single residuals jump, chi^2 has many small minima; its slope without the jumps does not.
    """
    new = whole.linearise(there)
    left = _decrement(Normal(here.H, new.g, 0.0), low, high)
    return new if left < 0.25 * _decrement(here, low, high) else None


def _finite(chi2: float) -> float:
    if not np.isfinite(chi2):
        raise ValueError(f"the residuals must be finite, got chi^2 = {chi2}")
    return chi2


def _step(normal: Normal, damping: float, low: Array, high: Array) -> Array:
    """Damped step; numbers at a bound that would be left stay there."""
    free = ~(((low >= 0.0) & (normal.g > 0.0)) | ((high <= 0.0) & (normal.g < 0.0)))
    H, g = normal.H[np.ix_(free, free)], normal.g[free]
    # An unknown of which nothing is seen counts as seen by one residual per typical change, so that it stays.
    scale = 1.0 / np.sqrt(np.maximum(H.diagonal(), 1.0))
    values, vectors = np.linalg.eigh(H * scale[:, None] * scale)
    inverse = np.where(values > _OPEN, 1.0 / (np.maximum(values, _OPEN) + damping), 0.0)
    step = np.zeros(len(free))
    step[free] = -scale * (vectors @ (inverse * (vectors.T @ (scale * g))))
    return step


def _decrement(normal: Normal, low: Array, high: Array) -> float:
    """By how much chi^2 would fall, to second order."""
    return float(-normal.g @ np.clip(_step(normal, _LEAST_DAMPING, low, high), low, high))
