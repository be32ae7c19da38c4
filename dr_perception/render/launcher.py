"""Kernel launches, recorded once and replayed: packing their arguments can cost more than they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import warp as wp


@dataclass(eq=False)
class _Recorded:
    command: Any
    dim: tuple[int, ...]
    arguments: list[Any]
    gradients: list[Any]


def _changed(old: Any, new: Any) -> bool:
    return old is not new and (type(new) not in (int, float) or old != new)


class Launcher:
    """Launches kernels by slot; a slot is recorded again only when its arrays or sizes change."""

    def __init__(self, device: wp.Device) -> None:
        """Nothing is recorded yet."""
        self.device = device
        self._slots: dict[str, _Recorded] = {}

    def run(self, slot: str, kernel: wp.Kernel, dim: Sequence[int], arguments: list[Any]) -> None:
        """Launch a kernel forward.

        Args:
            slot: Name of the place in the pipeline.
            kernel: The kernel.
            dim: Launch size; nothing happens if it is zero.
            arguments: All inputs and outputs in order.
        """
        self._launch(slot, kernel, tuple(dim), arguments, [])

    def run_adjoint(
        self, slot: str, kernel: wp.Kernel, dim: Sequence[int], arguments: list[Any], gradients: list[Any]
    ) -> None:
        """Launch the adjoint of a kernel; ``gradients`` has an array or None for every argument."""
        self._launch(slot, kernel, tuple(dim), arguments, gradients)

    def _launch(
        self, slot: str, kernel: wp.Kernel, dim: tuple[int, ...], args: list[Any], grads: list[Any]
    ) -> None:
        if 0 in dim:
            return
        found = self._slots.get(slot)
        if found is None or len(found.gradients) != len(grads):
            command = wp.launch(
                kernel,
                dim,
                inputs=args,
                adj_inputs=grads,
                adjoint=bool(grads),
                device=self.device,
                record_cmd=True,
            )
            found = self._slots[slot] = _Recorded(command, dim, args, grads)
        else:
            self._update(found, dim, args, grads)
        found.command.launch()

    @staticmethod
    def _update(found: _Recorded, dim: tuple[int, ...], args: list[Any], grads: list[Any]) -> None:
        if dim != found.dim:
            found.command.set_dim(dim)
            found.dim = dim
        for i, (old, new) in enumerate(zip(found.arguments, args, strict=True)):
            if _changed(old, new):
                found.command.set_param_at_index(i, new)
        found.arguments = args
        for i, (old, new) in enumerate(zip(found.gradients, grads, strict=True)):
            if _changed(old, new):
                found.command.set_param_at_index(i, new, adjoint=True)
        found.gradients = grads
