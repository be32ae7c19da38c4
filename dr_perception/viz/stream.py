"""Live view of a tracker. The caller holds a visualizer always; the null object makes "off" cost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.tracking.result import TrackResult

__all__ = ["NullVisualizer", "Visualizer", "make_visualizer"]


class Visualizer(Protocol):
    """Shows what goes in and what comes out of a tracker."""

    def start(self, models: Mapping[str, ObjectModel]) -> None:
        """Tell which objects there are."""

    def show(self, frame: Frame, result: TrackResult) -> None:
        """Show one tracked frame."""

    def close(self) -> None:
        """Flush and release."""


class NullVisualizer:
    """Shows nothing."""

    def start(self, models: Mapping[str, ObjectModel]) -> None:
        """Do nothing."""

    def show(self, frame: Frame, result: TrackResult) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def make_visualizer(kind: str = "off", target: str = "") -> Visualizer:
    """The visualizer of a name.

    Args:
        kind: "off", or "rerun" (needs the package ``rerun-sdk``).
        target: For rerun: path of the ``.rrd`` recording; empty opens the viewer.

    Raises:
        ValueError: Another kind.
        ModuleNotFoundError: The package it needs is not installed.
    """
    if kind == "off":
        return NullVisualizer()
    if kind == "rerun":
        from dr_perception.viz.rerun_stream import RerunVisualizer

        return RerunVisualizer(target)
    raise ValueError(f"unknown visualizer {kind!r}; known: 'off', 'rerun'")
