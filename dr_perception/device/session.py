"""`Session`: the scratch that calls of one thread work with."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")

KEPT_PER_OWNER = 4
"""Pieces of scratch of one kind that a session keeps for one owner: as many as a fit that ends late needs
(one start, several starts, both with and without colour); 5 to 10 MB each for images of 640 x 480."""


class Session:
    """Buffers that work on one thing at a time, kept from call to call.

    Whoever works with one enters it (``with session:``): what is called inside takes its scratch there
    (`current_session`), and two threads that were given the same session take turns. What was computed with a
    piece of scratch before must not show in what is computed next: who takes a piece sets all that it reads.

    Scratch goes when its owner (a mesh) goes, so it must not refer to the owner; of each kind the longest
    unused goes beyond `KEPT_PER_OWNER`.
    """

    def __init__(self, max_owners: int | None = None) -> None:
        """Nothing is kept yet; beyond ``max_owners`` what the longest unused owner has goes."""
        self._lock = threading.RLock()
        self._max_owners = max_owners
        self._kept: weakref.WeakKeyDictionary[object, dict[str, OrderedDict[Hashable, object]]]
        self._kept = weakref.WeakKeyDictionary()

    def __enter__(self) -> Session:
        """Wait until no other thread works with it; then it is the calling thread's current one."""
        self._lock.acquire()
        _of_thread.entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Let others work with it."""
        _of_thread.entered.pop()
        self._lock.release()

    def scratch(self, owner: object, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """The scratch of an owner under a key, made if it is not there.

        Args:
            owner: What it lives as long as.
            kind: What it is for; at most `KEPT_PER_OWNER` of a kind are kept for an owner.
            key: Everything besides the owner that determines it.
            make: Makes it.
        """
        with self._lock:
            self._kept[owner] = self._kept.pop(owner, {})  # the last one used is the last
            while self._max_owners is not None and len(self._kept) > self._max_owners:
                del self._kept[next(iter(self._kept))]
            kept = self._kept[owner].setdefault(kind, OrderedDict())
            if key not in kept:
                kept[key] = make()
                while len(kept) > KEPT_PER_OWNER:
                    kept.popitem(last=False)
            kept.move_to_end(key)
            return cast("T", kept[key])


class _OfThread(threading.local):
    """A session of every thread that asks, which goes with it, and those that the thread has entered."""

    def __init__(self) -> None:
        self.own = Session()
        self.entered: list[Session] = []


_of_thread = _OfThread()


def current_session() -> Session:
    """The session that the calling thread entered last, or the one that every thread has of its own."""
    return _of_thread.entered[-1] if _of_thread.entered else _of_thread.own
