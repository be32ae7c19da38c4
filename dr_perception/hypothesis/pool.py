"""A pool of pose hypotheses of one model: judged, aligned, thinned out, all on the device."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.device_array import SharedArray
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import Launch, record
from dr_perception.hypothesis.judge_kernels import (
    Alignment,
    Features,
    SearchImages,
    Tolerance,
    align_poses,
    judge_poses,
)
from dr_perception.hypothesis.looks_kernels import COLORS, PATTERN, Looks, judge_looks
from dr_perception.hypothesis.rank import Shares
from dr_perception.hypothesis.tables import SearchModel

_HOLD = 0.02
"""Damping of alignment, relative to the diagonal."""


class _Slot:
    """Poses of one number, their features, and the launches that were recorded for them."""

    def __init__(self, count: int, device: wp.Device) -> None:
        self.poses = PoseArrays(count, device)
        self.features = SharedArray(count, Features, device)
        self.looks = SharedArray(count, Looks, device)
        self.launches: dict[tuple[str | float, ...], Launch] = {}


class Judge:
    """Judges and aligns poses of a model's centre frame against the images of one frame."""

    def __init__(
        self, search: SearchModel, images: SearchImages, object_points: NDArray[np.float64], device: wp.Device
    ) -> None:
        """Bind a model, images, and measured points (N, 3) that are known to belong to the object."""
        self._search = search
        self._images = images
        self._device = device
        self._points = wp.array(object_points.astype(np.float32), dtype=wp.vec3, device=device)
        self._has_color = wp.full(1, int(images.seen.color.size > 0), dtype=int, device=device)
        self._slots: dict[int, _Slot] = {}

    def judge(
        self, T: NDArray[np.float64], tau_m: float, samples: int = 128, edges: int = 48, points: int = 128
    ) -> NDArray[np.float32]:
        """Features (P, F) of poses (P, 4, 4)."""
        slot = self._slot(T)
        key = ("judge", tau_m, samples, edges, points)
        if key not in slot.launches:
            tolerance = Tolerance()
            tolerance.tau_m = float(tau_m)
            tolerance.samples, tolerance.edges, tolerance.points = samples, edges, points
            views, field = self._search.views, self._search.field
            inputs = [slot.poses.struct, views, field, self._images, self._points, tolerance]
            slot.launches[key] = record(judge_poses, len(T), inputs, [slot.features.array], self._device)
        slot.launches[key]()
        slot.features.pull()
        return slot.features.host.copy()

    def judge_looks(self, T: NDArray[np.float64], tau_m: float) -> Shares:
        """Features ``looks`` and ``palette`` of poses (P, 4, 4); none where model or frame has no colours."""
        if not self._search.has_colors or self._images.seen.color.size == 0:
            return {}
        slot = self._slot(T)
        key = ("looks", tau_m)
        if key not in slot.launches:
            hidden_m = 2.0 * float(tau_m)
            inputs = [slot.poses.struct, self._search.views, self._images.seen, hidden_m, self._has_color]
            slot.launches[key] = record(judge_looks, len(T), inputs, [slot.looks.array], self._device)
        slot.launches[key]()
        slot.looks.pull()
        found = slot.looks.host.astype(np.float64)
        return {"looks": found[:, int(PATTERN)], "palette": found[:, int(COLORS)]}

    def align(
        self, T: NDArray[np.float64], tau_first_m: float, tau_last_m: float, steps: int = 6, samples: int = 64
    ) -> NDArray[np.float64]:
        """Poses (P, 4, 4) after a few steps towards the measured surface."""
        slot = self._slot(T)
        key = ("align", samples, steps, tau_first_m, tau_last_m)
        if key not in slot.launches:
            alignment = Alignment()
            alignment.samples, alignment.steps, alignment.hold = samples, steps, _HOLD
            alignment.tau_first_m, alignment.tau_last_m = float(tau_first_m), float(tau_last_m)
            inputs = [self._search.views, self._images, alignment]
            slot.launches[key] = record(align_poses, len(T), inputs, [slot.poses.struct], self._device)
        slot.launches[key]()
        return slot.poses.get()

    def _slot(self, T: NDArray[np.float64]) -> _Slot:
        """Buffers that hold poses (P, 4, 4), kept for the next as many."""
        if len(T) not in self._slots:
            self._slots[len(T)] = _Slot(len(T), self._device)
        slot = self._slots[len(T)]
        slot.poses.set(T)
        return slot


def best(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Indices of the largest values, in descending order."""
    if len(values) > count:
        ids = np.argpartition(-values, count)[:count]
    else:
        ids = np.arange(len(values))
    return ids[np.argsort(-values[ids], kind="stable")]


def best_by_group(values: NDArray[np.float64], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of the ``count`` largest values (N,) of every group (N,), in descending order."""
    order = np.lexsort((-values, groups))
    first = np.searchsorted(groups[order], groups[order])
    chosen = order[np.arange(len(order)) - first < count]
    return chosen[np.argsort(-values[chosen], kind="stable")]


def thin_out(
    T: NDArray[np.float64], values: NDArray[np.float64], count: int, distance_m: float, angle_rad: float
) -> NDArray[np.int64]:
    """Indices of the best poses (P, 4, 4) without those close to a better one in place and attitude."""
    order = np.argsort(-values, kind="stable")
    kept: list[int] = []
    limit = 1.0 + 2.0 * np.cos(angle_rad)
    left = np.ones(len(T), bool)
    for i in order:
        if not left[i]:
            continue
        kept.append(int(i))
        if len(kept) == count:
            break
        near = np.linalg.norm(T[:, :3, 3] - T[i, :3, 3], axis=1) < distance_m
        alike = np.einsum("nij,ij->n", T[:, :3, :3], T[i, :3, :3]) > limit
        left &= ~(near & alike)
    return np.array(kept, np.int64)
