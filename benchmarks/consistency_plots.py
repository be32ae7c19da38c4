"""Plots of normalised errors and of scores, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.stats import chi2

from dr_perception.evaluation.consistency import reliability


class Normalised(Protocol):
    """What is plotted of a trial."""

    @property
    def nees(self) -> float:
        """Normalised error squared."""

    @property
    def dof(self) -> int:
        """Its degrees of freedom."""


def plot_nees(path: Path, title: str, trials: Sequence[Normalised]) -> None:
    """Histogram of the chi-square probabilities of the errors: flat for true covariances."""
    if not trials:
        return
    from matplotlib.figure import Figure

    values = [chi2.cdf(t.nees, t.dof) for t in trials]
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.hist(values, bins=20, range=(0.0, 1.0), color="#4477aa")
    axes.axhline(len(values) / 20.0, color="black", lw=1.0, ls="--", label="true covariances")
    axes.set(
        xlabel="chi-square probability of the error", ylabel="poses", title=f"{title} ({len(values)} poses)"
    )
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_reliability(path: Path, title: str, scores: Sequence[float], right: Sequence[bool]) -> None:
    """Share of right poses over the score."""
    from matplotlib.figure import Figure

    calibration = reliability(scores, right)
    figure = Figure(figsize=(4.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0.0, 1.0], [0.0, 1.0], color="black", lw=1.0, ls="--")
    sizes = 15.0 + 150.0 * np.sqrt(calibration.count / calibration.count.max())
    axes.scatter(calibration.predicted, calibration.observed, s=sizes, color="#4477aa")
    axes.set(
        xlabel="score", ylabel="share of right poses", title=title, xlim=(-0.05, 1.05), ylim=(-0.05, 1.05)
    )
    figure.savefig(path, dpi=120)
