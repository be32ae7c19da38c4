"""The label of a body of revolution, unrolled: colours by ring and azimuth.

A turn about the axis shifts the unrolled label, so that all turns are compared with an image at the same
places of the surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dr_perception.body.surface_colors import surface_colors
from dr_perception.geometry.mesh import Mesh, face_areas
from dr_perception.geometry.mesh_measure import sample_surface

NUM_AZIMUTHS = 120
"""Cells of a ring: 3 degrees each."""
_RINGS_PER_DIAMETER = 48
_RINGS_PER_BAND = 5
_SAMPLES = 120_000


@dataclass(frozen=True)
class TurnTable:
    """Rings about an axis, cut into cells (N = rings times azimuths, ring by ring), in the centre frame."""

    direction: NDArray[np.float64]
    """Of the axis (3,)."""
    middle: NDArray[np.float64]
    """A point of the axis [m] (3,)."""
    points: NDArray[np.float64]
    """Middles of cells [m] (N, 3)."""
    normals: NDArray[np.float64]
    """Outward normals (N, 3)."""
    colors: NDArray[np.float64]
    """Mean colours (rings, `NUM_AZIMUTHS`, 3), 0 to 1."""
    bands: NDArray[np.int64]
    """First ring of every band (B,), whose rings lie side by side and face alike: they share their light."""
    areas: NDArray[np.float64]
    """Of cells [m^2] (N,)."""

    @cached_property
    def band_sizes(self) -> NDArray[np.int64]:
        """Rings of every band (B,)."""
        return np.diff(np.append(self.bands, len(self.colors)))

    @cached_property
    def spectrum(self) -> NDArray[np.complex128]:
        """Fourier series along each ring of the three colours and the sum of their squares (rings, 4, F)."""
        colors = self.colors.transpose(0, 2, 1)
        return np.fft.rfft(np.concatenate([colors, np.sum(colors**2, axis=1, keepdims=True)], axis=1))


def unroll(
    mesh: Mesh,
    center: NDArray[np.float64],
    diameter_m: float,
    direction: NDArray[np.float64],
    middle: NDArray[np.float64],
) -> TurnTable | None:
    """Unroll a coloured body of revolution.

    Args:
        mesh: Its mesh.
        center: Origin of the centre frame in the mesh's [m] (3,).
        diameter_m: Its diameter.
        direction: Unit direction of the axis (3,).
        middle: A point of the axis in the centre frame [m] (3,).

    Returns:
        The table; None for a mesh without colours. Rings that nobody saw all around are left out, since a
        turn would compare what is a guess.
    """
    points, normals, faces = sample_surface(mesh, _SAMPLES, np.random.default_rng(0))
    colors = surface_colors(mesh, faces, _barycentric(mesh, faces, points))
    if colors is None:
        return None
    side, up = _frame(direction)
    p = points - center - middle
    height, radius = p @ direction, np.hypot(p @ side, p @ up)
    azimuth = np.arctan2(p @ up, p @ side)
    radial = (np.cos(azimuth)[:, None] * side + np.sin(azimuth)[:, None] * up) * normals
    tilt = np.stack([normals @ direction, radial.sum(axis=1)], axis=1)
    step = diameter_m / _RINGS_PER_DIAMETER
    # Walls and lids meet, and inner and outer walls of a cup lie close: the side they face tells them apart.
    steep = np.abs(tilt[:, 0]) > np.abs(tilt[:, 1])
    side_faced = np.where(steep, 2.0 * np.sign(tilt[:, 0]), np.sign(tilt[:, 1]))
    key = np.stack([np.floor(height / step), np.floor(radius / step), side_faced], axis=1)
    _, ring, count = np.unique(key.astype(np.int64), axis=0, return_inverse=True, return_counts=True)
    kept = count >= NUM_AZIMUTHS // 2
    if mesh.unseen_faces is not None:
        kept &= np.bincount(ring.ravel(), mesh.unseen_faces[faces]) == 0
    number = np.cumsum(kept) - 1
    ring = ring.ravel()
    on = kept[ring]
    ring, count = number[ring[on]], count[kept]
    height, radius, tilt = (_means(a[on], ring, count) for a in (height, radius, tilt))
    tilt /= np.maximum(np.linalg.norm(tilt, axis=1, keepdims=True), 1e-9)
    cell = np.floor((azimuth[on] / (2.0 * np.pi) % 1.0) * NUM_AZIMUTHS).astype(np.int64) % NUM_AZIMUTHS
    areas = count * (face_areas(mesh).sum() / (_SAMPLES * NUM_AZIMUTHS))
    ring_colors = _ring_colors(ring, cell, colors[on] / 255.0)
    return _table(direction, middle, (height, radius, tilt), ring_colors, areas, step)


def _barycentric(mesh: Mesh, faces: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (N, 3) of the corners of faces (N,) at points (N, 3) on them."""
    a, b, c = (mesh.vertices[mesh.faces[faces, k]] for k in range(3))
    n = np.cross(b - a, c - a)
    area = np.maximum(np.sum(n * n, axis=1), 1e-30)
    v = np.sum(np.cross(points - a, c - a) * n, axis=1) / area
    w = np.sum(np.cross(b - a, points - a) * n, axis=1) / area
    return np.stack([1.0 - v - w, v, w], axis=1)


