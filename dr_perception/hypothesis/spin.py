"""The turn of a body of revolution about its axis, read off its label.

Depth and outlines do not show it, colours do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import exp_so3, make_transform
from dr_perception.hypothesis.turn_table import NUM_AZIMUTHS, TurnTable

_LEAST_FACING = 0.25
_PIXELS_PER_SAMPLE = 30.0
_LEAST_CONTRAST = 0.02
_AZIMUTHS = (np.arange(NUM_AZIMUTHS) + 0.5) * (2.0 * np.pi / NUM_AZIMUTHS)
_SHADES = np.stack([np.ones(NUM_AZIMUTHS), *(f(k * _AZIMUTHS) for k in (1, 2) for f in (np.cos, np.sin))])
"""Smooth shades of a ring: the first two orders of harmonics in the azimuth (5, A)."""


def spin_by_color(
    table: TurnTable | None,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
    sigma_rad: float = np.inf,
) -> NDArray[np.float64]:
    """Turn a pose (4, 4) of the centre frame about the axis of revolution to the most probable turn.

    The probability is that of `turn_evidence` times a Gaussian of the turn, so that where colours say little
    the pose keeps its turn.

    Args:
        table: The unrolled label; without one the pose stays.
        camera: Calibration of the image.
        image: RGB (H, W, 3).
        depth: Depth [m] (H, W), 0 for none; where it does not show the surface, colours are left out.
        T: The pose.
        tau_m: A measurement within twice this of the surface shows it.
        sigma_rad: Standard deviation of the turn; infinite where nothing is known of it.

    Returns:
        The turned pose.
    """
    if table is None:
        return T
    evidence = turn_evidence(table, camera, image, depth, T, tau_m)
    step = 2.0 * np.pi / NUM_AZIMUTHS
    angles = (np.arange(NUM_AZIMUTHS) + NUM_AZIMUTHS // 2) % NUM_AZIMUTHS - NUM_AZIMUTHS // 2
    values = evidence - 0.5 * (angles * step / sigma_rad) ** 2
    chosen = int(np.argmax(values))
    if values[chosen] <= values[0]:
        return T
    angle = (angles[chosen] + _peak(values, chosen)) * step
    S = exp_so3(angle * table.direction)
    return T @ make_transform(S, table.middle - S @ table.middle)


def turn_evidence(
    table: TurnTable,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
) -> NDArray[np.float64]:
    """Log likelihood of every turn of a pose by whole cells (`NUM_AZIMUTHS`,), 0 where nothing tells.

    In each band of the surface the image is a gain times the label, plus a shade that is smooth in the
    azimuth, plus noise; gain, shade and noise are not known beforehand. The greatest likelihood over them is
    ``-n/2 log(1 - r^2)`` with the partial correlation ``r`` of image and label given the shade (Mardia, Kent
    and Bibby 1979, section 6.5), where a negative ``r`` explains nothing. A metal lid, the same all around,
    says nothing whatever it mirrors.
    """
    ids, seen, pixels = _visible(table, camera, image, depth, T, tau_m)
    weights = np.zeros((len(table.colors), NUM_AZIMUTHS))
    colors = np.zeros((len(table.colors), 3, NUM_AZIMUTHS))
    ring, cell = np.divmod(ids, NUM_AZIMUTHS)
    weights[ring, cell], colors[ring, :, cell] = pixels, seen
    basis = weights[:, None] * _SHADES
    gram = _band_sums(table, basis @ _SHADES.T)
    gram += (1e-9 + 1e-6 * np.trace(gram, axis1=1, axis2=2))[:, None, None] * np.eye(len(_SHADES))
    shade = np.linalg.solve(gram, _band_sums(table, basis @ colors.transpose(0, 2, 1)))
    left = colors - np.repeat(shade, table.band_sizes, axis=0).transpose(0, 2, 1) @ _SHADES
    total = _band_sums(table, weights.sum(axis=1))
    seen2 = _band_sums(table, np.sum(weights[:, None] * left**2, axis=(1, 2)))
    product = _correlation(table, weights[:, None] * left, slice(0, 3)).sum(axis=1)
    label2 = _correlation(table, weights[:, None], slice(3, 4))[:, 0] - _explained(table, basis, gram)
    floor = total * _LEAST_CONTRAST**2
    r2 = np.maximum(product, 0.0) ** 2 / ((seen2 + floor)[:, None] * (label2 + floor[:, None]) + 1e-12)
    samples = total / _PIXELS_PER_SAMPLE
    return np.asarray(-0.5 * samples @ np.log1p(-np.minimum(r2, 0.98)))


def _band_sums(table: TurnTable, values: NDArray) -> NDArray:
    """Sums over the rings (R, ...) of each band (B, ...)."""
    return np.asarray(np.add.reduceat(values, table.bands, axis=0))


def _correlation(table: TurnTable, values: NDArray[np.float64], channels: slice) -> NDArray[np.float64]:
    """Sums of values (R, C, A) times what each turn brings there, by band (B, C, A)."""
    products = np.fft.rfft(values) * table.spectrum[:, channels].conj()
    return np.asarray(np.fft.irfft(_band_sums(table, products), NUM_AZIMUTHS))


def _explained(
    table: TurnTable, basis: NDArray[np.float64], gram: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squares of the turned label that a shade alone would explain, by band and turn (B, A)."""
    spectrum = np.fft.rfft(basis)[:, :, None] * table.spectrum[:, None, :3].conj()
    u = np.fft.irfft(_band_sums(table, spectrum), NUM_AZIMUTHS)
    flat = u.reshape(*u.shape[:2], -1)
    return np.asarray(np.sum(flat * np.linalg.solve(gram, flat), axis=1).reshape(len(u), 3, -1).sum(axis=1))


