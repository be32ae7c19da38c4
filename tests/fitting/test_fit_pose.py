"""`fit_pose` recovers known poses from guesses, with either image missing, and refuses what cannot work."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dr_perception.device.session import Session
from dr_perception.fitting.fit_color import refined_by_color
from dr_perception.fitting.fit_job import FitJob
from dr_perception.fitting.fit_pose import fit_pose
from dr_perception.geometry import Frame, Mesh, ObjectModel
from dr_perception.geometry.se3 import log_so3, perturb
from dr_perception.hypothesis.search_config import FitConfig

_spec = importlib.util.spec_from_file_location(
    "search_scenes", Path(__file__).parents[1] / "hypothesis" / "search_scenes.py"
)
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

TRUTH = scenes.pose(0.03, -0.02, 0.6, (0.9, -0.7, 1.8))
MODEL = scenes.bracket()
FRAME, (MASK,) = scenes.render([(MODEL, TRUTH)])


@pytest.mark.parametrize(
    ("millimetres", "degrees", "limit"), [(10, 5, (1.0, 0.7)), (30, 15, (1.0, 0.7)), (50, 28, (1.0, 0.7))]
)
def test_a_pose_is_recovered_from_a_guess(millimetres, degrees, limit):
    rng = np.random.default_rng(millimetres)
    errors = []
    for _ in range(5):
        guess = perturb(TRUTH, 1e-3 * millimetres, np.radians(degrees), rng)
        fit = fit_pose(MODEL, FRAME, guess)
        errors.append(scenes.distance(MODEL, fit.T_cam_obj, TRUTH))
        assert fit.score > 0.5
        assert fit.converged and not fit.reason
    assert np.all(np.array(errors) < limit), errors


def test_without_a_guess_the_frame_or_the_mask_is_searched():
    for mask in (None, MASK):
        millimetres, degrees = scenes.distance(MODEL, fit_pose(MODEL, FRAME, mask=mask).T_cam_obj, TRUTH)
        assert millimetres < 1.5 and degrees < 1.0


def test_a_fit_is_that_of_its_own_calibration_whatever_was_fitted_before():
    """The judge of a session's fits is kept, and recorded with the place of the calibration."""
    guess = perturb(TRUTH, 0.02, 0.2, np.random.default_rng(2))
    camera = replace(FRAME.camera, fx=1.03 * FRAME.camera.fx, fy=1.03 * FRAME.camera.fy)
    other = replace(FRAME, camera=camera)
    with Session():
        first = fit_pose(MODEL, FRAME, guess)
        after = fit_pose(MODEL, other, guess)
        again = fit_pose(MODEL, FRAME, guess)
    with Session():
        alone = fit_pose(MODEL, other, guess)
    np.testing.assert_array_equal(after.T_cam_obj, alone.T_cam_obj)
    np.testing.assert_array_equal(again.T_cam_obj, first.T_cam_obj)
    assert abs(after.T_cam_obj[2, 3] - first.T_cam_obj[2, 3]) > 1e-4, "or nothing was told apart"


def test_depth_alone():
    guess = perturb(TRUTH, 0.02, 0.2, np.random.default_rng(1))
    fit = fit_pose(MODEL, Frame(None, FRAME.depth, FRAME.camera), guess)
    millimetres, degrees = scenes.distance(MODEL, fit.T_cam_obj, TRUTH)
    assert millimetres < 1.5 and degrees < 1.0


def test_colour_alone():
    guess = perturb(TRUTH, 0.006, 0.05, np.random.default_rng(1))
    fit = fit_pose(MODEL, Frame(FRAME.color, None, FRAME.camera), guess)
    millimetres, degrees = scenes.distance(MODEL, fit.T_cam_obj, TRUTH)
    assert millimetres < 8.0 and degrees < 3.0


def test_colour_alone_stays_near_a_guess_where_the_images_say_little():
    rng = np.random.default_rng(3)
    noise = np.random.default_rng(0).integers(0, 255, FRAME.color.shape, dtype=np.uint8)
    for _ in range(3):
        guess = perturb(TRUTH, 0.005, 0.05, rng)
        fit = fit_pose(MODEL, Frame(noise, None, FRAME.camera), guess)
        assert scenes.distance(MODEL, fit.T_cam_obj, guess)[0] < 15.0 and fit.score < 0.5


def test_colour_alone_may_be_at_any_pose_that_its_stages_end_at():
    """Its covariance is the second moment about it of them all, as probable as images and guess say."""
    frame = Frame(FRAME.color, None, FRAME.camera)
    guess = perturb(TRUTH, 0.006, 0.05, np.random.default_rng(1))
    with Session():
        fit = fit_pose(MODEL, frame, guess)
        found = refined_by_color(MODEL, frame, guess, FitConfig())
    job = FitJob(MODEL, frame, guess, None, FitConfig())
    odds = np.exp([one.log_odds[0] + job.log_hold(one.T_cam_obj)[0] for one in found])
    expected = np.zeros((6, 6))
    for one, weight in zip([one.estimate(0) for one in found], odds / odds.sum(), strict=True):
        turn = one.T_cam_obj[:3, :3] @ fit.T_cam_obj[:3, :3].T
        away = np.concatenate([one.T_cam_obj[:3, 3] - fit.T_cam_obj[:3, 3], log_so3(turn)])
        expected += weight * (one.covariance + np.outer(away, away))
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-6, atol=1e-12)
    best = found[int(np.argmax(odds))].estimate(0)
    assert np.trace(fit.covariance - best.covariance) > 1e-6, "or nothing was told apart"


def test_the_same_call_gives_the_same_answer():
    guess = perturb(TRUTH, 0.02, 0.2, np.random.default_rng(1))
    first, second = fit_pose(MODEL, FRAME, guess), fit_pose(MODEL, FRAME, guess)
    assert np.array_equal(first.T_cam_obj, second.T_cam_obj) and first.score == second.score


def scaled(factor):
    return ObjectModel("scaled", Mesh(MODEL.mesh.vertices * factor, MODEL.mesh.faces))


@pytest.mark.parametrize(
    ("model", "frame", "arguments", "message"),
    [
        (MODEL, FRAME, {"mask": np.zeros((240, 320), bool)}, "mask is empty"),
        (MODEL, FRAME, {"mask": np.ones((5, 6), bool)}, r"\(5, 6\)"),
        (scaled(40.0), FRAME, {"mask": MASK}, "wrong unit"),
        (scaled(0.1), FRAME, {"mask": MASK}, "wrong unit"),
        (scaled(1000.0), FRAME, {"T_cam_obj": TRUTH}, "wrong unit"),
        (
            MODEL,
            replace(FRAME, depth=np.full_like(FRAME.depth, np.nan)),
            {"T_cam_obj": TRUTH},
            "only 0 pixels",
        ),
        (MODEL, FRAME, {"T_cam_obj": np.ones((4, 4))}, "T_cam_obj"),
        (MODEL, FRAME, {"T_cam_obj": scenes.pose(3.0, 0.0, 0.6, (0.0, 0.0, 0.0))}, "outside the image"),
        (MODEL, FRAME, {"T_cam_obj": scenes.pose(0.0, 0.0, -0.6, (0.0, 0.0, 0.0))}, "behind the camera"),
    ],
)
def test_what_cannot_work_is_refused_by_name(model, frame, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_pose(model, frame, **arguments)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TypeError, match="boolean"):
        fit_pose(MODEL, FRAME, mask=MASK.astype(np.uint8))
