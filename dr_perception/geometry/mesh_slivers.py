"""Faces that are no higher than rounding: taken out so that their neighbours stay together."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["flip_slivers", "heights"]

_SLIVER = 10.0
"""Faces lower than so many times what has no height are flipped too where that makes them higher.

As little turns such a face over: it may be inside out by rounding in the file, and hide an outline.
"""
_FLIPS_EACH = 8
"""Flips for each sliver at most.

A row of points on one edge needs about one, but needles around a vertex could go on for ever.
"""

Ints = NDArray[np.int32]
Corners = tuple[int, int, int]


def heights(positions: NDArray[np.float64], faces: Ints) -> NDArray[np.float64]:
    """Height of each face over its longest edge, zero where it has no length, shape (F,)."""
    corners = positions[faces]
    longest = np.sqrt(np.max(np.sum((corners - np.roll(corners, 1, axis=1)) ** 2, axis=2), axis=1))
    double = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.divide(double, longest, out=np.zeros_like(double), where=longest > 0.0)


def flip_slivers(
    positions: NDArray[np.float64], faces: Ints, corner: Ints, looks: NDArray, lowest: float
) -> tuple[Ints, Ints]:
    """Flip the longest edges of faces of hardly any height, and drop what is left without height.

    A sliver between a face and two smaller ones, as where a vertex lies on an edge, becomes part of the face:
    both are divided the other way, so that the edges of the small ones have faces on both sides. Nothing
    moves farther than the height. A sliver stays where its longest edge is open or has a seam, or where the
    faces would be lower still; it is dropped if it has no height.

    Args:
        positions: Places [m], shape (P, 3).
        faces: Their indices, shape (F, 3).
        corner: Numbers of the faces' corners, shape (F, 3).
        looks: What each of these numbers has (texture coordinates, colour), shape (n, k).
        lowest: Faces no higher [m] have no height; up to `_SLIVER` times as high they are slivers.

    Returns:
        Faces and their corners.
    """
    low = heights(positions, faces) <= _SLIVER * lowest
    if low.any():
        faces, corner = faces.copy(), corner.copy()
        around = np.isin(faces, faces[low]).any(axis=1)
        flips = _Flips(positions, faces, corner, looks, _SLIVER * lowest, np.flatnonzero(around).tolist())
        flips.run(np.flatnonzero(low).tolist())
        for f, corners in flips.faces.items():
            faces[f], corner[f] = corners, flips.corner[f]
        keep = heights(positions, faces) > lowest
        faces, corner = faces[keep], corner[keep]
    return faces, corner


class _Flips:
    """Faces around slivers, as they are flipped, by their directed edges."""

    def __init__(
        self,
        positions: NDArray[np.float64],
        faces: Ints,
        corner: Ints,
        looks: NDArray,
        lowest: float,
        around: list[int],
    ) -> None:
        self.faces: dict[int, Corners] = {f: tuple(faces[f].tolist()) for f in around}
        self.corner: dict[int, Corners] = {f: tuple(corner[f].tolist()) for f in around}
        used = {v for corners in self.faces.values() for v in corners}
        self._at = {v: positions[v].tolist() for v in used}
        self._looks, self._lowest = looks, lowest
        self._owner: dict[tuple[int, int], int] = {}
        self._shared: set[tuple[int, int]] = set()
        for f in around:
            for edge in _edges(self.faces[f]):
                if edge in self._owner:
                    self._shared.add(edge)
                self._owner[edge] = f

    def run(self, slivers: list[int]) -> None:
        """Flip as long as there are slivers that can be."""
        waiting = list(slivers)
        for _ in range(_FLIPS_EACH * len(waiting)):
            if not waiting:
                return
            sliver = waiting.pop()
            if self._height(self.faces[sliver]) <= self._lowest:
                waiting += [f for f in self._flip(sliver) if self._height(self.faces[f]) <= self._lowest]

    def _height(self, corners: Corners) -> float:
        a, b, c = (self._at[v] for v in corners)
        u, v = ([q - p for p, q in zip(a, end, strict=True)] for end in (b, c))
        normal = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
        longest = max(math.dist(a, b), math.dist(b, c), math.dist(c, a))
        return math.hypot(*normal) / longest if longest > 0.0 else 0.0

    def _flip(self, sliver: int) -> tuple[int, ...]:
        """Divide a sliver and the face beyond its longest edge the other way; returns both, or nothing."""
        length = [math.dist(self._at[p], self._at[q]) for p, q in _edges(self.faces[sliver])]
        first = length.index(max(length))
        x, y, z = _from(self.faces[sliver], first)
        other = self._owner.get((y, x))
        if other is None or other == sliver or not self._shared.isdisjoint(((y, x), (x, y))):
            return ()
        at = self.faces[other].index(y)
        d = _from(self.faces[other], at)[2]
        if d == z or (d, z) in self._owner or (z, d) in self._owner:
            return ()
        c_x, c_y, c_z = _from(self.corner[sliver], first)
        n_y, n_x, n_d = _from(self.corner[other], at)
        if not np.array_equal(self._looks[[c_x, c_y]], self._looks[[n_x, n_y]]):
            return ()
        before = min(self._height(self.faces[f]) for f in (sliver, other))
        after = min(self._height((z, x, d)), self._height((y, z, d)))
        if _SLIVER * before > self._lowest and after <= before:
            return ()
        del self._owner[x, y], self._owner[y, x]
        self.faces[sliver], self.corner[sliver] = (z, x, d), (c_z, n_x, n_d)
        self.faces[other], self.corner[other] = (y, z, d), (n_y, c_z, n_d)
        for f in (sliver, other):
            self._owner.update(dict.fromkeys(_edges(self.faces[f]), f))
        return sliver, other


def _edges(corners: Corners) -> list[tuple[int, int]]:
    a, b, c = corners
    return [(a, b), (b, c), (c, a)]


def _from(corners: Corners, first: int) -> Corners:
    """The corners in their cyclic order from one on."""
    a, b, c = corners[first:] + corners[:first]
    return a, b, c
