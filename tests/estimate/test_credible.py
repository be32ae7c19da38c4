"""What errors of a model's directions put into an information matrix is taken out again."""

import numpy as np
import warp as wp

from dr_perception.estimate.information import DIRECTION_ERROR_RAD, credible
from dr_perception.geometry.se3 import exp_so3

R = exp_so3(np.array([0.4, -0.2, 0.7]))
SPREAD = np.diag([2.0e-3, 1.5e-3, 1.0e-3])


@wp.kernel(enable_backward=False)
def apply(
    spread: wp.mat33d,
    error: wp.float64,
    R: wp.mat33d,
    information: wp.array[wp.spatial_matrixd],
    # output
    out: wp.array[wp.spatial_matrixd],
):
    out[0] = credible(spread, error, R, information[0])


def credible_information(information: np.ndarray, spread: np.ndarray = SPREAD) -> np.ndarray:
    given = wp.array(information[None], dtype=wp.spatial_matrixd, device="cpu")
    out = wp.zeros(1, dtype=wp.spatial_matrixd, device="cpu")
    inputs = [wp.mat33d(*spread.ravel()), DIRECTION_ERROR_RAD, wp.mat33d(*R.ravel()), given]
    wp.launch(apply, 1, inputs=inputs, outputs=[out], device="cpu")
    return out.numpy()[0]


def information(turn: np.ndarray) -> np.ndarray:
    H = np.diag([2.0e7, 1.0e7, 1.0e7, 0.0, 0.0, 0.0])
    H[3:, 3:] = turn
    return H


EXCESS = 4.0e7 * DIRECTION_ERROR_RAD**2 * R @ SPREAD @ R.T


def test_turns_that_errors_alone_would_show_are_not_known() -> None:
    left = credible_information(information(0.9 * EXCESS))
    np.testing.assert_allclose(left[3:, 3:], 0.0, atol=1e-9 * np.trace(EXCESS))
    np.testing.assert_allclose(left[:3, :3], np.diag([2.0e7, 1.0e7, 1.0e7]))


def test_what_is_measured_better_keeps_its_information() -> None:
    measured = 1.0e4 * np.eye(3)
    left = credible_information(information(EXCESS + measured))
    np.testing.assert_allclose(left, information(measured), rtol=1e-6, atol=1e-6)


def test_without_a_surface_nothing_is_taken_out() -> None:
    untouched = information(1.0e4 * np.eye(3))
    np.testing.assert_array_equal(credible_information(untouched, np.zeros((3, 3))), untouched)
