"""Searching for lost objects beside the tracking, with the same outcome in every replay.

A search takes longer than a frame. It runs in a thread of its own on a copy of the frame that it was asked
for, and its result is taken up a fixed number of frames later, whether it took less time or must be waited
for: the poses depend on the frames alone, never on the speed of the machine. All searches of a tracker, also
those that it is started with, run one after the other in that thread, with one session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.session import Session
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.tracking.config import RecoveryConfig
from dr_perception.tracking.pursuit import Pursuer, Pursuit

_Outcome = TypeVar("_Outcome")
_KEPT_MODELS = 3
"""Models whose scratch for searches is kept; 12 MB each, made in 0.1 s."""
_LEAST_MEASURED = 0.02
_RIVAL_SIGMA = np.repeat([0.03, 1.5], 3)


@dataclass(frozen=True)
class Sought:
    """What is known of an object that is searched for."""

    model: ObjectModel
    T_cam_obj: NDArray[np.float64] | None
    """Pose (4, 4) in the frame that is searched: where it was lost, or where it is tracked in doubt.

    None if it was never seen.
    """
    covariance: NDArray[np.float64] | None
    """Of that pose (6, 6)."""
    is_tracked: bool
    """Whether the search is for poses that explain more than the one that is tracked."""
    taken: tuple[NDArray[np.float64], ...] = ()
    """Poses (4, 4) of tracked objects that look the same, which a search finds too."""


@dataclass(frozen=True)
class Found:
    """Outcome of a search."""

    name: str
    sought: Sought
    poses: list[PoseEstimate]
    """In the last frame that was announced."""


@dataclass(frozen=True)
class _Request:
    name: str
    sought: Sought
    due_frame: int
    pursuit: Pursuit
    work: list[Future[None]]


def _failure(request: _Request, ended: Sequence[Future[None]]) -> RuntimeError | None:
    """What went wrong with a request whose work has ended."""
    for work in ended:
        error = work.exception()
        if error is not None:
            failure = RuntimeError(f"searching for {request.name!r} failed: {error}")
            failure.__cause__ = error
            return failure
    return None


def _shows_something(frame: Frame) -> bool:
    """Whether a share of a coarse grid of pixels has a measured depth.

    A blank image is not worth a search.
    """
    if frame.depth is None:
        return False
    depth = frame.depth[::16, ::16]
    return bool(np.count_nonzero(np.nan_to_num(depth) > 0) > _LEAST_MEASURED * depth.size)


def _copied(frame: Frame) -> Frame:
    """A frame whose images nobody else changes."""
    color = None if frame.color is None else frame.color.copy()
    return replace(frame, color=color, depth=None if frame.depth is None else frame.depth.copy(), masks=None)


class Recovery:
    """Searches for one object at a time, by turns near where it was lost and over the whole frame."""

    def __init__(self, config: RecoveryConfig, search: SearchConfig, device: wp.DeviceLike) -> None:
        """Nothing is searched for yet."""
        self._config = config
        self._pursuer = Pursuer(search, config.candidates, device)
        # On a GPU nothing that was captured before tracking began may have to be captured again.
        self._session = Session(None if wp.get_device(device).is_cuda else _KEPT_MODELS)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._request: _Request | None = None
        self._failed: RuntimeError | None = None
        self._attempts: dict[str, int] = {}

    def prepare(self, model: ObjectModel, camera: Camera) -> None:
        """Make now what a search for a model would have to wait for."""
        if self._config.search:
            self.run(self._pursuer.prepare, model, camera)

    def run(self, work: Callable[..., _Outcome], *arguments: object) -> _Outcome:
        """Do something in the thread of the searches, with their session; what they are at comes first."""
        return self._submit(work, *arguments).result()

    def _submit(self, work: Callable[..., _Outcome], *arguments: object) -> Future[_Outcome]:
        def run() -> _Outcome:
            with self._session:
                return work(*arguments)

        return self._pool.submit(run)

    def cancel(self) -> None:
        """Drop the request that is under way and wait until nothing of it runs; `check` says if it failed."""
        request, self._request = self._request, None
        if request is not None:
            begun = [work for work in request.work if not work.cancel()]
            wait(begun)
            self._failed = self._failed or _failure(request, begun)

    def check(self) -> None:
        """Raise what was not told yet.

        Raises:
            RuntimeError: A search failed; what comes next is as if nothing had been searched for.
        """
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def forget(self, name: str) -> None:
        """An object is neither lost nor in doubt any more."""
        self._attempts.pop(name, None)

    def result(self, frame_number: int) -> Found | None:
        """The outcome of a search that is due at this frame.

        Raises:
            RuntimeError: It failed, or one that was cancelled had; see `check`.
        """
        self.check()
        if self._request is None or frame_number < self._request.due_frame:
            return None
        request, self._request = self._request, None
        wait(request.work)
        self._failed = _failure(request, request.work)
        self.check()
        return Found(request.name, request.sought, request.pursuit.poses)

    def announce(self, frame: Frame) -> None:
        """Let what is being searched for be followed through a new frame, before its result is due."""
        if self._request is not None and _shows_something(frame):
            self._request.work.append(self._submit(self._request.pursuit.follow, _copied(frame)))

    def ask(self, sought: dict[str, Sought], frame: Frame, frame_number: int) -> None:
        """Begin a search for the object, by name, that was searched for least, unless one runs.

        Lost ones come before those that are tracked in doubt.
        """
        if not self._config.search or self._request is not None or not sought or not _shows_something(frame):
            return
        name = min(sought, key=lambda n: (sought[n].is_tracked, self._attempts.get(n, 0), n))
        attempt = self._attempts.get(name, 0)
        self._attempts[name] = attempt + 1
        one = sought[name]
        covariance = np.diag(_RIVAL_SIGMA**2) if one.is_tracked else one.covariance
        near = None
        if one.T_cam_obj is not None and covariance is not None and (attempt % 2 == 0 or one.is_tracked):
            near = (one.T_cam_obj, covariance)
        pursuit = Pursuit(self._pursuer, one.model, one.taken)
        work = self._submit(pursuit.begin, _copied(frame), near)
        due = frame_number + self._config.latency_frames
        self._request = _Request(name, one, due, pursuit, [work])
