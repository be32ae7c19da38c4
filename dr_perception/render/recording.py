"""Kernel launches recorded once and replayed: a replay costs the host about a quarter of a launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import warp as wp

Launch = Callable[[], None]
"""A recorded launch: call it to run it again."""


def record(
    kernel: wp.Kernel,
    dim: int | tuple[int, ...],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    device: wp.DeviceLike,
) -> Launch:
    """Record a launch without running it. Arrays are bound by reference, numbers and structs by value."""
    command = wp.launch(
        kernel, dim=dim, inputs=list(inputs), outputs=list(outputs), device=device, record_cmd=True
    )
    launch: Launch = command.launch
    return launch
