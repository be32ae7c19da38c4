"""Seeds from geometry alone: poses voted for by pairs of oriented points (Drost et al. 2010)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.content import content_key
from dr_perception.body.store import Arrays, Store, default_store
from dr_perception.device.shared_tables import SharedTables
from dr_perception.device.threads import separate_threads
from dr_perception.geometry.mesh import Mesh, seen_part
from dr_perception.geometry.mesh_measure import sample_surface
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.pair_kernels import (
    NUM_ANGLES,
    NUM_BINS,
    PairTable,
    describe_model_pairs,
    find_peaks,
    vote,
)

_MODEL_POINTS = 300
_CANDIDATES = 6000
_REACH = 0.9
_PEAKS = 4
_BATCH = 128

_ROOMS = ("geometry", "hypothesis")


@dataclass(frozen=True)
class PairModel:
    """Oriented points of what was seen of a model, about its centre, and the table of their pairs."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    table: PairTable


_tables: SharedTables[Mesh, PairModel] = SharedTables()


def pair_model(model: ObjectModel, device: wp.Device) -> PairModel:
    """Pair table of a model; made once, or read if it was made before; kept as long as its mesh lives."""
    return _tables.get(model.mesh, str(device), lambda: _upload(pair_arrays(model), device))


def pair_arrays(model: ObjectModel, store: Store | None = None) -> Arrays:
    """What `pair_model` uploads, from a store or made and stored."""
    return (store or default_store()).get("pairs", content_key(model.mesh, (), _ROOMS), lambda: _build(model))


def provide_pair_model(model: ObjectModel, device: wp.Device) -> None:
    """Make sure that `pair_model` answers soon: from the disk, else from memory."""
    arrays = pair_arrays(model)
    if not default_store().has("pairs", content_key(model.mesh, (), _ROOMS)):
        _tables.get(model.mesh, str(device), lambda: _upload(arrays, device))


