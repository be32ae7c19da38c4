"""What a session keeps and for how long; what shared tables are keyed by."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from dr_perception.device.session import KEPT_PER_OWNER, Session, current_session
from dr_perception.device.shared_tables import SharedTables


class Owner:
    """Something that scratch and tables belong to."""


def test_scratch_is_kept_by_owner_kind_and_key() -> None:
    session, a, b = Session(), Owner(), Owner()
    first = session.scratch(a, "kind", 1, Owner)
    assert session.scratch(a, "kind", 1, Owner) is first
    others = [session.scratch(b, "kind", 1, Owner), session.scratch(a, "other", 1, Owner)]
    others += [session.scratch(a, "kind", 2, Owner), Session().scratch(a, "kind", 1, Owner)]
    assert all(other is not first for other in others)


def test_the_longest_unused_scratch_goes_first() -> None:
    session, owner = Session(), Owner()
    made = [session.scratch(owner, "kind", k, Owner) for k in range(KEPT_PER_OWNER)]
    assert session.scratch(owner, "kind", 0, Owner) is made[0]
    session.scratch(owner, "kind", "one more", Owner)
    assert session.scratch(owner, "kind", 0, Owner) is made[0]
    assert session.scratch(owner, "kind", 1, Owner) is not made[1]


def test_scratch_and_tables_go_with_their_owner() -> None:
    session, tables, owner = Session(), SharedTables[Owner, Owner](), Owner()
    kept = [weakref.ref(session.scratch(owner, "kind", 1, Owner)), weakref.ref(tables.get(owner, 1, Owner))]
    gc.collect()
    assert all(one() is not None for one in kept)
    del owner
    gc.collect()
    assert all(one() is None for one in kept)


def test_every_thread_has_a_session_that_goes_with_it() -> None:
    seen: list[weakref.ref[Session]] = []
    worker = threading.Thread(target=lambda: seen.append(weakref.ref(current_session())))
    worker.start()
    worker.join()
    gc.collect()
    assert seen[0]() is None
    assert current_session() is current_session()


def test_the_current_session_is_the_one_entered_last() -> None:
    own, a, b = current_session(), Session(), Session()
    with a:
        with b, pytest.raises(ValueError, match="inside"):
            assert current_session() is b
            with a:
                assert current_session() is a
                raise ValueError("inside")
        assert current_session() is a
    assert current_session() is own


def test_two_threads_with_one_session_take_turns() -> None:
    session, order = Session(), []

    def work() -> None:
        with session:
            order.append("in")
            time.sleep(0.01)
            order.append("out")

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert order == ["in", "out"] * 3


def test_a_table_is_made_once_however_many_threads_ask_for_it() -> None:
    tables, owner = SharedTables[Owner, Owner](), Owner()
    made, got = [], []
    start = threading.Barrier(4)

    def make() -> Owner:
        time.sleep(0.01)
        made.append(Owner())
        return made[-1]

    def ask() -> None:
        start.wait()
        got.append(tables.get(owner, 1, make))

    workers = [threading.Thread(target=ask) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1 and all(one is made[0] for one in got)
    assert tables.get(owner, 2, Owner) is not made[0]


def test_who_asks_for_another_table_does_not_wait() -> None:
    tables, a, b = SharedTables[Owner, int](), Owner(), Owner()
    is_made, may_end = threading.Event(), threading.Event()

    def slow() -> int:
        is_made.set()
        assert may_end.wait(10.0)
        return 1

    worker = threading.Thread(target=lambda: tables.get(a, 1, slow))
    worker.start()
    assert is_made.wait(10.0)
    assert tables.get(b, 1, lambda: 2) == 2
    may_end.set()
    worker.join()


def test_a_table_that_could_not_be_made_is_tried_again() -> None:
    tables, owner = SharedTables[Owner, int](), Owner()
    with pytest.raises(ZeroDivisionError):
        tables.get(owner, 1, lambda: 1 // 0)
    assert tables.get(owner, 1, lambda: 2) == 2


def test_what_the_longest_unused_owner_has_goes() -> None:
    session = Session(max_owners=2)
    owners = [Owner() for _ in range(3)]
    made = [session.scratch(owner, "kind", 1, list) for owner in owners[:2]]
    assert session.scratch(owners[0], "kind", 1, list) is made[0]
    session.scratch(owners[2], "kind", 1, list)
    assert session.scratch(owners[0], "kind", 1, list) is made[0]
    assert session.scratch(owners[1], "kind", 1, list) is not made[1]
