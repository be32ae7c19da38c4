"""Which poses are another pose, and which no image could tell apart."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warp as wp

from dr_perception.geometry import ObjectModel
from dr_perception.hypothesis.lookalikes import Lookalikes
from dr_perception.hypothesis.tables import search_model

_spec = importlib.util.spec_from_file_location("search_scenes", Path(__file__).with_name("search_scenes.py"))
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

POSE = scenes.pose(0.1, 0.0, 0.6, (0.5, -0.2, 1.0))
HALF_TURNS = [scenes.pose(*np.zeros(3), np.pi * axis) for axis in np.eye(3)]


def plain() -> ObjectModel:
    """A grey brick that declares no symmetry, and is not about its origin."""
    model = scenes.brick(symmetric=False)
    return ObjectModel(
        "plain", replace(model.mesh, vertices=model.mesh.vertices + np.array([0.05, 0.0, 0.02]))
    )


def labelled() -> ObjectModel:
    """The same with one end red."""
    model = plain()
    colors = np.where(model.mesh.vertices[:, :1] < 0.05, [200, 30, 30], [150, 150, 150]).astype(np.uint8)
    return ObjectModel("labelled", replace(model.mesh, vertex_colors=colors))


def lookalikes(model: ObjectModel) -> Lookalikes:
    return Lookalikes.of(model, search_model(model, 1e-3, wp.get_device("cpu")))


def turned(model: ObjectModel, turn: np.ndarray) -> np.ndarray:
    """The pose after a turn (4, 4) about the centre."""
    shift = np.eye(4)
    shift[:3, 3] = model.center
    return POSE @ shift @ turn @ np.linalg.inv(shift)


@pytest.mark.parametrize("colors", [True, False])
def test_half_turns_of_a_plain_brick_are_no_other_pose(colors: bool) -> None:
    model = plain()
    if not colors:
        model = ObjectModel("bare", replace(model.mesh, vertex_colors=None))
    looks = lookalikes(model)
    assert not any(looks.differ(POSE, turned(model, turn)) for turn in HALF_TURNS)
    assert looks.differ(POSE, turned(model, scenes.pose(*np.zeros(3), (0.0, 0.0, 1.5))))


def test_a_label_tells_half_turns_that_move_it() -> None:
    model = labelled()
    looks = lookalikes(model)
    assert [looks.differ(POSE, turned(model, turn)) for turn in HALF_TURNS] == [False, True, True]


def test_a_pose_is_another_beyond_a_tenth_of_the_diameter() -> None:
    model = labelled()
    looks = lookalikes(model)
    for share, other in ((0.09, False), (0.11, True)):
        T = POSE.copy()
        T[:3, 3] += share * model.diameter_m * np.array([0.6, 0.0, 0.8])
        assert looks.differ(POSE, T) is other
