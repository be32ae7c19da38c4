"""One least-squares problem over all blocks: linearise, solve, say what is known.

Levenberg-Marquardt on the robust objective, each step relinearised (Dellaert and Kaess, Factor Graphs for
Robot Perception, 2017, chapter 2). The first steps are plain Gauss-Newton: damping comes in with the first
step that would raise the objective, and grows by Nielsen's rule (1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.blocks import Indices, Layout, Values
from dr_perception.estimate.chain import Chain
from dr_perception.estimate.elimination import Dense, Factorisation, OpenDirection, Schur
from dr_perception.estimate.factors import Factors

Array = NDArray[np.float64]

_FIRST_DAMPING = 1.0e-4
_LEAST_INFORMATION = 1.0e-12
"""Stands for the information of an unknown that no factor sees, so that damping holds it."""


@dataclass(frozen=True)
class Stopping:
    """When a solution is good enough."""

    decrement: float = 1.0e-6
    """Squared length of a step in standard deviations of the estimate, below which no step is taken."""
    iterations: int = 50
    """Most steps, rejected ones included."""


@dataclass(frozen=True)
class Term:
    """What the n factors of a group add at some values."""

    H: Array
    """(n, m, m)."""
    g: Array
    """(n, m)."""
    chi2: Array
    """Squared normalised errors (n,)."""
    objective: float
    """Sum of the robust costs."""


@dataclass(frozen=True)
class Linearised:
    """Normal equations of a graph at some values: ``H step = -g``."""

    values: Values
    H: Array
    """(N, N)."""
    g: Array
    """(N,), half the derivative of the objective."""
    terms: tuple[Term, ...]
    """What each group added."""

    @property
    def chi2(self) -> tuple[Array, ...]:
        """Squared normalised error (n,) of every factor, by group."""
        return tuple(term.chi2 for term in self.terms)

    @property
    def objective(self) -> float:
        """Twice the negative logarithm of the probability, but for a constant."""
        return sum(term.objective for term in self.terms)


class Graph:
    """Blocks and the groups of factors between them.

    Attributes:
        layout: The blocks.
        factors: The groups.
        columns: Unknowns of every factor (n, m), by group.
    """

    def __init__(self, layout: Layout, factors: Sequence[Factors], eliminate: Iterable[str] = ()) -> None:
        """Find out which unknowns each factor sees.

        Args:
            layout: The blocks.
            factors: Groups of factors.
            eliminate: Blocks of one length that no factor joins with each other, to be eliminated first.

        Raises:
            KeyError: If a factor or ``eliminate`` names no block.
            ValueError: If blocks to be eliminated meet in a factor or differ in length.
        """
        self.layout = layout
        self.factors = tuple(factors)
        self.columns = tuple(group.columns(layout) for group in self.factors)
        self._eliminated = self._independent(tuple(eliminate))
        N = layout.size
        # A row of the normal equations is a row of the matrix and an entry of the gradient.
        self._places = tuple(
            np.concatenate(
                [(c[:, :, None] * (N + 1) + c[:, None, :]).reshape(-1), c.reshape(-1) * (N + 1) + N]
            )
            for c in self.columns
        )

    def _independent(self, names: tuple[str, ...]) -> Indices | None:
        if not names:
            return None
        if len({len(self.layout.span([name])) for name in names}) > 1:
            raise ValueError(f"blocks to be eliminated must have one length, got {names}")
        rows = self.layout.columns(names)
        block = np.full(self.layout.size, -1)
        block[rows] = np.arange(len(rows))[:, None]
        for columns in self.columns:
            met = block[columns]
            first = met.max(axis=1, keepdims=True, initial=-1)
            if ((met >= 0) & (met != first)).any():
                raise ValueError(f"a factor joins blocks that are to be eliminated, of {names}")
        return rows

    def linearise(self, values: Values) -> Linearised:
        """Normal equations at some values, robust weights taken there."""
        terms = tuple(self._term(i, values) for i in range(len(self.factors)))
        return Linearised(values, *self.assemble(dict(enumerate(terms))), terms)

    def assemble(self, terms: Mapping[int, Term]) -> tuple[Array, Array]:
        """Matrix (N, N) and gradient (N,) of the terms of some groups, by the group's number."""
        N = self.layout.size
        if not terms:
            return np.zeros((N, N)), np.zeros(N)
        entries = [part.reshape(-1) for term in terms.values() for part in (term.H, term.g)]
        places = np.concatenate([self._places[i] for i in terms])
        sums: Array = np.bincount(places, np.concatenate(entries), N * (N + 1)).astype(np.float64, copy=False)
        rows = sums.reshape(N, N + 1)
        return np.ascontiguousarray(rows[:, :N]), rows[:, N]

    def _term(self, i: int, values: Values) -> Term:
        """What one group adds."""
        e, J = self.factors[i].evaluate(values, self.columns[i])
        quadratic = self.factors[i].quadratic
        pull, chi2 = quadratic.pulled(e)
        H, limit = quadratic.H, quadratic.outlier_chi2
        objective = float(np.add.reduce(chi2))
        if limit < np.inf and chi2.max(initial=0.0) > limit:
            far = np.maximum(chi2 / limit, 1.0)
            H, pull = H / far[:, None, None], pull / far[:, None]
            objective = float((np.minimum(chi2, limit) + limit * np.log(far)).sum())
        JT = J.swapaxes(-1, -2)
        return Term(JT @ (H @ J), (JT @ pull[:, :, None])[..., 0], chi2, objective)

    def solve(self, values: Values, stopping: Stopping | None = None) -> Solution:
        """Most probable values, from given ones.

        The objective never rises. What the factors leave open stays nearly where it is; `Solution.covariance`
        refuses it, `Solution.open_directions` says what it is.
        """
        stopping = stopping or Stopping()
        here, damping, growth = self.linearise(values), 0.0, 2.0
        for _ in range(stopping.iterations):
            try:
                step = -self.factorise(here, damping).solve(here.g)
            except OpenDirection:
                damping, growth = max(damping * growth, _FIRST_DAMPING), 2.0 * growth
                continue
            if -(step @ here.g) < stopping.decrement:
                return Solution(self, here, True)
            there = self.linearise(here.values.moved(step))
            if there.objective <= here.objective:
                gain = float((here.objective - there.objective) / -(step @ here.g))
                damping, growth = damping * max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3), 2.0
                here = there
            else:
                damping, growth = max(damping * growth, _FIRST_DAMPING), 2.0 * growth
        return Solution(self, here, False)

    def factorise(self, linearised: Linearised, damping: float = 0.0) -> Factorisation:
        """The normal matrix, its diagonal raised by a share, ready to be solved with.

        Raises:
            OpenDirection: If it is singular.
        """
        H = linearised.H
        if damping > 0.0:
            H = H + damping * np.diag(np.maximum(H.diagonal(), _LEAST_INFORMATION))
        return Dense(H) if self._eliminated is None else Schur(H, self._eliminated)


