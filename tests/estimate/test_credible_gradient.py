"""What errors of a model's directions alone put into a gradient is taken out before the solver follows it."""

import numpy as np
import warp as wp

from dr_perception.device.device_array import SharedArray
from dr_perception.device.evidence import NUM_SUMS
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.estimate.information import DIRECTION_ERROR_RAD
from dr_perception.estimate.levenberg_marquardt import credible_gradient, mat66d, vec6d
from dr_perception.estimate.pose_solver import PoseSolver
from dr_perception.geometry.se3 import exp_so3, local, make_transform

R = exp_so3(np.array([0.4, -0.2, 0.7]))
SPREAD = np.diag([2.0e-3, 1.5e-3, 1.0e-3])
MOVE = np.diag([2.0e7, 1.0e7, 1.0e7])
EXCESS = np.trace(MOVE) * DIRECTION_ERROR_RAD**2 * R @ SPREAD @ R.T
"""What errors of directions put into the information of turns."""


@wp.kernel(enable_backward=False)
def apply(
    H: wp.array[mat66d],
    g: wp.array[vec6d],
    R: wp.mat33,
    direction_errors: wp.mat33,
    # output
    out: wp.array[vec6d],
):
    out[0] = credible_gradient(H[0], g[0], R, direction_errors)


def information(turn: np.ndarray) -> np.ndarray:
    H = np.zeros((6, 6))
    H[:3, :3], H[3:, 3:] = MOVE, turn
    return H


def credible(H: np.ndarray, g: np.ndarray, spread: np.ndarray = SPREAD) -> np.ndarray:
    out = wp.zeros(1, dtype=vec6d, device="cpu")
    errors = DIRECTION_ERROR_RAD**2 * spread
    inputs = [wp.array(H[None], dtype=mat66d, device="cpu"), wp.array(g[None], dtype=vec6d, device="cpu")]
    inputs += [wp.mat33(*R.ravel()), wp.mat33(*errors.ravel())]
    wp.launch(apply, 1, inputs, [out], device="cpu")
    return out.numpy()[0]


G = np.array([1.0e4, -2.0e4, 3.0e4, 500.0, -300.0, 200.0])


def test_it_is_the_gradient_through_the_matrix_without_and_with_the_errors() -> None:
    H = information(EXCESS + np.diag([300.0, 200.0, 900.0]))
    H[:3, 3:] = 1.0e3
    H[3:, :3] = 1.0e3
    with_errors = H.copy()
    with_errors[3:, 3:] += EXCESS
    expected = H @ np.linalg.solve(with_errors, G)
    np.testing.assert_allclose(credible(H, G), expected, rtol=1e-3, atol=1e-2)


def test_turns_that_are_well_measured_and_shifts_keep_their_gradient() -> None:
    measured = credible(information(1.0e6 * np.eye(3)), G)
    np.testing.assert_allclose(measured, G, rtol=1e-2)
    weak = credible(information(0.01 * EXCESS), G)
    np.testing.assert_allclose(weak[:3], G[:3], rtol=1e-3)
    assert np.abs(weak[3:]).max() < 0.05 * np.abs(G[3:]).max()


def test_without_a_surface_the_gradient_is_followed() -> None:
    np.testing.assert_array_equal(credible(information(EXCESS), G, np.zeros((3, 3))), G)


def test_a_turn_that_nothing_fixes_is_left_to_the_prior() -> None:
    """Rows see a spin no better than errors of directions would: a step of the solver does not follow it."""
    turns = []
    for spread in (SPREAD, None):
        poses = PoseArrays(1, "cpu")
        T = make_transform(R, np.array([0.0, 0.0, 0.5]))
        poses.set(T[None])
        solver = PoseSolver(poses, 1, 1, "cpu", spread)
        solver.set_prior(T[None], np.diag([1.0, 1.0, 1.0, 50.0, 50.0, 50.0]))
        sums = np.zeros((1, 1, NUM_SUMS), np.float32)
        H = information(0.3 * EXCESS)
        sums[0, 0, :21] = H[np.triu_indices(6)]
        sums[0, 0, 21:27] = H @ np.array([0.001, 0.0, 0.0, 0.1, 0.1, 0.1])
        rows = SharedArray(sums.shape, float, "cpu")
        rows.host[:] = sums
        add = lambda rows=rows, solver=solver: wp.copy(solver.sums.array, rows.array)  # noqa: E731
        for launch in solver.launches([add], 1)[:3]:
            launch()
        xi = local(T, poses.get()[0])
        assert abs(xi[0] - 0.001) < 1e-4
        turns.append(float(np.linalg.norm(xi[3:])))
    assert turns[0] < 0.5 * turns[1]
