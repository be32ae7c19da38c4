"""Pose errors by their published definitions, offline replay and reports.

Names are loaded on first use, so that ``import dr_perception.evaluation`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "Metrics": "result",
    "ObjectErrors": "result",
    "PoseRecord": "records",
    "Replay": "replay",
    "Timing": "result",
    "evaluate": "scoring",
    "read_records": "records",
    "records_of": "replay",
    "replay_sequence": "replay",
    "write_records": "records",
    "write_report": "report",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
