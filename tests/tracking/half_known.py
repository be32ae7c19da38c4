"""Bodies of which one half was never seen, so that its surface is a guess."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from synthetic import make_model

from dr_perception.geometry import Mesh, ObjectModel, drop_degenerate_faces, weld


@dataclass(frozen=True)
class HalfKnown:
    """Models of one body."""

    true: ObjectModel
    """As it is, in faces as small as those of the others."""
    unmarked: ObjectModel
    """One half is a wrong guess, and the mesh does not say so."""
    marked: ObjectModel
    """The same mesh, which says so."""


def half_known(name: str, axis: int, push_m: float | None) -> HalfKnown:
    """A body of `make_model` whose half on the positive side of an axis was never seen.

    There its surface is off by ``push_m``, away from the middle of the body; None: the half is missing and a
    lid closes the rest.
    """
    mesh = make_model(name).mesh
    for _ in range(3 if name == "box" else 1):
        mesh = in_quarters(mesh)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    from_middle = mesh.vertices - 0.5 * (low + high)
    along = from_middle[:, axis]
    vertices = mesh.vertices.copy()
    if push_m is None:
        vertices[:, axis] -= np.maximum(along, 0.0)
    else:
        outward = from_middle / np.linalg.norm(from_middle, axis=1, keepdims=True)
        vertices += push_m * np.clip(along / 0.01, 0.0, 1.0)[:, None] * outward
    unseen = along[mesh.faces].max(axis=1) > 1e-6
    guess = drop_degenerate_faces(weld(Mesh(vertices, mesh.faces, unseen_faces=unseen)))
    return HalfKnown(
        ObjectModel(name, mesh),
        ObjectModel(name, Mesh(guess.vertices, guess.faces)),
        ObjectModel(name, guess),
    )


def in_quarters(mesh: Mesh) -> Mesh:
    """A mesh with each face cut into four."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    corners = np.concatenate([a, b, c, 0.5 * (a + b), 0.5 * (b + c), 0.5 * (c + a)])
    i, j, k, ij, jk, ki = np.arange(6 * len(a)).reshape(6, -1)
    parts = [(i, ij, ki), (ij, j, jk), (ki, jk, k), (ij, jk, ki)]
    return weld(Mesh(corners, np.concatenate([np.stack(part, axis=1) for part in parts])))
