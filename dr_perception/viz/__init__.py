"""Overlays, plots, videos and live streams.

Names are loaded on first use, so that ``import dr_perception.viz`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "NullVisualizer": "stream",
    "RerunVisualizer": "rerun_stream",
    "Visualizer": "stream",
    "draw_overlay": "overlay",
    "make_visualizer": "stream",
    "write_video": "video",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
