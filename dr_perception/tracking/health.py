"""How well a pose agrees with the images, as a probability and a status."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.device.evidence import GAIN


@dataclass(frozen=True)
class Agreement:
    """What the samples of a refined pose say; the fields follow `hypothesis.posterior.Figures`."""

    score: float
    """Probability that the images show the object at the pose, from the shares that agree."""
    log_odds: float
    """Its log odds."""
    certainty: float
    """Probability that the pose then is right to a tenth of the diameter, from its covariance."""
    visible_fraction: float
    """Share of measured surface samples that nothing nearer hides."""
    depth: float
    """Share of unhidden samples whose depth fits; negative if no depth was measured."""
    outline: float
    """Share of unhidden contour points at which the outline was found where expected.

    Negative if there is no colour.
    """
    looks: float
    """Log likelihood ratio of the pattern; 0 if there is none."""
    support: float
    """Samples that agree, surface and contour."""
    samples: float
    """Surface samples in view."""
    shift_m: float
    """How far the surface lies from the prediction."""
    palette: float
    """Log likelihood ratio of the colours; 0 if there are none."""
    possible_looks: float
    """What ``looks`` would be if the image showed just the model's pattern."""
    shown: float
    """Share of that which shows."""

    def describe(self) -> str:
        """Half a sentence that says what agrees."""
        depth = "no depth was measured"
        if self.depth >= 0.0:
            depth = f"{100.0 * self.depth:.0f} % of the depth agrees"
        outline = "there is no colour"
        if self.outline >= 0.0:
            outline = f"{100.0 * self.outline:.0f} % of the outline agrees"
        return f"{depth} and {outline} ({self.support:.0f} samples)"


def gain(evidence: NDArray[np.float32]) -> float:
    """Logarithm of how much better a pose explains the images than no object would.

    A row at the cut-off is as well explained by something else (that is what the cut-off means), so a row
    counts by how far its cost stays below that of an outlier; what is seen through the model counts against
    it. Of two poses, one may have fewer rows, as a mug that hides its handle: what the other explains and
    this one does not is then held against it.

    Args:
        evidence: Of every modality at the pose (M, `NUM_SUMS`).
    """
    return 0.5 * float(evidence[:, int(GAIN)].sum())
