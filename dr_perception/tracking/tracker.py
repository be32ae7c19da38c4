"""Tracking of several known objects in one stream of frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.finding import Finding
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.start_check import check_in_view
from dr_perception.measure.frame_buffers import Box, FrameBuffers
from dr_perception.tracking.camera_pose import CameraEstimator
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.depth_unit import DepthUnit
from dr_perception.tracking.diagnosis import Diagnosis
from dr_perception.tracking.namesakes import Namesakes, Pose, find_together, others_than
from dr_perception.tracking.novelty import Novelty
from dr_perception.tracking.object_track import ObjectTrack
from dr_perception.tracking.recovery import Recovery, Sought
from dr_perception.tracking.result import Status, TrackResult
from dr_perception.tracking.timeline import Step, Timeline
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
        self._timeline = Timeline(self.config.motion)
        self._novelty = Novelty()
        self._namesakes = Namesakes(self._models)
        self._unseen: set[str] = set()
        self._frame_number = 0
        self._pool = ThreadPoolExecutor(max(self.config.threads - 1, 1), thread_name_prefix="track")
        self._recovery = Recovery(self.config.recovery, self.config.search, self.config.device)
        self._camera = None if self.config.camera.mode == "fixed" else CameraEstimator(self.config)
        self._depth_unit = DepthUnit()
        self._diagnosis = Diagnosis(self.config.sensor, self.config.body)
        self._timing_ms: dict[str, float] = {}

    @property
    def models(self) -> Mapping[str, ObjectModel]:
        """Models by name."""
        return self._models

    @property
    def tracks(self) -> Mapping[str, ObjectTrack]:
        """Objects that were started, by name, for estimates that join them."""
        return self._tracks

    def start(
        self, frame: Frame, poses: Mapping[str, NDArray[np.float64] | None], *, in_view: bool = True
    ) -> TrackResult:
        """Begin tracking objects in a frame.

        Args:
            frame: Frame that the poses belong to.
            poses: ``T_cam_obj`` (4, 4) by name; None to search for the object in the frame. Objects of the
                same model are searched for together and get different instances. Objects not named are not
                touched.
            in_view: Refuse poses at which a fixed camera cannot see the object. A moving one may turn to it.

        Returns:
            The state of the objects that are tracked now. One that was not found is absent, named in the
            diagnosis, and sought in the frames to come until it appears.

        Raises:
            KeyError: If a name is not among the models.
            ValueError: If a pose is not a rigid transform, or of an object that cannot be seen there.
        """
        given = self._checked(poses, "pose")
        if in_view and self.config.camera.mode == "fixed":
            for name, T in given.items():
                check_in_view(self._models[name], frame.camera, T, "at its first pose")
        if self._camera is not None:
            self._camera.require_odometry(frame)
        frame = self._novelty.look(frame).frame
        buffers = self._announce(frame)
        for name, T in given.items():
            self._track(name, buffers).start(T)
        self._start_searched([name for name in poses if name not in given], buffers, frame)
        self._unseen -= given.keys()
        if self._camera is not None:
            self._start_camera([name for name in poses if name not in self._unseen], frame)
        self._timeline.begin(frame.stamp_ns)
        return self._result(frame)

    def _checked(self, poses: Mapping[str, NDArray[np.float64] | None], what: str) -> dict[str, Pose]:
        """The poses that are given, if their names are known and they are rigid."""
        for name in poses:
            if name not in self._models:
                raise KeyError(f"unknown object {name!r}; the tracker has {sorted(self._models)}")
        return {n: check_transform(T, f"{what} of {n!r}") for n, T in poses.items() if T is not None}

    def _start_searched(self, names: list[str], buffers: FrameBuffers, frame: Frame) -> None:
        """Start objects where a search finds them; the others are sought in the frames to come."""
        for group in self._namesakes.groups(names):
            found = self._recovery.run(self._search, group, frame)
            for name in group:
                track = self._track(name, buffers)
                track.reset()
                self._unseen.add(name)
                if name in found and found[name].score >= self.config.health.good_score:
                    track.start(found[name].T_cam_obj, found[name].score)
                    self._unseen.discard(name)

    def track(
        self, frame: Frame, *, expected: Mapping[str, NDArray[np.float64]] | None = None
    ) -> TrackResult:
        """Update all started objects with the next frame.

        Args:
            frame: The frame.
            expected: Poses ``T_cam_obj`` (4, 4) at which objects are expected by somebody who knows better
                than the motion model.

        Returns:
            The state of the objects. In a frame that brings no news, black or a copy of the last one, they
            are predicted. Where time jumps, they are looked for at their last poses, then searched for. A
            calibration that changes is taken over.

        Raises:
            KeyError: If an expected object is not among the models.
            ValueError: If it was not started, or its pose is not a rigid transform.
        """
        known = self._checked(expected or {}, "expected pose")
        for name in known:
            if name not in self._tracks:
                raise ValueError(f"{name!r} is expected at a pose but was not started")
        self._timing_ms = {}
        begin = time.perf_counter()
        step = self._timeline.step(frame.stamp_ns)
        look = self._novelty.look(frame)
        frame = self._diagnosis.registration.corrected(look.frame)
        self._announce(frame)
        self._frame_number += 1
        if step.jumped:
            self._restart()
        if look.nothing:
            self._hold(step, look.nothing)
        else:
            self._measure(frame, step.dt_s, known)
        if step.jumped and self._camera is not None:
            self._camera.stop()  # the way since before the jump took an unknown time
        self._timing_ms["total"] = 1.0e3 * (time.perf_counter() - begin)
        return self._result(frame)

    def _measure(self, frame: Frame, dt_s: float, expected: Mapping[str, Pose]) -> None:
        """Find every object in a frame that shows something."""
        assert self._frame is not None
        with self._timed("predict"):
            appeared = self._take_up_search(frame)
            active = self._active()
            self._predict(active, frame, dt_s, expected)
        with self._timed("upload"):
            for track in active.values():
                self._frame.upload(track.box(self.config.margin_px))
        with self._timed("refine"):
            self._step(active)
        seen = any(track.status is Status.TRACKING for track in active.values())
        self._depth_unit.look(frame, [] if seen else [t.distance_m for t in active.values()])
        if appeared is not None:
            self._welcome(appeared, frame)
        if self._camera is not None:
            with self._timed("camera"):
                self._camera.update(active)
        with self._timed("diagnose"):
            for track in active.values():
                track.consider()
        self._look_for_lost(frame)

    def _active(self) -> dict[str, ObjectTrack]:
        return {name: track for name, track in self._tracks.items() if track.T_cam_obj is not None}

    def _restart(self) -> None:
        """Time jumped: nothing is known of the motion, and a search that runs is of another time."""
        self._recovery.cancel()
        if self._camera is not None:
            self._camera.restart()
        for track in self._active().values():
            track.restart("time jumped, and it is not where it was")

    def _hold(self, step: Step, reason: str) -> None:
        """Report predictions: the frame might as well not have come."""
        self._timeline.hold(step)
        for track in self._active().values():
            track.predict(step.dt_s)
            track.hold(reason)

    def _welcome(self, name: str, frame: Frame) -> None:
        """Keep an object that was seen for the first time, if the images agree that it was."""
        if self._tracks[name].status is not Status.TRACKING:
            self._tracks[name].reset()
            return
        self._unseen.discard(name)
        if self._camera is not None:
            self._start_camera([name], frame)

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
        self._unseen -= self._models.keys() if name is None else {name}
        if name is None:
            self._timeline.forget()
            self._novelty.forget()
            self._frame_number = 0
            self._recovery.cancel()
            self._recovery.check()

    def _announce(self, frame: Frame) -> FrameBuffers:
        if self._frame is None or not self._frame.fits(frame.camera):
            self._frame = self._make_buffers(frame.camera)
            self._move_to(self._frame)
        self._frame.begin(frame)
        return self._frame

    def _move_to(self, buffers: FrameBuffers) -> None:
        """Go on in images of another size: everything is prepared anew, and what is known is kept."""
        self._recovery.cancel()
        known, self._tracks = self._tracks, {}
        for name, track in known.items():
            self._track(name, buffers).adopt(track)

    def _make_buffers(self, camera: Camera) -> FrameBuffers:
        return FrameBuffers(camera, self.config.device)

    def _track(self, name: str, buffers: FrameBuffers) -> ObjectTrack:
        if name not in self._tracks:
            self._recovery.prepare(self._models[name], buffers.camera)
            self._tracks[name] = ObjectTrack(self._models[name], buffers, self.config, self._diagnosis)
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
        self, active: Mapping[str, ObjectTrack], frame: Frame, dt_s: float, expected: Mapping[str, Pose]
    ) -> None:
        for track in active.values():
            track.predict(dt_s)
        if self._camera is not None and active:
            self._camera.predict(frame, dt_s, active)
        for name in expected.keys() & active.keys():
            active[name].predicted = expected[name]

    def _take_up_search(self, frame: Frame) -> str | None:
        """Let an object that a search found be tried where it was found.

        Returns:
            Its name if it was never seen before.
        """
        found = self._recovery.result(self._frame_number)
        if found is None:
            self._recovery.announce(frame)
            return None
        free = others_than(self._models[found.name], found.poses, self._taken(found.name))
        proposals = [(one.T_cam_obj, one.score) for one in free]
        track = self._tracks[found.name]
        if track.T_cam_obj is not None:
            track.propose(proposals, found.sought.is_tracked)
        elif found.name in self._unseen and proposals:
            track.appear(proposals)
            return found.name
        return None

    def _taken(self, name: str) -> list[Pose]:
        """Poses of tracked objects that look the same: what a search finds there is not this one."""
        kin = [self._tracks[other] for other in self._namesakes.of(name) if other in self._tracks]
        return [t.T_cam_obj for t in kin if t.status is not Status.LOST and t.T_cam_obj is not None]

    def _look_for_lost(self, frame: Frame) -> None:
        sought = {}
        for name in self._unseen:
            sought[name] = Sought(self._models[name], None, None, False, tuple(self._taken(name)))
        for name, track in self._active().items():
            lost = track.status is Status.LOST
            doubted = track.status is Status.TRACKING and track.confidence.in_doubt
            if track.T_cam_obj is not None and (lost or doubted):
                state = track.state()
                where = (state.T_cam_obj, state.covariance)
                sought[name] = Sought(self._models[name], *where, doubted, tuple(self._taken(name)))
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
        try:
            take_turns()
        finally:
            waiting.clear()  # if something failed, nothing more is begun
            begun = [one for one in futures if not one.cancel()]  # the others did not begin in time
            wait(begun)
        for future in begun:
            future.result()
        return [outcomes[name] for name in tracks]

    def _hiding(self, active: Mapping[str, ObjectTrack], margin_px: float) -> dict[str, list[PosedBody]]:
        """The other objects whose boxes, with a margin, overlap an object's, by name."""
        if len(active) < 2:
            return {name: [] for name in active}
        boxes = {name: track.box(margin_px) for name, track in active.items()}
        hiding = {
            name: [other for other, other_box in boxes.items() if other != name and _overlap(box, other_box)]
            for name, box in boxes.items()
        }
        for name in {other for others in hiding.values() for other in others}:
            active[name].posed.place()
        return {name: [active[other].posed for other in others] for name, others in hiding.items()}

    def _search(self, names: list[str], frame: Frame) -> dict[str, PoseEstimate]:
        """Find objects that look the same, those with a mask in it; one that is not found is absent."""
        model, taken, masks = self._models[names[0]], self._taken(names[0]), frame.masks or {}
        settings = (self.config.search, self.config.device)
        found: dict[str, PoseEstimate] = {}
        for name in [name for name in names if name in masks]:
            found |= find_together(model, [name], frame, taken, *settings, mask=masks[name])
        taken += [one.T_cam_obj for one in found.values()]
        rest = [name for name in names if name not in masks]
        return found | find_together(model, rest, frame, taken, *settings)

    def _result(self, frame: Frame) -> TrackResult:
        objects = {name: track.state() for name, track in self._tracks.items() if track.T_cam_obj is not None}
        return TrackResult(
            objects=objects,
            stamp_ns=frame.stamp_ns,
            T_world_cam=frame.T_world_cam if self._camera is None else self._camera.T_world_cam,
            timing_ms=dict(self._timing_ms),
            camera_covariance=None if self._camera is None else self._camera.covariance,
            diagnosis=self._findings(),
        )

    def _findings(self) -> tuple[Finding, ...]:
        """What is wrong with stream, models and calibration, and which objects nobody has seen yet."""
        way = "searched for" if self.config.recovery.search else "not searched for (recovery.search is off)"
        unseen = [
            Finding(name, "not found", 0.0, 0.0, f"{name!r} was not found yet and is {way}")
            for name in sorted(self._unseen)
        ]
        sources = (self._timeline, self._novelty, self._depth_unit, self._diagnosis)
        return (*(finding for source in sources for finding in source.findings), *unseen)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._timing_ms[part] = 1.0e3 * (time.perf_counter() - begin)
