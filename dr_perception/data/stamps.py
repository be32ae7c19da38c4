"""Pairing of messages by their stamps: exactly where possible, then within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["match_stamps", "nearest_stamp"]


def match_stamps(first: Sequence[int], second: Sequence[int], tolerance_ns: int) -> list[tuple[int, int]]:
    """Pair the stamps of two topics, each stamp at most once.

    Equal stamps are paired first. What is left is paired in the order of growing difference, up to
    `tolerance_ns`.

    Args:
        first: Stamps [ns]; of repeated stamps only the first is used.
        second: Stamps [ns]; likewise.
        tolerance_ns: Largest difference of a pair [ns].

    Returns:
        Pairs ``(index in first, index in second)``, ordered by the first stamp.
    """
    places_a, places_b = _first_places(first), _first_places(second)
    pairs = [(places_a[stamp], places_b[stamp]) for stamp in places_a if stamp in places_b]
    rest_a = sorted(stamp for stamp in places_a if stamp not in places_b)
    rest_b = np.array(sorted(stamp for stamp in places_b if stamp not in places_a), dtype=np.int64)
    candidates: list[tuple[int, int, int]] = []
    for stamp in rest_a:
        low, high = np.searchsorted(rest_b, (stamp - tolerance_ns, stamp + tolerance_ns + 1))
        candidates += [(abs(int(other) - stamp), stamp, int(other)) for other in rest_b[low:high]]
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    for _, stamp, other in sorted(candidates):
        if stamp not in taken_a and other not in taken_b:
            taken_a.add(stamp)
            taken_b.add(other)
            pairs.append((places_a[stamp], places_b[other]))
    return sorted(pairs, key=lambda pair: first[pair[0]])


def nearest_stamp(stamps: Sequence[int], wanted: int, tolerance_ns: int | None = None) -> int | None:
    """Index of the stamp nearest to `wanted` in a sorted sequence.

    Args:
        stamps: Sorted stamps [ns].
        wanted: Stamp to find [ns].
        tolerance_ns: Largest accepted difference [ns]; None accepts any.

    Returns:
        The index, or None if there is none within the tolerance.
    """
    if not len(stamps):
        return None
    right = int(np.searchsorted(stamps, wanted))
    around = [k for k in (right - 1, right) if 0 <= k < len(stamps)]
    best = min(around, key=lambda k: abs(stamps[k] - wanted))
    return best if tolerance_ns is None or abs(stamps[best] - wanted) <= tolerance_ns else None


def _first_places(stamps: Sequence[int]) -> dict[int, int]:
    """First index of each stamp."""
    places: dict[int, int] = {}
    for index, stamp in enumerate(stamps):
        places.setdefault(int(stamp), index)
    return places
