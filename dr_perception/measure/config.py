"""Settings of how images are measured: metres, and pixels for image distances; every field has a default.

`SensorConfig` holds each fact about the camera once; the tracker, the search and the fit are handed it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every group of settings: immutable, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DepthConfig(Settings):
    """Noise of the depth sensor and how depth rows use it."""

    sigma_m: float = Field(
        0.0, ge=0.0, description="Constant part of the standard deviation along the optical axis."
    )
    sigma_per_m2: float = Field(
        0.0035, ge=0.0, description="Part of it that grows with the square of the depth."
    )
    cutoff_sigma: float = Field(
        4.0, gt=0.0, description="Standard deviations beyond which a measurement does not pull."
    )
    shared_px2: float = Field(
        52.0,
        ge=1.0,
        description="Pixels whose depths carry the information of one independent measurement.",
    )
    occlusion_m: float = Field(
        0.02, gt=0.0, description="Something nearer by this much hides what the colour image would show."
    )


class RegistrationConfig(Settings):
    """How well depth and colour belong together."""

    lateral_px: float = Field(0.8, ge=0.0, description="Uncertainty of the pixel that a depth belongs to.")


class ContourConfig(Settings):
    """How outlines are measured in the colour image."""

    reach_px: int = Field(
        10, ge=2, le=24, description="Steps searched to either side of the expected outline."
    )
    sharpness: float = Field(
        0.3, gt=0.0, le=1.0, description="Share of a pixel's colour evidence that is its own."
    )
    prior_sigma_px: float = Field(6.0, gt=0.0, description="Expected distance of the outline, in steps.")
    region_floor_px: float = Field(
        0.5, gt=0.0, description="Smallest standard deviation of a region measurement."
    )
    step_floor_px: float = Field(
        0.2, gt=0.0, description="Smallest standard deviation of a step measurement."
    )
    inner_floor_px: float = Field(
        0.5, gt=0.0, description="The same for edges inside the outline, which shade shows and shifts."
    )
    half_window_px: int = Field(1, ge=1, le=8, description="Step measurements look this far to either side.")
    level_width_px: int = Field(
        3, ge=1, le=8, description="Pixels beyond the window that give the step's two levels."
    )
    cutoff_sigma: float = Field(
        3.0, gt=0.0, description="Standard deviations beyond which a line does not pull."
    )
    shared_px: float = Field(
        9.0, ge=1.0, description="Pixels of outline that carry the information of one independent line."
    )


class ColorConfig(Settings):
    """Noise of the colour image, and how the pattern on an object is compared with it."""

    channel_sigma: float = Field(6.0, gt=0.0, description="Noise of a colour channel in grey levels of 255.")

    enabled: bool = Field(True, description="Use the model's colours where it has some that vary.")
    least_contrast: float = Field(
        8.0,
        gt=0.0,
        description="Learned brightness is used where it scatters by more than this beyond shading, of 255.",
    )
    pattern_sigma: float = Field(
        12.0,
        gt=0.0,
        description="Standard deviation of a pattern's brightness, noise and light together, of 255.",
    )
    pattern_px: float = Field(0.5, ge=0.0, description="Error of the place of a pattern on the surface.")
    cutoff_sigma: float = Field(
        3.0, gt=0.0, description="Standard deviations beyond which a sample does not pull."
    )
    shared_px2: float = Field(
        18.0, ge=1.0, description="Pixels that carry the information of one independent sample."
    )


class SystematicConfig(Settings):
    """Standard deviations of errors that all frames of a camera share."""

    focal_length: float = Field(gt=0.0, description="Of the focal lengths, relative.")
    depth_bias_m: float = Field(gt=0.0, description="By which every depth is too large.")
    depth_scale: float = Field(gt=0.0, description="By which depths are too large, relative.")
    depth_shift_px: float = Field(gt=0.0, description="Between depth and colour image, along each axis.")
    depth_delay_s: float = Field(gt=0.0, description="Between the moments of depth and colour.")
    outline_px: float = Field(gt=0.0, description="By which outlines are seen too far out all around.")


USUAL = SystematicConfig(
    focal_length=5.0e-4,
    depth_bias_m=2.5e-4,
    depth_scale=5.0e-4,
    depth_shift_px=0.05,
    depth_delay_s=5.0e-4,
    outline_px=0.1,
)
"""What a calibrated camera has: `benchmarks/honesty.py` shows no more in frames that are right. Outlines are
off by up to 0.15 px in them, by blur and by light that mixes along edges."""
GROSS = SystematicConfig(
    focal_length=2.0e-2,
    depth_bias_m=5.0e-3,
    depth_scale=2.0e-2,
    depth_shift_px=10.0,
    depth_delay_s=1.5e-2,
    outline_px=0.5,
)
"""What a wrong calibration, an unregistered or a late depth image has."""


class SensorConfig(Settings):
    """The camera: noise of its depth and colour, how they belong together, and how outlines are read.

    The one place of these facts, for tracker, search, fit, node and replay.
    """

    depth: DepthConfig = DepthConfig()
    registration: RegistrationConfig = RegistrationConfig()
    contour: ContourConfig = ContourConfig()
    color: ColorConfig = ColorConfig()
    usual: SystematicConfig = Field(USUAL, description="Errors of a camera that is calibrated as most are.")
    gross: SystematicConfig = Field(GROSS, description="Errors of one that is not.")


class StageConfig(Settings):
    """One stage of a refinement: measure lines once, then take steps."""

    lines: Literal["region", "step", "none"] = Field("step", description="How outlines are measured.")
    line_step_px: float = Field(1.0, gt=0.0, description="Pixels per step of a region search.")
    depth_sigma_m: float = Field(
        0.0, ge=0.0, description="Extra standard deviation of depths: widens the cut-off."
    )
    depth_every: int = Field(1, ge=1, description="Use every so-many-th surface sample for depth.")
    pair_once: bool = Field(
        True,
        description="Pair samples with measured depths once, before the steps, so that the objective is "
        "smooth; else at every step, which reaches farther.",
    )
    steps: int = Field(3, ge=1, description="Steps of the solver.")
    render: bool = Field(
        True, description="Render at the current pose before; else keep the last stage's samples."
    )
