"""How well a pose agrees with the images, as a probability and a status."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dr_perception.fitting.refiner import Refinement
from dr_perception.residuals import normal_equations as ne


@dataclass(frozen=True)
class Agreement:
    """What the samples of a refined pose say."""

    visible_fraction: float
    """Share of measured surface samples that nothing nearer hides."""
    depth: float
    """Share of unhidden samples whose depth fits; 1 if there is no depth."""
    lines: float
    """Share of visible contour points at which the outline was found where expected; 1 if there is no colour."""
    support: int
    """Samples that agree, surface and contour."""

    @property
    def score(self) -> float:
        """Probability that the pose is right.

        A logistic model of the two shares; its three numbers were fitted to right and wrong poses of the benchmark scenes.
        """
        logit = -13.0 + 12.0 * self.depth + 7.0 * self.lines
        return 1.0 / (1.0 + math.exp(-logit))


def agreement_of(refinement: Refinement, problem: int = 0) -> Agreement:
    """Agreement of one pose of a refined batch."""
    sums = refinement.sums[problem]
    rows, inliers = sums[int(ne.DEPTH_ROWS)], sums[int(ne.DEPTH_INLIERS)]
    hidden, beyond = sums[int(ne.DEPTH_HIDDEN)], sums[int(ne.DEPTH_BEYOND)]
    line_rows, line_inliers = sums[int(ne.LINE_ROWS)], sums[int(ne.LINE_INLIERS)]
    return Agreement(
        visible_fraction=float(1.0 - hidden / rows) if rows > 0 else 1.0,
        depth=float(inliers / max(inliers + beyond, 1.0)) if rows > 0 else 1.0,
        lines=float(line_inliers / line_rows) if line_rows > 0 else 1.0,
        support=int(inliers + line_inliers),
    )
