"""The compiled arithmetic of a track against the same formulas in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import erf
from synthetic import CAMERA, make_model

from dr_perception.device.evidence import NUM_SUMS
from dr_perception.estimate.information import DIRECTION_ERROR_RAD
from dr_perception.geometry.se3 import (
    exp_so3,
    local,
    make_transform,
    random_rotation,
    retract,
)
from dr_perception.hypothesis.posterior import BOTH, DEPTH_ONLY
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.measure.modalities import MODALITIES
from dr_perception.tracking.config import TrackerConfig
from dr_perception.tracking.diagnosis import Diagnosis
from dr_perception.tracking.estimator import LARGEST_VARIANCES, Estimator
from dr_perception.tracking.object_track import ObjectTrack

CONFIG = TrackerConfig()
DIAGNOSIS = Diagnosis(CONFIG.sensor, CONFIG.body)
"""Defaults: the formulas are compared at the settings that are used."""


@pytest.fixture(scope="module")
def track() -> ObjectTrack:
    return ObjectTrack(make_model("mug"), FrameBuffers(CAMERA), CONFIG, DIAGNOSIS)


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(4)


def _belief(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    T = make_transform(random_rotation(rng), np.array([0.02, -0.03, 0.6]))
    A = rng.normal(size=(6, 6)) * np.repeat([0.003, 0.03], 3)[:, None]
    return T, A @ A.T + np.diag(np.repeat([1e-3, 1e-2], 3) ** 2)


def _believe(estimator: Estimator, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    T, C = _belief(rng)
    estimator.begin(T, C)
    velocity = rng.normal(size=6) * np.repeat([0.3, 2.0], 3)
    estimator._velocity[:] = velocity
    return T, C, velocity


def _measure(track: ObjectTrack, T_center: np.ndarray, sums: np.ndarray) -> None:
    """Put a refinement's outcome where the kernels look for it."""
    refiner = track.refiner
    refiner.poses.set(T_center[None])
    refiner.solver.best.host[0] = sums
    refiner.view.counts.host[:, 0] = (500, 100, 600)


def _sums(H: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(MODALITIES), NUM_SUMS), dtype=np.float32)
    sums[0, :21] = 0.75 * H[np.triu_indices(6)]
    sums[1, :21] = 0.25 * H[np.triu_indices(6)]
    sums[0, 28:32] = 400.0, 300.0, 60.0, 40.0  # depth rows, inliers, hidden, contradicted
    sums[1, 28:31] = 90.0, 70.0, 10.0  # lines, inliers, hidden
    return sums


def test_prediction_follows_the_velocity_of_the_centre(track: ObjectTrack, rng: np.random.Generator) -> None:
    T, C, velocity = _believe(track._estimator, rng)
    center = make_transform(np.eye(3), track.model.center)
    track._estimator.predict(0.05, moving=True)
    expected = retract(T @ center, 0.05 * velocity)
    np.testing.assert_allclose(track.predicted @ center, expected, atol=1e-9)
    periods = 0.05 / CONFIG.motion.nominal_period_s
    sigma = np.repeat([CONFIG.motion.translation_sigma_m, CONFIG.motion.rotation_sigma_rad], 3)
    grown = C + np.diag((periods * sigma) ** 2)
    np.testing.assert_allclose(track.center_covariance, grown, rtol=1e-9, atol=1e-15)
    prior = track.refiner.solver.priors.host[0]
    np.testing.assert_allclose(prior["information"] @ grown, np.eye(6), atol=1e-4)
    np.testing.assert_allclose(prior["R"], expected[:3, :3], atol=1e-6)
    np.testing.assert_allclose(track.refiner.poses.get()[0], expected, atol=1e-6)


@pytest.mark.parametrize(("dt_s", "moving"), [(0.05, False), (1.0, True)])
def test_what_is_lost_or_long_unseen_is_predicted_to_rest(
    track: ObjectTrack, rng: np.random.Generator, dt_s: float, moving: bool
) -> None:
    T, _, _ = _believe(track._estimator, rng)
    track._estimator.predict(dt_s, moving)
    np.testing.assert_allclose(track.predicted, T, atol=1e-12)


def test_variances_stay_below_the_largest_that_is_believed(track: ObjectTrack) -> None:
    track._estimator.begin(make_transform(np.eye(3), np.array([0.0, 0.0, 0.6])), np.diag(LARGEST_VARIANCES))
    for _ in range(3):
        track._estimator.predict(1.0, moving=False)
    np.testing.assert_allclose(track.center_covariance, np.diag(LARGEST_VARIANCES), rtol=1e-9)


def test_view_change_is_the_turn_of_the_viewpoint(track: ObjectTrack) -> None:
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.6]) - track.model.center)
    track._estimator.begin(T, np.eye(6) * 1e-6)
    track._estimator._velocity[4] = 1.0  # rad/s about the camera's y axis
    track._estimator.predict(0.04, moving=True)
    assert track._estimator.view_change == pytest.approx(2.0 * np.sin(0.02), rel=1e-6)


