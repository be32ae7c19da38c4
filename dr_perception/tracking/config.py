"""Settings of the tracker."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TrackerConfig(BaseModel):
    """Settings of the tracker (every field has a working default)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
