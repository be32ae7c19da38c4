"""Pose graphs of cameras and objects: derivatives, gauge, marginals and wrong measurements."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.estimate.pose_graph import (
    Measurements,
    PosePrior,
    _camera_jacobian,
    block_diagonal,
    solve_pose_graph,
    tangents,
)
from dr_perception.geometry.se3 import invert, local, make_transform, perturb, random_rotation, retract
from dr_perception.tracking.camera_pose import with_floor

SIGMA = np.repeat([3e-4, 4e-3], 3)


def scene(rng, cameras=1, objects=3):
    """Poses of cameras about the origin and of objects before them, and exact measurements."""
    X = np.stack([perturb(np.eye(4), 0.1, 0.2, rng) for _ in range(cameras)])
    offsets = rng.uniform(-0.15, 0.15, (objects, 3)) + np.array([0.0, 0.0, 0.7])
    O = np.stack([make_transform(random_rotation(rng), t) for t in offsets])
    return X, O, invert(X)[:, None] @ O


def noisy(T, rng):
    return np.stack([[retract(t, rng.normal(size=6) * SIGMA) for t in row] for row in T])


def information(shape):
    return np.broadcast_to(np.diag(SIGMA**-2.0), (*shape, 6, 6)).copy()


def weak(N, sigma=1.0):
    return np.eye(6 * N) / sigma**2


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.05, 1.5, 3.0])
def test_tangents_are_those_of_the_geometry(angle: float) -> None:
    rng = np.random.default_rng(1)
    T = np.stack([perturb(np.eye(4), 1.0, 1.0, rng) for _ in range(4)])
    to = np.stack([perturb(t, 0.1, angle, rng) for t in T])
    np.testing.assert_allclose(tangents(T, to), local(T, to), atol=1e-8)


def test_the_derivative_by_the_camera_is_that_of_the_measurement() -> None:
    rng = np.random.default_rng(2)
    X, O, T = scene(rng)
    A = _camera_jacobian(X, O)[0]
    step = 1e-6
    for k in range(3):
        columns = []
        for xi in step * np.eye(6):
            ends = [(invert(retract(X[0], s * xi)) @ O[k]) for s in (1, -1)]
            e = (local(T[0, k], ends[0]) - local(T[0, k], ends[1])) / (2 * step)
            columns.append(np.concatenate([X[0, :3, :3] @ e[:3], X[0, :3, :3] @ e[3:]]))
        np.testing.assert_allclose(A[k], np.stack(columns, axis=1), atol=1e-6)


def test_known_objects_give_the_camera_back() -> None:
    rng = np.random.default_rng(3)
    X, O, T = scene(rng)
    start = np.stack([perturb(x, 0.05, 0.2, rng) for x in X])
    found = solve_pose_graph(
        start,
        O,
        Measurements(T, information((1, 3))),
        PosePrior(start, weak(1)),
        [PosePrior(O, weak(3, 1e-5))],
    )
    np.testing.assert_allclose(found.T_world_cam, X, atol=1e-6)


def test_covariances_are_true_to_the_errors() -> None:
    rng = np.random.default_rng(4)
    normalised = []
    for _ in range(200):
        X, O, T = scene(rng)
        believed = np.stack([retract(o, rng.normal(size=6) * SIGMA) for o in O])
        priors = [PosePrior(believed, block_diagonal(information((3,))))]
        measured = Measurements(noisy(T, rng), information((1, 3)))
        found = solve_pose_graph(X, believed, measured, PosePrior(X, weak(1)), priors)
        e = local(X[0], found.T_world_cam[0])
        normalised.append(e @ np.linalg.solve(found.camera_covariance, e))
    assert 5.3 < np.mean(normalised) < 6.7  # chi-square of 6 degrees, mean of 200


def test_measurements_say_nothing_about_where_everything_is_together() -> None:
    rng = np.random.default_rng(5)
    X, O, T = scene(rng)
    measured = Measurements(T, information((1, 3)))
    found = solve_pose_graph(X, O, measured, PosePrior(X, weak(1)), [PosePrior(O, weak(3))])
    common = np.zeros((18, 6))
    for k in range(3):
        for j, xi in enumerate(np.eye(6)):
            common[6 * k : 6 * k + 3, j] = xi[:3] + np.cross(xi[3:], O[k, :3, 3])
            common[6 * k + 3 : 6 * k + 6, j] = xi[3:]
    moved_together = common.T @ found.relative_information @ common
    assert np.abs(moved_together).max() < 5.0
    assert np.linalg.eigvalsh(found.relative_information)[6:].min() > 1e3


def test_one_wrong_object_does_not_pull_the_camera_along() -> None:
    rng = np.random.default_rng(6)
    for wrong in range(3):
        X, O, T = scene(rng)
        T = noisy(T, rng)
        T[0, wrong] = perturb(T[0, wrong], 0.08, 0.6, rng)
        start = np.stack([perturb(x, 0.03, 0.1, rng) for x in X])
        measured = Measurements(T, information((1, 3)))
        priors = [PosePrior(O, block_diagonal(information((3,)) * 100.0))]
        found = solve_pose_graph(
            start, O, measured, PosePrior(start, weak(1, 0.05)), priors, outlier_chi2=30.0
        )
        e = local(X[0], found.T_world_cam[0])
        assert np.linalg.norm(e[:3]) < 4e-3 and np.linalg.norm(e[3:]) < 8e-3
        assert found.chi2[0].argmax() == wrong and found.chi2[0, wrong] > 30.0


def test_poses_seen_from_the_camera_have_the_covariance_of_their_difference() -> None:
    """Uncertain cameras do not spread what they measure: only the measurement counts."""
    rng = np.random.default_rng(7)
    X, O, T = scene(rng, cameras=2)
    found = solve_pose_graph(
        X, O, Measurements(T, information((2, 3))), PosePrior(X, weak(2, 10.0)), [PosePrior(O, weak(3, 10.0))]
    )
    relative, covariance = found.relative_poses()
    np.testing.assert_allclose(relative, T, atol=1e-6)
    for c in range(2):
        for k in range(3):
            sigma = np.sqrt(np.diag(covariance[c, k]))
            assert (sigma <= 1.01 * SIGMA).all() and (sigma > 0.2 * SIGMA).all()


def test_the_floor_adds_an_independent_error() -> None:
    H = np.diag(SIGMA**-2.0)
    H[3, 3] = 0.0
    floored = with_floor(H, 1e-4, 5e-4)
    variances = 1.0 / np.delete(np.diag(floored), 3)
    expected = np.delete(SIGMA**2 + np.repeat([1e-4, 5e-4], 3) ** 2, 3)
    np.testing.assert_allclose(variances, expected, rtol=1e-9)
    assert floored[3, 3] == 0.0
