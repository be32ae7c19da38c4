"""A pose regained after a loss is doubted until a search found none that explains more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import PERIOD_NS, make_model, poses, render

from dr_perception.geometry import exp_so3, make_transform
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.tracking import Status, Tracker, TrackerConfig
from dr_perception.tracking.confidence import Confidence, Resemblance


def test_odds_rise_by_a_search_that_brings_nothing_better_and_not_by_the_next() -> None:
    confidence = Confidence()
    assert confidence.value == 1.0 and not confidence.in_doubt
    confidence.update(None, unexpected=True, challenged=False)
    assert confidence.value == 0.5 and confidence.in_doubt
    values = []
    for _ in range(3):
        confidence.update(None, unexpected=False, challenged=True)
        values.append(confidence.value)
    np.testing.assert_allclose(values, [10 / 11] * 3)
    confidence.update(None, unexpected=False, challenged=False)
    assert confidence.value == values[-1]


def test_a_pose_that_a_search_found_is_as_probable_as_the_search_says() -> None:
    confidence = Confidence()
    confidence.update(0.8, unexpected=True, challenged=False)
    assert np.isclose(confidence.value, 0.8) and confidence.in_doubt
    confidence.update(None, unexpected=False, challenged=True)
    assert np.isclose(confidence.value, 8 / 9), "another search has more to find where one found this pose"
    confidence.given()
    assert confidence.value == 1.0


@pytest.mark.parametrize("round_about", [True, False])
def test_a_turn_about_an_axis_of_symmetry_makes_no_other_pose(round_about: bool) -> None:
    model = make_model("box")
    if round_about:
        axis = ContinuousSymmetry(np.array([0.0, 0.0, 1.0]), np.zeros(3))
        model = replace(model, symmetries=Symmetries(continuous=(axis,)))
    same = Resemblance(model, SurfaceUncertainty(model).spread)
    T = make_transform(exp_so3(np.array([0.3, 0.2, 0.1])), np.array([0.0, 0.1, 0.7]))
    turn = make_transform(exp_so3(np.array([0.0, 0.0, 1.0])), np.zeros(3))
    shift = make_transform(np.eye(3), np.array([0.0, 0.0, 0.2 * model.diameter_m]))
    assert same(T, T @ turn) == round_about
    assert same(T, T @ make_transform(exp_so3(np.array([0.0, 0.01, 0.0])), np.zeros(3)))
    assert not same(T, T @ shift)


def test_a_covariance_counts_doubts_only_while_they_are_looked_into() -> None:
    confidence = Confidence()
    assert confidence.doubt == 0.0
    confidence.update(0.6, unexpected=True, challenged=False)
    assert confidence.doubt == pytest.approx(0.4)
    confidence.update(None, unexpected=False, challenged=True)
    assert confidence.doubt == pytest.approx(1.0 - confidence.value) and confidence.in_doubt
    confidence.update(0.95, unexpected=True, challenged=False)
    assert confidence.value == pytest.approx(0.95) and confidence.doubt == 0.0


def test_a_regained_pose_is_doubted_until_a_search_confirms_it() -> None:
    model, T = make_model("mug"), poses("mug", 26)
    frames = [render({"mug": (model.mesh, T[i])}, stamp_ns=i * PERIOD_NS, seed=i) for i in range(26)]
    blind = {6, 7, 8, 9, 10, 11}
    shown = [
        replace(f, color=np.zeros_like(f.color), depth=np.zeros_like(f.depth)) if i in blind else f
        for i, f in enumerate(frames)
    ]
    tracker = Tracker({"mug": model}, TrackerConfig(threads=1))
    tracker.start(shown[0], {"mug": T[0]})
    states = [tracker.track(f).objects["mug"] for f in shown[1:]]
    assert states[4].score > 0.9
    regained = next(i for i, s in enumerate(states) if i > 10 and s.status is Status.TRACKING)
    assert states[regained].score <= 0.5
    assert states[-1].status is Status.TRACKING and states[-1].score > 0.8
