"""Edges of a mesh and what their faces say about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh

__all__ = ["Edges", "edges", "is_watertight"]


@dataclass(frozen=True, eq=False)
class Edges:
    """Undirected edges with the faces beside them."""

    vertices: NDArray[np.int32]
    """Vertex indices, smaller first, shape (E, 2)."""
    faces: NDArray[np.int32]
    """The two faces, shape (E, 2). The second is -1 for an open edge, which always can be an outline. An edge
    of three or more faces is listed once for each of them, as open, and so is one whose two faces disagree
    about their orientation. The first face runs along the edge from the smaller to the larger vertex index
    when there are two."""

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
    start = mesh.faces.reshape(-1).astype(np.int64)
    end = np.roll(mesh.faces, -1, axis=1).reshape(-1).astype(np.int64)
    owner = np.repeat(np.arange(len(mesh.faces)), 3)
    forward = start < end
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((~forward, high, low))
    low, high, owner, forward = low[order], high[order], owner[order], forward[order]
    new = np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    group = np.cumsum(new) - 1
    paired = (np.bincount(group) == 2) & (np.bincount(group, weights=forward) == 1)
    first = np.flatnonzero(new & paired[group])
    alone = np.flatnonzero(~paired[group])
    rows = np.concatenate([first, alone])
    second = np.concatenate([owner[first + 1], np.full(len(alone), -1)])
    by_place = np.argsort(rows, kind="stable")
    rows, second = rows[by_place], second[by_place]
    return Edges(
        np.stack([low[rows], high[rows]], axis=1).astype(np.int32),
        np.stack([owner[rows], second], axis=1).astype(np.int32),
    )


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge has exactly two faces that agree about their orientation."""
    return bool(np.all(edges(mesh).faces[:, 1] >= 0))
