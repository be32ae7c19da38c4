"""What measurements leave open, by the names of the blocks that take part: ``albedo x light_colors``.

Each unknown is measured in its typical change. A direction is open if a typical change along it would not
be noticed: it raises chi^2 by less than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["Gauge", "find_gauges", "open_directions"]

_PART = 0.05
"""Share of an open direction's squared length below which a block takes no part in it.

Such a block moves by less than a quarter of its typical change where the others move by theirs.
"""


@dataclass(frozen=True)
class Gauge:
    """Directions that are open together.

    Attributes:
        blocks: Names of the blocks that take part.
        count: How many independent directions there are.
        directions: The directions, in units of the typical changes (N, count).
    """

    blocks: tuple[str, ...]
    count: int
    directions: Array = field(repr=False)

    @property
    def name(self) -> str:
        """The blocks, as ``albedo x light_colors``."""
        return " x ".join(self.blocks)

    def __str__(self) -> str:
        """One sentence."""
        ways = "one direction" if self.count == 1 else f"{self.count} directions"
        if len(self.blocks) == 1:
            return f"{self.name}: {ways} of it cannot be told from the data"
        return f"{self.name}: {ways} in which they change together cannot be told from the data"


def open_directions(H: Array) -> Array:
    """Open directions (N, f) of normal equations (N, N) of unknowns in units of their typical changes."""
    values, vectors = np.linalg.eigh(H)
    return np.asarray(vectors[:, values < 1.0])


def find_gauges(directions: Array, owner: Sequence[str]) -> tuple[Gauge, ...]:
    """Sort open directions (N, f) by the blocks that take part in them.

    Which vectors span the open space is arbitrary, the projection on it is not: blocks that it couples
    belong together.

    Args:
        directions: Orthonormal.
        owner: Block of every unknown.
    """
    if directions.shape[1] == 0:
        return ()
    projection = directions @ directions.T
    names = list(dict.fromkeys(owner))
    rows = [np.flatnonzero([name == one for one in owner]) for name in names]
    coupled = np.array([[(projection[np.ix_(a, b)] ** 2).sum() for b in rows] for a in rows])
    found = []
    for group in _together(coupled > _PART):
        at = np.concatenate([rows[k] for k in group])
        values, vectors = np.linalg.eigh(projection[np.ix_(at, at)])
        inside = vectors[:, values > 0.5]
        if inside.shape[1] == 0:
            continue
        out = np.zeros((len(owner), inside.shape[1]))
        out[at] = inside
        found.append(Gauge(tuple(sorted(names[k] for k in group)), inside.shape[1], out))
    return tuple(found)


def _together(coupled: NDArray[np.bool_]) -> list[list[int]]:
    """Connected parts of those that are coupled with anything, themselves included."""
    from scipy.sparse.csgraph import connected_components

    _, part = connected_components(coupled, directed=False)
    members = [np.flatnonzero(part == k).tolist() for k in range(part.max() + 1)]
    return [group for group in members if coupled[group[0], group[0]] or len(group) > 1]
