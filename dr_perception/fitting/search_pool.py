"""A pool of pose hypotheses of one model: judged, aligned, thinned out, all on the device."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.fitting.search_kernels import Features, SearchImages, Tolerance, align_poses, judge_poses
from dr_perception.fitting.search_model import SearchModel


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

    def judge(
        self, T: NDArray[np.float64], tau_m: float, samples: int = 128, edges: int = 48, points: int = 128
    ) -> NDArray[np.float32]:
        """Features (P, F) of poses (P, 4, 4)."""
        R, t = self._upload(T)
        tolerance = Tolerance()
        tolerance.tau_m = float(tau_m)
        tolerance.samples, tolerance.edges, tolerance.points = samples, edges, points
        out = wp.zeros(len(T), dtype=Features, device=self._device)
        inputs = [R, t, self._search.views, self._search.field, self._images, self._points, tolerance]
        wp.launch(judge_poses, len(T), inputs=inputs, outputs=[out], device=self._device)
        return out.numpy()

    def align(
        self, T: NDArray[np.float64], tau_first_m: float, tau_last_m: float, steps: int = 6, samples: int = 64
    ) -> NDArray[np.float64]:
        """Poses (P, 4, 4) after a few steps towards the measured surface."""
        R, t = self._upload(T)
        numbers = [samples, steps, float(tau_first_m), float(tau_last_m), 0.02]
        inputs = [self._search.views, self._images, *numbers]
        wp.launch(align_poses, len(T), inputs=inputs, outputs=[R, t], device=self._device)
        out = np.tile(np.eye(4), (len(T), 1, 1))
        out[:, :3, :3] = R.numpy()
        out[:, :3, 3] = t.numpy()
        return out

    def _upload(self, T: NDArray[np.float64]) -> tuple[wp.array, wp.array]:
        R = wp.array(T[:, :3, :3].astype(np.float32), dtype=wp.mat33, device=self._device)
        t = wp.array(T[:, :3, 3].astype(np.float32), dtype=wp.vec3, device=self._device)
        return R, t


def best(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Indices of the largest values, in descending order."""
    if len(values) > count:
        ids = np.argpartition(-values, count)[:count]
    else:
        ids = np.arange(len(values))
    return ids[np.argsort(-values[ids], kind="stable")]


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
