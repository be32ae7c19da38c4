"""Summaries of many errors: quantiles, recall, area under the recall curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Summary", "auc", "average_recall", "recall", "recall_curve", "summary"]

BOP_FRACTIONS = tuple(0.05 * k for k in range(1, 11))


class Summary(TypedDict):
    """Location and tail of a set of numbers; None where the set is empty."""

    mean: float | None
    median: float | None
    p95: float | None
    max: float | None


def summary(values: ArrayLike) -> Summary:
    """Mean, median, 95th percentile and maximum of the finite values."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return {"mean": None, "median": None, "p95": None, "max": None}
    return {
        "mean": float(numbers.mean()),
        "median": float(np.median(numbers)),
        "p95": float(np.percentile(numbers, 95)),
        "max": float(numbers.max()),
    }


def recall(errors: ArrayLike, threshold: ArrayLike) -> float:
    """Share of errors strictly below the threshold (one, or one per error); non-finite is a miss.

    Raises:
        ValueError: There are no errors.
    """
    return float(np.mean(_clean(errors) < np.asarray(threshold, dtype=np.float64)))


def auc(errors: ArrayLike, maximum: float) -> float:
    """Area under the recall-over-threshold curve for thresholds 0..maximum, as a share of the whole.

    The exact integral of the empirical curve: the mean of ``clip(1 - error / maximum, 0, 1)``. With ADD and a
    maximum of 0.1 m this is the figure of Xiang et al., "PoseCNN", RSS 2018.

    Raises:
        ValueError: There are no errors, or ``maximum`` is not positive.
    """
    if not maximum > 0:
        raise ValueError(f"the maximum of the curve must be positive, got {maximum}")
    return float(np.clip(1.0 - _clean(errors) / maximum, 0.0, 1.0).mean())


def recall_curve(errors: ArrayLike, maximum: float, count: int = 201) -> NDArray[np.float64]:
    """Recall at ``count`` equally spaced thresholds from 0 to ``maximum``: (count, 2) threshold, recall."""
    thresholds = np.linspace(0.0, maximum, count)
    ordered = np.sort(_clean(errors))
    shares = np.searchsorted(ordered, thresholds, side="left") / len(ordered)
    return np.stack([thresholds, shares], axis=1)


def average_recall(errors: ArrayLike, unit: ArrayLike, fractions: Sequence[float] = BOP_FRACTIONS) -> float:
    """Recall averaged over thresholds ``fraction * unit``, the AR of the BOP Challenge (Hodan et al. 2020).

    The unit is the diameter [m] for MSSD and ``100 * width / 640`` pixels for MSPD (thresholds 5r..50r).
    """
    return float(np.mean([recall(errors, f * np.asarray(unit, dtype=np.float64)) for f in fractions]))


def _clean(errors: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(errors, dtype=np.float64).ravel()
    if numbers.size == 0:
        raise ValueError("no errors to summarise")
    return np.where(np.isnan(numbers), np.inf, numbers)
