"""What a pose fit reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.finding import Finding


@dataclass(frozen=True)
class PoseEstimate:
    """Result of fitting one model to one frame."""

    T_cam_obj: NDArray[np.float64]
    """Pose of the model's frame in the camera's optical frame, shape (4, 4), metres."""
    covariance: NDArray[np.float64]
    """Shape (6, 6): translation [m] of the origin, then rotation [rad], along the axes of the camera."""
    score: float
    """Probability that the pose is right, 0 to 1."""
    converged: bool
    """Whether the pose moved by less than a standard deviation when it was measured last."""
    iterations: int
    """Number of linearisations."""
    cost: float
    """Final value of the robust objective."""
    visible_fraction: float = 1.0
    """Share of the model's visible side that no nearer thing hides, 0 to 1."""
    reason: str = ""
    """Why the fit stopped or why it should not be trusted; empty when all is well."""
    findings: tuple[Finding, ...] = ()
    """What is significantly wrong with the model, the calibration or the images."""
