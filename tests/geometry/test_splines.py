"""Splines of poses: smooth, exact for steady motions, and their velocities are the slopes of their poses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from dr_perception.geometry.se3 import exp_so3, local, log_so3, make_transform, random_rotation, retract
from dr_perception.geometry.splines import basis, spline_poses, spline_spans


def knots(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    T = [make_transform(random_rotation(rng), rng.normal(size=3))]
    for _ in range(count - 1):
        T.append(retract(T[-1], rng.normal(size=6) * [0.1, 0.1, 0.1, 0.5, 0.5, 0.5]))
    return np.array(T)


def test_places_are_those_of_an_ordinary_cubic_b_spline() -> None:
    T, stamps = knots(7), np.linspace(0.0, 4.0, 23)
    t = np.arange(-3.0, 8.0)
    expected = BSpline(t, T[:, :3, 3], 3)(stamps)
    np.testing.assert_allclose(spline_poses(T, stamps)[0][:, :3, 3], expected, atol=1e-12)


def test_a_steady_turn_is_kept_exactly() -> None:
    """Knots that lie a constant twist apart make just that motion."""
    w, v = np.array([0.3, -0.5, 0.4]), np.array([0.1, 0.0, -0.2])
    T = np.array([make_transform(exp_so3(k * w), k * v) for k in range(-1, 6)])
    stamps = np.linspace(0.0, 2.0, 9)
    found, velocity = spline_poses(T, stamps, period=0.5)
    for T_now, s in zip(found, stamps / 0.5, strict=True):
        np.testing.assert_allclose(T_now, make_transform(exp_so3(s * w), s * v), atol=1e-12)
    np.testing.assert_allclose(velocity, np.tile(np.concatenate([v, w]) / 0.5, (9, 1)), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_velocities_are_slopes_and_do_not_jump_at_knots(seed: int) -> None:
    T, step = knots(8, seed), 1e-6
    stamps = np.array([0.3, 0.99999, 1.0, 1.7, 3.2, 4.4])
    now, velocity = spline_poses(T, stamps, start=-0.2, period=1.0)
    later, _ = spline_poses(T, stamps + step, start=-0.2)
    np.testing.assert_allclose(local(now, later) / step, velocity, atol=2e-5)
    before, after = (spline_poses(T, [k - 0.2], start=-0.2)[1] for k in (2.0 - 1e-9, 2.0 + 1e-9))
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_the_cumulative_functions_begin_and_end_as_they_should() -> None:
    values, slopes = basis([0.0, 1.0])
    np.testing.assert_allclose(values, [[1, 5 / 6, 1 / 6, 0], [1, 1, 5 / 6, 1 / 6]], atol=1e-15)
    np.testing.assert_allclose(slopes[0, 1:], np.roll(slopes[1, 1:], -1), atol=1e-15)
    u = np.linspace(0.1, 0.9, 5)
    numeric = (basis(u + 1e-6)[0] - basis(u - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(basis(u)[1], numeric, atol=1e-9)


def test_turns_stay_turns() -> None:
    found, _ = spline_poses(knots(6), np.linspace(0, 3, 50))
    R = found[:, :3, :3]
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
    assert np.abs(np.diff(log_so3(R[0].T @ R), axis=0)).max() < 0.2


def test_what_lies_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stamps must lie from 0.0 to 3.0, got -0.1 to 1.0"):
        spline_spans([-0.1, 1.0], 6, 0.0, 1.0)
    with pytest.raises(ValueError, match="four knots and a positive period, got 3 and 1"):
        spline_spans([0.0], 3, 0.0, 1.0)
    with pytest.raises(ValueError, match="got 6 and 0"):
        spline_spans([0.0], 6, 0.0, 0)
    span, u = spline_spans([3.0], 6, 0.0, 1.0)
    assert span[0] == 2 and u[0] == 1.0
