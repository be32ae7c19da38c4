"""Tracking of several known objects in one stream of frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform
from dr_perception.hypothesis.search import search_poses
from dr_perception.measure.frame_buffers import Box, FrameBuffers
from dr_perception.tracking.camera_pose import CameraEstimator
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.motion import elapsed_s
from dr_perception.tracking.object_track import ObjectTrack
from dr_perception.tracking.recovery import Recovery, Sought
from dr_perception.tracking.result import Status, TrackResult
from dr_perception.view.others import PosedBody

_Outcome = TypeVar("_Outcome")


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Tracker:
    """Tracks the poses of known objects.

    Each frame, every object's pose is predicted, the model is rendered there with the objects that may hide
    it, and depth and outline are fitted coarse to fine. The same frames give the same poses, whether they
    come from a camera, a bag or a folder.
    """

    def __init__(self, models: Mapping[str, ObjectModel], config: TrackerConfig | None = None) -> None:
        """Remember the models; buffers are made with the first frame, whose camera they depend on.

        Args:
            models: Models by the name that results carry. The same model may stand under several names.
            config: Settings; the defaults if None.

        Raises:
            ValueError: If there is no model.
            TypeError: If a model is not an `ObjectModel`.
        """
        if not models:
            raise ValueError("a tracker needs at least one model, got none")
        for name, model in models.items():
            if not isinstance(model, ObjectModel):
                raise TypeError(
                    f"model {name!r} must be an ObjectModel (see load_model), got {type(model).__name__}"
                )
        self.config = config or TrackerConfig()
        self._models = {n: m if m.name == n else m.with_name(n) for n, m in models.items()}
        self._tracks: dict[str, ObjectTrack] = {}
        self._frame: FrameBuffers | None = None
        self._stamp_ns: int | None = None
        self._frame_number = 0
        self._pool = ThreadPoolExecutor(max(self.config.threads - 1, 1), thread_name_prefix="track")
        self._recovery = Recovery(self.config.recovery, self.config.search, self.config.device)
        self._camera = None if self.config.camera.mode == "fixed" else CameraEstimator(self.config)
        self._timing_ms: dict[str, float] = {}

    @property
    def models(self) -> Mapping[str, ObjectModel]:
        """Models by name."""
        return self._models

    @property
    def tracks(self) -> Mapping[str, ObjectTrack]:
        """Objects that were started, by name, for estimates that join them."""
        return self._tracks

    def start(self, frame: Frame, poses: Mapping[str, NDArray[np.float64] | None]) -> TrackResult:
        """Begin tracking objects in a frame.

        Args:
            frame: Frame that the poses belong to.
            poses: ``T_cam_obj`` (4, 4) by name; None to search for the object in the frame. Objects not named
                are not touched.

        Returns:
            The state of the objects that are tracked now; one that was not found is absent.

        Raises:
            KeyError: If a name is not among the models.
            ValueError: If a pose is not a rigid transform, or the frame's camera changed.
        """
        for name in poses:
            if name not in self._models:
                raise KeyError(f"unknown object {name!r}; the tracker has {sorted(self._models)}")
        if self._camera is not None:
            self._camera.require_odometry(frame)
        buffers = self._announce(frame)
        for name, T in poses.items():
            if T is None:
                T = self._search(name, frame)
            else:
                T = check_transform(T, f"pose of {name!r}")
            if T is not None:
                self._track(name, buffers).start(T)
        if self._camera is not None:
            self._start_camera([name for name in poses if name in self._tracks], frame)
        self._stamp_ns = frame.stamp_ns
        return self._result(frame)

    def track(
        self, frame: Frame, *, expected: Mapping[str, NDArray[np.float64]] | None = None
    ) -> TrackResult:
        """Update all started objects with the next frame.

        Args:
            frame: The frame.
            expected: Poses ``T_cam_obj`` (4, 4) at which objects are expected by somebody who knows better
                than the motion model.

        Raises:
            ValueError: If the frame is older than the last one, or its camera changed.
        """
        if self._stamp_ns is not None and frame.stamp_ns < self._stamp_ns:
            raise ValueError(
                f"frame stamp {frame.stamp_ns} ns is older than the last one, {self._stamp_ns} ns; call "
                f"reset() first"
            )
        self._timing_ms = {}
        begin = time.perf_counter()
        buffers = self._announce(frame)
        active = {name: track for name, track in self._tracks.items() if track.T_cam_obj is not None}
        self._frame_number += 1
        with self._timed("predict"):
            self._predict(active, frame, expected or {})
            self._take_up_search(frame)
        with self._timed("upload"):
            for track in active.values():
                buffers.upload(track.box(self.config.margin_px))
        with self._timed("refine"):
            self._step(active)
        if self._camera is not None:
            with self._timed("camera"):
                self._camera.update(active)
        self._look_for_lost(active, frame)
        self._stamp_ns = frame.stamp_ns
        self._timing_ms["total"] = 1.0e3 * (time.perf_counter() - begin)
        return self._result(frame)

    def reset(self, name: str | None = None) -> None:
        """Forget one object's pose, or all poses and the last stamp.

        Raises:
            KeyError: If the name is not among the models.
        """
        if name is not None and name not in self._models:
            raise KeyError(f"unknown object {name!r}; the tracker has {sorted(self._models)}")
        for key, track in self._tracks.items():
            if name in (None, key):
                track.reset()
        if self._camera is not None:
            self._camera.forget(name)
        if name is None:
            self._stamp_ns = None
            self._frame_number = 0
            self._recovery.cancel()

    def _announce(self, frame: Frame) -> FrameBuffers:
        if self._frame is None:
            self._frame = self._make_buffers(frame.camera)
        self._frame.begin(frame)
        return self._frame

    def _make_buffers(self, camera: Camera) -> FrameBuffers:
        return FrameBuffers(camera, self.config.device)

    def _track(self, name: str, buffers: FrameBuffers) -> ObjectTrack:
        if name not in self._tracks:
            self._recovery.prepare(self._models[name], buffers.camera)
            self._tracks[name] = ObjectTrack(self._models[name], buffers, self.config)
        return self._tracks[name]

    def _start_camera(self, names: list[str], frame: Frame) -> None:
        """Measure started objects in the frame they were started in.

        Their places in the world follow from it.
        """
        assert self._camera is not None and self._frame is not None
        started = {name: self._tracks[name] for name in names if self._tracks[name].T_cam_obj is not None}
        for track in started.values():
            track.predict(self.config.motion.nominal_period_s)
        for track in started.values():
            self._frame.upload(track.box(self.config.margin_px))
        given = {name: track.predicted for name, track in started.items()}
        self._step(started)
        self._camera.start(started, given, frame)

    def _predict(
        self, active: Mapping[str, ObjectTrack], frame: Frame, expected: Mapping[str, NDArray[np.float64]]
    ) -> None:
        before = frame.stamp_ns if self._stamp_ns is None else self._stamp_ns
        dt_s = elapsed_s(self.config.motion, frame.stamp_ns, before)
        for track in active.values():
            track.predict(dt_s)
        if self._camera is not None and active:
            self._camera.predict(frame, dt_s, active)
        for name in expected.keys() & active.keys():
            active[name].predicted = expected[name]

    def _take_up_search(self, frame: Frame) -> None:
        """Let an object that a search found be tried where it was found."""
        found = self._recovery.result(self._frame_number)
        if found is None:
            self._recovery.announce(frame)
        elif self._tracks[found.name].T_cam_obj is not None:
            proposals = [(one.T_cam_obj, one.score) for one in found.poses]
            self._tracks[found.name].propose(proposals, found.sought.is_tracked)

    def _look_for_lost(self, active: Mapping[str, ObjectTrack], frame: Frame) -> None:
        sought = {}
        for name, track in active.items():
            lost = track.status is Status.LOST
            doubted = track.status is Status.TRACKING and track.confidence.in_doubt
            if track.T_cam_obj is not None and (lost or doubted):
                state = track.state()
                sought[name] = Sought(self._models[name], state.T_cam_obj, state.covariance, doubted)
            else:
                self._recovery.forget(name)
        self._recovery.ask(sought, frame, self._frame_number)

    def _step(self, active: Mapping[str, ObjectTrack]) -> None:
        """Measure every object, those in doubt once more; all that they look at is uploaded before.

        So what an object sees does not depend on which thread is first.
        """
        assert self._frame is not None
        # Surfaces that end farther from their predictions are measured again.
        hiding = self._hiding(active, self.config.health.repeat_shift_px)
        stands = self._each(ObjectTrack.step, active, hiding)
        doubtful = {name: track for (name, track), ok in zip(active.items(), stands, strict=True) if not ok}
        if not doubtful:
            return
        for track in doubtful.values():
            for box in track.wide_boxes():
                self._frame.upload(box)
        self._each(ObjectTrack.step_wide, doubtful, self._hiding(active, self.config.margin_px))

    def _each(
        self,
        work: Callable[[ObjectTrack, list[PosedBody]], _Outcome],
        tracks: Mapping[str, ObjectTrack],
        jobs: Mapping[str, list[PosedBody]],
    ) -> list[_Outcome]:
        """Do some work for every object, on all threads if there are several.

        Every thread takes the next object when it is done with one, those with the largest meshes first.
        """
        if len(tracks) <= 1 or self.config.threads == 1:
            return [work(track, jobs[name]) for name, track in tracks.items()]
        waiting = deque(sorted(tracks, key=lambda name: -tracks[name].refiner.buffers.num_faces))
        outcomes: dict[str, _Outcome] = {}

        def take_turns() -> None:
            while waiting:
                try:
                    name = waiting.popleft()
                except IndexError:  # another thread was faster
                    return
                outcomes[name] = work(tracks[name], jobs[name])

        helpers = min(self.config.threads, len(tracks)) - 1
        futures = [self._pool.submit(take_turns) for _ in range(helpers)]
        take_turns()
        for future in futures:
            if not future.cancel():  # a thread that did not begin in time is not waited for
                future.result()
        return [outcomes[name] for name in tracks]

    def _hiding(self, active: Mapping[str, ObjectTrack], margin_px: float) -> dict[str, list[PosedBody]]:
        """The other objects whose boxes, with a margin, overlap an object's, by name."""
        boxes = {name: track.box(margin_px) for name, track in active.items()}
        hiding = {
            name: [other for other, other_box in boxes.items() if other != name and _overlap(box, other_box)]
            for name, box in boxes.items()
        }
        for name in {other for others in hiding.values() for other in others}:
            active[name].posed.place()
        return {name: [active[other].posed for other in others] for name, others in hiding.items()}

    def _search(self, name: str, frame: Frame) -> NDArray[np.float64] | None:
        self._recovery.cancel()  # it may be searching for another instance, with the same buffers
        found = search_poses(
            self._models[name],
            frame,
            mask=(frame.masks or {}).get(name),
            config=self.config.search,
            device=self.config.device,
        )
        return found[0].T_cam_obj if found else None

    def _result(self, frame: Frame) -> TrackResult:
        objects = {name: track.state() for name, track in self._tracks.items() if track.T_cam_obj is not None}
        return TrackResult(
            objects=objects,
            stamp_ns=frame.stamp_ns,
            T_world_cam=frame.T_world_cam if self._camera is None else self._camera.T_world_cam,
            timing_ms=dict(self._timing_ms),
            camera_covariance=None if self._camera is None else self._camera.covariance,
        )

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._timing_ms[part] = 1.0e3 * (time.perf_counter() - begin)
