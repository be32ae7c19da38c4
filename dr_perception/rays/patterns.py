"""Sample points for Monte-Carlo integrals over pixels and over edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Patterns `pixel_pattern` knows.
PIXEL_PATTERNS = ("grid", "stratified", "sobol", "random")
#: Patterns `line_pattern` knows.
LINE_PATTERNS = ("random", "stratified", "antithetic", "low_discrepancy")

_GOLDEN = 0.6180339887498949


def pixel_pattern(pattern: str, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Points in the unit square.

    Args:
        pattern: ``"grid"`` (cell centres), ``"stratified"`` (one jittered point a cell), ``"sobol"``
            (scrambled Sobol sequence, Owen 1998) or ``"random"``.
        samples: Number of points; a square number for grid and stratified.
        rng: Source of the random ones.

    Returns:
        Points in [0, 1), shape (samples, 2).

    Raises:
        ValueError: On an unknown pattern or a number of samples it cannot have.
    """
    _check(pattern, PIXEL_PATTERNS, samples)
    if pattern == "random":
        return rng.uniform(size=(samples, 2)).astype(np.float32)
    if pattern == "sobol":
        from scipy.stats import qmc

        exponent = int(np.ceil(np.log2(samples)))
        points = qmc.Sobol(2, scramble=True, rng=rng).random_base2(exponent)[:samples]
        return np.minimum(points, 1.0 - 1e-7).astype(np.float32)
    side = round(np.sqrt(samples))
    if side * side != samples:
        raise ValueError(f"pattern {pattern!r} needs a square number of samples, got {samples}")
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    inside = rng.uniform(size=cells.shape) if pattern == "stratified" else 0.5
    return ((cells + inside) / side).astype(np.float32)


def line_pattern(pattern: str, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Points in the unit interval whose mean of a function estimates its integral without bias.

    Args:
        pattern: ``"random"``; ``"stratified"`` (one jittered point per interval of 1/samples);
            ``"antithetic"`` (a pair mirrored in each interval of 2/samples, which integrates linear functions
            exactly); or ``"low_discrepancy"`` (multiples of the golden ratio with a random start, Kronecker's
            sequence).
        samples: Number of points; even for antithetic.
        rng: Source of randomness.

    Returns:
        Points in [0, 1), shape (samples,).

    Raises:
        ValueError: On an unknown pattern or a number of samples it cannot have.
    """
    _check(pattern, LINE_PATTERNS, samples)
    if pattern == "random":
        points = rng.uniform(size=samples)
    elif pattern == "low_discrepancy":
        points = np.mod(rng.uniform() + _GOLDEN * np.arange(samples), 1.0)
    elif pattern == "stratified":
        points = (np.arange(samples) + rng.uniform(size=samples)) / samples
    else:
        if samples % 2:
            raise ValueError(f"antithetic pairs need an even number of samples, got {samples}")
        pairs = samples // 2
        jitter = rng.uniform(size=pairs)
        first, second = (np.arange(pairs) + jitter) / pairs, (np.arange(pairs) + 1.0 - jitter) / pairs
        points = np.stack([first, second], axis=1).ravel()
    return np.clip(points, 0.0, 1.0 - 1e-7).astype(np.float32)


def _check(pattern: str, known: tuple[str, ...], samples: int) -> None:
    if pattern not in known:
        raise ValueError(f"pattern must be one of {known}, got {pattern!r}")
    if samples < 1:
        raise ValueError(f"expected at least one sample, got {samples}")
