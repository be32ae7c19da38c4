"""Settings of pose refinement.

Lengths are metres, image distances pixels; every field has a working default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from dr_perception.measure.config import SensorConfig, Settings, StageConfig

_Job = TypeVar("_Job", bound=BaseModel)


class SamplingConfig(Settings):
    """How a model is rendered and sampled."""

    render_size_px: int = Field(128, ge=32, le=1024, description="Size of the render that holds the object.")
    surface_stride_px: int = Field(3, ge=1, description="Distance of surface samples in rendered pixels.")
    contour_spacing_px: float = Field(
        2.0, gt=0.0, description="Distance of contour samples in rendered pixels."
    )
    max_contour_samples: int = Field(320, ge=16, description="Room for contour samples.")


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


class BodyConfig(Settings):
    """How true the models are: what a reported covariance holds besides the noise of the images."""

    mesh_error: float = Field(
        1.0e-3, gt=0.0, description="Error of the simplified mesh, as a share of the diameter."
    )
    floor_m: float = Field(
        6.0e-5, ge=0.0, description="Standard deviation of the model's own errors, translation."
    )
    floor_rad: float = Field(
        1.1e-3, ge=0.0, description="Standard deviation of the model's own errors, rotation."
    )

    usual_scale: float = Field(
        5.0e-4, gt=0.0, description="Standard deviation of the size of a model that is right, relative."
    )
    gross_scale: float = Field(3.0e-2, gt=0.0, description="The same of one that is not.")
    usual_surface_m: float = Field(
        1.0e-4,
        gt=0.0,
        description="Standard deviation of the surface of a model that is right, by octant, with what "
        "simplifying it leaves.",
    )
    gross_surface_m: float = Field(1.0e-3, gt=0.0, description="The same of one that is not.")

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variances (6,) of the model's own errors, translation [m^2], then rotation [rad^2]."""
        return np.repeat([self.floor_m, self.floor_rad], 3) ** 2


class RefinerConfig(Settings):
    """What the refinement of one model in one frame is told; put together from the tree, not a part of it."""

    sampling: SamplingConfig = SamplingConfig()
    sensor: SensorConfig = SensorConfig()
    body: BodyConfig = BodyConfig()


class JobConfig(Settings):
    """Settings of what refines poses.

    ``sensor`` and ``body`` are facts that all such jobs share: they are no leaves of a job's own group.
    """

    sensor: SensorConfig = Field(SensorConfig(), exclude=True)
    body: BodyConfig = Field(BodyConfig(), exclude=True)
    sampling: SamplingConfig = SamplingConfig()

    @property
    def refiner(self) -> RefinerConfig:
        """What a refiner of this job is told."""
        return RefinerConfig(sampling=self.sampling, sensor=self.sensor, body=self.body)


SHARED = ("sensor", "body")
"""Names of the facts that all jobs share."""


def handed_down(job: _Job, owner: BaseModel, names: Sequence[str] = SHARED) -> _Job:
    """A job's settings with what it shares taken from the group that it stands in.

    Raises:
        ValueError: The job was given another value of its own: which one holds?
    """
    for name in names:
        if name in job.model_fields_set and getattr(job, name) != getattr(owner, name):
            raise ValueError(
                f"'{name}' is given twice, in {type(owner).__name__} and differently in "
                f"{type(job).__name__}: give it to {type(owner).__name__} alone"
            )
    shared = job.model_copy(update={name: getattr(owner, name) for name in names})
    shared.model_fields_set.difference_update(names)
    return shared
