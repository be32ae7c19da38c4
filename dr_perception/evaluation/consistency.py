"""Is the reported uncertainty true? Normalised errors, score calibration, jitter and drift.

Reference: Bar-Shalom, Li and Kirubarajan, "Estimation with applications to tracking and navigation", 2001,
section 5.4 (normalised estimation error squared, its chi-square bounds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from dr_perception.geometry.se3 import local
from dr_perception.geometry.symmetry import Symmetries

__all__ = [
    "Calibration",
    "Consistency",
    "consistency",
    "drift",
    "jitter",
    "nees",
    "observable_basis",
    "pose_nees",
    "reliability",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Consistency:
    """Normalised errors of one object against their chi-square distribution."""

    mean: float
    """Average NEES; the degrees of freedom when the covariance is true, larger when it is too small."""
    bounds: tuple[float, float]
    """95 % interval of the average of independent consistent errors."""
    share_inside_95: float
    """Share of the errors below the 95 % quantile; 0.95 when the covariance is true."""
    dof: int
    count: int


@dataclass(frozen=True)
class Calibration:
    """Reliability of a score that claims to be a probability."""

    predicted: Array
    """(B,) mean score of each occupied bin."""
    observed: Array
    """(B,) share of right poses of each occupied bin."""
    count: NDArray[np.int64]
    """(B,) number of poses of each occupied bin."""
    expected_error: float
    """Count-weighted mean of |predicted - observed| (expected calibration error)."""
    brier: float
    """Mean squared difference of score and outcome (Brier 1950)."""


def nees(errors: ArrayLike, covariances: ArrayLike) -> Array:
    """Normalised estimation error squared ``e^T C^-1 e``.

    Args:
        errors: (N, D) errors.
        covariances: (N, D, D) reported covariances in the same order and axes.

    Returns:
        (N,) values, chi-square with D degrees of freedom when the covariances are true. NaN where an error is
        not finite, inf where a covariance is not positive definite.

    Raises:
        ValueError: The shapes do not fit.
    """
    errors = np.atleast_2d(np.asarray(errors, dtype=np.float64))
    covariances = np.asarray(covariances, dtype=np.float64)
    count, dof = errors.shape
    if covariances.shape != (count, dof, dof):
        raise ValueError(f"covariances must have shape {(count, dof, dof)}, got {covariances.shape}")
    return np.array([_nees(e, C) for e, C in zip(errors, covariances, strict=True)])


def observable_basis(T_cam_obj: ArrayLike, symmetries: Symmetries) -> Array:
    """(D, 6) rows that span the pose directions which the symmetry of the object leaves observable.

    Turning the object about a continuous axis changes nothing that can be seen; the rows are orthogonal to
    those directions in the (v, w) tangent of ``T_cam_obj``. Without continuous symmetry this is the identity.
    """
    T = np.asarray(T_cam_obj, dtype=np.float64)
    axes = [
        (np.asarray(s.axis, dtype=np.float64), np.asarray(s.offset, dtype=np.float64))
        for s in symmetries.continuous
    ]
    if len(axes) > 1:  # turns about two axes through a point generate every rotation about it
        axes.append((np.cross(axes[0][0], axes[1][0]), axes[0][1]))
    hidden = [_turn(T[:3, :3] @ axis, T[:3, :3] @ offset) for axis, offset in axes]
    if not hidden:
        return np.eye(6)
    _, singular, rows = np.linalg.svd(np.array(hidden), full_matrices=True)
    return rows[int((singular > 1e-9).sum()) :]


def _turn(axis: Array, offset: Array) -> Array:
    """(v, w) of a unit turn about an axis through ``origin + offset``."""
    return np.concatenate([np.cross(axis, -offset), axis])


def pose_nees(T_est: ArrayLike, T_ref: ArrayLike, covariance: ArrayLike, symmetries: Symmetries) -> float:
    """NEES of one pose over its observable directions; its degrees of freedom are the rows of the basis.

    Args:
        T_est: (4, 4) estimated pose.
        T_ref: (4, 4) reference pose; its symmetric copy closest to the estimate is used.
        covariance: (6, 6) of the estimate, tangent order (v, w), camera axes.
        symmetries: Symmetries of the object.

    Returns:
        The NEES; NaN when the covariance is not finite (none was reported).
    """
    T_est, covariance = np.asarray(T_est, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if not (np.isfinite(covariance).all() and np.isfinite(T_est).all()):
        return float("nan")
    T_ref = symmetries.closest(T_est, np.asarray(T_ref, dtype=np.float64))
    basis = observable_basis(T_est, symmetries)
    return float(nees((basis @ local(T_ref, T_est))[None], (basis @ covariance @ basis.T)[None])[0])


def consistency(values: ArrayLike, dof: int) -> Consistency:
    """Summary of NEES values against the chi-square distribution with ``dof`` degrees of freedom.

    Non-finite values are left out of the average and count as outside of the 95 % bound when infinite.

    Raises:
        ValueError: No value is a number.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError("no normalised error to summarise: no finite covariance was reported")
    low, high = np.asarray(chi2.ppf([0.025, 0.975], dof * finite.size)) / finite.size
    inside = float(np.mean(values <= chi2.ppf(0.95, dof)))
    return Consistency(float(finite.mean()), (float(low), float(high)), inside, dof, int(values.size))


