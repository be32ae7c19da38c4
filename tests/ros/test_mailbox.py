"""The newest item wins; needs no ROS."""

from __future__ import annotations

import threading

from dr_perception.ros.mailbox import NewestFirstWorker


def test_items_that_come_during_the_work_are_replaced_by_the_newest() -> None:
    busy, go_on, done = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def work(item: int) -> None:
        seen.append(item)
        busy.set()
        assert go_on.wait(10.0)
        if item == 4:
            done.set()

    worker = NewestFirstWorker(work)
    worker.put(0)
    assert busy.wait(10.0)
    for item in (1, 2, 3, 4):
        worker.put(item)
    go_on.set()
    assert done.wait(10.0)
    assert seen == [0, 4]
    assert worker.dropped == 3
    assert worker.stop()


def test_stop_waits_for_the_item_at_hand_and_leaves_the_rest() -> None:
    busy, go_on = threading.Event(), threading.Event()
    seen = []

    def work(item: int) -> None:
        busy.set()
        assert go_on.wait(10.0)
        seen.append(item)

    worker = NewestFirstWorker(work)
    worker.put(1)
    assert busy.wait(10.0)
    worker.put(2)
    assert not worker.stop(timeout_s=0.0)
    go_on.set()
    assert worker.stop()
    assert seen == [1]
