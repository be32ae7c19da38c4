"""What a graph estimates: named blocks, each a pose or a vector, and where they stand among the unknowns.

All poses stand in one array and all vectors in another, so that factors gather what they need by index and a
step moves everything at once. The unknowns are the poses' tangents ``(v, w)`` in turn, then the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.estimate.tangent import moved, tangents

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


class Layout:
    """Names and places of the blocks.

    Attributes:
        poses: Names of the poses, 6 unknowns each.
        vectors: Lengths of the vectors by name.
        size: Number of unknowns.
    """

    def __init__(self, poses: Iterable[str], vectors: Mapping[str, int] | None = None) -> None:
        """Give every block its place.

        Raises:
            ValueError: If a name stands twice.
        """
        self.poses = tuple(poses)
        self.vectors = dict(vectors or {})
        self._spans: dict[str, range] = {}
        self.size = 0
        for name, length in [*((n, 6) for n in self.poses), *self.vectors.items()]:
            if name in self._spans:
                raise ValueError(f"every block needs a name of its own, got {name!r} twice")
            self._spans[name] = range(self.size, self.size + length)
            self.size += length

    def __contains__(self, name: str) -> bool:
        """Whether there is such a block."""
        return name in self._spans

    @property
    def names(self) -> tuple[str, ...]:
        """All blocks in order."""
        return tuple(self._spans)

    def columns(self, names: Sequence[str]) -> Indices:
        """Unknowns (n, length) of n blocks of one length.

        Raises:
            KeyError: If there is no such block.
        """
        try:
            return np.array([self._spans[name] for name in names], dtype=np.intp)
        except KeyError as error:
            raise self._unknown(error) from None

    def _unknown(self, error: KeyError) -> KeyError:
        return KeyError(f"unknown block {error.args[0]!r}; the graph has {list(self.names)}")

    def span(self, names: Iterable[str]) -> Indices:
        """Unknowns of blocks of any lengths, one after the other."""
        try:
            return np.array([row for name in names for row in self._spans[name]], dtype=np.intp)
        except KeyError as error:
            raise self._unknown(error) from None

    def without(self, names: Iterable[str]) -> Layout:
        """The same with some blocks taken out."""
        gone = set(names)
        return Layout(
            (name for name in self.poses if name not in gone),
            {name: length for name, length in self.vectors.items() if name not in gone},
        )


@dataclass(frozen=True)
class Values:
    """Values of all blocks of a layout."""

    layout: Layout
    T: Array
    """Poses (N, 4, 4)."""
    x: Array
    """Vectors, one after the other."""

    @classmethod
    def of(cls, poses: Mapping[str, Array], vectors: Mapping[str, ArrayLike] | None = None) -> Values:
        """Values of blocks by name: poses (4, 4) and vectors (k,) or numbers."""
        flat = {name: np.atleast_1d(np.asarray(v, dtype=np.float64)) for name, v in (vectors or {}).items()}
        layout = Layout(poses, {name: len(v) for name, v in flat.items()})
        T = np.array([*poses.values()], dtype=np.float64).reshape(-1, 4, 4)
        return cls(layout, T, np.concatenate([np.zeros(0), *flat.values()]))

    def pose(self, name: str) -> Array:
        """Pose (4, 4) by name."""
        return np.array(self.T[self.layout.columns([name])[0, 0] // 6])

    def vector(self, name: str) -> Array:
        """Vector (k,) by name."""
        return np.array(self.x[self.layout.columns([name])[0] - 6 * len(self.T)])

    def poses_at(self, columns: Indices) -> Array:
        """Poses (n, 4, 4) whose unknowns are (n, 6)."""
        return self.T[columns[:, 0] // 6]

    def vectors_at(self, columns: Indices) -> Array:
        """Entries of vectors, in the shape of their unknowns."""
        return self.x[columns - 6 * len(self.T)]

    def moved(self, step: Array) -> Values:
        """Everything moved along a step in the unknowns."""
        n = 6 * len(self.T)
        return Values(self.layout, moved(self.T, step[:n].reshape(-1, 6)), self.x + step[n:])

    def difference(self, other: Values) -> Array:
        """Step in the unknowns that leads here from other values of the same layout."""
        return np.concatenate([tangents(other.T, self.T).reshape(-1), self.x - other.x])

    def kept(self, layout: Layout) -> Values:
        """Values of those blocks that a smaller layout has."""
        n = 6 * len(self.T)
        columns = self.layout.span(layout.names)
        poses = columns[: 6 * len(layout.poses) : 6] // 6
        return Values(layout, self.T[poses], self.x[columns[6 * len(layout.poses) :] - n])