def reliability(scores: ArrayLike, correct: ArrayLike, bins: int = 10) -> Calibration:
    """Compare scores in [0, 1] with how often the pose was right, in equally wide bins.

    Args:
        scores: (N,) scores.
        correct: (N,) whether each pose was right.
        bins: Number of bins; empty ones are left out of the result.

    Raises:
        ValueError: Shapes differ, there are no scores, or a score is outside [0, 1].
    """
    scores = np.asarray(scores, dtype=np.float64).ravel()
    outcome = np.asarray(correct, dtype=np.float64).ravel()
    if scores.shape != outcome.shape or scores.size == 0:
        raise ValueError(
            f"need as many scores as outcomes and at least one, got {scores.size}, {outcome.size}"
        )
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores must be in [0, 1], got {scores.min()}..{scores.max()}")
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    used = count > 0
    predicted = np.bincount(index, scores, bins)[used] / count[used]
    observed = np.bincount(index, outcome, bins)[used] / count[used]
    expected = float(np.average(np.abs(predicted - observed), weights=count[used]))
    return Calibration(predicted, observed, count[used], expected, float(np.mean((scores - outcome) ** 2)))


def jitter(errors: ArrayLike) -> Array:
    """Frame-to-frame noise of an error signal, free of slow drift.

    The root mean square of the second difference, divided by sqrt(6): for independent noise of standard
    deviation s on any linear trend the result is s.

    Args:
        errors: (N, D) signed errors of consecutive frames, N >= 3.

    Returns:
        (D,) noise standard deviation in the unit of the errors.

    Raises:
        ValueError: Fewer than three frames.
    """
    errors = _series(errors)
    if len(errors) < 3:
        raise ValueError(f"jitter needs at least three frames, got {len(errors)}")
    return np.asarray(np.sqrt(np.mean(np.diff(errors, n=2, axis=0) ** 2, axis=0) / 6.0))


def drift(errors: ArrayLike, times: ArrayLike) -> Array:
    """Slope of the error over time by least squares: (D,) in unit of the errors per second.

    Args:
        errors: (N, D) signed errors, N >= 2.
        times: (N,) times [s].

    Raises:
        ValueError: Fewer than two distinct times.
    """
    errors, times = _series(errors), np.asarray(times, dtype=np.float64)
    centred = times - times.mean()
    if len(times) != len(errors) or not (centred @ centred) > 0:
        raise ValueError(f"drift needs as many distinct times as errors, got {len(times)}, {len(errors)}")
    return np.asarray(centred @ (errors - errors.mean(axis=0)) / (centred @ centred))


def _series(errors: ArrayLike) -> Array:
    array = np.asarray(errors, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def _nees(error: Array, covariance: Array) -> float:
    if not (np.isfinite(error).all() and np.isfinite(covariance).all()):
        return float("nan")
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if not (scale > 0).all():
        return float("inf")
    correlation = covariance / np.outer(scale, scale)  # metres and radians differ by orders of magnitude
    if np.linalg.eigvalsh(correlation)[0] <= 1e-12:
        return float("inf")
    scaled = error / scale
    return float(scaled @ np.linalg.solve(correlation, scaled))