@dataclass(frozen=True)
class Solution:
    """Values at which a graph was solved, and what is known of them."""

    graph: Graph
    linearised: Linearised
    converged: bool
    """Whether a further step, damped if need be, would be short against the estimate's own uncertainty."""

    @property
    def values(self) -> Values:
        """The estimate."""
        return self.linearised.values

    @property
    def chi2(self) -> tuple[Array, ...]:
        """Squared normalised error (n,) of every factor, by group."""
        return self.linearised.chi2

    @cached_property
    def inverse(self) -> Array:
        """Covariance (N, N) of all unknowns.

        Raises:
            ValueError: If the factors leave something open; it names a block.
        """
        N = self.graph.layout.size
        try:
            covariance = self.graph.factorise(self.linearised).solve(np.eye(N))
        except OpenDirection as error:
            layout = self.graph.layout
            name = next(n for n in layout.names if error.args[0] in layout.span([n]))
            raise ValueError(f"the factors leave block {name!r} open; it needs a prior") from None
        return 0.5 * (covariance + covariance.T)

    def covariance(self, names: Iterable[str], others: Iterable[str] | None = None) -> Array:
        """Marginal covariance (a, a) of blocks, or (a, b) between them and others; poses' as (v, w).

        Raises:
            KeyError: If there is no such block.
            ValueError: If the factors leave something open.
        """
        rows = self.graph.layout.span(names)
        columns = rows if others is None else self.graph.layout.span(others)
        return self.inverse[rows[:, None], columns]

    def poses_of(self, chain: Chain) -> tuple[Array, Array]:
        """Poses (n, 4, 4) of a chain and their covariances (n, 6, 6), along the axes of its parent."""
        columns = chain.columns(self.graph.layout)
        T, A = chain.evaluate(self.values, columns)
        return T, A @ self.inverse[columns[:, :, None], columns[:, None, :]] @ A.swapaxes(-1, -2)

    def open_directions(self, share: float = 1.0e-11) -> Array:
        """Directions (N, f) of the unknowns about which the factors say nothing.

        With unknowns in units of their own standard deviations, those whose information is below a share of
        the largest.
        """
        H = self.linearised.H
        scale = 1.0 / np.sqrt(np.maximum(H.diagonal(), _LEAST_INFORMATION))
        values, vectors = np.linalg.eigh(H * scale[:, None] * scale)
        return np.asarray(scale[:, None] * vectors[:, values <= share * values[-1]])
