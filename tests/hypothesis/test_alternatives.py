"""What a pose may be instead: turned like its guess, along what is open, or at a twin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dr_perception.geometry import Camera, Frame
from dr_perception.geometry.se3 import angle_between, exp_so3, make_transform
from dr_perception.hypothesis import judge_kernels as k
from dr_perception.hypothesis.alternatives import Guess, most_probable_turn, slides, twins
from dr_perception.hypothesis.rank import promise, shares_of

HALF_TURN = make_transform(exp_so3(np.array([0.0, 0.0, np.pi])), np.array([0.02, 0.0, 0.0]))
T = make_transform(exp_so3(np.array([0.4, -0.3, 0.2])), np.array([0.1, 0.0, 0.7]))
CAMERA = Camera(8, 6, 8.0, 8.0, 3.5, 2.5)


@dataclass
class Tables:
    """The part of the tables of a model that alternatives look at."""

    twins: np.ndarray = field(default_factory=lambda: HALF_TURN[None])
    axis: tuple | None = (np.array([0.0, 0.0, 1.0]), np.array([0.01, 0.0, 0.0]))
    label: None = None


def test_twins_move_a_pose_along_with_its_body():
    found = twins(Tables(), np.stack([T, np.eye(4)]))
    assert np.allclose(found, [T @ HALF_TURN, HALF_TURN])


def test_a_body_of_revolution_has_the_turn_of_the_guess():
    turn = exp_so3(np.array([0.0, 0.0, 0.9]))
    axis_point = Tables().axis[1]
    turned = T @ make_transform(turn, axis_point - turn @ axis_point)
    frame = Frame(None, np.ones((6, 8), np.float32), CAMERA)
    found = most_probable_turn(Tables(), frame, frame.depth, turned, 0.005, Guess(T, 0.3))
    assert np.allclose(found, T, atol=1e-6)
    kept = most_probable_turn(Tables(axis=None), frame, frame.depth, turned, 0.005, Guess(T, 0.3))
    assert np.array_equal(kept, turned)


def test_slides_follow_the_direction_that_is_known_least():
    information = np.diag([1e6, 1e6, 1e6, 1e4, 1.0, 1e4])
    found = slides(T, information, diameter_m=0.2, reach_m=0.05)
    assert np.allclose(found[len(found) // 2], T)
    assert np.allclose(found[:, :3, 3], T[:3, 3])
    axis = found[-1, :3, :3] @ T[:3, :3].T
    assert np.isclose(angle_between(found[-1, :3, :3], T[:3, :3]), 0.8 * 0.05 / 0.1)
    assert np.allclose(axis @ [0.0, 1.0, 0.0], [0.0, 1.0, 0.0])


def test_what_a_mask_excludes_or_claims_beyond_the_outline_speaks_against_a_start():
    fair = np.zeros((3, k.NUM_FEATURES), np.float32)
    fair[:, [k.TESTED, k.MEASURED, k.AVAILABLE]], fair[:, k.AGREE] = 32.0, 30.0
    fair[:, k.EDGE_TESTED], fair[:, k.EDGE_SEEN] = 16.0, 8.0
    fair[1, k.OFF_MASK] = 16.0
    fair[2, k.EDGE_IN_MASK] = 8.0
    values = promise(shares_of(fair))
    assert np.allclose(values - values[0], [0.0, -0.5, -0.5])
