"""Edges of a mesh and what their faces say about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh

__all__ = ["Edges", "edges", "edges_of_faces", "is_watertight"]


@dataclass(frozen=True, eq=False)
class Edges:
    """Undirected edges with the faces beside them."""

    vertices: NDArray[np.int32]
    """Vertex indices, smaller first, shape (E, 2)."""
    faces: NDArray[np.int32]
    """The two faces, shape (E, 2). The second is -1 for an open edge, which always can be an outline. An edge
    of three or more faces is listed once for each of them, as open, unless its faces were paired
    (`edges_of_faces`), and so is one whose two faces disagree about their orientation. The first face runs
    along the edge from the smaller to the larger vertex index when there are two."""

    def __len__(self) -> int:
        """Number of edges."""
        return len(self.vertices)


def edges(mesh: Mesh) -> Edges:
    """Edges of a mesh with their faces.

    Args:
        mesh: A welded mesh, else every edge is open.

    Returns:
        The edges, ordered by their vertices.
    """
    return edges_of_faces(mesh.faces)


def edges_of_faces(faces: NDArray[np.int32], positions: NDArray[np.float64] | None = None) -> Edges:
    """Edges of faces with their faces.

    Args:
        faces: Vertex indices, shape (F, 3).
        positions: Of the vertices, shape (V, 3), to pair the faces of edges of more than two (`_paired`);
            None: their edges are open.

    Returns:
        The edges, ordered by their vertices.
    """
    start = faces.reshape(-1).astype(np.int64)
    end = np.roll(faces, -1, axis=1).reshape(-1).astype(np.int64)
    owner = np.repeat(np.arange(len(faces)), 3)
    forward = start < end
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((~forward, high, low))
    low, high, owner, forward = low[order], high[order], owner[order], forward[order]
    new = np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    group = np.cumsum(new) - 1
    size = np.bincount(group)
    paired = (size == 2) & (np.bincount(group, weights=forward) == 1)
    second = np.full(len(owner), -1)
    first = np.flatnonzero(new & paired[group])
    second[first] = owner[first + 1]
    listed = ~paired[group]
    listed[first] = True
    if positions is not None:
        for at in np.flatnonzero(new & (size[group] > 2)):
            rows = np.arange(at, at + size[group[at]])
            third = faces[owner[rows]].sum(axis=1) - low[at] - high[at]
            for a, b in _paired(positions[[low[at], high[at]]], positions[third], forward[rows]):
                second[rows[a]] = owner[rows[b]]
                listed[rows[b]] = False
    return Edges(
        np.stack([low[listed], high[listed]], axis=1).astype(np.int32),
        np.stack([owner[listed], second[listed]], axis=1).astype(np.int32),
    )


def _paired(
    ends: NDArray[np.float64], third: NDArray[np.float64], forward: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Pair faces around an edge as bodies that touch there have them: those with material between them.

    Args:
        ends: Of the edge, shape (2, 3).
        third: Third corner of each face, shape (n, 3).
        forward: Whether the face runs from the first end to the second; material then lies where the angle
            around the edge is smaller, else where it is larger.

    Returns:
        Pairs of a face that runs forward and one that does not.
    """
    axis = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    out = third - ends[0]
    out -= np.outer(out @ axis, axis)
    zero = out[0] / np.linalg.norm(out[0])
    angle = np.arctan2(out @ np.cross(axis, zero), out @ zero)
    # Faces that lie on each other: between them there is no material, so the forward one comes first.
    angle = np.round(angle % (2.0 * np.pi), 6) % np.round(2.0 * np.pi, 6)
    waiting: list[int] = []
    pairs: list[tuple[int, int]] = []
    order = np.lexsort((~forward, angle))
    for k in [*order, *order]:
        if forward[k] and waiting and k not in (a for a, _ in pairs):
            pairs.append((int(k), waiting.pop()))
        elif not forward[k] and k not in waiting and k not in (b for _, b in pairs):
            waiting.append(int(k))
    return pairs


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge has exactly two faces that agree about their orientation."""
    return bool(np.all(edges(mesh).faces[:, 1] >= 0))
