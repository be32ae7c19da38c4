"""Lens distortion on the normalised image plane: three models, their Jacobians and their inverses.

Points are normalised coordinates ``xn = (X/Z, Y/Z)``; distorted points ``xd`` become pixels by ``fx, fy, cx,
cy``.

* ``plumb_bob``: ``k1, k2, p1, p2[, k3]`` (Brown 1971, "Close-range camera calibration").
* ``rational_polynomial``: ``k1, k2, p1, p2, k3, k4, k5, k6``, the radial factor divided by a second
  polynomial.
* ``equidistant``: ``k1, k2, k3, k4`` on the angle to the optical axis (Kannala and Brandt 2006, "A generic
  camera model and calibration method", eq. 6, odd terms up to theta^9).

Coefficients and formulas are those of OpenCV and ``sensor_msgs/CameraInfo``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

__all__ = [
    "COEFFICIENT_COUNTS",
    "distort",
    "distort_jacobian",
    "normalise_coefficients",
    "undistort",
    "valid_radius",
]

COEFFICIENT_COUNTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (0, 8),
    "equidistant": (4,),
}
"""Numbers of coefficients each model accepts."""

_Array = NDArray[np.float64]
_NEWTON_STEPS = 20
_INVERSE_TOLERANCE = 1e-12
_TABLE_SIZE = 1024


def normalise_coefficients(model: str, coefficients: Sequence[float]) -> tuple[float, ...]:
    """Check coefficients against their model.

    Longer rational lists (12 or 14) are cut to 8 when their thin-prism and tilt terms are zero.

    Args:
        model: "plumb_bob", "rational_polynomial" or "equidistant".
        coefficients: In the order of OpenCV and ROS.

    Returns:
        The coefficients as floats.

    Raises:
        ValueError: Unknown model, wrong number of coefficients, or a non-finite one.
    """
    if model not in COEFFICIENT_COUNTS:
        raise ValueError(f"distortion_model must be one of {', '.join(COEFFICIENT_COUNTS)}, got {model!r}")
    values = tuple(float(c) for c in coefficients)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"distortion coefficients must be finite, got {values}")
    if model == "rational_polynomial" and len(values) in (12, 14):
        if any(values[8:]):
            raise ValueError(
                f"thin-prism and tilt terms of rational_polynomial are not supported, got {values[8:]}"
            )
        values = values[:8]
    if len(values) not in COEFFICIENT_COUNTS[model]:
        expected = " or ".join(str(count) for count in COEFFICIENT_COUNTS[model])
        raise ValueError(f"{model} takes {expected} distortion coefficients, got {len(values)}: {values}")
    return values


def _brown(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """Coefficients of either polynomial model padded to the eight of the rational one."""
    return coefficients + (0.0,) * (8 - len(coefficients))


def distort(model: str, coefficients: tuple[float, ...], xn: _Array) -> _Array:
    """Apply the lens: normalised ideal to normalised distorted coordinates, shape (..., 2) to (..., 2)."""
    x, y = xn[..., 0], xn[..., 1]
    r2 = x * x + y * y
    if model == "equidistant":
        return xn * _equidistant_factor(coefficients, np.sqrt(r2))[..., None]
    k1, k2, p1, p2, k3, k4, k5, k6 = _brown(coefficients)
    radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack(
        [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ],
        axis=-1,
    )


def _theta_polynomial(coefficients: tuple[float, ...]) -> Polynomial:
    k1, k2, k3, k4 = coefficients
    return Polynomial([0.0, 1.0, 0.0, k1, 0.0, k2, 0.0, k3, 0.0, k4])


def _equidistant_factor(coefficients: tuple[float, ...], r: _Array) -> _Array:
    """``theta_d / r``, with its limit 1 on the axis."""
    small = r < 1e-8
    safe = np.where(small, 1.0, r)
    return np.where(small, 1.0, _theta_polynomial(coefficients)(np.arctan(safe)) / safe)


def distort_jacobian(model: str, coefficients: tuple[float, ...], xn: _Array) -> _Array:
    """Derivative of `distort` with respect to its point, shape (..., 2) to (..., 2, 2)."""
    x, y = xn[..., 0], xn[..., 1]
    r2 = x * x + y * y
    if model == "equidistant":
        return _equidistant_jacobian(coefficients, xn, np.sqrt(r2))
    k1, k2, p1, p2, k3, k4, k5, k6 = _brown(coefficients)
    top = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bottom = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = top / bottom
    slope = (k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3) - radial * (k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6))) / bottom
    J = np.empty((*x.shape, 2, 2))
    J[..., 0, 0] = radial + 2.0 * slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x
    J[..., 1, 1] = radial + 2.0 * slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x
    J[..., 0, 1] = J[..., 1, 0] = 2.0 * slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
    return J


def _equidistant_jacobian(coefficients: tuple[float, ...], xn: _Array, r: _Array) -> _Array:
    """``factor I + (d theta_d/dr - factor) u u^T`` with u the radial direction."""
    factor = _equidistant_factor(coefficients, r)
    slope = _theta_polynomial(coefficients).deriv()(np.arctan(r)) / (1.0 + r * r)
    u = xn / np.where(r < 1e-8, 1.0, r)[..., None]
    return factor[..., None, None] * np.eye(2) + (slope - factor)[..., None, None] * (
        u[..., :, None] * u[..., None, :]
    )


def _first_positive_root(polynomial: Polynomial) -> float:
    roots = polynomial.trim(1e-15).roots()  # smaller terms act only beyond any field of view
    real = roots.real[(np.abs(roots.imag) < 1e-9 * (1.0 + np.abs(roots))) & (roots.real > 1e-12)]
    return float(real.min()) if real.size else np.inf


@lru_cache(maxsize=256)
def valid_radius(model: str, coefficients: tuple[float, ...]) -> float:
    """Largest ideal radius ``|xn|`` up to which the radial distortion grows with the radius.

    Beyond it the polynomial folds back and would image points into pixels where they are not seen. Infinite
    for a lens without fold (for the equidistant model: none before 90 degrees off axis).
    """
    if model == "equidistant":
        theta = _first_positive_root(_theta_polynomial(coefficients).deriv())
        return float(np.tan(theta)) if theta < np.pi / 2 else np.inf
    k1, k2, _, _, k3, k4, k5, k6 = _brown(coefficients)
    s = Polynomial([0.0, 1.0])
    top, bottom = Polynomial([1.0, k1, k2, k3]), Polynomial([1.0, k4, k5, k6])
    fold = (top + 2.0 * s * top.deriv()) * bottom - 2.0 * s * top * bottom.deriv()
    return float(np.sqrt(min(_first_positive_root(fold), _first_positive_root(bottom))))


@lru_cache(maxsize=64)
def _radial_table(model: str, coefficients: tuple[float, ...]) -> tuple[_Array, _Array]:
    """Angles to the axis and the distorted radii there, for first guesses of the inverse."""
    limit = min(np.arctan(valid_radius(model, coefficients)), np.pi / 2 - 1e-6)
    theta = np.linspace(0.0, limit, _TABLE_SIZE)
    if model == "equidistant":
        radii = _theta_polynomial(coefficients)(theta)
    else:
        k1, k2, _, _, k3, k4, k5, k6 = _brown(coefficients)
        r = np.tan(theta)
        r2 = r * r
        radii = r * (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    theta.flags.writeable = radii.flags.writeable = False  # they are kept, and all threads read them
    return theta, radii


def undistort(model: str, coefficients: tuple[float, ...], xd: _Array) -> _Array:
    """Invert the lens by Newton's method, started from a table of the radial part.

    Args:
        model: One of the three models.
        coefficients: As `normalise_coefficients` returns them.
        xd: Normalised distorted coordinates, shape (..., 2).

    Returns:
        Ideal coordinates, shape (..., 2). NaN where no point inside the valid field of view has that image:
        outside the fold of the polynomial, at 90 degrees or more off axis, or where Newton's method does not
        converge.
    """
    r_d = np.linalg.norm(xd, axis=-1)
    theta, table = _radial_table(model, coefficients)
    guess = np.interp(r_d, table, theta)
    if model == "equidistant":
        return _undistort_equidistant(coefficients, xd, r_d, guess)
    xn = xd * (np.tan(guess) / np.where(r_d > 0.0, r_d, 1.0))[..., None]
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            residual = distort(model, coefficients, xn) - xd
            if np.all(np.abs(residual[np.isfinite(residual)]) < _INVERSE_TOLERANCE):
                break
            xn = xn - _solve2(distort_jacobian(model, coefficients, xn), residual)
        error = np.max(np.abs(distort(model, coefficients, xn) - xd), axis=-1)
        inside = np.linalg.norm(xn, axis=-1) <= valid_radius(model, coefficients)
    return np.where(((error < 1e-10 * (1.0 + r_d)) & inside)[..., None], xn, np.nan)


def _undistort_equidistant(coefficients: tuple[float, ...], xd: _Array, r_d: _Array, theta: _Array) -> _Array:
    polynomial = _theta_polynomial(coefficients)
    slope = polynomial.deriv()
    limit = min(np.arctan(valid_radius("equidistant", coefficients)), np.pi / 2)
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            theta = theta - (polynomial(theta) - r_d) / slope(theta)
        good = (np.abs(polynomial(theta) - r_d) < 1e-10) & (theta < limit)
        factor = np.where(r_d > 1e-12, np.tan(theta) / np.where(r_d > 1e-12, r_d, 1.0), 1.0)
    return np.where(good[..., None], xd * factor[..., None], np.nan)


def _solve2(J: _Array, b: _Array) -> _Array:
    """Solve 2x2 systems in closed form, shapes (..., 2, 2) and (..., 2)."""
    determinant = J[..., 0, 0] * J[..., 1, 1] - J[..., 0, 1] * J[..., 1, 0]
    return (
        np.stack(
            [
                J[..., 1, 1] * b[..., 0] - J[..., 0, 1] * b[..., 1],
                J[..., 0, 0] * b[..., 1] - J[..., 1, 0] * b[..., 0],
            ],
            axis=-1,
        )
        / determinant[..., None]
    )
