"""What poses still to be refined promise, from a few points each: a screen, which decides nothing else.

Refined poses are ranked by `dr_perception.hypothesis.posterior` alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dr_perception.hypothesis import judge_kernels as k

Shares = dict[str, NDArray[np.float64]]
"""Features of a batch of poses by name, each (P,)."""

SEED_WEIGHTS = {
    "agreeing": 1.3, "unhidden": 0.3, "on_mask": 0.15, "covered": 2.0, "in_view": 1.5,
}  # fmt: skip
"""Of the log odds of `_EVIDENCE`, for seeds that are not aligned yet and judged by few points.

Fitted to choose the right one of the poses of a search (conditional logit; McFadden 1974), then rounded. What
something nearer hides is unknown; it has a little weight, since a handle at the wrong place is hidden by the
body that is seen there. Those below keep fewer right seeds: 50 of 53 searches of whole frames with one, and a
median of 2 to 92 of them by sensor, where these keep 50 and 4 to 98.
"""
WEIGHTS = {
    "close": 0.5, "through": 0.5, "unhidden": 0.3, "on_mask": 2.5, "within": 0.4, "ends": 0.3, "covered": 2.5,
    "in_view": 1.2, "looks": 0.45, "palette": 0.15,
}  # fmt: skip
"""The same for poses that are aligned.

Fitted in the same way to poses of 159 searches in frames of five sensors (YCB-V, ViSP, DexYCB, PoseCNN,
MoreFusion), every set and kind of search with the same weight, none below 0, then rounded between the fits to
both stages of alignment: in 47 of 53 searches of whole frames a right pose is among the 16 that are refined.
Fitted without the sensor in question it is in 44 to 45. With the weights before (agreement in distance and
normal together, ends in depth at the outline three times as heavy, the pattern a third) it was in 40. Fitted
to searches that leave out the table, ends in depth get nothing, and what stands on it is lost.
The colours' weight, beside the others: with 0.15 to 0.45 one can more is kept than with none. Fitted with a
sensor left out it is 0.3 to 0.6, but with 0.3 a pitcher whose blue is out of the camera's range was lost.
"""
_OUTLIERS = 0.01

_EVIDENCE = {
    "agreeing": ({k.AGREE: 1}, {k.MEASURED: 1, k.AGREE: -1}),
    "unhidden": ({k.TESTED: 1, k.HIDDEN: -1}, {k.HIDDEN: 1}),
    "on_mask": ({k.TESTED: 1, k.HIDDEN: -1, k.OFF_MASK: -1}, {k.OFF_MASK: 1}),
    "within": ({k.EDGE_TESTED: 1, k.EDGE_IN_MASK: -1}, {k.EDGE_IN_MASK: 1}),
    "close": ({k.CLOSE: 1}, {k.MEASURED: 1, k.CLOSE: -1}),
    "ends": ({k.EDGE_SEEN: 1}, {k.EDGE_TESTED: 1, k.EDGE_SEEN: -1, k.EDGE_IN_MASK: -1}),
    "through": ({k.MEASURED: 1, k.BEYOND: -1}, {k.BEYOND: 1}),
    "covered": ({k.POINTS_AGREE: 1}, {k.POINTS: 1, k.POINTS_AGREE: -1}),
}
"""Counts of `judge_poses` whose sums speak for a pose and against it, with their signs, by what they tell."""


def _sums(side: int) -> NDArray[np.float64]:
    """Matrix (F, K) that takes the counts of `judge_poses` to the sums on one side of `_EVIDENCE`."""
    matrix = np.zeros((k.NUM_FEATURES, len(_EVIDENCE)))
    for column, sums in enumerate(_EVIDENCE.values()):
        for feature, sign in sums[side].items():
            matrix[feature, column] = sign
    return matrix


_FOR, _AGAINST = _sums(0), _sums(1)


def log_odds(agreeing: NDArray[np.float64], disagreeing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds of agreement from two counts, with one for, one against and a hundredth of all to either side.

    So few samples say little, and many do not say more than the model of errors is good for.
    """
    yes, no = np.maximum(agreeing, 0.0), np.maximum(disagreeing, 0.0)
    extra = 1.0 + _OUTLIERS * (yes + no)
    return np.asarray(np.log((yes + extra) / (no + extra)))


def shares_of(features: NDArray[np.float32]) -> Shares:
    """Shares between 0 and 1 by name from the counts of `judge_poses` (P, F), which `promise` takes."""
    f = features.astype(np.float64).T
    tested = np.maximum(f[k.TESTED], 1.0)
    # An object mostly hidden must not be judged by the two points left of it.
    visible = np.maximum(f[k.TESTED] - f[k.HIDDEN], 0.3 * tested)
    measured = np.maximum(f[k.MEASURED], 0.5 * visible)
    edges = np.maximum(f[k.EDGE_TESTED], 1.0)
    return {
        "agree": f[k.AGREE] / measured,
        "edge": np.where(f[k.EDGE_TESTED] > 4, f[k.EDGE_SEEN] / edges, 0.5),
        "beyond": f[k.BEYOND] / measured,
        "hidden": f[k.HIDDEN] / tested,
        "off_mask": f[k.OFF_MASK] / visible,
        "in_mask": f[k.EDGE_IN_MASK] / edges,
    }


def odds_of(features: NDArray[np.float32]) -> Shares:
    """Log odds by name (`WEIGHTS`) from the counts of `judge_poses` (P, F), which `rank` takes."""
    f = features.astype(np.float64)
    odds = log_odds(f @ _FOR, f @ _AGAINST)
    seen = f[:, k.TESTED] - f[:, k.UNMEASURED] - f[:, k.OFF_MASK]
    in_view = np.log((np.maximum(seen, 0.0) + 1.0) / (f[:, k.AVAILABLE] + 1.0))
    return dict(zip(_EVIDENCE, odds.T, strict=True)) | {"in_view": in_view}


def promise(shares: Shares) -> NDArray[np.float64]:
    """What speaks for poses (P,) still to be aligned less what does not, from the few points tested of each.

    Plain shares, not the log odds of `rank`: a pose some millimetres off disagrees at some points whatever it
    is worth. With log odds 14 instead of 7 of 2,400 simulated fits were wrong (`benchmarks/fit.py refine`,
    five seeds). Nine fitted weights did no better than these without any: 11 wrong. Without what a mask says
    7 instead of 2 of 267 fits in masks of real frames were wrong (`benchmarks/real.py`, from 20 mm and
    15 degrees off, three seeds).
    """
    against = shares["beyond"] + shares["hidden"] + shares["off_mask"] + shares["in_mask"]
    return np.asarray(shares["agree"] + shares["edge"] - against)


def rank(shares: Shares, weights: Mapping[str, float] = WEIGHTS) -> NDArray[np.float64]:
    """One number for each pose, larger is better; what is missing counts nothing."""
    return np.asarray(sum((w * shares[name] for name, w in weights.items() if name in shares), np.zeros(1)))
