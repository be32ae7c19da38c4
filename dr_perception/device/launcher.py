"""Kernel launches, recorded once and replayed: packing their arguments can cost more than they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import warp as wp

Step = Callable[[], Any]
"""A launch, fill or copy with all of its arguments; returns `STOP` if what follows must not run."""
STOP = object()


@dataclass(eq=False)
class _Recorded:
    command: Any
    dim: tuple[int, ...]
    arguments: list[Any]
    gradients: list[Any]


def _changed(old: Any, new: Any) -> bool:
    return old is not new and (type(new) not in (int, float) or old != new)


class Launcher:
    """Launches kernels by slot; a slot is recorded again only when its arrays or sizes change.

    A whole sequence of launches can be remembered under a key and run again without looking at its arguments.
    """

    def __init__(self, device: wp.Device) -> None:
        """Nothing is recorded yet."""
        self.device = device
        self._slots: dict[str, _Recorded] = {}
        self._sequences: dict[str, tuple[tuple, list[Step]]] = {}
        self._open: list[Step] | None = None

    @property
    def capturing(self) -> bool:
        """Whether launches are being captured into a graph, so that nothing may depend on their results."""
        return bool(self.device.is_capturing)

    def replay(self, name: str, key: tuple) -> bool:
        """Run a remembered sequence again.

        Returns:
            Whether there was one of that name with that key and it ran to its end.
        """
        found = self._sequences.get(name)
        if found is None or found[0] != key or self.capturing:
            return False
        return all(step() is not STOP for step in found[1])

    @contextmanager
    def remember(self, name: str, key: tuple) -> Iterator[None]:
        """Remember what is launched meanwhile; it is forgotten when a launch gets other arguments."""
        self._sequences.pop(name, None)
        self._open = []
        try:
            yield
            if not self.capturing:
                self._sequences[name] = (key, self._open)
        finally:
            self._open = None

    def do(self, step: Step) -> None:
        """Run something as a part of the sequence."""
        step()
        if self._open is not None:
            self._open.append(step)

    def fill(self, array: wp.array | None, value: float) -> None:
        """Set all elements of an array; nothing happens without one."""
        if array is not None:
            self.do(array.zero_ if value == 0 else lambda: array.fill_(value))

    def copy(self, target: wp.array, source: wp.array) -> None:
        """Copy an array."""
        self.do(lambda: wp.copy(target, source))

    def run(self, slot: str, kernel: wp.Kernel, dim: Sequence[int], arguments: list[Any]) -> None:
        """Launch a kernel forward.

        Args:
            slot: Name of the place in the pipeline.
            kernel: The kernel.
            dim: Launch size; nothing happens if it is zero.
            arguments: All inputs and outputs in order.
        """
        self._launch(slot, kernel, tuple(dim), arguments, [])

    def run_list(
        self,
        slot: str,
        kernel: wp.Kernel,
        length: Callable[[], int],
        arguments: list[Any],
        gradients: Sequence[Any] = (),
    ) -> None:
        """Launch a kernel, or its adjoint, over a list.

        Its length is asked for at every launch, also of a remembered one.
        """
        self._launch(slot, kernel, (max(length(), 1),), arguments, list(gradients), length)

    def run_adjoint(
        self, slot: str, kernel: wp.Kernel, dim: Sequence[int], arguments: list[Any], gradients: list[Any]
    ) -> None:
        """Launch the adjoint of a kernel; ``gradients`` has an array or None for every argument."""
        self._launch(slot, kernel, tuple(dim), arguments, gradients)

    def _launch(
        self,
        slot: str,
        kernel: wp.Kernel,
        dim: tuple[int, ...],
        args: list[Any],
        grads: list[Any],
        length: Callable[[], int] | None = None,
    ) -> None:
        if 0 in dim:
            return
        found = self._slots.get(slot)
        if found is None or len(found.gradients) != len(grads):
            found = self._slots[slot] = _record(kernel, dim, args, grads, self.device)
        else:
            self._update(found, dim, args, grads, length is not None)
        found.command.launch()
        if self._open is not None:
            self._open.append(found.command.launch if length is None else _sized(found.command, length))

    def _update(
        self, found: _Recorded, dim: tuple[int, ...], args: list[Any], grads: list[Any], sized: bool
    ) -> None:
        changed = dim != found.dim and not sized
        if dim != found.dim or sized:
            found.command.set_dim(dim)
            found.dim = dim
        for i, (old, new) in enumerate(zip(found.arguments, args, strict=True)):
            if _changed(old, new):
                found.command.set_param_at_index(i, new)
                changed = True
        found.arguments = args
        for i, (old, new) in enumerate(zip(found.gradients, grads, strict=True)):
            if _changed(old, new):
                found.command.set_param_at_index(i, new, adjoint=True)
                changed = True
        found.gradients = grads
        if changed:
            self._sequences.clear()


def _record(
    kernel: wp.Kernel, dim: tuple[int, ...], args: list[Any], grads: list[Any], device: wp.Device
) -> _Recorded:
    adjoint = bool(grads)
    command = wp.launch(
        kernel, dim, inputs=args, adj_inputs=grads, adjoint=adjoint, device=device, record_cmd=True
    )
    return _Recorded(command, dim, args, grads)


def _sized(command: Any, length: Callable[[], int]) -> Step:
    """A launch over a list, as long as the list is at that moment."""

    def step() -> None:
        count = length()
        if count > 0:
            command.set_dim((count,))
            command.launch()

    return step
