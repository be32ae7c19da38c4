"""The pose of a moving camera from the objects that it sees.

One belief holds the world poses of all objects; each frame adds the camera and the measured ``T_cam_obj`` as
a pose graph. In the mode ``static_objects`` the belief is the product of a constant part, which the first
frame gave and which fixes where the world is, and of what later frames said about the objects relative to
each other, with exponential forgetting: information stays bounded, and what fixes the world is never counted
twice. In the mode ``both`` every object moves in the world at a nearly constant velocity, and a prior from
odometry or kinematics tells the camera's motion from theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.pose_graph import (
    Measurements,
    PosePrior,
    block_diagonal,
    block_rotation,
    inverse,
    solve_pose_graph,
)
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import invert, local, rotate_covariance
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.motion import MotionModel
from dr_perception.tracking.object_track import ObjectTrack
from dr_perception.tracking.result import Status

Array = NDArray[np.float64]
_KNOWN = np.diag(np.repeat([1.0e-6, 1.0e-6], 3) ** 2)


def at_center(T: Array, center: Array) -> Array:
    """Poses (..., 4, 4) of a model's frame moved to a point (3,) of it."""
    moved = np.array(T)
    moved[..., :3, 3] += moved[..., :3, :3] @ center
    return moved


def with_floor(information: Array, sigma_m: float, sigma_rad: float) -> Array:
    """Information (..., 6, 6) of a measurement to which an independent error is added.

    ``(H^-1 + F)^-1`` without inverting H.
    """
    F_inverse = np.diag(np.repeat([sigma_m, sigma_rad], 3) ** -2.0)
    return information - information @ np.linalg.solve(information + F_inverse, information)


