"""First-order optimisers on functions whose minimum is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad, rosen, rosen_der

from dr_perception.estimate.first_order import Block, adam, lbfgs, left_jacobian_so3
from dr_perception.geometry.se3 import angle_between, exp_so3, log_so3, make_transform

TARGET = make_transform(exp_so3(np.array([0.5, -0.9, 0.4])), np.array([0.1, -0.2, 0.7]))
POINTS = np.random.default_rng(0).normal(size=(30, 3))


def _registration(values):
    """Mean squared distance of moved points to the same points at the target pose."""
    T = values["T"]
    p, q = POINTS @ T[:3, :3].T + T[:3, 3], POINTS @ TARGET[:3, :3].T + TARGET[:3, 3]
    r = (p - q) / len(POINTS)
    lever = POINTS @ T[:3, :3].T
    return 0.5 * len(POINTS) * float(np.sum(r * r)), {
        "T": np.concatenate([r.sum(0), np.cross(lever, r).sum(0)])
    }


@pytest.mark.parametrize(
    "run",
    [
        lambda f, b: adam(f, b, iterations=400, rate=0.1, final_rate=1e-5),
        lambda f, b: lbfgs(f, b, iterations=100),
    ],
    ids=["adam", "lbfgs"],
)
def test_pose_block_is_registered(run) -> None:
    result = run(_registration, {"T": Block(np.eye(4), pose=True)})
    assert np.linalg.norm(result.values["T"][:3, 3] - TARGET[:3, 3]) < 1e-4
    assert angle_between(result.values["T"][:3, :3], TARGET[:3, :3]) < 1e-4
    assert result.value <= result.history[0]


def test_lbfgs_minimises_rosenbrock_in_bounds() -> None:
    def function(values):
        return float(rosen(values["x"])), {"x": rosen_der(values["x"])}

    free = lbfgs(function, {"x": Block([-1.0, 2.0, 0.5])}, iterations=200)
    np.testing.assert_allclose(free.values["x"], 1.0, atol=1e-4)
    assert free.converged
    bounded = lbfgs(function, {"x": Block([-1.0, 0.2, 0.2], high=0.5)}, iterations=200)
    assert np.all(bounded.values["x"] <= 0.5) and bounded.value > free.value


def test_blocks_of_different_units_go_together() -> None:
    """Millimetres and pixels: the scale makes one step size fit both."""

    def function(values):
        a, b = values["small"] - 3e-3, values["large"] - 600.0
        return float(1e6 * a @ a + 1e-4 * b @ b), {"small": 2e6 * a, "large": 2e-4 * b}

    blocks = {"small": Block(np.zeros(2), scale=1e-3), "large": Block(np.full(3, 500.0), scale=50.0)}
    result = adam(function, blocks, iterations=300, rate=0.2, final_rate=1e-4)
    np.testing.assert_allclose(result.values["small"], 3e-3, rtol=1e-2)
    np.testing.assert_allclose(result.values["large"], 600.0, rtol=1e-3)


def test_left_jacobian_is_the_derivative_of_the_exponential() -> None:
    for w in (np.array([0.5, -0.9, 0.4]), np.array([1e-6, 0, 0]), np.array([2.0, 1.0, -1.5])):
        step = 1e-6 * np.array([0.3, 0.5, -0.2])
        moved = log_so3(exp_so3(w + step) @ exp_so3(w).T)
        np.testing.assert_allclose(moved, left_jacobian_so3(w) @ step, rtol=1e-4, atol=1e-11)


def test_registration_gradient_used_above_is_right() -> None:
    from dr_perception.geometry.se3 import retract

    def value(xi):
        return _registration({"T": retract(np.eye(4), xi)})[0]

    assert (
        check_grad(value, lambda xi: _registration({"T": retract(np.eye(4), xi)})[1]["T"], np.zeros(6)) < 1e-5
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda v: (float("nan"), {"x": np.zeros(2)}), "finite number"),
        (lambda v: (1.0, {"x": np.zeros(3)}), r"expected \(2,\)"),
        (lambda v: (1.0, {}), "no gradient for block 'x'"),
        (lambda v: (1.0, {"x": np.full(2, np.inf)}), "not finite"),
    ],
)
def test_bad_functions_are_named(function, message) -> None:
    for run in (adam, lbfgs):
        with pytest.raises(ValueError, match=message):
            run(function, {"x": Block(np.zeros(2))})
