"""Robust kernels: the weight is the derivative of the cost."""

import numpy as np
import pytest
import warp as wp

from dr_perception.measure.robust import student_t_rho, student_t_weight, tukey_rho, tukey_slope, tukey_weight


@wp.kernel(enable_backward=False)
def evaluate(
    s: wp.array(dtype=float),
    parameter: float,
    # output
    tukey: wp.array(dtype=wp.vec2),
    student: wp.array(dtype=wp.vec2),
):
    i = wp.tid()
    tukey[i] = wp.vec2(tukey_rho(s[i], parameter), tukey_weight(s[i], parameter))
    student[i] = wp.vec2(student_t_rho(s[i], parameter), student_t_weight(s[i], parameter))


def curves(s, parameter):
    """(rho, weight) of Tukey's and of Student's kernel at squared residuals."""
    outputs = [wp.zeros(len(s), dtype=wp.vec2, device="cpu") for _ in range(2)]
    wp.launch(
        evaluate, len(s), [wp.array(s.astype(np.float32), device="cpu"), parameter], outputs, device="cpu"
    )
    return [out.numpy().astype(np.float64).T for out in outputs]


@pytest.mark.parametrize("parameter", [3.0, 9.0, 16.0])
def test_weight_is_the_slope_of_rho(parameter: float) -> None:
    s = np.linspace(0.0, 2.5 * parameter, 400)
    for rho, weight in curves(s, parameter):
        assert rho[0] == 0.0
        assert (np.diff(rho) >= 0.0).all()
        slope = (rho[2:] - rho[:-2]) / (s[2:] - s[:-2])
        np.testing.assert_allclose(slope, weight[1:-1], atol=2e-3)


def test_tukey_is_least_squares_at_zero_and_constant_beyond_its_cutoff() -> None:
    c2 = 9.0
    (rho, weight), _ = curves(np.array([1.0e-4, c2, 1.0e3 * c2]), c2)
    assert rho[0] == pytest.approx(1.0e-4, rel=1e-2)
    np.testing.assert_allclose(rho[1:], c2 / 3.0, rtol=1e-6)
    assert weight[0] == pytest.approx(1.0, abs=1e-4) and not weight[1:].any()


@wp.kernel(enable_backward=False)
def evaluate_slope(
    r: wp.array(dtype=float),
    c2: float,
    # output
    pull: wp.array(dtype=float),
    slope: wp.array(dtype=float),
):
    i = wp.tid()
    pull[i] = r[i] * tukey_weight(r[i] * r[i], c2)
    slope[i] = tukey_slope(r[i] * r[i], c2)


@pytest.mark.parametrize("c2", [4.0, 9.0])
def test_the_slope_of_a_pull_is_its_derivative(c2: float) -> None:
    r = np.linspace(-1.5 * np.sqrt(c2), 1.5 * np.sqrt(c2), 1001).astype(np.float32)
    pull, slope = (wp.zeros(len(r), dtype=float, device="cpu") for _ in range(2))
    wp.launch(evaluate_slope, len(r), [wp.array(r, device="cpu"), c2], [pull, slope], device="cpu")
    expected = np.gradient(pull.numpy().astype(np.float64), r.astype(np.float64))
    np.testing.assert_allclose(slope.numpy()[1:-1], expected[1:-1], atol=5e-3)
    assert slope.numpy().min() < -0.1
