"""Hooking hand-written backward passes into ``wp.Tape``."""

from __future__ import annotations

from typing import Any


def active_tape() -> Any | None:
    """The ``wp.Tape`` that records at the moment, or None.

    Warp has no public name for it; both homes that it has had are known here.
    """
    try:
        from warp._src.context import runtime
    except ImportError:
        from warp.context import runtime  # Warp before 1.10
    return None if runtime is None else runtime.tape
