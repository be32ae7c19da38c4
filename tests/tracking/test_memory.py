"""What an instance costs: instances of one model share its body, and nothing exists for pairs of objects."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import warp as wp
from synthetic import make_model, poses, render

from dr_perception.tracking import Tracker, TrackerConfig


def own_bytes() -> dict[int, int]:
    """Sizes [bytes] of all arrays that own their memory, by address."""
    gc.collect()
    owners = (a for a in gc.get_objects() if isinstance(a, wp.array) and getattr(a, "deleter", None))
    return {int(a.ptr): int(a.capacity) for a in owners if a.ptr}


@pytest.mark.parametrize("search", [False, True])
def test_instances_cost_the_same_however_many_there_are(search: bool) -> None:
    model, T = make_model("mug"), poses("mug", 1)[0]
    frame = render({"mug": (model.mesh, T)})
    names = [f"mug{i}" for i in range(7)]
    tracker = Tracker(dict.fromkeys(names, model), TrackerConfig(recovery={"search": search}))
    sizes, counts = [], []
    for name in names:
        tracker.start(frame, {name: T})
        arrays = own_bytes()
        sizes.append(sum(arrays.values()))
        counts.append(len(arrays))
    assert len(set(np.diff(counts))) == 1
    assert len(set(np.diff(sizes))) == 1
    assert np.diff(sizes)[0] < 2e6


def test_instances_share_the_body() -> None:
    model, T = make_model("box"), poses("box", 1)[0]
    tracker = Tracker({"a": model, "b": model, "c": model.with_name("d")})
    tracker.start(render({"box": (model.mesh, T)}), dict.fromkeys("abc", T))
    assert len({id(track.refiner.buffers) for track in tracker.tracks.values()}) == 1
