"""Tracking of known objects over frames."""

from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.result import ObjectState, Status, TrackResult

__all__ = ["ObjectState", "Status", "TrackResult", "TrackerConfig"]
