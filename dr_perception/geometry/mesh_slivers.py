"""Faces that are no higher than rounding: taken out so that their neighbours stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["flip_slivers", "heights"]

_FLIPS_EACH = 8
"""Flips for each sliver at most.

A row of points on one edge needs about one, but needles around a vertex could go on for ever.
"""

Ints = NDArray[np.int32]
Edge = tuple[int, int]


def heights(positions: NDArray[np.float64], faces: Ints) -> NDArray[np.float64]:
    """Height of each face over its longest edge, zero where it has no length, shape (F,)."""
    corners = positions[faces]
    longest = np.sqrt(np.max(np.sum((corners - np.roll(corners, 1, axis=1)) ** 2, axis=2), axis=1))
    double = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.divide(double, longest, out=np.zeros_like(double), where=longest > 0.0)


def flip_slivers(
    positions: NDArray[np.float64], faces: Ints, corner: Ints, looks: NDArray, lowest: float
) -> tuple[Ints, Ints]:
    """Flip the longest edges of faces without height, and drop those that remain.

    A sliver between a face and two smaller ones, as where a vertex lies on an edge, becomes part of the face:
    both are divided the other way, so that the edges of the small ones have faces on both sides. Nothing
    moves farther than the height. A sliver is dropped where its longest edge is open, or has a seam.

    Args:
        positions: Places [m], shape (P, 3).
        faces: Their indices, shape (F, 3).
        corner: Numbers of the faces' corners, shape (F, 3).
        looks: What each of these numbers has (texture coordinates, colour), shape (n, k).
        lowest: Faces no higher [m] are slivers.

    Returns:
        Faces and their corners.
    """
    low = heights(positions, faces) <= lowest
    if low.any():
        faces, corner = faces.copy(), corner.copy()
        around = np.isin(faces, faces[low]).any(axis=1)
        _Flips(positions, faces, corner, looks, lowest, np.flatnonzero(around)).run(np.flatnonzero(low))
        keep = heights(positions, faces) > lowest
        faces, corner = faces[keep], corner[keep]
    return faces, corner


class _Flips:
    """Faces that are changed in place, by their directed edges."""

    def __init__(
        self,
        positions: NDArray[np.float64],
        faces: Ints,
        corner: Ints,
        looks: NDArray,
        lowest: float,
        around: NDArray[np.intp],
    ) -> None:
        self.positions, self.faces, self.corner, self.looks = positions, faces, corner, looks
        self.lowest = lowest
        self.owner: dict[Edge, int] = {}
        self.shared: set[Edge] = set()
        for f in around.tolist():
            for edge in self._edges(f):
                if edge in self.owner:
                    self.shared.add(edge)
                self.owner[edge] = f

    def run(self, slivers: NDArray[np.intp]) -> None:
        """Flip as long as there are slivers that can be."""
        waiting = slivers.tolist()
        for _ in range(_FLIPS_EACH * len(waiting)):
            if not waiting:
                return
            sliver = waiting.pop()
            if heights(self.positions, self.faces[sliver : sliver + 1])[0] > self.lowest:
                continue
            for f in self._flip(sliver):
                if heights(self.positions, self.faces[f : f + 1])[0] <= self.lowest:
                    waiting.append(f)

    def _edges(self, f: int) -> list[Edge]:
        a, b, c = self.faces[f].tolist()
        return [(a, b), (b, c), (c, a)]

    def _flip(self, sliver: int) -> tuple[int, ...]:
        """Divide a sliver and the face beyond its longest edge the other way; returns both, or nothing."""
        points = self.positions[self.faces[sliver]]
        first = int(np.argmax(np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)))
        x, y, z = np.roll(self.faces[sliver], -first).tolist()
        other = self.owner.get((y, x))
        if other is None or other == sliver or (y, x) in self.shared or (x, y) in self.shared:
            return ()
        at = int(np.argmax(self.faces[other] == y))
        d = int(self.faces[other][(at + 2) % 3])
        if d == z or (d, z) in self.owner or (z, d) in self.owner:
            return ()
        c_x, c_y, c_z = np.roll(self.corner[sliver], -first).tolist()
        n_y, n_x, n_d = np.roll(self.corner[other], -at).tolist()
        if not np.array_equal(self.looks[[c_x, c_y]], self.looks[[n_x, n_y]]):
            return ()
        del self.owner[x, y], self.owner[y, x]
        self.faces[sliver], self.corner[sliver] = (z, x, d), (c_z, n_x, n_d)
        self.faces[other], self.corner[other] = (y, z, d), (n_y, c_z, n_d)
        for f in (sliver, other):
            self.owner.update(dict.fromkeys(self._edges(f), f))
        return sliver, other
