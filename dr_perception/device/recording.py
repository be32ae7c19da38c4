"""Kernel launches recorded once and replayed.

A recorded launch skips the packing of arguments; a captured sequence is replayed by one call, as a CUDA graph
on a GPU and by Warp's own replay loop on a CPU, at well under a microsecond a kernel and without the
interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import warp as wp

from dr_perception.device.threads import WARP_LOCK, separate_threads

Launch = Callable[[], None]
"""A recorded launch or sequence: call it to run it again."""


def record(
    kernel: wp.Kernel,
    dim: int | tuple[int, ...],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    device: wp.DeviceLike,
) -> Launch:
    """Record a launch without running it. Arrays are bound by reference, numbers and structs by value."""
    separate_threads()
    with WARP_LOCK:
        command = wp.launch(
            kernel, dim=dim, inputs=list(inputs), outputs=list(outputs), device=device, record_cmd=True
        )
    launch: Launch = command.launch
    return launch


def fill(array: wp.array, value: int) -> Launch:
    """Launch that sets every element of an array."""
    return lambda: array.fill_(value)


def capture(launches: Sequence[Launch], device: wp.DeviceLike) -> Launch:
    """Capture a sequence without running it; arrays must stay alive as long as the result is used.

    Other threads may launch meanwhile, and wait to capture; on CUDA they must not launch either.
    """
    separate_threads()
    with WARP_LOCK:
        wp.capture_begin(device=device)
        try:
            for launch in launches:
                launch()
        finally:
            graph = wp.capture_end(device=device)
    # The launches own the arrays that the graph points into.
    kept = tuple(launches)
    return lambda: _replay(graph, kept)


def _replay(graph: Any, _kept: tuple[Launch, ...]) -> None:
    wp.capture_launch(graph)
