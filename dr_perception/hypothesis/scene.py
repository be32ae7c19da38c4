"""What a search reads from a frame.

Cleaned depth, normals, labels of pixels, and a grid of oriented points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.threads import separate_threads
from dr_perception.geometry.camera_warp import CameraParams, camera_params
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.judge_kernels import INSIDE, OUTSIDE, SearchImages, estimate_normals
from dr_perception.measure.config import DepthConfig

Box = tuple[int, int, int, int]

_MAX_BEND = 0.02
_PLANE_TRIALS = 48
_MAX_PLANES = 4
_PLANE_AREA = 3.0
_OBJECT_POINTS = 256
_NO_NORMAL = 0.5
_RESOLVED = 0.1


@dataclass(frozen=True)
class Region:
    """Where an object is looked for: pixels that may show it, and whether they are known to (a mask)."""

    allowed: NDArray[np.bool_] | None
    """Pixels that may show the object (H, W); None: all."""
    is_mask: bool
    """Whether the pixels are known to show the object."""
    click: tuple[int, int] | None = None
    """A pixel (x, y) that is known to show the object."""


@dataclass(frozen=True)
class SearchScene:
    """One frame, prepared for one model and region."""

    images: SearchImages
    depth: NDArray[np.float32]
    """Depth [m] (H, W), 0 for none."""
    stride: int
    """Distance of grid points [px]."""
    points: NDArray[np.float32]
    """Grid of points in the camera frame [m] (h, w, 3)."""
    normals: NDArray[np.float32]
    """Their normals towards the camera (h, w, 3)."""
    usable: NDArray[np.bool_]
    """Grid points that may belong to the object (h, w)."""
    object_points: NDArray[np.float64]
    """Measured points that are known to belong to the object [m] (N, 3)."""


def prepare_scene(
    model: ObjectModel, frame: Frame, region: Region, noise: DepthConfig, device: wp.Device
) -> SearchScene:
    """Upload the frame and find the points that may belong to the object.

    Where depths scatter by more than a tenth of the diameter no pose could be told right from wrong.
    """
    camera = frame.camera
    separate_threads()
    shape = (camera.height, camera.width)
    depth = frame.depth_m() if frame.depth is not None else np.zeros(shape, np.float32)
    allowed = region.allowed if region.allowed is not None else np.ones(shape, bool)
    seen = depth[allowed & (depth > 0.0)]
    z = float(np.median(seen)) if len(seen) else 1.0
    spacing = model.diameter_m * camera.fx / z
    images = SearchImages()
    images.seen.lens = wp.array([camera_params(camera)], dtype=CameraParams, device=device)
    images.seen.depth = wp.array(depth, dtype=float, device=device)
    images.normal = wp.zeros(shape, dtype=wp.vec3, device=device)
    color = frame.color if frame.color is not None else np.zeros((0, 0, 3), np.uint8)
    images.seen.color = wp.array(color, dtype=wp.vec3ub, device=device)
    images.label = wp.array(pixel_labels(region, shape), dtype=wp.uint8, device=device)
    reach = int(np.clip(round(0.04 * spacing), 2, 6))
    inputs = [images.seen, reach, _MAX_BEND]
    wp.launch(estimate_normals, shape, inputs=inputs, outputs=[images.normal], device=device)
    stride = int(np.clip(round(0.035 * spacing), 1, 12))
    cut = slice(stride // 2, None, stride)
    rays = camera.rays()[cut, cut]
    z_grid = depth[cut, cut]
    points = np.concatenate([rays * z_grid[..., None], z_grid[..., None]], axis=-1).astype(np.float32)
    normals = images.normal.numpy()[cut, cut]
    usable = noise.sigma_m + noise.sigma_per_m2 * z_grid**2 < _RESOLVED * model.diameter_m
    usable &= (z_grid > 0.0) & (np.sum(normals**2, axis=-1) > _NO_NORMAL) & allowed[cut, cut]
    if not region.is_mask:
        usable &= ~large_planes(points, normals, usable, stride / camera.fx, model.diameter_m)
    return SearchScene(
        images=images,
        depth=depth,
        stride=stride,
        points=points,
        normals=normals,
        usable=usable,
        object_points=_object_points(depth, camera.rays(), region),
    )


def pixel_labels(region: Region, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels of pixels; next to the rim of a mask they say nothing."""
    labels = np.zeros(shape, np.uint8)
    if region.allowed is None:
        return labels
    labels[~_grown(region.allowed, 2)] = OUTSIDE
    if region.is_mask:
        labels[~_grown(~region.allowed, 1)] = INSIDE
    return labels


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    grown = mask.copy()
    for _ in range(pixels):
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        grown = wider
    return grown


