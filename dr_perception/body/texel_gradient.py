"""Gradient of the brightness of texels along the surface.

A plane is fitted to the texels around each one, in its tangent plane and over about as much surface as an
image blurs, whatever triangles they lie on. The fit is linear in the brightness: its weights are found once
and serve brightness that is learned as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_NEIGHBOURS = 8
_RING_SPACINGS = 1.5
_NEAR_SPACINGS = 0.8
_SAME_SIDE_COSINE = 0.7
"""Texels whose normals differ by more lie beyond an edge, or on the other side of a thin wall."""
_DAMPING = 0.05
"""Added to the second moments of neighbours, in squared spacings: without neighbours there is no slope."""


@dataclass(frozen=True)
class GradientStencil:
    """Weights of ``gradient[i] = sum_k weight[i, k] (brightness[neighbour[i, k]] - brightness[i])``."""

    neighbour: NDArray[np.int32]
    """Texels (T, K) around each one."""
    weight: NDArray[np.float32]
    """Their weights (T, K, 3) [1/m], in the frame of the points; zero for those that do not count."""

    def gradient(self, brightness: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gradients (T, 3) [levels/m] of the brightness (T,) of all texels."""
        rise = brightness[self.neighbour] - brightness[:, None]
        gradient: NDArray[np.float32] = np.einsum("tk,tkc->tc", rise, self.weight)
        return gradient


def gradient_stencil(
    all_points: NDArray[np.float64],
    all_normals: NDArray[np.float64],
    used: NDArray[np.intp],
    spacing_m: float,
) -> GradientStencil:
    """Fit planes around texels.

    Args:
        all_points: Places of the texels (T, 3) [m].
        all_normals: Their unit normals (T, 3).
        used: Texels (U,) that matter; the gradient of others is zero.
        spacing_m: Distance of neighbouring texels.

    Returns:
        The weights. Along directions in which a texel has no neighbours its gradient is zero.
    """
    points, normals = all_points[used], all_normals[used]
    # Texels nearest to places on a ring: of the nearest texels all may lie along one line.
    side, up = tangents(normals)
    angles = np.arange(_NEIGHBOURS) * (2.0 * np.pi / _NEIGHBOURS)
    ring = np.cos(angles)[:, None] * side[:, None] + np.sin(angles)[:, None] * up[:, None]
    places = points[:, None] + _RING_SPACINGS * spacing_m * ring
    distance, neighbour = cKDTree(points).query(places)
    counts = distance < _NEAR_SPACINGS * spacing_m
    counts &= np.einsum("tkc,tc->tk", normals[neighbour], normals) > _SAME_SIDE_COSINE
    offset = (points[neighbour] - points[:, None]) / spacing_m * counts[..., None]
    x, y = np.einsum("tkc,tc->tk", offset, side), np.einsum("tkc,tc->tk", offset, up)
    xx, xy, yy = (x * x).sum(axis=1) + _DAMPING, (x * y).sum(axis=1), (y * y).sum(axis=1) + _DAMPING
    determinant = xx * yy - xy * xy
    along_side = (yy[:, None] * x - xy[:, None] * y) / determinant[:, None]
    along_up = (xx[:, None] * y - xy[:, None] * x) / determinant[:, None]
    weight = along_side[..., None] * side[:, None] + along_up[..., None] * up[:, None]
    stencil = GradientStencil(
        np.zeros((len(all_points), _NEIGHBOURS), np.int32),
        np.zeros((len(all_points), _NEIGHBOURS, 3), np.float32),
    )
    stencil.neighbour[used] = used[neighbour]
    stencil.weight[used] = weight / spacing_m
    return stencil


def tangents(normals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors (T, 3) at right angles to each other and to unit normals (T, 3)."""
    side = np.cross(normals, np.eye(3)[np.argmin(np.abs(normals), axis=1)])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    return side, np.cross(normals, side)
