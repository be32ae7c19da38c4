"""Differences of images as a least-squares problem: residuals, and derivatives by differences of images.

Unknowns are few where a camera or a pose is sought, and residuals are many; so each unknown is moved by a
small share of its typical change either way and the images are drawn. Unknowns that move different views, as
the poses of several cameras do, are moved at once (Curtis, Powell and Reid 1974).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.estimate.first_order import Block, Values
from dr_perception.estimate.least_squares import Normal
from dr_perception.estimate.unknowns import Unknowns
from dr_perception.fitting.image_fit import ImageFit

Array = NDArray[np.float64]

__all__ = ["ImageResiduals"]

_CHANGE = 0.003
"""Share of the typical change by which unknowns are moved for their derivatives.

For typical changes of a pixel or two. On a ring, derivatives over this and over twice this differ by 0.1 to
6 % of their root mean square: pixels whose centre an outline passes between jump. Over ten times as much more
of them do, 1 to 31 %; a tenth as much shows rounding, 1 %.
"""
OUTLIER = 3.0
"""Normalised difference beyond which a residual counts by its size alone: what Gaussian noise exceeds in one
pixel of 370, and what a pixel is off by that falls to the wrong side of an edge."""
_CAMERA_ROWS = ("camera_pose", "intrinsics")
"""Parameters with a row for every camera."""


@dataclass(frozen=True)
class _Direction:
    """Unknowns that are moved at once, since no view shows two of them."""

    step: Array
    """The step in units of scale (N,): ones where something moves."""
    of_view: NDArray[np.intp]
    """The unknown that moves each view, -1 if none does."""


class ImageResiduals:
    """What images differ by from references, over the noise of each pixel.

    Args:
        fit: Draws the images of the unknowns.
        blocks: What is sought, by the names of the fit.
        noise: Standard deviation of the noise by image: one number, or one for each pixel, (rows, columns) or
            (views, rows, columns), infinite where a pixel does not count.

    Raises:
        ValueError: A block that the fit does not know, an image that is not drawn or has no reference,
            references or noise of another shape, noise that is not positive.
    """

    def __init__(self, fit: ImageFit, blocks: Mapping[str, Block], noise: Mapping[str, ArrayLike]) -> None:
        if missing := [name for name in blocks if name not in fit.names]:
            raise ValueError(f"blocks {missing} are not optimised, expected names out of {fit.names}")
        if not noise:
            raise ValueError("noise must name at least one image and its standard deviation, got none")
        self.unknowns = Unknowns(blocks)
        self._fit = fit
        fit.assign(self.unknowns.start())
        drawn = fit.draw()
        self._weights, self._targets = {}, {}
        for name, sigma in noise.items():
            image = getattr(drawn, name, None)
            if image is None or image.dtype == wp.int32:
                raise ValueError(f"noise is given for {name!r}, which is not drawn")
            values = image.numpy()
            self._weights[name] = _weights(name, sigma, values)
            self._targets[name] = _reference(name, fit.references, values)
        counted = [np.broadcast_to(w > 0, self._targets[n].shape) for n, w in self._weights.items()]
        self.rows = int(sum(mask.sum() for mask in counted))
        views, cameras = len(values), fit.parameters.intrinsics.shape[0]
        self._directions = _directions(self.unknowns, views, cameras)

    def chi2(self, values: Values) -> float:
        """Sum of squared normalised differences, by Huber beyond `OUTLIER`."""
        return _cost(self._residuals(values))

    def linearise(self, values: Values) -> Normal:
        """Normal equations, and the sum."""
        at = self._residuals(values)
        columns = self._columns(values, at)
        N = self.unknowns.size
        H, g = np.zeros((N, N)), np.zeros(N)
        weight = _weight(at)
        for view, J in enumerate(columns):
            to, J = self._of_view(view, J)
            H[np.ix_(to, to)] += (J * weight[view]) @ J.T
            g[to] += J @ (weight[view] * at[view])
        return Normal(H, g, _cost(at))

    def _residuals(self, values: Values) -> Array:
        """Normalised differences, (views, residuals of a view)."""
        self._fit.assign(values)
        images = self._fit.draw()
        parts = []
        for name, weight in self._weights.items():
            difference = getattr(images, name).numpy() - self._targets[name]
            parts.append((np.where(weight > 0, difference, 0.0) * weight).reshape(len(difference), -1))
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def _columns(self, values: Values, at: Array) -> Array:
        """Derivatives by all directions, (views, directions, residuals of a view).

        Pixels jump where their centre passes onto another facet. Of the differences on both sides the smaller
        one counts, none if they have different signs (van Leer's limiter): a jump lies on one side only.
        """
        low, high = self.unknowns.room(values)
        reach = np.minimum(high, _CHANGE), np.maximum(low, -_CHANGE)
        columns = []
        for direction in self._directions:
            slopes = []
            for bound, sign in zip(reach, (1.0, -1.0), strict=True):
                moved = np.where(direction.of_view >= 0, bound[direction.of_view], 1.0)
                there = self._residuals(self.unknowns.moved(values, sign * _CHANGE * direction.step))
                rise = there - at
                slopes.append(
                    np.divide(
                        rise, moved[:, None], out=np.full_like(rise, np.nan), where=moved[:, None] != 0.0
                    )
                )
            columns.append(_smaller(*slopes))
        return np.stack(columns, axis=1)

    def _of_view(self, view: int, J: Array) -> tuple[NDArray[np.intp], Array]:
        """Unknowns that move a view, and their rows."""
        to = np.array([direction.of_view[view] for direction in self._directions])
        return to[to >= 0], J[to >= 0]


def _weight(residuals: Array) -> Array:
    """Huber's weights."""
    return np.minimum(1.0, OUTLIER / np.maximum(np.abs(residuals), OUTLIER))


def _cost(residuals: Array) -> float:
    size = np.abs(residuals)
    return float(np.where(size < OUTLIER, size**2, OUTLIER * (2.0 * size - OUTLIER)).sum(dtype=np.float64))


def _smaller(a: Array, b: Array) -> Array:
    """The smaller of two numbers of one sign, else zero; the other one where one is missing at a bound."""
    a, b = np.where(np.isnan(a), b, a), np.where(np.isnan(b), a, b)
    return np.where(a * b > 0.0, np.where(np.abs(a) < np.abs(b), a, b), 0.0)


def _weights(name: str, sigma: ArrayLike, image: Array) -> Array:
    """One over the noise, in the shape of an image or one that fits it."""
    given = np.asarray(sigma, dtype=np.float64)
    if given.ndim and given.shape not in (image.shape[:3], image.shape[1:3]):
        raise ValueError(f"noise of {name!r} must be a number or fit {image.shape[:3]}, got {given.shape}")
    if not (given > 0.0).all():
        raise ValueError(f"noise of {name!r} must be positive, got {given.min()}")
    weight = 1.0 / given
    if given.ndim and image.ndim == 4:
        weight = weight[..., None]
    return np.asarray(weight)


def _reference(name: str, references: Any, image: Array) -> Array:
    found = references.get(name) if isinstance(references, Mapping) else getattr(references, name, None)
    if found is None:
        raise ValueError(f"noise is given for {name!r}, of which there is no reference")
    values = found.numpy() if isinstance(found, wp.array) else np.asarray(found)
    if values.shape != image.shape:
        raise ValueError(f"the reference of {name!r} must have shape {image.shape}, got {values.shape}")
    return np.asarray(values, dtype=np.float32)


def _directions(unknowns: Unknowns, views: int, cameras: int) -> list[_Direction]:
    """All unknowns, as few at a time as share a view."""
    view = np.arange(views)
    found = []
    for name, place in unknowns.index.items():
        rows: NDArray[np.intp] | None = None
        if name in _CAMERA_ROWS:
            rows = view % cameras
        elif name == "pose":
            rows = view // cameras
        # one row of numbers for each camera or hypothesis; all others are seen in every view
        table = place.reshape(len(place), -1) if rows is not None else place.reshape(1, -1)
        for column in table.T:
            of_view = column[np.zeros(views, dtype=np.intp) if rows is None else rows]
            moving = column[column >= 0]
            if len(moving):
                step = np.zeros(unknowns.size)
                step[moving] = 1.0
                found.append(_Direction(step, of_view))
    return found