class CameraEstimator:
    """Estimates ``T_world_cam`` and the world poses of the objects.

    Attributes:
        T_world_cam: Newest pose (4, 4); None before the start.
        covariance: Its covariance (6, 6), along the axes of the world.
    """

    def __init__(self, config: TrackerConfig) -> None:
        """Nothing is known yet."""
        self.config = config.camera
        self._motion_config = config.motion
        self._static = config.camera.mode == "static_objects"
        self._forget_all()

    def _forget_all(self) -> None:
        self.T_world_cam: Array | None = None
        self.covariance = _KNOWN.copy()
        self._motion = MotionModel(self._motion_config)
        self._odometry: Array | None = None
        self._names: list[str] = []
        self._before = np.zeros((0, 4, 4))
        self._poses = np.zeros((0, 4, 4))
        self._anchors = np.zeros((0, 4, 4))
        self._anchored = np.zeros((0, 6, 6))
        self._learned = np.zeros((0, 0))
        self._disagreed: dict[str, int] = {}
        self._velocities: dict[str, MotionModel] = {}

    def forget(self, name: str | None = None) -> None:
        """Drop one object, or everything."""
        if name is None:
            self._forget_all()
        elif name in self._names:
            i = self._names.index(name)
            self._learned = _without(self._learned, i)
            self._names.pop(i)
            self._poses, self._anchors, self._anchored = (
                np.delete(a, i, axis=0) for a in (self._poses, self._anchors, self._anchored)
            )

    def start(self, tracks: Mapping[str, ObjectTrack], given: Mapping[str, Array], frame: Frame) -> None:
        """Take objects up, at the camera's present pose.

        Args:
            tracks: Objects by name, measured in the frame.
            given: Poses ``T_cam_obj`` (4, 4) that they were started with. Where the measurement does not
                contradict it, such a pose is kept; it may come from a better source than the frame.
            frame: The frame.
        """
        if self.T_world_cam is None:
            self.T_world_cam = np.eye(4) if frame.T_world_cam is None else frame.T_world_cam.copy()
            self._odometry = frame.T_world_cam
        for name, track in tracks.items():
            self.forget(name)
            self._names.append(name)
            self._keep_if_likely(track, given[name])
            T, information = self._first_belief(track)
            self._poses = np.concatenate([self._poses, T[None]])
            self._anchors = np.concatenate([self._anchors, T[None]])
            self._anchored = np.concatenate([self._anchored, information[None]])
            self._learned = _with_block(self._learned, np.zeros((6, 6)) if self._static else information)
            self._disagreed[name] = 0
            self._velocities[name] = MotionModel(self._motion_config)

    def _keep_if_likely(self, track: ObjectTrack, given: Array) -> None:
        if track.measured_information is None or track.T_cam_obj is None:
            return
        information = with_floor(
            track.measured_information, self.config.object_sigma_m, self.config.object_sigma_rad
        )
        e = local(at_center(given, track.model.center), at_center(track.T_cam_obj, track.model.center))
        if e @ information @ e <= self.config.outlier_chi2:
            track.take_over(given, None)

    def _first_belief(self, track: ObjectTrack) -> tuple[Array, Array]:
        assert self.T_world_cam is not None and track.T_cam_obj is not None
        floor = np.diag(np.repeat([self.config.object_sigma_m, self.config.object_sigma_rad], 3) ** 2)
        covariance = rotate_covariance(self.T_world_cam[:3, :3], track.center_covariance + floor)
        return self.T_world_cam @ at_center(track.T_cam_obj, track.model.center), inverse(covariance)

    def require_odometry(self, frame: Frame) -> None:
        """Refuse a start that the mode cannot work with.

        Raises:
            ValueError: In the mode ``both``, if the first frame brings no ``T_world_cam``.
        """
        if not self._static and frame.T_world_cam is None and self.T_world_cam is None:
            raise ValueError(
                'camera.mode "both" needs Frame.T_world_cam from odometry or kinematics, got None'
            )

    def predict(self, frame: Frame, dt_s: float, tracks: Mapping[str, ObjectTrack]) -> None:
        """Move the belief to the next frame and tell every object where it is to be expected."""
        if self.T_world_cam is None:
            return
        self._dt_s, self._before = dt_s, self._poses
        self._predicted, self._predicted_covariance = self._predict_camera(frame, dt_s)
        if not self._static and self._names:
            self._predict_objects(dt_s)
        T_cam_world = invert(self._predicted)
        for name, T_world_obj in zip(self._names, self._poses, strict=True):
            if name in tracks:
                tracks[name].predicted = at_center(T_cam_world @ T_world_obj, -tracks[name].model.center)

    def _predict_camera(self, frame: Frame, dt_s: float) -> tuple[Array, Array]:
        assert self.T_world_cam is not None
        told, before = frame.T_world_cam, self._odometry
        if self._static or told is None or before is None:
            return self._motion.predict(
                self.T_world_cam, dt_s
            ), self.covariance + self._motion.process_covariance(dt_s)
        self._odometry = told
        sigma = np.diag(np.repeat([self.config.odometry_sigma_m, self.config.odometry_sigma_rad], 3) ** 2)
        if self.config.odometry == "absolute":
            return told, sigma
        return self.T_world_cam @ invert(before) @ told, self.covariance + sigma

    def _predict_objects(self, dt_s: float) -> None:
        spread = block_diagonal(np.stack([self._velocities[n].process_covariance(dt_s) for n in self._names]))
        self._learned = inverse(inverse(self._learned) + spread)
        self._poses = np.stack(
            [self._velocities[n].predict(T, dt_s) for n, T in zip(self._names, self._poses, strict=True)]
        )

    def update(self, tracks: Mapping[str, ObjectTrack]) -> None:
        """Estimate camera and objects from what was measured; give every object its part of the estimate."""
        if self.T_world_cam is None or not self._names:
            return
        before = self.T_world_cam
        measured = self._measurements(tracks)
        solution = solve_pose_graph(
            self._predicted[None],
            self._poses,
            measured,
            PosePrior(self._predicted[None], inverse(self._predicted_covariance)),
            self._object_priors(),
            self.config.outlier_chi2,
        )
        self.T_world_cam = solution.T_world_cam[0]
        self.covariance = solution.camera_covariance
        self._poses = solution.T_world_obj
        self._motion.update(before, self.T_world_cam, self._dt_s, np.eye(6))
        T_cam_obj, covariance = (a[0] for a in solution.relative_poses())
        if self._static:
            forgetting = 1.0 - 1.0 / self.config.memory_frames
            self._learned = forgetting * self._learned + solution.relative_information
        else:
            self._learned = inverse(solution.object_covariance)
            self._learn_velocities(covariance @ measured.information[0])
        self._hand_out(tracks, measured, T_cam_obj, covariance, solution.chi2[0] > self.config.outlier_chi2)

    def _object_priors(self) -> list[PosePrior]:
        priors = [PosePrior(self._poses, self._learned)]
        if self._static:
            priors.append(PosePrior(self._anchors, block_diagonal(self._anchored)))
        return priors

    def _measurements(self, tracks: Mapping[str, ObjectTrack]) -> Measurements:
        T = invert(self._predicted) @ self._poses
        information = np.zeros((len(self._names), 6, 6))
        for i, name in enumerate(self._names):
            track = tracks.get(name)
            if track is not None and track.measured_information is not None and track.T_cam_obj is not None:
                T[i] = at_center(track.T_cam_obj, track.model.center)
                information[i] = track.score * track.measured_information
        information = with_floor(information, self.config.object_sigma_m, self.config.object_sigma_rad)
        return Measurements(T[None], information[None])

    def _learn_velocities(self, observed: Array) -> None:
        """Learn how objects move.

        ``observed`` (K, 6, 6), along the camera's axes, as in `MotionModel.update`.
        """
        assert self.T_world_cam is not None
        B = block_rotation(self.T_world_cam[:3, :3])
        for i, name in enumerate(self._names):
            if observed[i].any():
                self._velocities[name].update(
                    self._before[i], self._poses[i], self._dt_s, B @ observed[i] @ B.T
                )
            else:
                self._velocities[name].stop()

    def _hand_out(
        self,
        tracks: Mapping[str, ObjectTrack],
        measured: Measurements,
        T_cam_obj: Array,
        covariance: Array,
        disagrees: NDArray[np.bool_],
    ) -> None:
        for i, name in enumerate(self._names):
            track = tracks.get(name)
            if track is None:
                continue
            self._disagreed[name] = self._disagreed[name] + 1 if disagrees[i] else 0
            if not disagrees[i]:
                known = measured.information[0, i].any() or (self._static and track.status is Status.OCCLUDED)
                track.take_over(
                    at_center(T_cam_obj[i], -track.model.center), covariance[i] if known else None
                )
            elif self._disagreed[name] >= self.config.moved_frames:
                self._anchor_again(i, track)

    def _anchor_again(self, i: int, track: ObjectTrack) -> None:
        """Somebody moved an object: what was known of its place in the world is void."""
        T, information = self._first_belief(track)
        self._poses[i] = self._anchors[i] = T
        self._anchored[i] = information
        rest = _without(self._learned, i)
        block = slice(6 * i, 6 * i + 6)
        keep = np.delete(np.arange(len(self._learned)), block)
        self._learned = np.zeros_like(self._learned)
        self._learned[np.ix_(keep, keep)] = rest
        if not self._static:
            self._learned[block, block] = information
        self._disagreed[self._names[i]] = 0


def _without(information: Array, i: int) -> Array:
    """Marginal information of the objects other than the i-th."""
    gone = np.arange(6 * i, 6 * i + 6)
    keep = np.delete(np.arange(len(information)), gone)
    mixed = information[np.ix_(keep, gone)]
    return information[np.ix_(keep, keep)] - mixed @ np.linalg.pinv(information[np.ix_(gone, gone)]) @ mixed.T


def _with_block(information: Array, block: Array) -> Array:
    """Information with one more, independent object."""
    n = len(information)
    out = np.zeros((n + 6, n + 6))
    out[:n, :n] = information
    out[n:, n:] = block
    return out