def _numpy_judgement(
    track: ObjectTrack, R: np.ndarray, H: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Information, posterior and certainty by NumPy's decompositions."""
    surface, floor = SurfaceUncertainty(track.model), CONFIG.body
    information = H.copy()
    excess = DIRECTION_ERROR_RAD**2 * np.trace(H[:3, :3])
    information[3:, 3:] -= excess * (R @ surface.spread @ R.T)
    scale = np.repeat([1.0, 1.0 / surface.radius_m], 3)
    values, vectors = np.linalg.eigh(information * np.outer(scale, scale))
    information = (vectors * np.maximum(values, 0.0)) @ vectors.T / np.outer(scale, scale)
    posterior = np.linalg.inv(information + prior)
    posterior += np.diag(np.repeat([floor.floor_m, floor.floor_rad], 3) ** 2)
    certainty = erf(surface.limit_m / (np.sqrt(2.0) * surface.displacement_m(R, posterior)))
    return information, posterior, float(certainty)


@pytest.mark.parametrize("weak", [1.0, 1e-4])
def test_judgement_agrees_with_numpy(track: ObjectTrack, rng: np.random.Generator, weak: float) -> None:
    _believe(track._estimator, rng)
    track._estimator.predict(0.03, moving=True)
    prior = np.linalg.inv(track.center_covariance)
    J = rng.normal(size=(60, 6)) * np.repeat([1.0, 0.05], 3)
    J[:, 5] *= weak  # hardly measured: less than the model's own errors put in
    H = (2e4 * J.T @ J).astype(np.float32).astype(np.float64)
    T = retract(track._estimator.predicted_pose, rng.normal(size=6) * 0.01)
    center = T @ make_transform(np.eye(3), track.model.center)
    _measure(track, center, _sums(H))
    agreement = track._estimator.judge(rendered=True)

    np.testing.assert_allclose(track._estimator.measured_pose, T, atol=1e-6)
    R = track._estimator.measured_pose[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    information, posterior, certainty = _numpy_judgement(track, R, H, prior)
    size = np.sqrt(np.outer(H.diagonal(), H.diagonal()))
    assert np.abs(track._estimator.measured_information - information).max() < 1e-5 * size.max()
    np.testing.assert_allclose(track._estimator.posterior, posterior, rtol=2e-3, atol=1e-9)
    assert agreement.certainty == pytest.approx(certainty, abs=1e-3)


def test_agreement_counts_what_is_seen(track: ObjectTrack, rng: np.random.Generator) -> None:
    _believe(track._estimator, rng)
    track._estimator.predict(0.03, moving=True)
    shift = np.array([0.004, 0.0, 0.003, 0.0, 0.05, 0.0])
    center = retract(track.predicted @ make_transform(np.eye(3), track.model.center), shift)
    _measure(track, center, _sums(np.eye(6) * 1e5))
    track.refiner.frame.has_color = True
    both = track._estimator.judge(rendered=True)
    assert both.visible_fraction == pytest.approx(1.0 - 60.0 / 400.0)
    assert both.depth == pytest.approx((300.0 + 4.4) / (340.0 + 8.8))
    assert both.outline == pytest.approx((70.0 + 1.9) / (90.0 + 3.8))
    odds = BOTH[1] * math.log(304.4 / 44.4) + BOTH[2] * math.log(71.9 / 21.9)
    assert both.score == pytest.approx(1.0 / (1.0 + math.exp(-BOTH[0] - odds)))
    assert (both.support, both.samples) == (370.0, 500.0)
    assert both.shift_m == pytest.approx(0.005 + 0.05 * track.model.radius_m, rel=1e-3)
    track.refiner.frame.has_color = False
    depth_only = track._estimator.judge(rendered=True)
    odds = DEPTH_ONLY[0] + DEPTH_ONLY[1] * math.log(304.4 / 44.4)
    assert depth_only.outline < 0.0
    assert depth_only.score == pytest.approx(1.0 / (1.0 + math.exp(-odds)))


def test_velocity_is_learned_where_the_images_measure(track: ObjectTrack, rng: np.random.Generator) -> None:
    estimator = track._estimator
    _believe(estimator, rng)
    estimator.stop()
    before = estimator._R.copy(), estimator._t.copy()
    estimator.predict(0.04, moving=True)
    moved = make_transform(exp_so3([0.0, 0.02, 0.0]) @ before[0], before[1] + [0.004, 0.0, 0.0])
    _measure(track, moved, _sums(np.diag(np.repeat([1e9, 1e9], 3))))
    estimator.judge(rendered=True)
    estimator.accept()
    T = make_transform(*before)
    expected = CONFIG.motion.velocity_gain * local(T, moved) / 0.04
    np.testing.assert_allclose(estimator._velocity, expected, rtol=2e-2, atol=1e-3)
    estimator.predict(0.04, moving=True)
    _measure(track, moved, _sums(np.zeros((6, 6))))
    estimator.judge(rendered=True)
    estimator.accept()
    # Nothing was measured: what was learned fades.
    kept = 1.0 - CONFIG.motion.velocity_gain
    np.testing.assert_allclose(estimator._velocity, kept * expected, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("kind", ["mug", "bottle", "box"])
def test_the_box_looked_at_holds_the_surface_and_is_smaller_than_that_of_the_sphere(
    kind: str, rng: np.random.Generator
) -> None:
    model = make_model(kind)
    track = ObjectTrack(model, FrameBuffers(CAMERA), CONFIG, DIAGNOSIS)
    areas = []
    for _ in range(10):
        T, C = _belief(rng)
        track._estimator.begin(T, C)
        x0, y0, x1, y1 = track.box(0.0)
        u, v = CAMERA.project(model.mesh.vertices @ T[:3, :3].T + T[:3, 3]).T
        assert x0 <= u.min() and u.max() <= x1 and y0 <= v.min() and v.max() <= y1
        sphere = track.refiner.image_box(T, 0.0)
        areas.append((x1 - x0) * (y1 - y0) / ((sphere[2] - sphere[0]) * (sphere[3] - sphere[1])))
    assert max(areas) <= 1.0 + 1e-6 and np.mean(areas) < 0.95
    near = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5 * model.radius_m])) @ make_transform(
        np.eye(3), -model.center
    )
    track._estimator.begin(near, C)
    assert track.box(0.0) == (0, 0, CAMERA.width, CAMERA.height)
