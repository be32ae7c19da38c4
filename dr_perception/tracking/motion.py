"""Constant-velocity prediction of one pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.se3 import local, retract
from dr_perception.tracking.config import MotionConfig


class MotionModel:
    """Velocity of a pose in the tangent space of the project: (v, w) along the camera's axes, per second."""

    def __init__(self, config: MotionConfig) -> None:
        """Start at rest."""
        self.config = config
        self.velocity = np.zeros(6)
        sigma = np.repeat([config.translation_sigma_m, config.rotation_sigma_rad], 3)
        self._frame_covariance = np.diag(sigma**2)

    def stop(self) -> None:
        """Forget the velocity."""
        self.velocity = np.zeros(6)

    def predict(self, T: NDArray[np.float64], dt_s: float) -> NDArray[np.float64]:
        """Pose (4, 4) after a time, at rest if the gap is too long to extrapolate over."""
        if dt_s > self.config.longest_prediction_s:
            return T.copy()
        return retract(T, self.velocity * dt_s)

    def process_covariance(self, dt_s: float) -> NDArray[np.float64]:
        """Covariance (6, 6) that a prediction over a time adds."""
        frames = dt_s / self.config.nominal_period_s
        return self._frame_covariance * (frames * frames)

    def update(
        self,
        T_before: NDArray[np.float64],
        T_now: NDArray[np.float64],
        dt_s: float,
        observed: NDArray[np.float64],
    ) -> None:
        """Learn from a measured motion.

        Args:
            T_before: Pose at the previous frame (4, 4).
            T_now: Pose now (4, 4).
            dt_s: Time between them.
            observed: How much of each direction was measured rather than predicted (6, 6), identity for all.
                What nothing observes, as the spin of a symmetric body, gets no velocity and stays put.
        """
        measured = observed @ (local(T_before, T_now) / dt_s)
        gain = self.config.velocity_gain
        self.velocity = (1.0 - gain) * self.velocity + gain * measured
