"""Hooking hand-written backward passes into ``wp.Tape``."""

from __future__ import annotations

from typing import Any

from dr_perception.device.threads import warp_runtime


def active_tape() -> Any | None:
    """The ``wp.Tape`` that records in this thread at the moment, or None; Warp has no public name for it."""
    return warp_runtime().tape
