"""Brightness of a textured model, baked onto the faces of its simplified mesh.

Every face carries a triangular grid of samples fine enough for the model's texture as a camera sees it. A
simplified mesh keeps no texture coordinates; each grid point takes the colour of the nearest point of the
original surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh

_LUMA = np.array([0.299, 0.587, 0.114])
_TEXELS_PER_DIAMETER = 100.0
_MAX_RESOLUTION = 256
_MIN_CONTRAST = 6.0
"""Standard deviation of brightness, in levels of 255, below which a model has no texture to speak of."""


@dataclass(frozen=True)
class Appearance:
    """Brightness on the faces of a mesh, 0 to 255 in the encoding of images (sRGB)."""

    resolution: NDArray[np.int32]
    """Intervals along each side of a face's grid (F,)."""
    offset: NDArray[np.int32]
    """Index of the first of ``(n + 1) (n + 2) / 2`` samples of each face (F,)."""
    brightness: NDArray[np.float32]
    """Samples of all faces, row by row: row ``j`` holds ``n + 1 - j`` of them."""


def bake(original: Mesh, simplified: Mesh, diameter_m: float) -> Appearance | None:
    """Bake the brightness of a coloured mesh onto a simplified one; None if it has no colours that vary.

    Args:
        original: Mesh with vertex colours or a texture.
        simplified: Mesh that stands for it, in the same frame.
        diameter_m: Size of the model, which sets the spacing of samples.
    """
    if original.vertex_colors is None and original.texture is None:
        return None
    corners = simplified.vertices[simplified.faces]
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1)
    n = np.clip(np.ceil(sides / diameter_m * _TEXELS_PER_DIAMETER), 1, _MAX_RESOLUTION).astype(np.int32)
    counts = (n + 1) * (n + 2) // 2
    offset = (np.cumsum(counts) - counts).astype(np.int32)
    points = np.concatenate([_grid(k) @ corner for k, corner in zip(n, corners, strict=True)])
    brightness = surface_brightness(original, points)
    if brightness.std() < _MIN_CONTRAST:
        return None
    return Appearance(n, offset, brightness)


def _grid(n: int) -> NDArray[np.float64]:
    """Barycentric weights of a triangular grid ((n + 1) (n + 2) / 2, 3), pulled in to stay on the face."""
    j, i = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    keep = i + j <= n
    u, v = i[keep] / n, j[keep] / n
    weights = np.stack([1.0 - u - v, u, v], axis=1)
    return 0.999 * weights + 0.001 / 3.0


def surface_brightness(mesh: Mesh, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Brightness (N,) of the surface nearest to points (N, 3)."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(mesh.vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    near = scene.compute_closest_points(o3d.core.Tensor(points.astype(np.float32)))
    face = near["primitive_ids"].numpy().astype(np.int64)
    uv = near["primitive_uvs"].numpy().astype(np.float64)
    weights = np.column_stack([1.0 - uv.sum(axis=1), uv])
    if mesh.texture is not None and mesh.corner_uv is not None:
        at = np.einsum("nk,nkc->nc", weights, mesh.corner_uv[face])
        height, width = mesh.texture.shape[:2]
        x = np.clip((at[:, 0] % 1.0) * width, 0, width - 1).astype(np.int64)
        y = np.clip((1.0 - at[:, 1] % 1.0) * height, 0, height - 1).astype(np.int64)
        color = mesh.texture[y, x].astype(np.float64)
    else:
        assert mesh.vertex_colors is not None
        color = np.einsum("nk,nkc->nc", weights, mesh.vertex_colors[mesh.faces[face]].astype(np.float64))
    return (color @ _LUMA).astype(np.float32)


@wp.struct
class BakedBrightness:
    """`Appearance` on a device; empty arrays for a model without texture."""

    resolution: wp.array[int]
    offset: wp.array[int]
    brightness: wp.array[float]


def upload(appearance: Appearance | None, device: wp.DeviceLike) -> BakedBrightness:
    """Copy an appearance to a device."""
    baked = BakedBrightness()
    empty_int, empty_float = np.zeros(0, np.int32), np.zeros(0, np.float32)
    a = appearance or Appearance(empty_int, empty_int, empty_float)
    baked.resolution = wp.array(a.resolution, dtype=int, device=device)
    baked.offset = wp.array(a.offset, dtype=int, device=device)
    baked.brightness = wp.array(a.brightness, dtype=float, device=device)
    return baked


@wp.func
def _row_start(n: int, j: int) -> int:
    return j * (n + 1) - (j * (j - 1)) / 2


@wp.func
def brightness_at(baked: BakedBrightness, face: int, weights: wp.vec3) -> float:
    """Brightness at barycentric weights of a face: linear between the three nearest samples of its grid."""
    n = baked.resolution[face]
    first = baked.offset[face]
    u = wp.clamp(weights[1], 0.0, 1.0) * float(n)
    v = wp.clamp(weights[2], 0.0, 1.0) * float(n)
    j = wp.min(wp.int32(v), n - 1)
    i = wp.min(wp.int32(u), n - 1 - j)
    fu = wp.clamp(u - float(i), 0.0, 1.0)
    fv = wp.clamp(v - float(j), 0.0, 1.0)
    low = first + _row_start(n, j) + i
    high = first + _row_start(n, j + 1) + i
    b10 = baked.brightness[low + 1]
    b01 = baked.brightness[high]
    if fu + fv <= 1.0 or i + j + 2 > n:
        b00 = baked.brightness[low]
        return b00 + fu * (b10 - b00) + fv * (b01 - b00)
    b11 = baked.brightness[high + 1]
    return b11 + (1.0 - fu) * (b01 - b11) + (1.0 - fv) * (b10 - b11)
