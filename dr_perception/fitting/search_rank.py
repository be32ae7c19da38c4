"""From what poses show to one number.

How well depth, outline, mask and colour agree, and the probability of being right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting import search_kernels as k

Shares = dict[str, NDArray[np.float64]]
"""Features of a batch of poses by name, each (P,)."""

_WEIGHTS = {
    "agree": 1.0, "beyond": -1.0, "off_mask": -0.7, "hidden": -0.6, "edge": 1.6, "in_mask": -0.5,
    "points": 0.8,
    "unmeasured": -0.1, "in_view": 0.3, "color": 2.5, "texture": 4.0, "depth_inliers": 1.0,
    "depth_chi2": -0.4,
    "lines": 3.5,
}  # fmt: skip
"""Fitted to choose the right pose among the finalists of the benchmark (conditional logit), then rounded."""
_CURVES = {
    (True, True): (2.7, 6.5),
    (False, True): (3.0, 4.6),
    (False, False): (3.0, 2.6),
    (True, False): (2.7, 4.5),
}
"""Slope and middle by whether the model has colours and whether outlines were seen."""


def summarise(features: NDArray[np.float32]) -> Shares:
    """Shares between 0 and 1 from the counts of `judge_poses` (P, F)."""
    f = features.astype(np.float64)
    tested = np.maximum(f[:, k.TESTED], 1.0)
    # An object mostly hidden must not be judged by the two points left of it.
    visible = np.maximum(f[:, k.TESTED] - f[:, k.HIDDEN], 0.3 * tested)
    measured = np.maximum(f[:, k.MEASURED], 0.5 * visible)
    return {
        "agree": f[:, k.AGREE] / measured,
        "beyond": f[:, k.BEYOND] / measured,
        "off_mask": f[:, k.OFF_MASK] / visible,
        "hidden": f[:, k.HIDDEN] / tested,
        "edge": np.where(
            f[:, k.EDGE_TESTED] > 4, f[:, k.EDGE_SEEN] / np.maximum(f[:, k.EDGE_TESTED], 1.0), 0.5
        ),
        "in_mask": f[:, k.EDGE_IN_MASK] / np.maximum(f[:, k.EDGE_TESTED], 1.0),
        "points": np.where(f[:, k.POINTS] > 0, f[:, k.POINTS_AGREE] / np.maximum(f[:, k.POINTS], 1.0), 0.0),
        "unmeasured": f[:, k.UNMEASURED] / visible,
        "in_view": np.minimum(f[:, k.TESTED] / np.maximum(f[:, k.TESTED].max(initial=1.0), 1.0), 1.0),
    }


def rank(shares: Shares) -> NDArray[np.float64]:
    """One number for each pose, larger is better; missing shares count nothing."""
    return sum((weight * shares[name] for name, weight in _WEIGHTS.items() if name in shares), np.zeros(1))


def probability(shares: Shares) -> NDArray[np.float64]:
    """Probability that poses are right: a logistic curve of their rank.

    Fitted to the first answers of searches for objects that are there and for objects that are not, in every
    tenth frame of the
    benchmark; one curve for each set of features that a frame and a model allow.
    """
    slope, middle = _CURVES[("texture" in shares, bool(np.any(shares.get("lines", np.zeros(1)) > 0.0)))]
    return 1.0 / (1.0 + np.exp(-slope * (rank(shares) - middle)))
