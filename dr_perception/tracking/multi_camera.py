"""Several calibrated cameras that look at the same objects, in one estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.finding import Finding
from dr_perception.estimate.tangent import block_rotation
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform, covariance_about, invert, move_origin
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.motion import MotionModel
from dr_perception.tracking.result import ObjectState, Status, TrackResult
from dr_perception.tracking.rig import Fused, Rig
from dr_perception.tracking.sightings import measure
from dr_perception.tracking.timeline import Timeline
from dr_perception.tracking.tracker import Tracker

Array = NDArray[np.float64]
_STATUS_ORDER = (Status.TRACKING, Status.OCCLUDED, Status.LOST)


@dataclass(frozen=True)
class RigResult:
    """Estimates of all objects from the frames of all cameras."""

    objects: Mapping[str, ObjectState]
    """State by name; here poses and covariances are those of the object in the rig, not in a camera."""
    T_rig_cam: Mapping[str, Array]
    """Extrinsics (4, 4) by camera, as refined so far."""
    extrinsics_covariance: Mapping[str, Array]
    """Their covariances (6, 6), along the axes of the rig."""
    cameras: Mapping[str, TrackResult]
    """The same objects as each camera sees them."""


class MultiCameraTracker:
    """Tracks objects with several cameras whose frames belong to the same moments.

    Each camera refines every object from the common prediction; a graph weighs the outcomes by their
    information. An object that a camera cannot see is carried along by the others. With uncertain extrinsics,
    every frame adds to what is known of them; the first camera fixes where the rig is.
    """

    def __init__(
        self,
        models: Mapping[str, ObjectModel],
        T_rig_cam: Mapping[str, Array],
        config: TrackerConfig | None = None,
        *,
        extrinsics_sigma_m: float = 0.0,
        extrinsics_sigma_rad: float = 0.0,
    ) -> None:
        """Remember models and calibration.

        Args:
            models: Models by name.
            T_rig_cam: Poses (4, 4) of the cameras in the rig, by camera.
            config: Settings of each camera's tracker; ``camera.mode`` must be fixed.
            extrinsics_sigma_m: Error of the poses of the cameras but the first; 0 with the next: they are
                exact.
            extrinsics_sigma_rad: The same for their rotation.

        Raises:
            ValueError: If there is no camera, a pose is not rigid, a sigma is negative, or the mode is not
                fixed.
        """
        self.config = config or TrackerConfig()
        if not T_rig_cam:
            raise ValueError("a rig needs at least one camera, got none")
        if self.config.camera.mode != "fixed":
            raise ValueError(
                f"cameras of a rig are tracked in the mode 'fixed', got {self.config.camera.mode!r}"
            )
        if min(extrinsics_sigma_m, extrinsics_sigma_rad) < 0.0:
            raise ValueError(
                f"sigmas must not be negative, got {extrinsics_sigma_m} m, {extrinsics_sigma_rad} rad"
            )
        self._models = dict(models)
        self._cameras = list(T_rig_cam)
        extrinsics = {name: check_transform(T, f"T_rig_cam of {name!r}") for name, T in T_rig_cam.items()}
        self._rig = Rig(extrinsics, extrinsics_sigma_m, extrinsics_sigma_rad)
        self._trackers = {name: Tracker(models, self.config) for name in self._cameras}
        self._poses: dict[str, Array] = {}
        self._covariances: dict[str, Array] = {}
        self._motions: dict[str, MotionModel] = {}
        self._timeline = Timeline(self.config.motion)
        self._diagnosis: dict[str, tuple[Finding, ...]] = {}

    def start(self, frames: Mapping[str, Frame], T_rig_obj: Mapping[str, Array]) -> None:
        """Begin at poses (4, 4) in the rig, in one frame of each camera.

        Raises:
            KeyError: If a frame is missing or an object is unknown.
            ValueError: If a pose is not rigid.
        """
        poses = {name: check_transform(T, f"pose of {name!r}") for name, T in T_rig_obj.items()}
        for camera, T_cam_rig in zip(self._cameras, invert(self._rig.T_rig_cam), strict=True):
            there = {name: T_cam_rig @ T for name, T in poses.items()}
            self._trackers[camera].start(frames[camera], there, in_view=False)
        for name, T in poses.items():
            self._poses[name] = move_origin(T, self._models[name].center)
            self._covariances[name] = self._trackers[self._cameras[0]].tracks[name].center_covariance
            self._motions[name] = MotionModel(self.config.motion)
        self._timeline.begin(min(frames[camera].stamp_ns for camera in self._cameras))

    def track(self, frames: Mapping[str, Frame]) -> RigResult:
        """Update all objects with one frame of each camera.

        Args:
            frames: Frames by camera; a camera without a frame this time is left out.

        Raises:
            ValueError: If no camera has a frame, or the tracker was not started.
            KeyError: If a camera is unknown.
        """
        if not frames or not self._poses:
            raise ValueError(f"track needs a start and at least one frame, got {len(frames)} frames")
        unknown = sorted(set(frames) - set(self._cameras))
        if unknown:
            raise KeyError(f"unknown cameras {unknown}; the rig has {self._cameras}")
        stamp_ns = max(frame.stamp_ns for frame in frames.values())
        names = list(self._poses)
        motion = self._motions[names[0]]
        step = self._timeline.step(stamp_ns)
        dt_s = step.dt_s
        if step.jumped:
            self._stop()
        spread = motion.process_covariance(self.config.motion.longest_gap_s if step.jumped else dt_s)
        predicted = np.stack([self._motions[name].predict(self._poses[name], dt_s) for name in names])
        prior = np.stack([self._covariances[name] + spread for name in names])
        fused = self._measure(frames, names, predicted, prior)
        self._rig.learn(fused.solution)
        self._learn(fused, names, dt_s)
        if step.jumped:
            self._stop()  # the way since before the jump took an unknown time
        return self._result(frames, names, fused, stamp_ns)

    def _stop(self) -> None:
        """Forget how objects move."""
        for motion in self._motions.values():
            motion.stop()

    def _measure(
        self, frames: Mapping[str, Frame], names: list[str], predicted: Array, prior: Array
    ) -> Fused:
        """Refine in every camera, fuse.

        Cameras that failed from the prediction try once more from what the others found.
        """
        self._refine(frames, names, predicted)
        fused = self._fuse(frames, names, predicted, prior)
        failed = {
            camera: frame
            for camera, frame in frames.items()
            if not self._all_agree(fused, self._cameras.index(camera))
        }
        if failed and len(frames) > len(failed):
            self._refine(failed, names, fused.T_rig_obj)
            fused = self._fuse(frames, names, predicted, prior)
        return fused

    def _all_agree(self, fused: Fused, camera: int) -> bool:
        seen = fused.information[camera].any(axis=(1, 2)).all()
        return bool(seen and (fused.chi2[camera] <= self.config.camera.outlier_chi2).all())

    def _refine(self, frames: Mapping[str, Frame], names: list[str], T_rig_obj: Array) -> None:
        for camera, frame in frames.items():
            T_cam_rig = invert(self._rig.T_rig_cam[self._cameras.index(camera)])
            poses = {
                name: move_origin(T_cam_rig @ T, -self._models[name].center)
                for name, T in zip(names, T_rig_obj, strict=True)
            }
            self._diagnosis[camera] = self._trackers[camera].track(frame, expected=poses).diagnosis

    def _fuse(self, frames: Mapping[str, Frame], names: list[str], predicted: Array, prior: Array) -> Fused:
        """Most probable poses, given predicted ones (K, 4, 4) in the rig with covariances (K, 6, 6)."""
        expected = invert(self._rig.T_rig_cam)[:, None] @ predicted
        seen = [
            measure(self._trackers[c].tracks if c in frames else {}, names, expected[i], self.config.camera)
            for i, c in enumerate(self._cameras)
        ]
        T, information = (np.stack(parts) for parts in zip(*seen, strict=True))
        return self._rig.fuse(names, (predicted, prior), (T, information), self.config.camera)

    def _learn(self, fused: Fused, names: list[str], dt_s: float) -> None:
        B = block_rotation(self._rig.T_rig_cam[:, :3, :3])[:, None]
        information = (B @ fused.information @ B.swapaxes(-1, -2)).sum(0)
        for name, T, covariance, seen in zip(
            names, fused.T_rig_obj, fused.object_covariance, information, strict=True
        ):
            motion = self._motions[name]
            if seen.any():
                posterior = np.linalg.inv(seen + np.linalg.inv(motion.process_covariance(dt_s)))
                motion.update(self._poses[name], T, dt_s, posterior @ seen)
            else:
                motion.stop()
            self._poses[name], self._covariances[name] = T, covariance

    def _result(
        self, frames: Mapping[str, Frame], names: list[str], fused: Fused, stamp_ns: int
    ) -> RigResult:
        cameras = {}
        for i, camera in enumerate(self._cameras):
            tracks = self._trackers[camera].tracks
            for k, name in enumerate(names):
                T = move_origin(fused.T_cam_obj[i, k], -self._models[name].center)
                tracks[name].take_over(T, fused.covariance[i, k])
            states = {name: tracks[name].state() for name in names}
            cameras[camera] = TrackResult(
                states,
                stamp_ns,
                T_world_cam=self._rig.T_rig_cam[i],
                diagnosis=self._diagnosis.get(camera, ()),
            )
        return RigResult(
            objects={
                name: self._object_state(name, [cameras[c].objects[name] for c in frames]) for name in names
            },
            T_rig_cam=dict(zip(self._cameras, self._rig.T_rig_cam, strict=True)),
            extrinsics_covariance=dict(zip(self._cameras, self._rig.covariance, strict=True)),
            cameras=cameras,
        )

    def _object_state(self, name: str, seen: list[ObjectState]) -> ObjectState:
        """The fused pose with the health of the camera that sees the object best."""
        best = min(seen, key=lambda state: (_STATUS_ORDER.index(state.status), -state.score))
        center = self._models[name].center
        T = self._poses[name]
        return ObjectState(
            T_cam_obj=move_origin(T, -center),
            covariance=covariance_about(-T[:3, :3] @ center, self._covariances[name]),
            status=best.status,
            score=best.score,
            visible_fraction=max(state.visible_fraction for state in seen),
            reason=best.reason,
        )
