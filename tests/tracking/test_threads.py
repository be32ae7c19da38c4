"""Trackers give the same bits in any thread, and what fails in theirs is raised where they are used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from synthetic import CAMERA, PERIOD_NS, WALL_M, make_model, poses, render

from dr_perception.geometry import Frame
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.tracking import Tracker, TrackerConfig, namesakes, pursuit
from dr_perception.tracking.object_track import ObjectTrack

NAMES = ("box", "mug")
QUICK = SearchConfig(frame_references=32, belief_seeds=128, finalists=4, fine_kept=24)
ALONE = TrackerConfig(recovery={"search": False})
SEARCHING = TrackerConfig(search=QUICK, recovery={"latency_frames": 2})
COUNT = 4
TRUTHS = {name: poses(name, COUNT) for name in NAMES}
FRAMES = {
    name: [
        render({name: (make_model(name).mesh, TRUTHS[name][i])}, stamp_ns=i * PERIOD_NS, seed=i)
        for i in range(COUNT)
    ]
    for name in NAMES
}
FOUND = {
    name: [
        render({name: (make_model(name).mesh, TRUTHS[name][0])}, stamp_ns=i * PERIOD_NS, seed=i)
        for i in range(7, 13)
    ]
    for name in NAMES
}


def hidden(i: int) -> Frame:
    """A frame of a wall alone, with noise: without news a frame says nothing of what is lost."""
    depth = np.random.default_rng(i).normal(WALL_M, 0.001, (CAMERA.height, CAMERA.width)).astype(np.float32)
    return Frame(np.full((*depth.shape, 3), 120, np.uint8), depth, CAMERA, stamp_ns=i * PERIOD_NS)


def started(name: str, config: TrackerConfig = ALONE) -> Tracker:
    tracker = Tracker({name: make_model(name)}, config)
    tracker.start(FRAMES[name][0], {name: TRUTHS[name][0]})
    return tracker


def followed(name: str, tracker: Tracker, frames: list[Frame]) -> bytes:
    out = b""
    for frame in frames:
        state = tracker.track(frame).objects[name]
        out += state.T_cam_obj.tobytes() + state.covariance.tobytes() + np.array([state.score]).tobytes()
    return out


def test_start_and_track_in_two_threads(alike: Callable[..., None]) -> None:
    alike(*(lambda name=name: followed(name, started(name), FRAMES[name][1:]) for name in NAMES))


def test_one_model_in_two_trackers(alike: Callable[..., None]) -> None:
    alike(*(lambda k=k: followed("box", started("box"), FRAMES["box"][1 : 2 + k]) for k in (1, 2)))


def test_track_beside_starts(alike: Callable[..., None]) -> None:
    tracker = started("box")

    def again() -> bytes:
        tracker.reset()
        tracker.start(FRAMES["box"][0], {"box": TRUTHS["box"][0]})
        return followed("box", tracker, FRAMES["box"][1:])

    alike(again, lambda: followed("mug", started("mug"), []))


def lost_and_found(name: str) -> bytes:
    """The object goes, is searched for in a frame without it and then in one with it."""
    tracker = started(name, SEARCHING)
    out = followed(name, tracker, [hidden(i) for i in range(1, 7)])
    assert tracker._recovery._attempts[name] > 0
    return out + followed(name, tracker, FOUND[name])


def test_searches_of_two_trackers_in_two_threads(alike: Callable[..., None]) -> None:
    alike(*(lambda name=name: lost_and_found(name) for name in NAMES), rounds=3)


def fails(*_: object, **__: object) -> None:
    raise ValueError("no such pose")


def lost(config: TrackerConfig = SEARCHING) -> tuple[Tracker, int]:
    """A tracker whose object is being searched for, and the number of the next frame."""
    tracker = Tracker({name: make_model(name) for name in NAMES}, config)
    tracker.start(FRAMES["box"][0], {"box": TRUTHS["box"][0]})
    for i in range(1, 20):
        tracker.track(hidden(i))
        if tracker._recovery._request is not None:
            return tracker, i + 1
    raise AssertionError("nothing was searched for")


def test_what_fails_in_a_search_is_raised_by_track(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pursuit, "search_poses", fails)
    tracker, i = lost()
    with pytest.raises(RuntimeError, match="searching for 'box' failed: no such pose") as raised:
        for k in range(i, i + SEARCHING.recovery.latency_frames + 1):
            tracker.track(hidden(k))
    assert isinstance(raised.value.__cause__, ValueError)
    assert "box" in tracker.track(hidden(i + 9)).objects


def test_what_fails_in_a_search_is_raised_by_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pursuit, "search_poses", fails)
    tracker, _ = lost()
    time.sleep(0.1)  # so that it has begun
    with pytest.raises(RuntimeError, match="searching for 'box' failed"):
        tracker.reset()
    assert not tracker.start(FRAMES["box"][0], {}).objects
    tracker.reset()


def test_what_fails_in_a_search_at_the_start_is_raised_by_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namesakes, "search_poses", fails)
    with pytest.raises(ValueError, match="no such pose"):
        Tracker({"box": make_model("box")}, SEARCHING).start(FRAMES["box"][0], {"box": None})


def test_what_fails_in_a_helper_thread_is_raised_when_all_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {name: make_model(name) for name in NAMES}
    tracker = Tracker(models, ALONE.model_copy(update={"threads": 2}))
    tracker.start(FRAMES["box"][0], {name: TRUTHS[name][0] for name in NAMES})
    caller, ended = threading.get_ident(), []
    both = threading.Barrier(2)
    step = ObjectTrack.step

    def fails_elsewhere(track: ObjectTrack, others: list[object]) -> bool:
        both.wait(10.0)
        if threading.get_ident() != caller:
            raise ValueError("a helper failed")
        return step(track, others)

    def fails_here(track: ObjectTrack, others: list[object]) -> bool:
        both.wait(10.0)
        if threading.get_ident() == caller:
            raise ValueError("the caller failed")
        time.sleep(0.05)
        ended.append(step(track, others))
        return True

    monkeypatch.setattr(ObjectTrack, "step", fails_elsewhere)
    with pytest.raises(ValueError, match="a helper failed"):
        tracker.track(FRAMES["box"][1])
    monkeypatch.setattr(ObjectTrack, "step", fails_here)
    with pytest.raises(ValueError, match="the caller failed"):
        tracker.track(FRAMES["box"][2])
    assert len(ended) == 1


def test_starting_an_object_does_not_end_the_search_for_another() -> None:
    config = SEARCHING.model_copy(
        update={"recovery": SEARCHING.recovery.model_copy(update={"latency_frames": 30})}
    )
    found = []
    for other_starts in (False, True):
        tracker, i = lost(config)
        request = tracker._recovery._request
        assert request is not None
        if other_starts:
            tracker.start(hidden(i - 1), {"mug": TRUTHS["mug"][0]})
            assert tracker._recovery._request is request
        for work in request.work:
            work.result()
        found.append(b"".join(one.T_cam_obj.tobytes() for one in request.pursuit.poses))
    assert found[0] and found[0] == found[1]
