"""How well a pose agrees with the images, as a probability and a status."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dr_perception.fitting.refiner import Refinement
from dr_perception.residuals import normal_equations as ne

_BOTH = (-9.9, 7.8, 5.4, 0.9)
_DEPTH_ONLY = (-14.1, 16.0, 0.0, 0.6)
_OUTLINE_ONLY = (-4.6, 0.0, 9.0, 0.0)
"""Offset and weights of depth, outline and visible fraction, by what was measured.

Fitted by logistic regression to 1,064 right and wrong refinements of the benchmark scenes, a third of them
behind drawn-in occluders; `benchmarks/calibrate_score.py` repeats it.
"""


@dataclass(frozen=True)
class Agreement:
    """What the samples of a refined pose say."""

    visible_fraction: float
    """Share of measured surface samples that nothing nearer hides."""
    depth: float | None
    """Share of unhidden samples whose depth fits; None if no depth was measured."""
    outline: float | None
    """Share of unhidden contour points at which the outline was found where expected.

    None if there is no colour.
    """
    support: int
    """Samples that agree, surface and contour."""

    @property
    def score(self) -> float:
        """Probability that the pose is right to a tenth of the diameter: a logistic model of the shares."""
        if self.depth is None and self.outline is None:
            return 0.0
        weights = _DEPTH_ONLY if self.outline is None else _OUTLINE_ONLY if self.depth is None else _BOTH
        values = (1.0, self.depth or 0.0, self.outline or 0.0, self.visible_fraction)
        return 1.0 / (1.0 + math.exp(-sum(w * v for w, v in zip(weights, values, strict=True))))

    def describe(self) -> str:
        """Half a sentence that says what agrees."""
        depth = (
            "no depth was measured"
            if self.depth is None
            else f"{100.0 * self.depth:.0f} % of the depth agrees"
        )
        outline = (
            "there is no colour"
            if self.outline is None
            else f"{100.0 * self.outline:.0f} % of the outline agrees"
        )
        return f"{depth} and {outline} ({self.support} samples)"


def agreement_of(refinement: Refinement, has_color: bool, problem: int = 0) -> Agreement:
    """Agreement of one pose of a refined batch.

    Shares start from one sample for and one against, so that few samples say little.
    """
    sums = refinement.sums[problem]
    rows, inliers = sums[int(ne.DEPTH_ROWS)], sums[int(ne.DEPTH_INLIERS)]
    hidden, beyond = sums[int(ne.DEPTH_HIDDEN)], sums[int(ne.DEPTH_BEYOND)]
    line_inliers = sums[int(ne.LINE_INLIERS)]
    unhidden_lines = max(float(refinement.contour_samples[problem]) - sums[int(ne.LINE_HIDDEN)], 0.0)
    return Agreement(
        visible_fraction=float(1.0 - hidden / rows) if rows > 0 else 1.0,
        depth=float((inliers + 1.0) / (inliers + beyond + 2.0)) if rows > 0 else None,
        outline=float((line_inliers + 1.0) / (unhidden_lines + 2.0)) if has_color else None,
        support=int(inliers + line_inliers),
    )
