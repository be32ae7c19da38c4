"""Tracking of known objects over frames."""

from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.result import ObjectState, Status, TrackResult
from dr_perception.tracking.tracker import Tracker

__all__ = ["ObjectState", "Status", "TrackResult", "Tracker", "TrackerConfig"]
