"""What errors of a model's directions put into an information matrix is taken out again."""

import numpy as np

from dr_perception.geometry.se3 import exp_so3
from dr_perception.optim.pose_solver import DIRECTION_ERROR_RAD, credible_information

R = exp_so3(np.array([0.4, -0.2, 0.7]))
ERRORS = DIRECTION_ERROR_RAD**2 * np.diag([2.0e-3, 1.5e-3, 1.0e-3])


def information(turn: np.ndarray) -> np.ndarray:
    H = np.diag([2.0e7, 1.0e7, 1.0e7, 0.0, 0.0, 0.0])
    H[3:, 3:] = turn
    return H


def test_turns_that_errors_alone_would_show_are_not_known() -> None:
    excess = 4.0e7 * R @ ERRORS @ R.T
    left = credible_information(information(0.9 * excess), R, ERRORS)
    np.testing.assert_allclose(left[3:, 3:], 0.0, atol=1e-9 * np.trace(excess))
    np.testing.assert_allclose(left[:3, :3], np.diag([2.0e7, 1.0e7, 1.0e7]))


def test_what_is_measured_better_keeps_its_information() -> None:
    excess = 4.0e7 * R @ ERRORS @ R.T
    measured = 1.0e4 * np.eye(3)
    left = credible_information(information(excess + measured), R, ERRORS)
    np.testing.assert_allclose(left, information(measured), rtol=1e-6, atol=1e-6)
    untouched = information(measured)
    np.testing.assert_array_equal(credible_information(untouched, R, np.zeros((3, 3))), untouched)
