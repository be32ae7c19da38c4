"""`SharedTables`: what is made once and then read by all threads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
Owner = TypeVar("Owner")


class _Entry(Generic[T]):
    """A table that is being made or is there."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.made: list[T] = []


class SharedTables(Generic[Owner, T]):
    """Tables that nobody changes once they are made, for all threads, kept as long as their owners live.

    Each is made once: who asks for one that is being made waits for it, who asks for another does not.
    """

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._lock = threading.Lock()
        self._entries: weakref.WeakKeyDictionary[Owner, dict[Hashable, _Entry[T]]]
        self._entries = weakref.WeakKeyDictionary()

    def get(self, owner: Owner, key: Hashable, make: Callable[[], T]) -> T:
        """The table of an owner under a key that holds everything besides the owner that determines it."""
        with self._lock:
            entry = self._entries.setdefault(owner, {}).setdefault(key, _Entry())
        if not entry.made:
            with entry.lock:
                if not entry.made:
                    entry.made.append(make())
        return entry.made[0]
