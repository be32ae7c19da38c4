"""A worker thread with a place for one item: while it works, a newer item replaces the waiting one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["NewestFirstWorker"]

Item = TypeVar("Item")


class NewestFirstWorker(Generic[Item]):
    """Calls a function on the newest item in a thread of its own.

    Attributes:
        dropped: Items that were replaced before the worker took them.
    """

    def __init__(self, work: Callable[[Item], None], name: str = "worker") -> None:
        """Start the thread.

        Args:
            work: Called with each item that was not replaced. It must not raise.
            name: Name of the thread.
        """
        self._work = work
        self._condition = threading.Condition()
        self._waiting: list[Item] = []
        self._stopped = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand an item over; never blocks on the work."""
        with self._condition:
            self.dropped += len(self._waiting)
            self._waiting = [item]
            self._condition.notify()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the thread after the item it is at; return whether it ended in time."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            self._work(item[0])

    def _next(self) -> list[Item] | None:
        """The newest item in a list of one, or None when it is time to end."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._stopped)
            if self._stopped:
                return None
            item, self._waiting = self._waiting, []
            return item
