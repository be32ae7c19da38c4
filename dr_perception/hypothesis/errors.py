"""The prior of errors that all frames share, and what they add to the covariance of a refined pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.consider import Message, response, without_pose
from dr_perception.estimate.mixture import ErrorGroup, ErrorModel, Mixture
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.measure.config import SensorConfig, SystematicConfig
from dr_perception.measure.consider import NAMES
from dr_perception.measure.considered import Considered, Sums

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
RESPONSE = 1.8
"""How much farther a pose moves under an error than its rows say: those near their cut-off stop pulling.

Measured over the errors of `benchmarks/honesty.py` it is 1.3 to 2 (depth shifted by 2 px, a scale of 1.03).
"""
WEAK = np.diag(np.repeat([0.1, 1.0], 3) ** -2)
"""Information of a pose that is known to 0.1 m and a radian: what nothing measures must not be singular."""


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


def moved_by(used: Sums, prior: Array, moment: Array) -> Array:
    """Covariance (6, 6) of the centre's pose by errors with a second moment (T, T).

    Args:
        used: Sums of the rows that the pose was fitted to.
        prior: Information (6, 6) of the prior that it was fitted with.
        moment: Of the parameters.
    """
    A = RESPONSE * response(used.H + prior, used.H_xt)
    return np.asarray(A @ moment @ A.T)


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
        mixture = Mixture(self.model.alone, [self.model.eliminate(message_of(one.far))])
        return moved_by(one.used, self.prior, mixture.moments("")[1])
