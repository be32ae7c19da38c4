"""What Warp shares between threads, made safe for them.

Warp keeps three things of its runtime in one place for the whole process: the capture that is under way on a
CPU (and its graph), and the tape that records. A thread that launches, copies or allocates looks at them, so
that while one thread captures or differentiates the launches of all others are entered there too, memory is
corrupted, and beginning the same in a second thread fails. What lies below, in the compiled part, is already
each thread's own. `separate_threads` makes the three each thread's own as well: any thread may capture or
record while others launch, with nothing to wait for.

What is left, `WARP_LOCK`: one thread at a time compiles and loads kernels or captures. On CUDA a capture
still takes in whatever is launched on the device's stream meanwhile, whichever thread does it.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

import warp as wp

WARP_LOCK = threading.RLock()
"""Held while kernels are compiled, loaded and captured; replays and launches do not need it."""

SEPARATED = ("_apic_capture", "_apic_graph", "tape")
"""Attributes of Warp's runtime that say what is being captured and recorded."""


class _OfThread:
    """An attribute of which every thread has its own value, at first None."""

    def __init__(self) -> None:
        self._values = threading.local()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return getattr(self._values, "value", None)

    def __set__(self, instance: object, value: Any) -> None:
        self._values.value = value


def warp_runtime() -> Any:
    """Warp's runtime, started if it was not; Warp has no public name for it."""
    from warp._src import context

    wp.init()
    return context.runtime


def separate_threads() -> None:
    """Give every thread its own captures and tapes; calling it again does nothing.

    A version of Warp that keeps them somewhere else is named in a warning; it is right in one thread.
    """
    with WARP_LOCK:
        runtime = warp_runtime()
        if getattr(type(runtime), "tells_threads_apart", False):
            return
        missing = [name for name in SEPARATED if name not in vars(runtime)]
        if missing:
            warnings.warn(
                f"the runtime of Warp {wp.config.version} has no {' and no '.join(missing)}: threads cannot "
                "be told apart, so use this package in one thread at a time",
                RuntimeWarning,
                stacklevel=3,
            )
        underway = {name: getattr(runtime, name, None) for name in SEPARATED}
        own = {name: _OfThread() for name in SEPARATED} if not missing else {}
        runtime.__class__ = type("Runtime", (type(runtime),), own | {"tells_threads_apart": True})
        for name in own:
            setattr(runtime, name, underway[name])
