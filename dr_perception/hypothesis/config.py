"""Settings of pose refinement.

Lengths are metres, image distances pixels; every field has a working default.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dr_perception.measure.config import ColorConfig, ContourConfig, DepthConfig, StageConfig


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplingConfig(_Settings):
    """How a model is rendered and sampled."""

    render_size_px: int = Field(128, ge=32, le=1024, description="Size of the render that holds the object.")
    surface_stride_px: int = Field(3, ge=1, description="Distance of surface samples in rendered pixels.")
    contour_spacing_px: float = Field(
        2.0, gt=0.0, description="Distance of contour samples in rendered pixels."
    )
    max_contour_samples: int = Field(320, ge=16, description="Room for contour samples.")
    mesh_error: float = Field(
        1.0e-3, gt=0.0, description="Error of the simplified mesh, as a share of the diameter."
    )


TRACKING_STAGES = (
    StageConfig(lines="region", depth_every=3, steps=2, render=False),
    StageConfig(lines="step", steps=2),
)
"""From a predicted pose a few pixels off.

The first stage looks at the points that the last frame's render gave.
"""

WIDE_STAGES = (
    StageConfig(lines="region", line_step_px=5.0, depth_sigma_m=0.02, pair_once=False, steps=3),
    StageConfig(lines="region", line_step_px=3.0, depth_sigma_m=0.012, pair_once=False, steps=3),
    StageConfig(lines="region", line_step_px=1.5, depth_sigma_m=0.006, pair_once=False, steps=3),
    StageConfig(lines="region", steps=3),
    StageConfig(lines="step", steps=3),
    StageConfig(lines="step", steps=2, render=False),
)
"""From a pose some centimetres or tens of degrees off."""


class UncertaintyConfig(_Settings):
    """What a reported covariance holds besides the noise of the images."""

    floor_m: float = Field(
        6.0e-5, ge=0.0, description="Standard deviation of the model's own errors, translation."
    )
    floor_rad: float = Field(
        1.1e-3, ge=0.0, description="Standard deviation of the model's own errors, rotation."
    )

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variances (6,) of the model's own errors, translation [m^2], then rotation [rad^2]."""
        return np.repeat([self.floor_m, self.floor_rad], 3) ** 2


class RefinerConfig(_Settings):
    """Settings of the refinement of one model in one frame."""

    sampling: SamplingConfig = SamplingConfig()
    depth: DepthConfig = DepthConfig()
    contour: ContourConfig = ContourConfig()
    color: ColorConfig = ColorConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()


TRACKING_REFINER = RefinerConfig(sampling=SamplingConfig(contour_spacing_px=3.0))
"""Fewer lines: neighbouring ones say nearly the same."""
