"""Searching for lost objects beside the tracking, with the same outcome in every replay.

A search takes longer than a frame. It runs in a thread of its own on a copy of the frame that it was asked
for, and its result is taken up a fixed number of frames later, whether it took less time or must be waited
for: the poses depend on the frames alone, never on the speed of the machine.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.fitting.result import PoseEstimate
from dr_perception.fitting.search import prepare_search, search_poses
from dr_perception.fitting.search_config import SearchConfig
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.tracking.config import RecoveryConfig

_LEAST_MEASURED = 0.02
_LOCAL_SIGMA = np.repeat([0.08, 0.8], 3)


@dataclass(frozen=True)
class _Request:
    name: str
    due_frame: int
    future: Future[list[PoseEstimate]]


def _shows_something(frame: Frame) -> bool:
    """Whether a share of a coarse grid of pixels has a measured depth.

    A blank image is not worth a search.
    """
    if frame.depth is None:
        return False
    depth = frame.depth[::16, ::16]
    return bool(np.count_nonzero(np.nan_to_num(depth) > 0) > _LEAST_MEASURED * depth.size)


class Recovery:
    """Searches for one object at a time, by turns near where it was lost and over the whole frame."""

    def __init__(self, config: RecoveryConfig, search: SearchConfig, device: wp.DeviceLike) -> None:
        """Nothing is searched for yet."""
        self._config = config
        self._search = search
        self._device = device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._request: _Request | None = None
        self._attempts: dict[str, int] = {}

    def prepare(self, model: ObjectModel, camera: Camera) -> None:
        """Make the tables of a model now: kernels must not be captured while others are launched."""
        if self._config.search:
            self.cancel()
            prepare_search(model, camera, self._search, self._device)

    def cancel(self) -> None:
        """Drop the request that is under way and wait until nothing runs."""
        if self._request is not None:
            self._request.future.exception()
            self._request = None

    def forget(self, name: str) -> None:
        """An object is not lost any more."""
        self._attempts.pop(name, None)

    def result(self, frame_number: int) -> tuple[str, list[PoseEstimate]] | None:
        """The outcome of a search that is due at this frame: name and poses in the frame it was asked for."""
        if self._request is None or frame_number < self._request.due_frame:
            return None
        request, self._request = self._request, None
        return request.name, request.future.result()

    def ask(
        self, lost: dict[str, tuple[ObjectModel, NDArray[np.float64]]], frame: Frame, frame_number: int
    ) -> None:
        """Begin a search for the lost object that was searched for least, unless one runs.

        Models and last poses by name.
        """
        if not self._config.search or self._request is not None or not lost or not _shows_something(frame):
            return
        name = min(lost, key=lambda n: (self._attempts.get(n, 0), n))
        attempt = self._attempts.get(name, 0)
        self._attempts[name] = attempt + 1
        model, T = lost[name]
        near = (T, np.diag(_LOCAL_SIGMA**2)) if attempt % 2 == 0 else None
        copy = replace(
            frame,
            color=None if frame.color is None else frame.color.copy(),
            depth=None if frame.depth is None else frame.depth.copy(),
            masks=None,
        )
        future = self._pool.submit(
            search_poses,
            model,
            copy,
            prior=near,
            max_instances=self._config.candidates,
            config=self._search,
            device=self._device,
        )
        self._request = _Request(name, frame_number + self._config.latency_frames, future)
