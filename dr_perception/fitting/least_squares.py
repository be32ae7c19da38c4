"""Least squares on images: few unknowns, with bounds, priors, covariance, and what the images leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from dr_perception.estimate.first_order import Block, Values
from dr_perception.estimate.least_squares import LeastSquaresResult, solve_least_squares
from dr_perception.estimate.unknowns import Prior
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.fitting.image_residuals import ImageResiduals

__all__ = ["least_squares"]


def least_squares(
    fit: ImageFit,
    blocks: Mapping[str, Block],
    noise: Mapping[str, ArrayLike],
    *,
    priors: Mapping[str, Prior] | None = None,
    starts: Sequence[Values] | None = None,
    iterations: int = 50,
    tolerance: float = 1e-4,
) -> LeastSquaresResult:
    """Most probable unknowns given images with independent Gaussian noise in every pixel.

    The last step after `dr_perception.lbfgs` with a pyramid came near, or the only one from a near start:
    quadratic near the optimum, and it says what is known there. Its cost is that of two renders for every
    unknown and step; of cameras' and hypotheses' own numbers each counts once for all of them. The fit's
    objective is not looked at.

    Args:
        fit: Draws images of its blocks, has the references.
        blocks: What is sought, with scales and bounds; a number whose bounds are equal is known.
        noise: Image -> standard deviation of a pixel's noise; see `ImageResiduals`.
        priors: Gaussians by the names of blocks.
        starts: First values to try, blocks that are left out as they stand in ``blocks``: the best of them is
            returned.
        iterations: Most steps from each start.
        tolerance: See `dr_perception.estimate.least_squares.solve_least_squares`.

    Raises:
        ValueError: Blocks, noise, starts or priors do not fit the fit.
    """
    problem = ImageResiduals(fit, blocks, noise)
    first = problem.unknowns.start()
    if starts is not None and len(starts) == 0:
        raise ValueError("starts must have at least one entry, got none")
    found = []
    for start in starts or [{}]:
        if missing := sorted(set(start) - set(first)):
            raise ValueError(f"a start names blocks {missing}, expected names out of {list(first)}")
        found.append(
            solve_least_squares(
                problem, start={**first, **start}, priors=priors, iterations=iterations, tolerance=tolerance
            )
        )
    best = min(found, key=lambda one: one.history[-1])
    fit.assign(best.values)
    return best
