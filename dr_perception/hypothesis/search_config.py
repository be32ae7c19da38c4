"""Settings of the search for poses. Shares are of the model's diameter; every field has a working default."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from dr_perception.hypothesis.config import WIDE_STAGES, JobConfig, handed_down
from dr_perception.measure.config import StageConfig

SEARCH_STAGES = (
    StageConfig(lines="none", depth_sigma_m=0.006, pair_once=False, steps=3),
    StageConfig(
        lines="region", line_step_px=1.5, depth_sigma_m=0.003, pair_once=False, steps=3, render=False
    ),
    StageConfig(lines="region", steps=2),
    StageConfig(lines="step", steps=3),
)
"""From a pose that the search aligned; after the first the colours are learned from a render of its end."""


FIT_STAGES = (
    StageConfig(lines="none", depth_sigma_m=0.005, depth_every=2, pair_once=False, steps=3),
    StageConfig(lines="region", line_step_px=1.5, depth_sigma_m=0.003, depth_every=2, steps=2, render=False),
    StageConfig(lines="step", steps=3),
)
"""From a pose that was aligned to the depth."""


class SearchConfig(JobConfig):
    """Settings of a search."""

    stages: tuple[StageConfig, ...] = Field(
        SEARCH_STAGES, min_length=2, description="Refinement of the finalists."
    )
    coarse_tolerance: float = Field(0.06, gt=0.0, description="Distance within which a seed agrees.")
    fine_tolerance: float = Field(0.03, gt=0.0, description="Distance within which an aligned pose agrees.")
    coarse_kept: int = Field(1000, ge=1, description="Seeds that are aligned.")
    place_kept: int = Field(
        12, ge=1, description="Seeds of each place that are aligned when the whole frame is looked through."
    )
    enough: float = Field(
        0.9, ge=0.0, le=1.0, description="Probability of what was found that makes that unnecessary."
    )
    fine_kept: int = Field(160, ge=1, description="Poses that are aligned again and judged by colour.")
    twinned: int = Field(5, ge=0, description="Poses that are also tried turned about near-symmetries.")
    finalists: int = Field(16, ge=1, description="Poses that are refined.")
    mask_references: int = Field(96, ge=0, description="Points inside a mask that vote.")
    frame_references: int = Field(1024, ge=0, description="Points of the whole frame that vote.")
    belief_seeds: int = Field(2048, ge=1, description="Poses drawn from a prior.")
    view_shift: float = Field(1.0, ge=0.0, description="How far views are also shifted sideways.")
    seed: int = Field(0, description="Seed of the random choices.")


class FitConfig(JobConfig):
    """Settings of a fit from a guess; without one, those of the search hold."""

    stages: tuple[StageConfig, ...] = Field(
        FIT_STAGES, min_length=2, description="Refinement of the best starts."
    )
    color_stages: tuple[StageConfig, ...] = Field(
        WIDE_STAGES, description="Refinement of a frame without depth."
    )
    reach_m: float = Field(0.06, gt=0.0, description="How far a guess may be off.")
    reach_rad: float = Field(0.6, gt=0.0, description="How far a guess may be turned.")
    starts: int = Field(240, ge=1, description="Poses around the guess that are judged.")
    aligned: int = Field(24, ge=1, description="Poses of these that are aligned.")
    finalists: int = Field(4, ge=1, description="Poses of these that are refined.")
    enough: float = Field(
        0.95, ge=0.0, description="Probability of a refined pose above which no other is tried."
    )
    tolerance_m: float = Field(0.006, gt=0.0, description="Distance within which an aligned pose agrees.")
    search: SearchConfig = Field(SearchConfig(), exclude=True)
    device: str = Field("cpu", description="Warp device: cpu, cuda:0, ...")

    @model_validator(mode="after")
    def _share(self) -> Self:
        """Search with the same sensor and bodies."""
        object.__setattr__(self, "search", handed_down(self.search, self))
        return self
