"""Capturing, recording tapes and launching in several threads at once give what they give alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from dr_perception.device import threads
from dr_perception.device.recording import capture, fill, record
from dr_perception.device.threads import SEPARATED, separate_threads, warp_runtime

ROUNDS = 300
Beside = Callable[..., list[object]]


@wp.kernel
def add(values: wp.array[float], amount: float, out: wp.array[float]):
    i = wp.tid()
    out[i] = values[i] + amount


@wp.kernel
def add_squares(values: wp.array[float], out: wp.array[float]):
    i = wp.tid()
    wp.atomic_add(out, 0, values[i] * values[i])


def capture_often() -> None:
    """Each graph holds its own two operations and nothing of other threads."""
    a, b = (wp.zeros(4, dtype=float, device="cpu") for _ in range(2))
    for k in range(ROUNDS):
        replay = capture([fill(a, k), record(add, 4, [a, 1.0], [b], "cpu")], "cpu")
        b.zero_()
        a.fill_(-1.0)
        replay()
        assert np.array_equal(b.numpy(), np.full(4, k + 1.0))


def launch_often() -> None:
    """Launches, fills, copies and allocations take place at once."""
    a, b = (wp.zeros(4, dtype=float, device="cpu") for _ in range(2))
    again = record(add, 4, [a, 2.0], [b], "cpu")
    for k in range(4 * ROUNDS):
        a.fill_(float(k))
        again()
        c = wp.zeros(4, dtype=float, device="cpu")
        wp.launch(add, 4, [b, 1.0], [c], device="cpu")
        wp.copy(a, c)
        assert np.array_equal(a.numpy(), np.full(4, k + 3.0))


def differentiate_often() -> None:
    """A tape holds the launches of its own thread."""
    for k in range(ROUNDS):
        x = wp.array(np.full(4, k, np.float32), dtype=float, device="cpu", requires_grad=True)
        loss = wp.zeros(1, dtype=float, device="cpu", requires_grad=True)
        with wp.Tape() as tape:
            wp.launch(add_squares, 4, [x], [loss], device="cpu")
        assert len(tape.launches) == 1
        tape.backward(loss)
        assert np.array_equal(x.grad.numpy(), np.full(4, 2.0 * k))


@pytest.mark.parametrize("other", [launch_often, capture_often, differentiate_often])
def test_captures_and_tapes_hold_what_their_own_thread_launches(
    beside: Beside, other: Callable[[], None]
) -> None:
    separate_threads()
    beside(capture_often, differentiate_often, other)


def test_threads_that_need_a_module_load_it_once(monkeypatch: pytest.MonkeyPatch, beside: Beside) -> None:
    """A second copy would replace the first, to which what was captured meanwhile points."""
    separate_threads()

    @wp.kernel(module="unique")
    def double(values: wp.array[float]):
        i = wp.tid()
        values[i] = 2.0 * values[i]

    from warp._src.context import Module

    build, built = Module._compile, []

    def build_slowly(self: Module, *args: object, **kwargs: object) -> bool:
        built.append(self.name)
        time.sleep(0.1)
        return bool(build(self, *args, **kwargs))

    monkeypatch.setattr(Module, "_compile", build_slowly)

    def launch() -> list[float]:
        values = wp.full(3, 1.5, dtype=float, device="cpu")
        wp.launch(double, 3, [values], device="cpu")
        return list(values.numpy())

    assert beside(launch, launch, launch) == [[3.0] * 3] * 3
    assert built == [double.module.name]


def test_another_thread_does_not_see_that_one_captures_or_records(beside: Beside) -> None:
    separate_threads()
    runtime = warp_runtime()
    wp.capture_begin(device="cpu")
    try:
        with wp.Tape():
            seen = beside(*(lambda name=name: getattr(runtime, name) for name in SEPARATED))
            assert all(getattr(runtime, name) is not None for name in SEPARATED)
    finally:
        wp.capture_end(device="cpu")
    assert seen == [None] * len(SEPARATED)


def test_a_capture_under_way_stays_that_of_its_thread(
    monkeypatch: pytest.MonkeyPatch, beside: Beside
) -> None:
    class Older:
        """Warp's runtime before the threads are told apart, in the middle of a capture."""

        def __init__(self) -> None:
            self._apic_capture, self._apic_graph, self.tape = "capture", "graph", None

    runtime = Older()
    monkeypatch.setattr(threads, "warp_runtime", lambda: runtime)
    separate_threads()
    seen = beside(lambda: runtime._apic_capture)
    assert (runtime._apic_capture, runtime._apic_graph, runtime.tape) == ("capture", "graph", None)
    assert seen == [None]


def test_a_version_of_warp_that_keeps_them_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """A runtime of another make."""

        def __init__(self) -> None:
            self.tape: str | None = None

    runtime = Other()
    monkeypatch.setattr(threads, "warp_runtime", lambda: runtime)
    with pytest.warns(RuntimeWarning, match="has no _apic_capture and no _apic_graph"):
        separate_threads()
    separate_threads()  # says so once
    runtime.tape = "as it was"
    assert runtime.tape == "as it was"


def test_a_capture_that_fails_leaves_the_next_one_free() -> None:
    def fails() -> None:
        raise ValueError("no such launch")

    with pytest.raises(ValueError, match="no such launch"):
        capture([fails], "cpu")
    a = wp.zeros(2, dtype=float, device="cpu")
    capture([fill(a, 3)], "cpu")()
    assert np.array_equal(a.numpy(), [3.0, 3.0])
