"""Lengths of a mesh that tell how finely it must be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.mesh_surface import MeshSurface


@dataclass(frozen=True)
class MeshSize:
    """Size and detail of a mesh [m]; infinite where it has no such thing."""

    center: NDArray[np.float64]
    """Middle of its bounding box in its frame, shape (3,)."""
    diameter_m: float
    """Of the sphere around that."""
    thickness_m: float
    """Six times volume over area, which is the diameter of a ball, three halves of that of a rod, and three
    times the thickness of a plate; infinite if it encloses nothing."""
    edge_m: float
    """Leg of a right triangle of the mean area of its faces."""
    texel_m: float
    """Side of a texel on the surface."""

    @classmethod
    def of(cls, mesh: Mesh, surface: MeshSurface) -> MeshSize:
        """Measure a mesh with its surface."""
        x = surface.positions
        center = 0.5 * (x.min(axis=0) + x.max(axis=0))
        a, b, c = (x[surface.faces[:, i]] - center for i in range(3))
        area = 0.5 * float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
        volume = abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6.0
        return cls(
            center,
            2.0 * float(np.linalg.norm(x - center, axis=1).max()),
            6.0 * volume / area if _encloses(surface) else np.inf,
            float(np.sqrt(2.0 * area / len(surface.faces))),
            _texel(mesh),
        )


def _encloses(surface: MeshSurface) -> bool:
    """Whether every edge has two faces or more."""
    f = surface.faces
    pairs = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), axis=1)
    keys = pairs[:, 0].astype(np.int64) * len(surface.positions) + pairs[:, 1]
    return bool(np.unique(keys, return_counts=True)[1].min() >= 2)


def _texel(mesh: Mesh) -> float:
    """Root of the area of a surface over the texels that lie on it [m]."""
    if mesh.texture is None or mesh.corner_uv is None:
        return np.inf
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
    u = np.asarray(mesh.corner_uv, dtype=np.float64) * np.array(mesh.texture.shape[1::-1])
    e, g = u[:, 1] - u[:, 0], u[:, 2] - u[:, 0]
    texels = float(np.abs(e[:, 0] * g[:, 1] - e[:, 1] * g[:, 0]).sum())
    return float(np.sqrt(area / texels)) if texels > 0.0 else np.inf