def _object_points(
    depth: NDArray[np.float32], rays: NDArray[np.float32], region: Region
) -> NDArray[np.float64]:
    """Measured points well inside a mask, or next to a click, in random order."""
    if region.click is not None:
        column, row = region.click
        near = np.zeros(depth.shape, bool)
        near[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = True
        region = Region(near, True)
    if not region.is_mask or region.allowed is None:
        return np.zeros((0, 3))
    y, x = np.nonzero(region.allowed & ~_grown(~region.allowed, 2) & (depth > 0.0))
    if len(y) == 0:
        y, x = np.nonzero(region.allowed & (depth > 0.0))
    if len(y) == 0:
        return np.zeros((0, 3))
    chosen = np.random.default_rng(0).permutation(len(y))[:_OBJECT_POINTS]
    y, x = y[chosen], x[chosen]
    z = depth[y, x].astype(np.float64)
    return np.column_stack([rays[y, x] * z[:, None], z])


def large_planes(
    points: NDArray[np.float32],
    normals: NDArray[np.float32],
    usable: NDArray[np.bool_],
    radians_per_cell: float,
    diameter_m: float,
) -> NDArray[np.bool_]:
    """Grid points (h, w) on planes so large that they cannot be the object's: tables, floors, walls.

    A plane is proposed by one oriented point and counts by the area of its inliers, not by their number.
    Were they not left out, 8 instead of 2 of 72 searches in whole frames would be wrong, with a score above
    0.5 for 7 of them (`benchmarks/fit.py search`).
    """
    rng = np.random.default_rng(0)
    found = np.zeros(usable.shape, bool)
    tolerance = 0.025 * diameter_m
    p, n = points[usable], normals[usable]
    slant = np.abs(np.einsum("ij,ij->i", n, p)) / np.maximum(np.linalg.norm(p, axis=1), 1e-6)
    area = (radians_per_cell * p[:, 2]) ** 2 / np.maximum(slant, 0.15)
    left = np.ones(len(p), bool)
    where = np.argwhere(usable)
    for _ in range(_MAX_PLANES):
        ids = np.flatnonzero(left)
        if len(ids) < 50:
            break
        some = rng.choice(ids, min(2000, len(ids)), replace=False)
        trials = rng.choice(ids, _PLANE_TRIALS)
        distance = np.abs((p[some] @ n[trials].T) - np.einsum("ij,ij->i", p[trials], n[trials]))
        inlier = (distance < 2.0 * tolerance) & (n[some] @ n[trials].T > 0.85)
        best = trials[int(np.argmax(area[some] @ inlier))]
        normal, origin = _fit_plane(p[some][inlier[:, trials == best][:, 0]], n[best], p[best])
        on = left & (np.abs((p - origin) @ normal) < tolerance)
        if float(area[on & (n @ normal > 0.8)].sum()) < _PLANE_AREA * diameter_m**2:
            break
        left &= ~on
        found[tuple(where[on].T)] = True
    return found


def _fit_plane(
    p: NDArray[np.float32], n: NDArray[np.float32], origin: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal and a point of the least-squares plane through points.

    Of the proposal where they are too few.
    """
    if len(p) < 10:
        return n.astype(np.float64), origin.astype(np.float64)
    middle = p.mean(axis=0).astype(np.float64)
    normal = np.linalg.svd(p.astype(np.float64) - middle, full_matrices=False)[2][2]
    return normal * np.sign(normal @ n), middle
