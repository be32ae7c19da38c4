"""What Warp shares between threads, made safe for them.

Warp keeps three things of its runtime in one place for the whole process: the capture that is under way on a
CPU (and its graph), and the tape that records. A thread that launches, copies or allocates looks at them, so
that while one thread captures or differentiates the launches of all others are entered there too, memory is
corrupted, and beginning the same in a second thread fails. What lies below, in the compiled part, is already
each thread's own. `separate_threads` makes the three each thread's own as well: any thread may capture or
record while others launch, with nothing to wait for.

Loading is not: two threads that launch kernels of a module for the first time both load it, the second
replaces what the first loaded, and a graph that holds kernels of the replaced one jumps into memory that is
no longer code. `separate_threads` lets one thread at a time load (`LOAD_LOCK`); what is loaded is found
without a wait to speak of.

What is left, `WARP_LOCK`: one thread at a time records and captures. On CUDA a capture still takes in what
is launched on the device's stream meanwhile, whichever thread does it.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import Any

import warp as wp

WARP_LOCK = threading.RLock()
"""Held while launches are recorded and captured; replays and launches do not need it."""

LOAD_LOCK = threading.RLock()
"""Held while a module of kernels is compiled and loaded; taken after `WARP_LOCK` where both are."""

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


def _load_one_at_a_time() -> None:
    """Let one thread at a time load modules, and those that come after it find what it loaded."""
    from warp._src.context import Module

    load = Module.load

    @functools.wraps(load)
    def load_alone(self: Any, *args: Any, **kwargs: Any) -> Any:
        with LOAD_LOCK:
            return load(self, *args, **kwargs)

    Module.load = load_alone


def separate_threads() -> None:
    """Give every thread its own captures and tapes, and let one at a time load kernels.

    Calling it again does nothing.

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
        _load_one_at_a_time()
