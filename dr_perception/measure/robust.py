"""Robust kernels as Warp functions of the squared normalised residual ``s = (r / sigma)^2``.

``rho`` is the cost of a row and ``weight = d rho / d s`` its weight in the normal equations, so that the step
of iteratively reweighted least squares descends the sum of ``rho``.
"""

import warp as wp


@wp.func
def student_t_rho(s: float, dof: float) -> float:
    """Twice the negative log likelihood of Student's t with ``dof`` degrees of freedom, 0 at ``s = 0``."""
    return (dof + 1.0) * wp.log(1.0 + s / dof)


@wp.func
def student_t_weight(s: float, dof: float) -> float:
    """Derivative of `student_t_rho`."""
    return (dof + 1.0) / (dof + s)


@wp.func
def tukey_rho(s: float, c2: float) -> float:
    """Tukey's biweight with cut-off ``c``: constant beyond it, so that far outliers do not pull at all."""
    rest = wp.max(1.0 - s / c2, 0.0)
    return c2 / 3.0 * (1.0 - rest * rest * rest)


@wp.func
def tukey_weight(s: float, c2: float) -> float:
    """Derivative of `tukey_rho`."""
    rest = wp.max(1.0 - s / c2, 0.0)
    return rest * rest


@wp.func
def tukey_slope(s: float, c2: float) -> float:
    """Derivative by the residual of Tukey's influence ``r tukey_weight``: how a row pulls more as it moves.

    Negative from the fifth of ``c2`` on, where a row that moves away pulls less.
    """
    rest = wp.max(1.0 - s / c2, 0.0)
    return rest * (1.0 - 5.0 * s / c2)
