"""How well a pose agrees with the images, as a probability and a status."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.device.evidence import GAIN
from dr_perception.hypothesis.rank import OUTLINES

BOTH = (-2.8, 1.4, 0.94)
DEPTH_ONLY = (-3.9, 1.6, 0.0)
OUTLINE_ONLY = (OUTLINES[0], 0.0, OUTLINES[1])
"""Offset and weights of the log odds that depth and outline agree, by what was measured.

Fitted by logistic regression to right and wrong refinements in simulated frames and in frames of three real
sensors, each set with the same weight; `benchmarks/calibrate_score.py` repeats it.
"""


@dataclass(frozen=True)
class Agreement:
    """What the samples of a refined pose say; the fields follow `Measurement.figures`."""

    score: float
    """Probability that the pose is right to a tenth of the diameter, from the shares that agree."""
    certainty: float
    """The same probability from the covariance of the pose."""
    visible_fraction: float
    """Share of measured surface samples that nothing nearer hides."""
    depth: float
    """Share of unhidden samples whose depth fits; negative if no depth was measured."""
    outline: float
    """Share of unhidden contour points at which the outline was found where expected.

    Negative if there is no colour.
    """
    support: float
    """Samples that agree, surface and contour."""
    shift_m: float
    """How far the surface lies from the prediction."""
    samples: float
    """Surface samples in view."""

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
