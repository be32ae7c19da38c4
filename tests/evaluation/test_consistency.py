"""Uncertainty checks recover what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.evaluation import consistency as c
from dr_perception.geometry import se3
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

COVARIANCE = np.diag([1e-6, 4e-6, 9e-6, 1e-4, 2e-4, 3e-4]) + 2e-7


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_nees_of_true_covariances_is_chi_square(rng):
    errors = rng.multivariate_normal(np.zeros(6), COVARIANCE, size=4000)
    result = c.consistency(c.nees(errors, np.broadcast_to(COVARIANCE, (4000, 6, 6))), dof=6)
    assert result.bounds[0] < 6 < result.bounds[1]
    assert result.mean == pytest.approx(6.0, rel=0.05)
    assert result.share_inside_95 == pytest.approx(0.95, abs=0.015)


def test_an_overconfident_covariance_shows(rng):
    errors = rng.multivariate_normal(np.zeros(6), COVARIANCE, size=500)
    result = c.consistency(c.nees(errors, np.broadcast_to(COVARIANCE / 4.0, (500, 6, 6))), dof=6)
    assert result.mean == pytest.approx(24.0, rel=0.1)
    assert result.mean > result.bounds[1] and result.share_inside_95 < 0.5


def test_nees_says_what_it_cannot_compute():
    error = np.ones((1, 6))
    assert c.nees(error, np.zeros((1, 6, 6)))[0] == np.inf
    assert np.isnan(c.nees(error, np.full((1, 6, 6), np.nan))[0])
    with pytest.raises(ValueError, match=r"\(1, 6, 6\)"):
        c.nees(error, np.eye(6))
    with pytest.raises(ValueError, match="no finite covariance"):
        c.consistency([np.nan], 6)


def test_nees_of_a_pose_uses_its_tangent(rng):
    T = se3.make_transform(se3.random_rotation(rng), np.array([0.1, -0.2, 0.9]))
    xi = np.array([0.001, 0.0, 0.002, 0.0, 0.01, 0.0])
    expected = xi @ np.linalg.inv(COVARIANCE) @ xi
    assert c.pose_nees(se3.retract(T, xi), T, COVARIANCE, Symmetries.none()) == pytest.approx(
        expected, rel=1e-6
    )


def test_what_a_symmetry_hides_is_left_out(rng):
    offset = np.array([0.02, 0.01, 0.0])
    symmetry = Symmetries(continuous=(ContinuousSymmetry(np.array([0.0, 0.0, 1.0]), offset),))
    T = se3.make_transform(se3.random_rotation(rng), np.array([0.1, -0.2, 0.9]))
    basis = c.observable_basis(T, symmetry)
    assert basis.shape == (5, 6)
    hidden = se3.local(T, T @ symmetry.continuous[0].turn(1e-6)) / 1e-6
    np.testing.assert_allclose(basis @ hidden, 0.0, atol=1e-6)
    turned = T @ symmetry.continuous[0].turn(2.0)
    assert c.pose_nees(turned, T, COVARIANCE, symmetry) == pytest.approx(0.0, abs=1e-9)
    ball = Symmetries(continuous=tuple(ContinuousSymmetry(axis, offset) for axis in np.eye(3)[:2]))
    assert c.observable_basis(T, ball).shape == (3, 6)


def test_jitter_sees_noise_and_drift_sees_the_slope(rng):
    times = np.arange(3000) / 30.0
    errors = 0.002 * times[:, None] * [1.0, -2.0] + 0.0005 * rng.standard_normal((3000, 2))
    np.testing.assert_allclose(c.jitter(errors), 0.0005, rtol=0.06)
    np.testing.assert_allclose(c.drift(errors, times), [0.002, -0.004], rtol=1e-3)
    with pytest.raises(ValueError, match="three frames"):
        c.jitter(errors[:2])
    with pytest.raises(ValueError, match="distinct times"):
        c.drift(errors[:2], [1.0, 1.0])


def test_calibration_of_an_honest_and_of_a_boasting_score(rng):
    scores = rng.uniform(size=20_000)
    honest = c.reliability(scores, rng.uniform(size=20_000) < scores)
    assert honest.expected_error < 0.02
    assert honest.brier == pytest.approx(1 / 6, abs=0.01)
    boasting = c.reliability(np.ones(100), np.arange(100) < 40)
    assert boasting.expected_error == pytest.approx(0.6)
    assert boasting.count.tolist() == [100]
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        c.reliability([1.5], [True])
