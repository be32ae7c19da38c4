"""Brightness on the faces of a simplified mesh: baked from a textured model, or blank, to be learned.

Every face carries a grid of texels fine enough for the model's texture as a camera sees it. A simplified mesh
keeps no texture coordinates; each texel takes the colour of the nearest point of the original surface.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.nearest import Surface
from dr_perception.body.surface_colors import has_colors, surface_colors
from dr_perception.body.texel_gradient import gradient_stencil, tangents
from dr_perception.geometry.mesh import Mesh, face_areas, face_normals, seen_part

_LUMA = np.array([0.299, 0.587, 0.114])
_LEAST_PER_DIAMETER = 120.0
_LEAST_TEXELS = 8000.0
_MAX_RESOLUTION = 256
_FILTER_RADIUS = 0.8
"""Of the ring of points that a texel averages over, in spacings."""
_MIN_CONTRAST = 6.0
"""Standard deviation of brightness, in levels of 255, below which a model has no texture to speak of."""


@dataclass(frozen=True)
class TexelGrid:
    """Texels on the faces of a mesh, on a grid along the two shorter sides of each.

    Those beyond the third side are moved onto it.
    """

    layout: NDArray[np.int32]
    """Intervals along the two sides, the corner that they start from, and the first texel (F, 4).

    Texel (i, j) of a face has index ``first + j (n_u + 1) + i``.
    """
    face: NDArray[np.int32]
    """Face of each texel (T,)."""
    barycentric: NDArray[np.float64]
    """Where each texel lies on its face (T, 3)."""
    points: NDArray[np.float64]
    """Places (T, 3) [m]."""
    normals: NDArray[np.float64]
    """Unit normals of their faces (T, 3)."""
    used: NDArray[np.intp]
    """Texels that some place on a face that was seen lies next to; the others fill the grids."""
    spacing_m: float
    """Largest distance of neighbours."""


def lay_texels(mesh: Mesh, diameter_m: float, coarseness: float = 1.0) -> TexelGrid:
    """Lay grids of texels onto the faces of a mesh.

    Their spacing is a share of the diameter [m], less where the surface is small for that, as a hammer's, and
    ``coarseness`` times as large if need be.
    """
    spacing_m = min(diameter_m / _LEAST_PER_DIAMETER, math.sqrt(face_areas(mesh).sum() / _LEAST_TEXELS))
    spacing_m *= coarseness
    corners = mesh.vertices[mesh.faces]
    opposite = np.linalg.norm(np.roll(corners, -1, axis=1) - np.roll(corners, -2, axis=1), axis=2)
    start = np.argmax(opposite, axis=1)
    face = np.arange(len(corners))
    # The side from a corner to the next lies opposite the corner after that.
    sides = np.stack([opposite[face, (start + 2) % 3], opposite[face, (start + 1) % 3]], axis=1)
    n = np.clip(np.ceil(sides / spacing_m), 1, _MAX_RESOLUTION).astype(np.int32)
    counts = (n + 1).prod(axis=1)
    first = np.cumsum(counts) - counts
    of_face = np.repeat(face, counts)
    within = np.arange(counts.sum()) - first[of_face]
    i, j = within % (n[of_face, 0] + 1), within // (n[of_face, 0] + 1)
    u, v = i / n[of_face, 0], j / n[of_face, 1]
    used = u + v < 1.0 + (1.0 / n[of_face]).sum(axis=1)
    if mesh.unseen_faces is not None:
        used &= ~mesh.unseen_faces[of_face]
    # Those beyond the third side are moved onto it, along the shorter of the other two.
    short_u = (sides[:, 0] < sides[:, 1])[of_face]
    u, v = np.where(short_u, np.minimum(u, 1.0 - v), u), np.where(short_u, v, np.minimum(v, 1.0 - u))
    weights = np.stack([1.0 - u - v, u, v], axis=1)
    weights = 0.999 * weights + 0.001 / 3.0  # pulled in, to stay on the face
    barycentric = weights[np.arange(len(weights))[:, None], (np.arange(3) - start[of_face, None]) % 3]
    return TexelGrid(
        np.column_stack([n, start, first]).astype(np.int32),
        of_face.astype(np.int32),
        barycentric,
        np.einsum("tk,tkc->tc", barycentric, corners[of_face]),
        face_normals(mesh)[of_face],
        np.flatnonzero(used),
        spacing_m,
    )


@dataclass(frozen=True)
class Appearance:
    """Brightness at the texels of a mesh."""

    grid: TexelGrid
    brightness: NDArray[np.float32]
    """Brightness (T,), 0 to 255 in the encoding of images (sRGB)."""
    gradient: NDArray[np.float32]
    """Its gradient along the surface (T, 3) [levels/m]."""


def bake(original: Mesh, simplified: Mesh, diameter_m: float) -> Appearance | None:
    """Bake the brightness of a coloured mesh onto a simplified one; None if it has no colours that vary.

    Args:
        original: Mesh with vertex colours or a texture.
        simplified: Mesh that stands for it, in the same frame.
        diameter_m: Size of the model, which sets the spacing of texels.
    """
    if not has_colors(original):
        return None
    grid = lay_texels(simplified, diameter_m)
    brightness = np.zeros(len(grid.points), np.float32)
    brightness[grid.used] = _filtered_brightness(original, grid)
    if brightness[grid.used].std() < _MIN_CONTRAST:
        return None
    stencil = gradient_stencil(grid.points, grid.normals, grid.used, grid.spacing_m)
    return Appearance(grid, brightness, stencil.gradient(brightness))


def _filtered_brightness(original: Mesh, grid: TexelGrid) -> NDArray[np.float32]:
    """Brightness at the used texels, averaged over the surface that each stands for: images blur as much."""
    side, up = (_FILTER_RADIUS * grid.spacing_m * t for t in tangents(grid.normals[grid.used]))
    points = grid.points[grid.used]
    original = seen_part(original)
    surface = Surface(original)
    total = 0.25 * _surface_brightness(original, surface, points)
    for angle in np.arange(6) * (np.pi / 3.0):
        ring = points + np.cos(angle) * side + np.sin(angle) * up
        total += 0.125 * _surface_brightness(original, surface, ring)
    return total


def _surface_brightness(mesh: Mesh, surface: Surface, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Brightness (N,) of the surface of a mesh nearest to points (N, 3)."""
    near = surface.nearest(points)
    colors = surface_colors(mesh, near.face, near.weights.astype(np.float64))
    assert colors is not None
    return (colors @ _LUMA).astype(np.float32)


