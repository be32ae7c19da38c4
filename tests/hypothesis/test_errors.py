"""What errors that all frames share add to the covariance of a pose refined in one."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.estimate.consider import Component
from dr_perception.estimate.mixture import Mixture, Weighted
from dr_perception.geometry import Mesh, ObjectModel
from dr_perception.geometry.se3 import exp_so3
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.hypothesis.errors import Displacement, PoseErrors, error_model, message_of, moved_by
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.measure.config import SensorConfig
from dr_perception.measure.consider import NAMES, NUM_PARAMETERS
from dr_perception.measure.considered import Considered, Sums

MODEL = error_model(SensorConfig(), BodyConfig())
WEIGHT = 0.002**-2
NO_PRIOR = np.zeros((6, 6))


def sums(rng: np.random.Generator, theta: np.ndarray, noise: float = 1.0, count: int = 300) -> Sums:
    """Of random rows in a world with errors ``theta`` (T,)."""
    J = rng.normal(size=(count, 6)) * np.repeat([1.0, 0.05], 3)
    K = rng.normal(size=(count, NUM_PARAMETERS)) * (0.001 / MODEL.usual)
    r = K @ theta + noise * WEIGHT**-0.5 * rng.normal(size=count)
    w = WEIGHT
    return Sums(
        w * J.T @ J, w * J.T @ r, w * J.T @ K, w * K.T @ K, w * K.T @ r, float(w * r @ r), float(count)
    )


def test_a_pose_moves_as_its_rows_say_and_a_prior_holds_it() -> None:
    rng = np.random.default_rng(0)
    used = sums(rng, np.zeros(NUM_PARAMETERS))
    moment = np.diag(rng.uniform(0.5, 2.0, NUM_PARAMETERS) * MODEL.usual**2)
    A = np.linalg.solve(used.H, used.H_xt)
    free = moved_by(used, NO_PRIOR, moment)
    np.testing.assert_allclose(free, A @ moment @ A.T, rtol=1e-9)
    np.testing.assert_allclose(moved_by(used, used.H, moment), 0.25 * free, rtol=1e-9)


def test_rows_tell_of_errors_what_a_free_pose_leaves_of_them() -> None:
    rng = np.random.default_rng(1)
    theta = MODEL.usual * rng.normal(size=NUM_PARAMETERS)
    one = sums(rng, theta)
    joint = np.block([[one.H, one.H_xt], [one.H_xt.T, one.H_tt]])
    covariance = np.linalg.inv(joint)[6:, 6:]
    found = message_of(one)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(np.linalg.inv(found.L) / scale, covariance / scale, atol=1e-4)
    mean = np.linalg.solve(joint, np.concatenate([one.g, one.g_t]))[6:]
    np.testing.assert_allclose(
        np.linalg.solve(found.L, found.b), mean, rtol=1e-2, atol=1e-2 * np.abs(mean).max()
    )


def test_a_frame_states_what_is_open_and_what_it_saw() -> None:
    """Rows that the pose was fitted to say how it is moved; those with a wide look tell of the errors."""
    rng = np.random.default_rng(2)
    gross = np.zeros(NUM_PARAMETERS)
    gross[NAMES.index("depth_bias")] = 0.01
    for theta in (np.zeros(NUM_PARAMETERS), gross):
        pairs = [Considered(sums(rng, theta), sums(rng, theta)) for _ in range(2)]
        errors = PoseErrors(pairs, MODEL, NO_PRIOR)
        for i, one in enumerate(pairs):
            moment = Mixture.of(MODEL, {"": message_of(one.far)}).of_body("").second_moment
            np.testing.assert_allclose(errors.covariance(i), moved_by(one.used, NO_PRIOR, moment), rtol=1e-9)
        told = np.sqrt(moment[NAMES.index("depth_bias"), NAMES.index("depth_bias")])
        assert told == pytest.approx(0.01, rel=0.3) if theta.any() else told < 0.001


def test_settings_reach_the_parameters_that_they_are_named_for() -> None:
    sensor, body = SensorConfig(), BodyConfig()
    for values, of_sensor, scale, surface in (
        (MODEL.usual, sensor.usual, body.usual_scale, body.usual_surface_m),
        (MODEL.gross, sensor.gross, body.gross_scale, body.gross_surface_m),
    ):
        stated = dict(zip(NAMES, values, strict=True))
        assert stated.pop("model_scale") == scale
        assert {stated.pop(f"surface_{octant}") for octant in range(8)} == {surface}
        assert stated == {
            "focal_length": of_sensor.focal_length,
            "depth_bias": of_sensor.depth_bias_m,
            "depth_scale": of_sensor.depth_scale,
            "depth_shift_u": of_sensor.depth_shift_px,
            "depth_shift_v": of_sensor.depth_shift_px,
            "depth_delay": of_sensor.depth_delay_s,
            "outline_offset": of_sensor.outline_px,
        }


def test_a_displacement_has_the_moments_of_its_samples() -> None:
    """The probability that a surface is displaced by less than the limit, against drawn errors."""
    rng = np.random.default_rng(4)
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), -1).reshape(-1, 3)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = np.array([[f[0], f[i], f[i + 1]] for f in faces for i in (1, 2)], dtype=np.int32)
    model = ObjectModel("box", Mesh(corners * [0.05, 0.07, 0.03], triangles))
    surface, R = SurfaceUncertainty(model), exp_so3(np.array([0.3, -0.5, 0.2]))
    p = np.array([0.6, 0.4])
    mean = np.array([np.zeros(6), [0.0, 0.0, 0.012, 0.0, 0.0, 0.0]])
    roots = 0.002 * rng.normal(size=(2, 6, 6)) * np.repeat([1.0, 10.0], 3)[:, None]
    covariance = roots @ roots.mT
    found = Displacement(p, mean, covariance)
    case = rng.choice(2, p=p, size=40_000)
    drawn = mean[case] + (roots[case] @ rng.normal(size=(len(case), 6, 1)))[..., 0]
    scale = np.sqrt(np.outer(*2 * [np.diag(found.second_moment)]))
    np.testing.assert_allclose(found.second_moment / scale, drawn.T @ drawn / len(drawn) / scale, atol=0.03)
    points = (model.mesh.vertices - model.center) @ R.T
    moved = drawn[:200, None, :3] + np.cross(drawn[:200, None, 3:], points)
    assert surface.displacements_m(R, drawn[:200], np.zeros((200, 6, 6)))[0].mean() == pytest.approx(
        np.sqrt((moved**2).sum(axis=2).mean(axis=1)).mean(), rel=0.2
    )
    far = np.sqrt(np.einsum("ni,ij,nj->n", drawn, surface._weights(R), drawn))
    inside = float(np.mean(far < surface.limit_m))
    assert found.probability_within(surface, R) == pytest.approx(inside, abs=0.08)
    for share in (0.5, 1.5):
        off = np.array([[0.0, 0.0, share * surface.limit_m, 0.0, 0.0, 0.0]])
        known = Displacement(np.ones(1), off, 1e-12 * np.eye(6)[None])
        assert known.probability_within(surface, R) == pytest.approx(float(share < 1.0), abs=1e-6)


def test_a_wider_displacement_has_larger_moments() -> None:
    rng = np.random.default_rng(5)
    one = Displacement(np.array([0.3, 0.7]), rng.normal(size=(2, 6)), np.stack([np.eye(6), 2.0 * np.eye(6)]))
    rest = np.diag(rng.uniform(1.0, 2.0, 6))
    np.testing.assert_allclose(one.widened(3.0, rest).second_moment, 3.0 * one.second_moment + rest)


def test_errors_displace_a_pose_as_the_rows_it_was_fitted_to_say() -> None:
    rng = np.random.default_rng(6)
    used = sums(rng, np.zeros(NUM_PARAMETERS))
    moment = np.diag(MODEL.usual**2)
    theta = Component(np.zeros(1), np.zeros((1, NUM_PARAMETERS)), moment[None])
    found = Displacement.by(used, NO_PRIOR, Weighted(np.ones(1), theta))
    np.testing.assert_allclose(found.second_moment, moved_by(used, NO_PRIOR, moment), rtol=1e-9)
    shifted = Component(np.zeros(1), MODEL.gross[None], 0.0 * moment[None])
    found = Displacement.by(used, NO_PRIOR, Weighted(np.ones(1), shifted))
    np.testing.assert_allclose(found.mean[0], np.linalg.solve(used.H, used.H_xt @ MODEL.gross), rtol=1e-9)
