"""What the tracker reports for a frame."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.finding import Finding


class Status(enum.Enum):
    """Health of one tracked object."""

    TRACKING = "tracking"
    """The pose is measured in this frame."""
    OCCLUDED = "occluded"
    """The object is where it is expected but mostly hidden.

    The pose is predicted and its covariance grows.
    """
    LOST = "lost"
    """The image contradicts the pose: it is frozen, its covariance grows and the object is searched for."""


@dataclass(frozen=True)
class ObjectState:
    """Estimate of one object in one frame."""

    T_cam_obj: NDArray[np.float64]
    """Pose of the model's frame in the camera's optical frame, shape (4, 4), metres."""
    covariance: NDArray[np.float64]
    """Shape (6, 6): translation [m] of the origin, then rotation [rad], along the axes of the camera."""
    status: Status
    """Whether the pose was measured, predicted behind an occluder, or is lost."""
    score: float
    """Probability that the pose is right, 0 to 1."""
    visible_fraction: float = 1.0
    """Share of the model's visible side that no nearer thing hides, 0 to 1."""
    reason: str = ""
    """One sentence that says why the object is not being tracked; empty while it is."""


@dataclass(frozen=True)
class TrackResult:
    """Estimates of all objects in one frame."""

    objects: Mapping[str, ObjectState]
    """State of each tracked object by name."""
    stamp_ns: int
    """Stamp of the frame in nanoseconds."""
    T_world_cam: NDArray[np.float64] | None = None
    """Pose of the camera, shape (4, 4), where it is estimated or the frame brought it; otherwise None."""
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds spent in each part of the step; ``"total"`` is their sum."""
    camera_covariance: NDArray[np.float64] | None = None
    """Covariance of ``T_world_cam`` where it is estimated, shape (6, 6), along the axes of the world."""
    diagnosis: tuple[Finding, ...] = ()
    """What is significantly wrong with models, calibration or the stream, as long as it is; one of a kind."""