@wp.struct
class BakedBrightness:
    """`Appearance` on a device; empty arrays for a model without texture. NaN where nothing is known."""

    layout: wp.array[wp.vec4i]
    brightness: wp.array[float]
    gradient: wp.array[wp.vec3]


def upload(appearance: Appearance | None, device: wp.DeviceLike) -> BakedBrightness:
    """Copy an appearance to a device."""
    return upload_baked({} if appearance is None else baked_arrays(appearance), device)


def baked_arrays(appearance: Appearance) -> dict[str, NDArray[Any]]:
    """Arrays of the fields of `BakedBrightness`."""
    a = appearance
    return {"layout": a.grid.layout, "brightness": a.brightness, "gradient": a.gradient}


def upload_baked(arrays: Mapping[str, NDArray[Any]], device: wp.DeviceLike) -> BakedBrightness:
    """Copy the arrays of `baked_arrays` to a device; empty ones without."""
    baked = BakedBrightness()
    layout = arrays.get("layout", np.zeros((0, 4), np.int32))
    brightness = arrays.get("brightness", np.zeros(0, np.float32))
    gradient = arrays.get("gradient", np.zeros((0, 3), np.float32))
    baked.layout = wp.array(layout, dtype=wp.vec4i, device=device)
    baked.brightness = wp.array(brightness, dtype=float, device=device)
    baked.gradient = wp.array(gradient, dtype=wp.vec3, device=device)
    return baked


@wp.struct
class TexelPlace:
    """A place between four texels: the first of them, how far to the next row, and the place, 0 to 1."""

    texel: int
    row: int
    x: float
    y: float


@wp.func
def texels_around(baked: BakedBrightness, face: int, barycentric: wp.vec3) -> TexelPlace:
    """The four texels around barycentric coordinates on a face."""
    layout = baked.layout[face]
    x = wp.clamp(barycentric[(layout[2] + 1) % 3], 0.0, 1.0) * float(layout[0])
    y = wp.clamp(barycentric[(layout[2] + 2) % 3], 0.0, 1.0) * float(layout[1])
    i = wp.min(wp.int32(x), layout[0] - 1)
    j = wp.min(wp.int32(y), layout[1] - 1)
    at = TexelPlace()
    at.row = layout[0] + 1
    at.texel = layout[3] + j * at.row + i
    at.x = x - float(i)
    at.y = y - float(j)
    return at


@wp.func
def brightness_at(baked: BakedBrightness, at: TexelPlace) -> float:
    """Brightness at a place, bilinear; NaN if it is at a texel."""
    k = at.texel
    low = (1.0 - at.x) * baked.brightness[k] + at.x * baked.brightness[k + 1]
    high = (1.0 - at.x) * baked.brightness[k + at.row] + at.x * baked.brightness[k + at.row + 1]
    return (1.0 - at.y) * low + at.y * high


@wp.func
def gradient_at(baked: BakedBrightness, at: TexelPlace) -> wp.vec3:
    """Gradient of brightness at a place [levels/m], bilinear; NaN if it is at a texel."""
    k = at.texel
    low = (1.0 - at.x) * baked.gradient[k] + at.x * baked.gradient[k + 1]
    high = (1.0 - at.x) * baked.gradient[k + at.row] + at.x * baked.gradient[k + at.row + 1]
    return (1.0 - at.y) * low + at.y * high
