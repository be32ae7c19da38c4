"""Matching of messages by stamp; needs no ROS."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_perception.ros.sync import StampSynchronizer

TOPICS = ("color", "depth", "camera_info")


def feed(sync: StampSynchronizer, messages: list[tuple[str, int]]) -> list[dict[str, int]]:
    """Put (topic, stamp) in, each stamp being its own message; return the frames."""
    frames = [sync.add(topic, stamp, stamp) for topic, stamp in messages]
    return [frame for frame in frames if frame is not None]


@given(st.permutations(TOPICS), st.integers(1, 30))
def test_equal_stamps_make_frames_in_any_order_of_topics(order: list[str], count: int) -> None:
    sync = StampSynchronizer(TOPICS)
    frames = feed(sync, [(topic, stamp) for stamp in range(count) for topic in order])
    assert frames == [dict.fromkeys(TOPICS, stamp) for stamp in range(count)]
    assert sync.frames == count
    assert sum(sync.unmatched.values()) == 0


@given(st.integers(0, 2**32 - 1))
def test_topics_that_lag_behind_each_other_still_match(seed: int) -> None:
    """Each topic keeps its own order, but the topics run against each other within the capacity."""
    rng = random.Random(seed)
    waiting = {topic: list(range(20)) for topic in TOPICS}
    messages = []
    while any(waiting.values()):
        least = min(20 - len(left) for left in waiting.values())
        free = [t for t, left in waiting.items() if left and (20 - len(left)) - least < 5]
        topic = rng.choice(free)
        messages.append((topic, waiting[topic].pop(0)))
    frames = feed(StampSynchronizer(TOPICS, capacity=10), messages)
    assert [frame["color"] for frame in frames] == list(range(20))
    assert all(len(set(frame.values())) == 1 for frame in frames)


def test_an_equal_stamp_is_preferred_to_a_near_one() -> None:
    sync = StampSynchronizer(("color", "depth"), tolerance_ns=5)
    assert feed(sync, [("depth", 8), ("depth", 10), ("color", 10)]) == [{"color": 10, "depth": 10}]
    assert sync.unmatched["depth"] == 1


@pytest.mark.parametrize(("offset", "matches"), [(5, 1), (-5, 1), (6, 0), (-6, 0)])
def test_the_tolerance_is_inclusive(offset: int, matches: int) -> None:
    sync = StampSynchronizer(("color", "depth"), tolerance_ns=5)
    assert len(feed(sync, [("color", 100), ("depth", 100 + offset)])) == matches


def test_a_missing_message_costs_one_frame_and_is_counted() -> None:
    sync = StampSynchronizer(("color", "depth"))
    stamps = [1, 2, 3]
    frames = feed(sync, [(t, s) for s in stamps for t in ("color", "depth") if (t, s) != ("depth", 2)])
    assert [frame["color"] for frame in frames] == [1, 3]
    assert sync.unmatched == {"color": 1, "depth": 0}


def test_the_queue_is_bounded() -> None:
    sync = StampSynchronizer(("color", "depth"), capacity=3)
    feed(sync, [("color", stamp) for stamp in range(10)])
    assert sync.unmatched["color"] == 7
    assert feed(sync, [("depth", 6), ("depth", 7)]) == [{"color": 7, "depth": 7}]


def test_clear_forgets_what_waits() -> None:
    sync = StampSynchronizer(("color", "depth"))
    feed(sync, [("color", 1)])
    sync.clear()
    assert feed(sync, [("depth", 1)]) == []


@pytest.mark.parametrize(
    "arguments",
    [((),), (("a", "a"),), (("a",), -1), (("a",), 0, 0)],
    ids=["none", "twice", "negative", "empty"],
)
def test_bad_arguments_are_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=r"topics|tolerance"):
        StampSynchronizer(*arguments)
