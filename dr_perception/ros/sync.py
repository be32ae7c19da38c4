"""Messages of several topics, put together into frames by their stamps.

Equal stamps belong together. Where there is no equal stamp the nearest within a tolerance is taken at once:
no better partner can still come as long as the tolerance is below half the frame period. Queues are
bounded, and what is thrown away is counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

__all__ = ["StampSynchronizer"]


class StampSynchronizer:
    """Matches the messages of topics that belong to one moment.

    Attributes:
        received: Messages that came in, by topic.
        unmatched: Messages thrown away without a partner, by topic.
        frames: Complete sets that came out.
    """

    def __init__(self, topics: Sequence[str], tolerance_ns: int = 0, capacity: int = 10) -> None:
        """Create empty queues.

        Args:
            topics: Names; the first one is the pivot whose stamp the others are matched to.
            tolerance_ns: Largest difference of stamps of one set [ns].
            capacity: Messages kept per topic while they wait for their partners.

        Raises:
            ValueError: No topic, a repeated one, a negative tolerance or a capacity below 1.
        """
        if not topics or len(set(topics)) != len(topics):
            raise ValueError(f"topics must be distinct and at least one, got {list(topics)}")
        if tolerance_ns < 0 or capacity < 1:
            raise ValueError(f"need tolerance_ns >= 0 and capacity >= 1, got {tolerance_ns} and {capacity}")
        self._pivot, *self._others = topics
        self._tolerance_ns, self._capacity = tolerance_ns, capacity
        self._queues: dict[str, deque[tuple[int, Any]]] = {topic: deque() for topic in topics}
        self.received: Counter[str] = Counter({topic: 0 for topic in topics})
        self.unmatched: Counter[str] = Counter({topic: 0 for topic in topics})
        self.frames = 0

    def add(self, topic: str, stamp_ns: int, message: Any) -> dict[str, Any] | None:
        """Take a message in; return the set that it completes, if any.

        Args:
            topic: One of the topics.
            stamp_ns: Stamp of the message [ns].
            message: Anything.

        Returns:
            Messages by topic, or None. Whatever is older than a returned set is thrown away with it.

        Raises:
            KeyError: The topic is not one of those given at the start.
        """
        queue = self._queues[topic]
        self.received[topic] += 1
        queue.append((stamp_ns, message))
        if len(queue) > self._capacity:
            queue.popleft()
            self.unmatched[topic] += 1
        return self._complete(topic, stamp_ns)

    def clear(self) -> None:
        """Forget the waiting messages; the counters stay."""
        for queue in self._queues.values():
            queue.clear()

    def _complete(self, topic: str, stamp_ns: int) -> dict[str, Any] | None:
        """The set that the newest message of a topic completes, the nearest pivot first."""
        if topic == self._pivot:
            pivots = [stamp_ns]
        else:
            near = (stamp for stamp, _ in self._queues[self._pivot])
            pivots = sorted(
                (s for s in near if abs(s - stamp_ns) <= self._tolerance_ns), key=lambda s: abs(s - stamp_ns)
            )
        for pivot in pivots:
            stamps = {self._pivot: pivot}
            for other in self._others:
                partner = self._nearest(other, pivot)
                if partner is None:
                    break
                stamps[other] = partner
            else:
                return self._take(stamps)
        return None

    def _nearest(self, topic: str, stamp_ns: int) -> int | None:
        """Stamp nearest to another one in a queue, within the tolerance."""
        best = min((stamp for stamp, _ in self._queues[topic]), key=lambda s: abs(s - stamp_ns), default=None)
        return best if best is not None and abs(best - stamp_ns) <= self._tolerance_ns else None

    def _take(self, stamps: dict[str, int]) -> dict[str, Any]:
        """Remove a set from the queues, and with it everything that came in before."""
        found = {}
        for topic, wanted in stamps.items():
            queue = self._queues[topic]
            while True:
                stamp, message = queue.popleft()
                if stamp == wanted:
                    break
                self.unmatched[topic] += 1
            found[topic] = message
        self.frames += 1
        return found
