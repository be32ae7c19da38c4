"""Searches find what is there, wherever they are told to look, and name what is wrong with their input."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warp as wp

from dr_perception.geometry import Frame
from dr_perception.hypothesis.instances import (
    AT_ONE_PLACE,
    Ranked,
    answers,
    explained_pixels,
    is_other_instance,
)
from dr_perception.hypothesis.lookalikes import Lookalikes
from dr_perception.hypothesis.pool import best, thin_out
from dr_perception.hypothesis.region import Where
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import finalists, search_poses
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.hypothesis.seeds import from_ball, from_belief
from dr_perception.hypothesis.tables import search_model

_spec = importlib.util.spec_from_file_location("search_scenes", Path(__file__).with_name("search_scenes.py"))
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

TRUTH = scenes.pose(0.03, -0.02, 0.6, (0.9, -0.7, 1.8))
MODEL = scenes.bracket()
BRICK = scenes.brick()
FRAME, (MASK,) = scenes.render([(MODEL, TRUTH)])
TIGHT = (1.5, 1.0)
"""Millimetres and degrees."""


def assert_found(model, found, truth, limit=TIGHT):
    assert found, "nothing found"
    millimetres, degrees = scenes.distance(model, found[0].T_cam_obj, truth)
    assert millimetres < limit[0] and degrees < limit[1], f"off by {millimetres:.2f} mm, {degrees:.2f} deg"


def box_of(mask, margin=8):
    y, x = np.nonzero(mask)
    return (x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin)


def click_on(mask):
    y, x = np.nonzero(mask)
    k = np.argmin((x - x.mean()) ** 2 + (y - y.mean()) ** 2)
    return (float(x[k]), float(y[k]))


@pytest.mark.parametrize("where", ["mask", "box", "click", "frame"])
def test_an_object_on_a_table_is_found(where):
    region = {
        "mask": Where(mask=MASK),
        "box": Where(box=box_of(MASK)),
        "click": Where(click=click_on(MASK)),
        "frame": None,
    }
    found = search_poses(MODEL, FRAME, region[where])
    assert_found(MODEL, found, TRUTH)
    assert found[0].score > 0.5
    assert np.linalg.eigvalsh(found[0].covariance)[0] > 0.0


def test_a_prior_says_where_to_look():
    mean = from_ball(TRUTH, 0.03, 0.3, 6)[5]
    covariance = np.diag([0.02**2] * 3 + [0.2**2] * 3)
    assert_found(MODEL, search_poses(MODEL, FRAME, Where(prior=(mean, covariance))), TRUTH)


def test_depth_alone_is_enough():
    assert_found(MODEL, search_poses(MODEL, Frame(None, FRAME.depth, FRAME.camera), Where(mask=MASK)), TRUTH)


def test_a_mask_with_half_of_the_object_hidden():
    middle = TRUTH[:3, :3] @ MODEL.center + TRUTH[:3, 3]
    blocker = scenes.pose(*(0.7 * (middle + np.array([0.065, 0.0, 0.0]))), (0.0, 0.0, 1.5))
    frame, masks = scenes.render([(MODEL, TRUTH), (BRICK, blocker)])
    assert 0.3 < masks[0].sum() / MASK.sum() < 0.8
    assert_found(MODEL, search_poses(MODEL, frame, Where(mask=masks[0])), TRUTH, (3.0, 2.0))


def test_integer_millimetres_and_gaps_in_float_depth_change_little():
    depth = np.round(FRAME.depth * 1e3).astype(np.uint16)
    whole = Frame(FRAME.color, depth, FRAME.camera, depth_scale_m=1e-3)
    assert_found(MODEL, search_poses(MODEL, whole, Where(mask=MASK)), TRUTH)
    gaps = FRAME.depth.copy()
    gaps[::7] = np.nan
    gaps[3::11] = np.inf
    assert_found(MODEL, search_poses(MODEL, replace(FRAME, depth=gaps), Where(mask=MASK)), TRUTH)


def test_symmetric_duplicates_are_merged():
    truth = scenes.pose(0.0, 0.0, 0.55, (0.7, 0.5, 0.2))
    frame, (mask,) = scenes.render([(BRICK, truth)])
    found = search_poses(BRICK, frame, Where(mask=mask), max_instances=6)
    assert_found(BRICK, found, truth)
    good = [f for f in found if scenes.distance(BRICK, f.T_cam_obj, truth)[0] < 20.0]
    assert len(good) == 1


def test_all_of_many_instances_are_found():
    rng = np.random.default_rng(4)
    places = [(-0.14, -0.07), (0.0, -0.08), (0.14, -0.07), (-0.14, 0.08), (0.0, 0.07), (0.14, 0.08)]
    truth = [scenes.pose(x, y, 0.62, tuple(rng.uniform(-1.5, 1.5, 3))) for x, y in places]
    frame, _ = scenes.render([(MODEL, T) for T in truth])
    found = search_poses(MODEL, frame, max_instances=6)
    for T in truth:
        millimetres, degrees = min(scenes.distance(MODEL, one.T_cam_obj, T) for one in found)
        assert millimetres < 2.0 and degrees < 2.0


def test_a_pose_explains_the_pixels_of_its_object_and_no_others():
    search = search_model(MODEL, 1e-3, wp.get_device("cpu"))
    taken = explained_pixels(search, MODEL, FRAME.depth_m(), FRAME.camera, TRUTH[None], 0.004)
    assert taken[MASK].mean() > 0.9 and (taken & ~MASK).sum() < 0.05 * MASK.sum()


def test_two_instances_are_told_apart():
    truths = [scenes.pose(-0.1, -0.03, 0.6, (0.9, -0.7, 1.8)), scenes.pose(0.1, 0.03, 0.6, (-0.4, 0.6, -0.9))]
    frame, _ = scenes.render([(MODEL, T) for T in truths])
    found = search_poses(MODEL, frame, max_instances=2)
    assert len(found) == 2
    for truth in truths:
        assert min(scenes.distance(MODEL, f.T_cam_obj, truth)[0] for f in found) < 3.0
    assert found[0].score >= found[1].score


def test_an_object_that_is_not_there_scores_low():
    frame, (mask,) = scenes.render([(BRICK, scenes.pose(0.0, 0.0, 0.55, (0.7, 0.5, 0.2)))])
    present = search_poses(MODEL, FRAME, Where(mask=MASK))[0]
    absent = search_poses(MODEL, frame, Where(mask=mask))
    assert all(f.score < present.score and f.score < 0.5 for f in absent)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": np.zeros((240, 320), bool)}, "mask is empty"),
        ({"mask": np.ones((10, 20), bool)}, r"\(10, 20\)"),
        ({"box": (50, 60, 50, 90)}, "x0 < x1"),
        ({"box": (400, 10, 500, 90)}, "outside the image"),
        ({"click": (-3.0, 5.0)}, "outside the image"),
        ({"mask": MASK, "click": (5.0, 5.0)}, "mask and click"),
        ({"prior": (np.eye(4), -np.eye(6))}, "positive semi-definite"),
        ({"prior": (np.ones((4, 4)), np.eye(6))}, "prior"),
    ],
)
def test_bad_regions_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        search_poses(MODEL, FRAME, Where(**arguments))


def test_at_least_one_instance_is_asked_for():
    with pytest.raises(ValueError, match="max_instances"):
        search_poses(MODEL, FRAME, max_instances=0)


def test_a_search_without_depth_needs_a_mask():
    with pytest.raises(ValueError, match="needs a depth image"):
        search_poses(MODEL, Frame(FRAME.color, None, FRAME.camera))
    with pytest.raises(ValueError, match="0 measured pixels"):
        search_poses(MODEL, replace(FRAME, depth=np.full_like(FRAME.depth, np.nan)))
    with pytest.raises(ValueError, match="no depth is measured"):
        depth = np.where(MASK, 0, FRAME.depth).astype(np.float32)
        search_poses(MODEL, replace(FRAME, depth=depth), Where(mask=MASK))


def test_poses_close_to_a_better_one_are_thinned_out():
    T = np.stack([TRUTH, from_ball(TRUTH, 0.002, 0.02, 5)[4], scenes.pose(0.2, 0.0, 0.6, (0.0, 0.0, 0.0))])
    assert thin_out(T, np.array([1.0, 3.0, 2.0]), 3, 0.01, 0.1).tolist() == [1, 2]
    assert best(np.array([1.0, 3.0, 2.0]), 2).tolist() == [1, 2]


def test_seeds_have_the_spread_that_was_asked_for():
    rng = np.random.default_rng(0)
    covariance = np.diag([0.01, 0.02, 0.03, 0.1, 0.2, 0.05]) ** 2
    T = from_belief(TRUTH, covariance, 4000, rng)
    assert np.allclose(T[0], TRUTH)
    assert np.allclose(np.std(T[:, :3, 3], axis=0), [0.01, 0.02, 0.03], rtol=0.1)
    ball = from_ball(TRUTH, 0.05, 0.5, 500)
    assert np.linalg.norm(ball[:, :3, 3] - TRUTH[:3, 3], axis=1).max() <= 0.05 + 1e-12


def test_what_stands_in_the_same_place_is_the_same_instance():
    turned = TRUTH @ scenes.pose(*np.zeros(3), (0.0, 0.0, np.pi))
    shifted = TRUTH.copy()
    shifted[0, 3] += 0.1
    assert is_other_instance(MODEL, TRUTH, shifted)
    assert not is_other_instance(BRICK, TRUTH, turned)


ALIKE = Lookalikes.of(MODEL, search_model(MODEL, 1e-3, wp.get_device("cpu")))


def test_of_every_instance_the_preferred_pose_is_kept_and_the_preferred_place_comes_first():
    turned = TRUTH @ scenes.pose(*np.zeros(3), (0.0, 0.0, 0.3))
    far = TRUTH.copy()
    far[:3, 3] += [0.3, 0.0, 0.0]
    tried = [
        Ranked(value, value_of_place, PoseEstimate(T, np.eye(6), score, True, 1, 0.0))
        for T, value, value_of_place, score in (
            (turned, 8.0, 9.0, 0.95), (TRUTH, 9.0, 5.0, 0.99), (far, 7.0, 6.0, 0.90),
        )
    ]  # fmt: skip
    both = answers(MODEL, ALIKE, tried, 3)
    assert len(both) == 2 and both[0].T_cam_obj is far and both[1].T_cam_obj is TRUTH
    (first,) = answers(MODEL, ALIKE, tried[:2], 3)
    assert first.T_cam_obj is TRUTH


def ranked(T: np.ndarray, value: float, value_of_place: float) -> Ranked:
    """What a search found, with a score of 0.8."""
    return Ranked(value, value_of_place, PoseEstimate(T, np.eye(6), 0.8, True, 1, 0.0))


def test_an_answer_shares_its_probability_with_the_places_left_out() -> None:
    """With one answer two places alike are as probable; with two, both may be there."""
    places = [TRUTH.copy() for _ in range(3)]
    for k, T in enumerate(places):
        T[0, 3] += 0.3 * k
    found = [ranked(T, 0.0, value) for T, value in zip(places, (5.0, 5.0, 2.0), strict=True)]
    only = 0.8 / (2.0 + np.exp(-3.0))
    assert [one.score for one in answers(MODEL, ALIKE, found, 1)] == pytest.approx([only])
    two = 0.8 / (1.0 + np.exp(-3.0))
    assert [one.score for one in answers(MODEL, ALIKE, found, 2)] == pytest.approx([two, two])
    assert [one.score for one in answers(MODEL, ALIKE, found[:1], 3)] == pytest.approx([0.8])
    assert answers(MODEL, ALIKE, [], 1) == []


def test_an_answer_shares_its_probability_with_other_poses_at_its_place_that_do_not_look_alike() -> None:
    """A half turn counts, whichever of two nearly equal poses it is found at; a degree does not."""
    half = scenes.pose(*np.zeros(3), (0.0, 0.0, np.pi))
    little = scenes.pose(*np.zeros(3), (0.0, 0.0, 0.02))
    for model, factor in ((MODEL, 1.0 / (1.0 + np.exp(-AT_ONE_PLACE))), (BRICK, 1.0)):
        looks = Lookalikes.of(model, search_model(model, 1e-3, wp.get_device("cpu")))
        poses = (TRUTH, TRUTH @ little, about_center(model, half), about_center(model, half @ little))
        found = [ranked(T, value, 0.0) for T, value in zip(poses, (5.0, 4.9, 4.0, 3.9), strict=True)]
        assert [one.score for one in answers(model, looks, found, 1)] == pytest.approx([0.8 * factor])


def about_center(model, turn: np.ndarray) -> np.ndarray:
    """The truth after a turn (4, 4) about the centre of a model."""
    shift = np.eye(4)
    shift[:3, 3] = model.center
    return TRUTH @ shift @ turn @ np.linalg.inv(shift)


@pytest.mark.parametrize("where", ["prior", "frame"])
def test_a_search_is_the_same_every_time(where):
    """Its random choices are those of its seed alone."""
    mean = from_ball(TRUTH, 0.03, 0.3, 6)[5]
    prior = (mean, np.diag([0.02**2] * 3 + [0.2**2] * 3)) if where == "prior" else None
    config = SearchConfig(belief_seeds=256)
    first, again = (search_poses(MODEL, FRAME, Where(prior=prior), config=config) for _ in range(2))
    assert len(first) == len(again) > 0
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.T_cam_obj, other.T_cam_obj)
        assert one.score == other.score


def test_a_whole_frame_is_looked_through_in_the_same_way_every_time():
    first, second = (finalists(MODEL, FRAME) for _ in range(2))
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.T_cam_obj, second.T_cam_obj)
