"""Tangents of many poses at once against the geometry, and their derivative against differences."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.estimate.tangent import cross_matrix, log_jacobian, moved, tangents
from dr_perception.geometry.se3 import exp_so3, hat, local, log_so3, perturb, retract

ANGLES = [0.0, 1e-9, 1e-4, 0.05, 0.1, 0.2, 1.5, 3.0]


@pytest.mark.parametrize("angle", ANGLES)
def test_tangents_are_those_of_the_geometry(angle: float) -> None:
    rng = np.random.default_rng(1)
    T = np.stack([perturb(np.eye(4), 1.0, 1.0, rng) for _ in range(4)])
    to = np.stack([perturb(t, 0.1, angle, rng) for t in T])
    np.testing.assert_allclose(tangents(T, to), local(T, to), atol=1e-8)
    np.testing.assert_allclose(moved(T, local(T, to)), retract(T, local(T, to)), atol=1e-12)


def test_cross_matrices() -> None:
    w = np.random.default_rng(2).normal(size=(3, 2, 3))
    np.testing.assert_array_equal(cross_matrix(w), hat(w))


@pytest.mark.parametrize("angle", ANGLES)
def test_the_derivative_of_the_logarithm(angle: float) -> None:
    """Alone, and beside vectors of other lengths."""
    w = np.array([0.36, -0.48, 0.8]) * angle
    step = 1e-6
    columns = [
        (log_so3(exp_so3(d) @ exp_so3(w)) - log_so3(exp_so3(-d) @ exp_so3(w))) / (2.0 * step)
        for d in step * np.eye(3)
    ]
    np.testing.assert_allclose(log_jacobian(w), np.stack(columns, axis=1), atol=1e-8)
    others = np.stack([w, np.array([0.0, 1e-5, 0.0]), np.array([0.0, 0.0, 2.0])])
    np.testing.assert_allclose(log_jacobian(others)[0], np.stack(columns, axis=1), atol=1e-8)
