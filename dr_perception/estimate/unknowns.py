"""The free numbers of named blocks as one vector, in units of their typical changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.estimate.first_order import Block, Values
from dr_perception.estimate.tangent import log_jacobian, moved, tangents

Array = NDArray[np.float64]

__all__ = ["Prior", "Unknowns"]


class Unknowns:
    """Which numbers of which blocks are sought, and where they stand in a step.

    A number whose bounds are equal is known. A step is measured in the scales of the blocks; poses move along
    their tangents (v, w).

    Attributes:
        blocks: The blocks by name.
        index: For every block the place in a step of each of its numbers, -1 where it is known; in the shape
            of the block's gradient.
        size: Length N of a step.
        scale: Typical change of every unknown (N,).
        owner: Name of the block of every unknown.
    """

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        """Count the unknowns.

        Raises:
            ValueError: There is none, or a scale is not positive.
        """
        self.blocks = dict(blocks)
        self.index: dict[str, NDArray[np.intp]] = {}
        scales, owners, self.size = [], [], 0
        for name, block in self.blocks.items():
            scale = np.broadcast_to(np.asarray(block.scale, dtype=np.float64), block.tangent_shape)
            if not (scale > 0.0).all():
                raise ValueError(f"the scale of block {name!r} must be positive, got {block.scale}")
            free = np.ones(block.tangent_shape, dtype=bool)
            if not block.pose:
                free &= np.asarray(block.low, dtype=np.float64) < np.asarray(block.high, dtype=np.float64)
            place = np.full(free.shape, -1, dtype=np.intp)
            place[free] = np.arange(self.size, self.size + free.sum())
            self.index[name] = place
            self.size += int(free.sum())
            scales.append(scale[free])
            owners += [name] * int(free.sum())
        if self.size == 0:
            raise ValueError(f"nothing is unknown: all numbers of the blocks {list(self.blocks)} are held")
        self.scale: Array = np.concatenate(scales)
        self.owner = tuple(owners)

    def start(self) -> Values:
        """First values, within the bounds."""
        first = {}
        for name, block in self.blocks.items():
            value = np.array(block.start, dtype=np.float64)
            if not np.isfinite(value).all():
                raise ValueError(f"the start of block {name!r} must be finite, got {value}")
            first[name] = value if block.pose else np.clip(value, block.low, block.high)
        return first

    def spread(self, step: Array) -> Values:
        """Change of every number of every block: a step with units, zero where nothing is unknown."""
        out = {}
        for name, place in self.index.items():
            change = np.zeros(place.shape)
            free = place >= 0
            change[free] = step[place[free]] * self.scale[place[free]]
            out[name] = change
        return out

    def moved(self, values: Values, step: Array) -> Values:
        """Values after a step; numbers stop at their bounds."""
        out = {}
        for name, change in self.spread(step).items():
            block = self.blocks[name]
            if block.pose:
                flat = moved(values[name].reshape(-1, 4, 4), change.reshape(-1, 6))
                out[name] = flat.reshape(values[name].shape)
            else:
                out[name] = np.clip(values[name] + change, block.low, block.high)
        return out

    def room(self, values: Values) -> tuple[Array, Array]:
        """How far each unknown may go down and up before its bound, in units of its scale (N,)."""
        low, high = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        for name, place in self.index.items():
            block = self.blocks[name]
            if block.pose:
                continue
            free = place >= 0
            scale = self.scale[place[free]]
            for bound, given in ((low, block.low), (high, block.high)):
                limit = np.broadcast_to(np.asarray(given, dtype=np.float64), place.shape)
                bound[place[free]] = (limit - values[name])[free] / scale
        return low, high


@dataclass(frozen=True)
class Prior:
    """What is known of a block beforehand: a Gaussian, independent number by number.

    Attributes:
        mean: Most probable values, in the shape of the block, or one for all.
        sigma: Standard deviations, of six numbers (v [m], w [rad]) for poses; infinite where nothing is
            known.
    """

    mean: ArrayLike
    sigma: ArrayLike

    def normal(self, name: str, values: Values, unknowns: Unknowns) -> tuple[Array, Array, float]:
        """What it adds to the normal equations of all unknowns: matrix (N, N), gradient (N,) and chi^2.

        Raises:
            ValueError: The block is unknown, shapes do not fit, or a standard deviation is not positive.
        """
        if name not in unknowns.blocks:
            raise ValueError(f"the prior is about {name!r}, expected one of {list(unknowns.blocks)}")
        block, place = unknowns.blocks[name], unknowns.index[name]
        sigma = _fitting(self.sigma, place.shape, f"sigma of the prior of {name!r}")
        if not (sigma > 0.0).all():
            raise ValueError(f"sigma of the prior of {name!r} must be positive, got {sigma.min()}")
        shape = values[name].shape
        mean = _fitting(self.mean, shape, f"mean of the prior of {name!r}")
        H, g = np.zeros((unknowns.size, unknowns.size)), np.zeros(unknowns.size)
        if not block.pose:
            error = (values[name] - mean) / sigma
            free = place >= 0
            at, weight = place[free], unknowns.scale[place[free]] / sigma[free]
            H[at, at] = weight**2
            g[at] = weight * error[free]
            return H, g, float((error[free] ** 2).sum())
        xi = tangents(mean.reshape(-1, 4, 4), values[name].reshape(-1, 4, 4))
        chi2 = 0.0
        for error, s, at in zip(xi, sigma.reshape(-1, 6), place.reshape(-1, 6), strict=True):
            J = np.eye(6)
            J[3:, 3:] = log_jacobian(error[3:])
            J = J * unknowns.scale[at] / s[:, None]
            H[np.ix_(at, at)] = J.T @ J
            g[at] = J.T @ (error / s)
            chi2 += float(((error / s) ** 2).sum())
        return H, g, chi2


def _fitting(values: ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    given = np.asarray(values, dtype=np.float64)
    try:
        return np.asarray(np.broadcast_to(given, shape))
    except ValueError:
        raise ValueError(f"{what} must fit the shape {shape}, got {given.shape}") from None
