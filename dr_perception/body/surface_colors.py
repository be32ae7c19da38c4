"""Colours of a mesh at places on its faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh


def has_colors(mesh: Mesh) -> bool:
    """Whether a mesh brings a texture or colours of its vertices."""
    return mesh.texture is not None or mesh.vertex_colors is not None


def surface_colors(
    mesh: Mesh, faces: NDArray[np.integer], weights: NDArray[np.floating]
) -> NDArray[np.float64] | None:
    """Colours (N, 3), 0 to 255, at barycentric weights (N, 3) of faces (N,); None for a mesh without."""
    if mesh.texture is not None and mesh.corner_uv is not None:
        at = np.einsum("nk,nkd->nd", weights, mesh.corner_uv[faces])
        height, width = mesh.texture.shape[:2]
        x = np.clip(np.mod(at[:, 0], 1.0) * width, 0, width - 1).astype(np.int64)
        y = np.clip((1.0 - np.mod(at[:, 1], 1.0)) * height, 0, height - 1).astype(np.int64)
        return mesh.texture[y, x].astype(np.float64)
    if mesh.vertex_colors is None:
        return None
    return np.einsum("nk,nkc->nc", weights, mesh.vertex_colors[mesh.faces[faces]].astype(np.float64))
