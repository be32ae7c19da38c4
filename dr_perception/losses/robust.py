"""Robust functions of a residual, for use inside kernels."""

import warp as wp

SQUARE = wp.constant(0)
ABSOLUTE = wp.constant(1)
HUBER = wp.constant(2)
CHARBONNIER = wp.constant(3)


@wp.func
def rho(kind: int, delta: float, r: float) -> float:
    """Cost of a residual: in the units of ``r`` squared for square and Huber, else of ``r``.

    Huber (1964): r^2/2 inside delta, delta (|r| - delta/2) outside. Charbonnier et al. (1994):
    sqrt(r^2 + delta^2) - delta, an absolute value that is smooth at zero. Square is r^2/2.
    """
    if kind == ABSOLUTE:
        return wp.abs(r)
    if kind == HUBER:
        a = wp.abs(r)
        if a > delta:
            return delta * (a - 0.5 * delta)
        return 0.5 * r * r
    if kind == CHARBONNIER:
        # written without the difference of two nearly equal numbers
        return r * r / (wp.sqrt(r * r + delta * delta) + delta)
    return 0.5 * r * r
