from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import real_table
import real_trial
from fit import Case
from real_cases import Instance, Reference
from real_trial import Trial
from scenes import about

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import exp_so3, invert, make_transform, random_rotation, retract
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries
from dr_perception.hypothesis.result import PoseEstimate

_REFERENCE = Reference("made up", 0.001, 0.5, is_truth=True)


def _instance(alike: Symmetries, T: np.ndarray) -> Instance:
    """A tetrahedron whose middle is off the origin."""
    vertices = np.array([[0.2, 0, 0], [0.3, 0, 0], [0.2, 0.1, 0], [0.2, 0, 0.1]])
    mesh = Mesh(vertices, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32))
    camera = Camera(width=8, height=6, fx=10.0, fy=10.0, cx=3.5, cy=2.5)
    frame = Frame(None, np.ones((6, 8), np.float32), camera)
    case = Case("set/scene", 1, "a", ObjectModel("a", mesh, alike), frame, T, np.ones((6, 8), bool), 1.0)
    return Instance("set", case, _REFERENCE, alike, False, True, 1.0)


def _judge(instance: Instance, T: np.ndarray, covariance: np.ndarray) -> Trial:
    found = PoseEstimate(T, covariance, 0.9, True, 5, 0.0)
    return real_trial.judge([instance], "fit", found, "", 0.1)


def _pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return make_transform(random_rotation(rng), np.array([0.1, 0.0, 0.8]))


def test_symmetries_move_with_the_origin() -> None:
    point, rng = np.array([0.1, 0.2, 0.3]), np.random.default_rng(0)
    turn = make_transform(random_rotation(rng), np.array([0.02, 0.0, 0.01]))
    axis = ContinuousSymmetry(np.array([0.0, 0.6, 0.8]), np.array([0.05, 0.0, 0.0]))
    moved = about(Symmetries(turn[None], (axis,)), point)
    to_point = make_transform(np.eye(3), point)
    np.testing.assert_allclose(moved.discrete[0], invert(to_point) @ turn @ to_point, atol=1e-12)
    expected = invert(to_point) @ axis.turn(0.7) @ to_point
    np.testing.assert_allclose(moved.continuous[0].turn(0.7), expected, atol=1e-12)


def test_nees_of_errors_with_the_claimed_covariance_is_one_a_degree_of_freedom() -> None:
    T = _pose(0)
    instance, rng = _instance(Symmetries.none(), T), np.random.default_rng(1)
    A = rng.standard_normal((6, 6)) * np.repeat([1e-5, 5e-5], 3)[:, None]
    claimed = A @ A.T
    errors = [_judge(instance, retract(T, A @ rng.standard_normal(6)), claimed) for _ in range(300)]
    assert np.mean([t.nees_alone for t in errors]) == pytest.approx(1.0, abs=0.1)
    assert np.mean([t.nees for t in errors]) < 1.0


def test_deviation_is_of_the_middle_of_the_model() -> None:
    T = _pose(0)
    instance = _instance(Symmetries.none(), T)
    center = instance.case.model.center
    R = exp_so3(np.array([0.0, 0.05, 0.0]))
    turned = T @ make_transform(R, center - R @ center)
    trial = _judge(instance, turned, 1e-6 * np.eye(6))
    assert trial.deviation_m == pytest.approx(0.0, abs=1e-9)
    assert trial.deviation_rad == pytest.approx(0.05)


def test_turns_that_the_reference_does_not_know_are_left_out() -> None:
    T, axis = _pose(0), ContinuousSymmetry(np.array([0.0, 0.0, 1.0]))
    trial = _judge(_instance(Symmetries(continuous=(axis,)), T), T @ axis.turn(1.0), 1e-6 * np.eye(6))
    assert trial.right and trial.add_m < 1e-6
    assert trial.nees_alone == pytest.approx(0.0, abs=1e-9)
    assert trial.sigma_rad < np.sqrt(3e-6)


def test_the_nearest_instance_counts_and_nothing_found_is_wrong() -> None:
    near, far = (_instance(Symmetries.none(), _pose(k)) for k in (0, 1))
    found = PoseEstimate(near.case.T_cam_obj, 1e-6 * np.eye(6), 0.9, True, 5, 0.0)
    assert real_trial.judge([far, near], "search", found, "", 0.1).right
    nothing = real_trial.judge([far], "search", None, "nothing there", 0.1)
    assert (nothing.right, nothing.score, nothing.reason) == (False, 0.0, "nothing there")


def test_figures_count_doubts_of_the_right_and_belief_in_the_wrong() -> None:
    T = _pose(0)
    trial = replace(_judge(_instance(Symmetries.none(), T), T, 1e-6 * np.eye(6)), score=0.4)
    wrong = replace(trial, right=False, score=0.8, reference="other")
    f = real_table.figures([trial, trial, replace(trial, score=0.9), wrong])
    assert (f["right_doubted"], f["right"], f["wrong_believed"], f["wrong"]) == (2, 3, 1, 1)
    assert f["calibration_error"] == pytest.approx((2 * 0.6 + 0.1 + 0.8) / 4)
    alike = real_table.mean_of_references([trial, trial, wrong])
    assert alike["right_percent"] == pytest.approx(50.0)
    assert alike["wrong_believed_percent"] == pytest.approx(100.0)
