"""The prior of errors that all frames share, and what they add to the covariance of a refined pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.consider import Message, response, without_pose
from dr_perception.estimate.mixture import ErrorGroup, ErrorModel, Weighted, second_moment
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.measure.config import SensorConfig, SystematicConfig
from dr_perception.measure.consider import NAMES
from dr_perception.measure.considered import WEAK, Considered, Sums

Array = NDArray[np.float64]

_SURFACE = tuple(k for k, name in enumerate(NAMES) if name.startswith("surface"))
_INDEX = {name: k for k, name in enumerate(NAMES)}
_CAMERA = np.arange(_INDEX["focal_length"], _INDEX["outline_offset"])
GROUPS = (
    ErrorGroup("model_scale", (_INDEX["model_scale"],), 0.03),
    ErrorGroup("focal_length", (_INDEX["focal_length"],), 0.03),
    ErrorGroup("depth_bias", (_INDEX["depth_bias"],), 0.03),
    ErrorGroup("depth_scale", (_INDEX["depth_scale"],), 0.03),
    ErrorGroup("depth_shift", (_INDEX["depth_shift_u"], _INDEX["depth_shift_v"]), 0.03),
    ErrorGroup("depth_delay", (_INDEX["depth_delay"],), 0.03),
    ErrorGroup("model_surface", _SURFACE, 0.03),
)
_NONE_WEIGHT, _SOME_WEIGHT, _ALL_WEIGHT = 0.7, 0.05, 0.05


def error_model(sensor: SensorConfig, body: BodyConfig) -> ErrorModel:
    """The prior of errors that settings state."""
    surface = [body.usual_surface_m, body.gross_surface_m]
    usual, gross = (
        np.array([scale, *_of_sensor(one), *[surface[k]] * len(_SURFACE)])
        for k, (scale, one) in enumerate([(body.usual_scale, sensor.usual), (body.gross_scale, sensor.gross)])
    )
    return ErrorModel(usual, gross, _CAMERA, GROUPS, _NONE_WEIGHT, _ALL_WEIGHT, _SOME_WEIGHT)


def _of_sensor(one: SystematicConfig) -> list[float]:
    shift = one.depth_shift_px
    return [
        one.focal_length, one.depth_bias_m, one.depth_scale, shift, shift, one.depth_delay_s, one.outline_px,
    ]  # fmt: skip


def message_of(sums: Sums) -> Message:
    """What rows say of the parameters, with their pose eliminated."""
    return without_pose(sums.H + WEAK, sums.g, sums.H_xt, sums.H_tt, sums.g_t)


def response_of(used: Sums, prior: Array) -> Array:
    """How parameters move a pose (6, T) that was fitted to rows and to a prior with information (6, 6)."""
    return response(used.H + prior, used.H_xt)


def moved_by(used: Sums, prior: Array, moment: Array) -> Array:
    """Covariance (6, 6) of the centre's pose by errors with a second moment (T, T).

    Args:
        used: Sums of the rows that the pose was fitted to.
        prior: Information (6, 6) of the prior that it was fitted with.
        moment: Of the parameters.
    """
    A = response_of(used, prior)
    return np.asarray(A @ moment @ A.T)


@dataclass(frozen=True)
class Displacement:
    """Where a pose may be because of errors: a mixture of Gaussians over the centre's pose."""

    probabilities: Array
    """(C,)."""
    mean: Array
    """(C, 6), along the camera's axes."""
    covariance: Array
    """(C, 6, 6)."""

    @staticmethod
    def by(used: Sums, prior: Array, errors: Weighted) -> Displacement:
        """That of a pose fitted to ``used`` with information ``prior`` (6, 6) beside them."""
        A = response_of(used, prior)
        found = errors.components
        return Displacement(errors.probabilities, found.mean @ A.T, A @ found.covariance @ A.T)

    @property
    def second_moment(self) -> Array:
        """(6, 6)."""
        return second_moment(self.probabilities, self.mean, self.covariance)

    def widened(self, ratio: float, rest: Array) -> Displacement:
        """With covariances times a ratio, and ``rest`` (6, 6) added."""
        return Displacement(self.probabilities, np.sqrt(ratio) * self.mean, ratio * self.covariance + rest)

    def probability_within(self, surface: SurfaceUncertainty, R_cam_obj: Array) -> float:
        """Probability that the surface is displaced by less than makes a pose wrong.

        The displacement is taken as that of one Gaussian number, as `posterior.probability_within` does. An
        error that is known displaces the pose by what is known: with second moments alone a depth scale known
        to be 2 % off, 14 mm at 0.7 m, left odds of one to one where the limit is 10 mm.
        """
        mean, sigma = surface.displacements_m(R_cam_obj, self.mean, self.covariance)
        scale = np.sqrt(2.0) * np.maximum(sigma, 1.0e-9)
        inside = [
            0.5 * (math.erf((surface.limit_m - m) / s) + math.erf((surface.limit_m + m) / s))
            for m, s in zip(mean.tolist(), scale.tolist(), strict=True)
        ]
        return float(self.probabilities @ np.array(inside))


@dataclass(frozen=True)
class PoseErrors:
    """What the rows of a batch of refined poses say of errors, in one frame."""

    considered: Sequence[Considered]
    model: ErrorModel
    prior: Array
    """Information (6, 6) of a pose before it was measured."""

    def covariance(self, i: int) -> Array:
        """What errors add to the covariance (6, 6) of the centre of pose ``i``, along the camera's axes."""
        one = self.considered[i]
        return moved_by(one.used, self.prior, self.model.of_one(message_of(one.far)).second_moment)