def _build(model: ObjectModel) -> Arrays:
    """The table on the host; made on the CPU, so that it is the same whatever device uses it."""
    separate_threads()
    points, normals, _ = sample_surface(seen_part(model.mesh), _CANDIDATES, np.random.default_rng(0))
    ids = farthest_points(points, _MODEL_POINTS)
    points, normals = points[ids] - model.center, normals[ids]
    n = len(points)
    bins = wp.zeros((n, n), dtype=int, device="cpu")
    turns = wp.zeros((n, n), dtype=float, device="cpu")
    reach_m = float(_REACH * model.diameter_m)
    inputs = [wp.array(a.astype(np.float32), dtype=wp.vec3, device="cpu") for a in (points, normals)]
    wp.launch(describe_model_pairs, (n, n), inputs=[*inputs, reach_m], outputs=[bins, turns], device="cpu")
    bin_of = bins.numpy().ravel()
    # Two points whose normals are opposite are never seen together.
    apart = (normals @ normals.T).ravel() > -0.95
    kept = np.flatnonzero((bin_of >= 0) & apart)
    kept = kept[np.argsort(bin_of[kept], kind="stable")]
    return {
        "points": points,
        "normals": normals,
        "first": np.searchsorted(bin_of[kept], np.arange(NUM_BINS + 1)).astype(np.int32),
        "point": (kept // n).astype(np.int32),
        "turn": turns.numpy().ravel()[kept],
        "reach_m": np.array(reach_m),
    }


def _upload(arrays: Arrays, device: wp.Device) -> PairModel:
    table = PairTable()
    table.first = wp.array(arrays["first"], dtype=int, device=device)
    table.point = wp.array(arrays["point"], dtype=int, device=device)
    table.turn = wp.array(arrays["turn"], dtype=float, device=device)
    table.reach_m = float(arrays["reach_m"])
    return PairModel(arrays["points"], arrays["normals"], table)


def farthest_points(points: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Indices of points that are far from each other, chosen one by one (Gonzalez 1985)."""
    ids = np.zeros(min(count, len(points)), np.int64)
    distance = np.full(len(points), np.inf)
    for k in range(1, len(ids)):
        distance = np.minimum(distance, np.sum((points - points[ids[k - 1]]) ** 2, axis=1))
        ids[k] = int(np.argmax(distance))
    return ids


def vote_poses(
    pairs: PairModel,
    points: NDArray[np.float32],
    normals: NDArray[np.float32],
    usable: NDArray[np.bool_],
    references: NDArray[np.int32],
    cells_per_tangent: float,
    device: wp.Device,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses of the model's centre frame that pairs of scene points vote for.

    Args:
        pairs: The model.
        points: Scene points on a grid in the camera frame [m], (H, W, 3).
        normals: Their unit normals towards the camera (H, W, 3).
        usable: Which of them may belong to the object (H, W).
        references: Grid cells (x, y) that vote (N, 2).
        cells_per_tangent: Focal length in grid cells.
        device: Where to compute.

    Returns:
        Poses (K, 4, 4) and their votes (K,).
    """
    separate_threads()
    arrays = [
        wp.array(np.ascontiguousarray(points, np.float32), dtype=wp.vec3, device=device),
        wp.array(np.ascontiguousarray(normals, np.float32), dtype=wp.vec3, device=device),
        wp.array(usable.astype(np.uint8), dtype=wp.uint8, device=device),
    ]
    votes = wp.zeros((_BATCH, len(pairs.points), NUM_ANGLES), dtype=float, device=device)
    found = []
    for start in range(0, len(references), _BATCH):
        batch = references[start : start + _BATCH]
        where = wp.array(np.ascontiguousarray(batch, np.int32), dtype=wp.vec2i, device=device)
        peaks = wp.zeros((len(batch), _PEAKS), dtype=wp.vec3i, device=device)
        inputs = [*arrays, where, float(cells_per_tangent), pairs.table]
        wp.launch(vote, len(batch), inputs=inputs, outputs=[votes], device=device)
        wp.launch(find_peaks, len(batch), inputs=[_PEAKS], outputs=[votes, peaks], device=device)
        found.append(peaks.numpy().copy())
    if not found:
        return np.zeros((0, 4, 4)), np.zeros(0)
    peaks_all = np.concatenate(found).reshape(-1, 3)
    cells = np.repeat(references, _PEAKS, axis=0)
    kept = peaks_all[:, 2] > 0
    return _poses(pairs, points, normals, cells[kept], peaks_all[kept]), peaks_all[kept, 2].astype(np.float64)


def _frames(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (K, 3, 3) that take unit normals (K, 3) to the x axis.

    The twin of the kernels' ``frame_of``.
    """
    helper = np.where(np.abs(n[:, 2:]) > np.float32(0.8), [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]])
    u = np.cross(helper, n)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return np.stack([n, u, np.cross(n, u)], axis=1)


def _poses(
    pairs: PairModel,
    points: NDArray[np.float32],
    normals: NDArray[np.float32],
    cells: NDArray[np.int32],
    peaks: NDArray[np.int32],
) -> NDArray[np.float64]:
    scene = points[cells[:, 1], cells[:, 0]].astype(np.float64)
    R_scene = _frames(normals[cells[:, 1], cells[:, 0]].astype(np.float64))
    R_model = _frames(pairs.normals[peaks[:, 0]])
    alpha = (peaks[:, 1] + 0.5) * (2.0 * np.pi / NUM_ANGLES)
    turn = np.zeros((len(peaks), 3, 3))
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(alpha)
    turn[:, 2, 1] = np.sin(alpha)
    turn[:, 1, 2] = -turn[:, 2, 1]
    T = np.tile(np.eye(4), (len(peaks), 1, 1))
    T[:, :3, :3] = np.swapaxes(R_scene, 1, 2) @ turn @ R_model
    T[:, :3, 3] = scene - np.einsum("kij,kj->ki", T[:, :3, :3], pairs.points[peaks[:, 0]])
    return T
