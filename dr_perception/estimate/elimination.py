"""Solving with normal matrices: all at once, or with blocks eliminated that do not meet each other.

With ``H = [[E, C], [C^T, R]]`` and E block diagonal, eliminating E leaves the Schur complement
``S = R - C^T E^-1 C`` (Triggs et al., Bundle Adjustment: A Modern Synthesis, 2000, section 6.1). It pays
where there are many such blocks: a small inverse each, and a system no larger than S.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_LEAST_PIVOT = 1.0e-12
"""Share of an unknown's own information that must be left when those before it are eliminated.

Rounding of a few hundred terms in double precision leaves 1e-14 to 1e-13 of what cancels exactly.
"""


def inverse(A: Array) -> Array:
    """Inverses of matrices (..., n, n)."""
    return np.asarray(np.linalg.inv(A), dtype=np.float64)


def others(size: int, gone: Indices) -> Indices:
    """The rows of a matrix that are not among some, in order."""
    stay = np.ones(size, dtype=bool)
    stay[gone] = False
    return np.flatnonzero(stay)


def unit_scale(diagonal: Array) -> Array:
    """What turns information (..., N) of single unknowns into 1; 0 where there is none."""
    return np.divide(1.0, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0.0)


class OpenDirection(ValueError):
    """A normal matrix is singular: the factors leave an unknown open, whose index is the argument."""


class Factorisation(Protocol):
    """A symmetric positive definite matrix, ready to be solved with."""

    def solve(self, B: Array) -> Array:
        """``H^-1 B`` for a vector (N,) or columns (N, m)."""


class Dense:
    """The whole matrix; its Cholesky factor shows that it is regular."""

    def __init__(self, H: Array, own: Array | None = None, rows: Indices | None = None) -> None:
        """Look at the pivots.

        Args:
            H: The matrix (N, N).
            own: What its diagonal was before others were eliminated (N,); the diagonal itself if None.
            rows: Its unknowns in the whole problem (N,); their numbers if None.

        Raises:
            OpenDirection: If the matrix is singular to rounding.
        """
        _require(
            _pivots(H),
            H.diagonal() if own is None else own,
            H,
            np.arange(len(H)) if rows is None else rows,
        )
        self._H = H

    def solve(self, B: Array) -> Array:
        """``H^-1 B``."""
        return np.asarray(np.linalg.solve(self._H, B))


class Schur:
    """Blocks of one size, which do not meet each other, eliminated before the rest."""

    def __init__(self, H: Array, eliminated: Indices) -> None:
        """Eliminate.

        Args:
            H: The matrix (N, N).
            eliminated: Rows of every eliminated block (E, b).

        Raises:
            OpenDirection: If the matrix is singular to rounding.
        """
        gone = self._gone = eliminated.reshape(-1)
        rest = self._rest = others(len(H), gone)
        E = H[eliminated[:, :, None], eliminated[:, None, :]]
        _require(_pivots(E), H.diagonal()[eliminated], E, eliminated)
        self._E_inverse = inverse(E)
        C = H[gone[:, None], rest]
        self._Y = self._within(C)
        self._S = Dense(H[rest[:, None], rest] - C.T @ self._Y, H.diagonal()[rest], rest)

    def _within(self, B: Array) -> Array:
        """``E^-1 B`` for rows of the eliminated blocks."""
        blocks = B.reshape(*self._E_inverse.shape[:2], -1)
        return np.asarray((self._E_inverse @ blocks).reshape(B.shape))

    def solve(self, B: Array) -> Array:
        """``H^-1 B``."""
        X = np.empty_like(B)
        X[self._rest] = self._S.solve(B[self._rest] - self._Y.T @ B[self._gone])
        X[self._gone] = self._within(B[self._gone]) - self._Y @ X[self._rest]
        return X


def _pivots(H: Array) -> Array:
    """Squared pivots (..., b) of the Cholesky factors of matrices (..., b, b); zeros if one has none."""
    try:
        return np.asarray(np.linalg.cholesky(H).diagonal(axis1=-2, axis2=-1) ** 2)
    except np.linalg.LinAlgError:
        return np.zeros(H.shape[:-1])


def _require(left: Array, own: Array, H: Array, rows: Indices) -> None:
    """Refuse matrices (..., b, b) whose pivots (..., b) are nothing but rounding of the diagonal (..., b).

    The error names the row, of ``rows`` (..., b), that has the largest part in what is open.
    """
    if (left <= _LEAST_PIVOT * own).any():
        scale = unit_scale(own)
        values, vectors = np.linalg.eigh(scale[..., :, None] * H * scale[..., None, :])
        k = int(np.argmin(values[..., 0]))
        worst = np.abs(vectors[..., 0].reshape(-1, own.shape[-1])[k]).argmax()
        raise OpenDirection(int(rows.reshape(-1, own.shape[-1])[k, worst]))
