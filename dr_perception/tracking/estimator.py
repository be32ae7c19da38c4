"""The host side of one object's belief and measurements: memory that kernels share, and their launches."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.device_array import SharedArray
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import capture, record
from dr_perception.estimate.information import DIRECTION_ERROR_RAD
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.tracking.belief import Belief, Interval, Motion, Reported, predict_belief, report_belief
from dr_perception.tracking.config import MotionConfig, TrackerConfig
from dr_perception.tracking.extent import Shape, image_extent
from dr_perception.tracking.health import Agreement
from dr_perception.tracking.judgement import (
    Conditions,
    Judge,
    Measurement,
    Outcome,
    accept_measurement,
    judge_pose,
)

FOUND_COVARIANCE = np.diag(np.repeat([0.02, 1.0], 3) ** 2)
"""Belief in a pose that a search found.

A turn that nothing measures is not known, however well the rest fits.
"""
LARGEST_VARIANCES = np.repeat([0.5, np.pi], 3) ** 2
"""Variances [m^2, rad^2] beyond which nothing is reported: the object may be anywhere."""


def motion_of(config: MotionConfig) -> Motion:
    """Settings of the motion model for kernels."""
    motion = Motion()
    sigma = np.repeat([config.translation_sigma_m, config.rotation_sigma_rad], 3)
    motion.variances = wp.spatial_vectord(*sigma**2)
    motion.largest = wp.spatial_vectord(*LARGEST_VARIANCES)
    motion.period_s = config.nominal_period_s
    motion.longest_s = config.longest_prediction_s
    motion.gain = config.velocity_gain
    return motion


def judge_of(refiner: PoseRefiner) -> Judge:
    """What the judging kernel knows of an object."""
    judge = Judge()
    judge.posterior = refiner.posterior
    judge.reach_m = refiner.radius_m
    judge.direction_error_rad = DIRECTION_ERROR_RAD
    judge.floor = wp.spatial_vectord(*refiner.config.body.variances)
    return judge


def outcome_of(refiner: PoseRefiner) -> Outcome:
    """Where the host finds what a refinement ended with."""
    outcome = Outcome()
    outcome.R_cam_obj, outcome.t_cam_obj = refiner.poses.R.staging, refiner.poses.t.staging
    outcome.priors, outcome.evidence = refiner.solver.priors.staging, refiner.solver.best.staging
    outcome.counts, outcome.looks = refiner.view.counts.staging, refiner.looks.staging
    return outcome


def shape_of(model: ObjectModel) -> Shape:
    """Bounds of a model about its centre."""
    points = model.mesh.vertices - model.center
    shape = Shape()
    shape.lower, shape.upper = (wp.vec3(*bound) for bound in (points.min(axis=0), points.max(axis=0)))
    shape.radius = model.radius_m
    return shape


class Estimator:
    """Prediction, judgement and update of one object, each one replay of compiled host arithmetic.

    Attributes:
        predicted: Predicted pose of the centre on the device, from which other objects' views draw this one.
        covariance: Of the centre's pose (6, 6), along the camera's axes; a view that kernels write to.
        periods: Nominal ones that the last prediction went over, at least one.
        is_told: Whether the prediction is somebody's who knows better than the motion.
    """

    def __init__(self, model: ObjectModel, refiner: PoseRefiner, config: TrackerConfig) -> None:
        """Allocate and record."""
        self._refiner = refiner
        self._center = model.center
        self.periods, self._period_s = 1.0, config.motion.nominal_period_s
        self.is_told = False
        self.predicted = PoseArrays(1, refiner.frame.device)
        self._belief = SharedArray(1, Belief, "cpu")
        self._interval = SharedArray(1, Interval, "cpu")
        self._conditions = SharedArray(1, Conditions, "cpu")
        self._measurement = SharedArray(1, Measurement, "cpu")
        self._extent = SharedArray(1, wp.vec4, "cpu")
        self._reported = SharedArray(1, Reported, "cpu")
        self._covariance = SharedArray(1, wp.spatial_matrixd, "cpu")
        self._per_period = 3.0 * np.square(
            [config.motion.translation_sigma_m, config.motion.rotation_sigma_rad]
        )
        self._record(motion_of(config.motion), judge_of(refiner), shape_of(model))
        self._pushed = [*self._start(), self.predicted.R, self.predicted.t]
        host, seen = self._belief.host, self._measurement.host
        self._R, self._t = host["R"][0], host["t"][0]
        self._predicted_R, self._predicted_t = host["predicted_R"][0], host["predicted_t"][0]
        self.covariance: NDArray[np.float64] = host["covariance"][0]
        self._measured, self._velocity = host["measured"][0], host["velocity"][0]
        self._seen_T, self._figures = seen["T"][0], seen["figures"][0]
        self._information, self._posterior = seen["information"][0], seen["posterior"][0]
        self._errors, self._axes = self._reported.host["errors"][0], self._reported.host["R"][0]

    def _start(self) -> list[SharedArray]:
        poses = self._refiner.poses
        return [poses.R, poses.t, self._refiner.solver.priors]

    def _record(self, motion: Motion, judge: Judge, shape: Shape) -> None:
        start = [shared.staging for shared in self._start()]
        predicted = [self.predicted.R.staging, self.predicted.t.staging]
        belief, seen = self._belief.array, self._measurement.array
        predict = record(
            predict_belief, 1, [motion, self._interval.array], [belief, *predicted, *start], "cpu"
        )
        extent = record(
            image_extent, 1, [shape, self._refiner.frame.lens.staging, belief], [self._extent.array], "cpu"
        )
        inputs = [judge, self._conditions.array, outcome_of(self._refiner)]
        judge_launch = record(judge_pose, 1, inputs, [seen, belief], "cpu")
        accept = record(accept_measurement, 1, [motion, self._interval.array, seen], [belief], "cpu")
        others = [wp.vec3d(*self._center), wp.spatial_vectord(*FOUND_COVARIANCE.diagonal()), motion]
        inputs = [*others, belief, self._reported.array]
        report = record(report_belief, 1, inputs, [self._covariance.array], "cpu")
        self._predict, self._measure_extent, self._judge, self._accept, self._report = (
            capture(launches, "cpu")
            for launches in ([predict, extent], [extent], [judge_launch], [accept], [report])
        )

    def begin(self, T_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> None:
        """Believe a pose (4, 4) of the model's frame with a covariance of its centre; it is taken to rest."""
        self.set_pose(T_cam_obj)
        self.covariance[:] = self._measured[:] = covariance
        self._velocity[:] = 0.0
        pace, per_period = self._belief.host["pace"][0], self._per_period
        pace["surprise"] = pace["speed"] = per_period
        pace["unseen"] = 0.0
        self._predicted_R[:], self._predicted_t[:] = self._R, self._t
        self._belief.host["rendered_eye"][0] = -self._R.T @ self._t
        self._measure_extent()

    def set_pose(self, T_cam_obj: NDArray[np.float64]) -> None:
        """Replace the believed pose (4, 4) of the model's frame."""
        self._R[:], self._t[:] = self._centered(T_cam_obj)

    def _centered(self, T_cam_obj: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3) and place (3,) [m] of the centre at a pose (4, 4) of the model's frame."""
        return T_cam_obj[:3, :3], T_cam_obj[:3, :3] @ self._center + T_cam_obj[:3, 3]

    def take_over(self, T_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64] | None) -> None:
        """Believe a pose (4, 4) of a joint estimate, and the covariance (6, 6) of its centre if one is given.

        The velocity is kept. Directions whose variance exceeds the largest one are shrunk to it.
        """
        self.set_pose(T_cam_obj)
        if covariance is not None:
            scale = np.minimum(1.0, np.sqrt(LARGEST_VARIANCES / covariance.diagonal()))
            self.covariance[:] = covariance * scale[:, None] * scale[None, :]

    def adopt(self, other: Estimator) -> None:
        """Believe what another estimator of the same object believes."""
        self._belief.host[:] = other._belief.host
        self._belief.push()

    @property
    def velocity(self) -> NDArray[np.float64]:
        """Believed velocity (6,) of the centre, along the camera's axes, a copy."""
        return np.array(self._velocity)

    def stop(self) -> None:
        """Forget the velocity."""
        self._velocity[:] = 0.0

    def stop_turning(self) -> None:
        """Forget the angular velocity."""
        self._velocity[3:] = 0.0

    def predict(self, dt_s: float, moving: bool) -> None:
        """Carry the belief over an interval and start the next refinement there."""
        self.periods, self.is_told = max(dt_s / self._period_s, 1.0), False
        interval = self._interval.host
        interval["dt_s"], interval["moving"] = dt_s, moving
        self._predict()
        for shared in self._pushed:
            shared.push()

    @property
    def predicted_center(self) -> tuple[float, float, float]:
        """Predicted place [m] of the centre."""
        x, y, z = self._predicted_t.tolist()
        return x, y, z

    @property
    def image_extent(self) -> tuple[float, float, float, float]:
        """Smallest and largest pixels (u, v, u, v) of the predicted surface, inside the image or not."""
        u0, v0, u1, v1 = self._extent.host[0].tolist()
        return u0, v0, u1, v1

    @property
    def view_change(self) -> float:
        """How far the camera is predicted to have moved about the object since the last render.

        As a share of their distance: a turn in radians.
        """
        return float(self._belief.host["view_change"][0])

    @property
    def last_pose(self) -> NDArray[np.float64]:
        """Pose (4, 4) of the model's frame that is believed, before the prediction."""
        T = np.eye(4)
        T[:3, :3] = self._R
        T[:3, 3] = self._t - self._R @ self._center
        return T

    @property
    def predicted_pose(self) -> NDArray[np.float64]:
        """Predicted pose (4, 4) of the model's frame."""
        T = np.eye(4)
        T[:3, :3] = self._predicted_R
        T[:3, 3] = self._predicted_t - self._predicted_R @ self._center
        return T

    def expect(self, T_cam_obj: NDArray[np.float64]) -> None:
        """Replace the prediction by a pose (4, 4) from somebody who knows better."""
        self.is_told = True
        self._predicted_R[:], self._predicted_t[:] = self._centered(T_cam_obj)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self._predicted_R, self._predicted_t
        self.predicted.set(T[None])
        self._measure_extent()
        self.start_at(T_cam_obj, self.covariance)

    def start_at(self, T_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> None:
        """Start the next refinement at a pose (4, 4) with a covariance (6, 6) of its centre as its prior."""
        self._refiner.set_poses(T_cam_obj[None])
        information = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
        self._refiner.set_prior(T_cam_obj[None], information)

    def judge(self, rendered: bool) -> Agreement:
        """Judge the pose that a refinement ended at; waits for the device.

        ``rendered`` says whether the refinement rendered the model.
        """
        refiner = self._refiner
        refiner.judge_looks()
        for shared in (
            refiner.poses.R,
            refiner.poses.t,
            refiner.solver.best,
            refiner.view.counts,
            refiner.looks,
        ):
            shared.pull()
        conditions = self._conditions.host
        conditions["has_color"], conditions["rendered"] = refiner.frame.has_color, rendered
        self._judge()
        return Agreement(*self._figures.tolist())

    def measurement(self) -> NDArray[np.void]:
        """A copy of the measurement that was judged last."""
        return self._measurement.host.copy()

    def restore(self, measurement: NDArray[np.void]) -> None:
        """Take an earlier measurement of the frame for the last one."""
        self._measurement.host[:] = measurement
        self._refiner.set_poses(self.measured_pose[None])

    def accept(self) -> None:
        """Believe the measurement, and learn the velocity from it."""
        self._accept()

    def reported_covariance(
        self, R_cam_obj: NDArray[np.float64], errors: NDArray[np.float64], doubt: float, lost: bool = False
    ) -> NDArray[np.float64]:
        """Covariance (6, 6) of the pose of the model's origin, of all that is believed.

        Args:
            R_cam_obj: Axes (3, 3) of the model that is reported.
            errors: What errors that frames share add to that of the centre's pose (6, 6).
            doubt: Probability that the pose is another one, as a search would find it.
            lost: Whether the object may be anywhere, however it used to move.
        """
        self._axes[:], self._errors[:] = R_cam_obj, errors
        self._reported.host["doubt"], self._reported.host["lost"] = doubt, lost
        self._report()
        return self._covariance.host[0].copy()

    @property
    def unseen_periods(self) -> float:
        """Nominal periods since the object was measured."""
        return float(self._belief.host["pace"]["unseen"][0])

    @unseen_periods.setter
    def unseen_periods(self, periods: float) -> None:
        self._belief.host["pace"]["unseen"] = periods

    @property
    def measured_pose(self) -> NDArray[np.float64]:
        """Measured pose (4, 4) of the model's frame, a copy."""
        return np.array(self._seen_T)

    @property
    def measured_information(self) -> NDArray[np.float64]:
        """What the images alone say of the centre's pose (6, 6), a copy."""
        return np.array(self._information)

    @property
    def posterior(self) -> NDArray[np.float64]:
        """Covariance (6, 6) of the measured pose of the centre, along the camera's axes, a copy."""
        return np.array(self._posterior)