def _frame(direction: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors that complete an axis to a right-handed frame."""
    side = np.cross(np.eye(3)[int(np.argmin(np.abs(direction)))], direction)
    side /= np.linalg.norm(side)
    return side, np.cross(direction, side)


def _means(
    values: NDArray[np.float64], group: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Means of values (N,) or (N, K) by group."""
    columns = [np.bincount(group, one, len(count)) / count for one in np.atleast_2d(values.T)]
    return columns[0] if values.ndim == 1 else np.stack(columns, axis=1)


def _ring_colors(
    ring: NDArray[np.int64], cell: NDArray[np.int64], colors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean colours (rings, azimuths, 3); empty cells take those of their neighbours."""
    rings = int(ring.max(initial=-1)) + 1
    flat = ring * NUM_AZIMUTHS + cell
    size = rings * NUM_AZIMUTHS
    sums = np.stack([np.bincount(flat, c, size) for c in (*colors.T, np.ones(len(flat)))], axis=1)
    sums = sums.reshape(rings, NUM_AZIMUTHS, 4)
    while (sums[..., 3] == 0.0).any():
        wider = sums + np.roll(sums, 1, axis=1) + np.roll(sums, -1, axis=1)
        sums = np.where(sums[..., 3:] > 0.0, sums, wider)
    return np.asarray(sums[..., :3] / sums[..., 3:])


def _table(
    direction: NDArray[np.float64],
    middle: NDArray[np.float64],
    rings: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    colors: NDArray[np.float64],
    areas: NDArray[np.float64],
    step: float,
) -> TurnTable:
    height, radius, tilt = rings
    side, up = _frame(direction)
    phi = (np.arange(NUM_AZIMUTHS) + 0.5) * (2.0 * np.pi / NUM_AZIMUTHS)
    around = np.cos(phi)[:, None] * side + np.sin(phi)[:, None] * up
    points = middle + height[:, None, None] * direction + radius[:, None, None] * around
    normals = tilt[:, 0, None, None] * direction + tilt[:, 1, None, None] * around
    width = _RINGS_PER_BAND * step
    facing = np.round(np.arctan2(tilt[:, 0], tilt[:, 1]) / (0.25 * np.pi))
    key = np.stack([np.floor(height / width), np.floor(radius / width), facing], axis=1).astype(np.int64)
    band = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(band, kind="stable")
    return TurnTable(
        direction,
        middle,
        points[order].reshape(-1, 3),
        normals[order].reshape(-1, 3),
        colors[order],
        np.append(0, np.flatnonzero(np.diff(band[order])) + 1),
        np.repeat(areas[order], NUM_AZIMUTHS),
    )