def _visible(
    table: TurnTable,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Cells (N,) that are seen, their image colours (N, 3), 0 to 1, and how many pixels each covers (N,)."""
    eye = -T[:3, :3].T @ T[:3, 3]
    sight = eye - table.points
    distance = np.linalg.norm(sight, axis=1)
    facing = np.einsum("ni,ni->n", table.normals, sight) / distance
    ids = np.flatnonzero(facing > _LEAST_FACING)
    p = table.points[ids] @ T[:3, :3].T + T[:3, 3]
    ids, p = ids[p[:, 2] > 0.01], p[p[:, 2] > 0.01]
    uv = camera.project(p)
    with np.errstate(invalid="ignore"):
        inside = np.all((uv >= 1.0) & (uv < [camera.width - 2.0, camera.height - 2.0]), axis=1)
    ids, p, uv = ids[inside], p[inside], uv[inside]
    x, y = np.floor(uv + 0.5).astype(int).T
    z = depth[y, x]
    shown = ~(z > 0.0) | (np.abs(z - p[:, 2]) < 2.0 * tau_m)
    ids, uv, z = ids[shown], uv[shown], p[shown, 2]
    pixels = table.areas[ids] * facing[ids] * camera.fx * camera.fy / z**2
    return ids, _bilinear(image, uv), pixels


def _bilinear(image: NDArray[np.uint8], uv: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = np.floor(uv).astype(int).T
    fx, fy = (uv - np.floor(uv)).T[:, :, None]
    top = (1.0 - fx) * image[y, x] + fx * image[y, x + 1]
    low = (1.0 - fx) * image[y + 1, x] + fx * image[y + 1, x + 1]
    return np.asarray(((1.0 - fy) * top + fy * low) / 255.0)


def _peak(values: NDArray[np.float64], i: int) -> float:
    """Offset in cells of the top of the parabola through a maximum and its neighbours."""
    low, high = values[i - 1], values[(i + 1) % len(values)]
    bend = low - 2.0 * values[i] + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0.0 else 0.0
