"""Settings of the tracker. Metres, radians, seconds; every field has a working default."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dr_perception.hypothesis.config import (
    TRACKING_STAGES,
    WIDE_STAGES,
    JobConfig,
    SamplingConfig,
    handed_down,
)
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.measure.config import Settings, StageConfig

TRACKING_SAMPLING = SamplingConfig(contour_spacing_px=3.0)
"""Fewer lines: neighbouring ones say nearly the same."""


class MotionConfig(Settings):
    """Constant-velocity motion model."""

    translation_sigma_m: float = Field(
        0.02, gt=0.0, description="Error of the prediction over one nominal frame."
    )
    rotation_sigma_rad: float = Field(
        0.15, gt=0.0, description="Error of the prediction over one nominal frame."
    )
    nominal_period_s: float = Field(
        1.0 / 30.0, gt=0.0, description="Time between frames whose stamps do not tell."
    )
    velocity_gain: float = Field(
        0.8, ge=0.0, le=1.0, description="Weight of the newest motion in the velocity."
    )
    longest_prediction_s: float = Field(
        0.3, gt=0.0, description="A gap longer than this is not extrapolated over."
    )
    longest_gap_s: float = Field(
        1.0,
        gt=0.0,
        description="After a longer gap objects may be anywhere: they are looked for where they were, then "
        "searched for.",
    )


class HealthConfig(Settings):
    """When an object counts as occluded or lost."""

    min_visible_fraction: float = Field(
        0.2, ge=0.0, le=1.0, description="Below this share in view it is occluded."
    )
    min_samples: int = Field(30, ge=1, description="Fewer measured samples than this cannot support a pose.")
    good_score: float = Field(0.5, ge=0.0, le=1.0, description="A pose with a lower score is not trusted.")
    retry_score: float = Field(
        0.9, ge=0.0, le=1.0, description="Below this the wide stages are tried as well."
    )
    repeat_shift_px: float = Field(
        8.0,
        ge=0.0,
        description="The stages are repeated when the surface lies farther than this from its prediction.",
    )
    retry_shift_px: float = Field(
        12.0,
        ge=0.0,
        description="The wide stages are tried as well when it lies farther than this; over n nominal "
        "periods, farther than an n-th of it.",
    )
    unexpected_turn_rad: float = Field(
        0.06,
        gt=0.0,
        description="A turn that differs from its prediction by more is compared with the predicted one.",
    )
    found_score: float = Field(
        0.85, ge=0.0, le=1.0, description="Score at which a lost object counts as found."
    )
    occluded_patience_frames: int = Field(
        60, ge=1, description="Hidden frames in a row after which it is lost."
    )
    patience_frames: int = Field(
        5, ge=1, description="Untrusted frames in a row after which an object is lost."
    )


class RecoveryConfig(Settings):
    """How lost objects are found again."""

    search: bool = Field(True, description="Search the whole frame for a lost object.")
    candidates: int = Field(
        3, ge=1, description="Places that a search proposes; the one that agrees best is taken."
    )
    latency_frames: int = Field(
        10, ge=0, description="Frames after which a search's result is taken up, the same in every replay."
    )


class CameraConfig(Settings):
    """What is known of the camera's motion."""

    mode: Literal["fixed", "static_objects", "both"] = Field(
        "fixed",
        description="fixed: only objects move. static_objects: only the camera moves; its pose comes from "
        "all objects. "
        "both: everything moves; every frame brings the camera's pose from odometry or kinematics.",
    )
    odometry: Literal["relative", "absolute"] = Field(
        "relative",
        description="Whether errors of the camera poses in frames add up (odometry) or not (kinematics).",
    )
    odometry_sigma_m: float = Field(
        0.002, gt=0.0, description="Error of those poses, from frame to frame if relative."
    )
    odometry_sigma_rad: float = Field(
        0.004, gt=0.0, description="Error of those poses, from frame to frame if relative."
    )
    object_sigma_m: float = Field(
        0.0001, gt=0.0, description="Error of one measured pose that noise does not explain."
    )
    object_sigma_rad: float = Field(
        0.0005, gt=0.0, description="Error of one measured pose that noise does not explain."
    )
    memory_frames: float = Field(
        30.0, ge=1.0, description="Frames that the world poses of static objects average over."
    )
    outlier_chi2: float = Field(
        30.0, gt=0.0, description="Squared normalised residual beyond which an object disagrees."
    )
    moved_frames: int = Field(
        5, ge=1, description="Disagreeing frames in a row after which an object was moved."
    )


class TrackerConfig(JobConfig):
    """Settings of the tracker, with those of the sensor, the bodies and the search that it works with."""

    sampling: SamplingConfig = TRACKING_SAMPLING
    stages: tuple[StageConfig, ...] = Field(TRACKING_STAGES, description="Stages run in every frame.")
    wide_stages: tuple[StageConfig, ...] = Field(
        WIDE_STAGES, description="Stages run when the first do not agree."
    )
    motion: MotionConfig = MotionConfig()
    health: HealthConfig = HealthConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    search: SearchConfig = Field(SearchConfig(), exclude=True)
    camera: CameraConfig = CameraConfig()
    learn_brightness: bool = Field(
        True,
        description="Learn the brightness of the surface while tracking where the model has no colours.",
    )
    color_learning_rate: float = Field(0.4, gt=0.0, le=1.0, description="Weight of the newest colours.")
    color_learning_interval: int = Field(
        3, ge=1, description="Tracked frames from one learning of colours to the next."
    )
    view_change_rad: float = Field(
        0.05,
        ge=0.0,
        description="Turn of the viewpoint about an object up to which its last render serves another frame.",
    )
    margin_px: float = Field(24.0, ge=0.0, description="Pixels around an object that are looked at.")
    wide_margin_px: float = Field(60.0, ge=0.0, description="The same for the wide stages.")
    threads: int = Field(2, ge=1, description="Objects that are worked on at once.")
    device: str = Field("cpu", description="Warp device: cpu, cuda:0, ...")

    @model_validator(mode="after")
    def _share(self) -> Self:
        """Search with the same sensor and bodies."""
        object.__setattr__(self, "search", handed_down(self.search, self))
        return self
