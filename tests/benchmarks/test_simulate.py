from __future__ import annotations

import calibrate_posterior
import consistency
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from simulate import CAMERA, Noise, Simulator, _filter_power, _whiten

from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import make_transform
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty


@pytest.fixture(scope="module")
def box() -> ObjectModel:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64) - 0.5
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], dtype=np.int32)
    return ObjectModel("box", Mesh(corners * [0.12, 0.08, 0.05], faces))


def _tilted() -> np.ndarray:
    from dr_perception.geometry.se3 import exp_so3

    return make_transform(exp_so3(np.array([0.6, 0.5, 0.2])), np.array([0.0, 0.0, 0.6]))


def test_noise_has_the_stated_size(box: ObjectModel) -> None:
    noise = Noise(lateral_px=0.0)
    simulator = Simulator(box, noise, np.random.default_rng(0))
    depth = simulator.frame(_tilted(), color=False)[0].depth_m()
    wall = depth[:150]  # a plane that faces the camera
    expected = noise.sigma_per_m2 * np.mean(wall) ** 2
    assert np.std(wall) == pytest.approx(expected, rel=0.15)
    step = np.std(np.diff(wall, axis=1)) / np.sqrt(2.0)
    assert step < 0.95 * np.std(wall)  # neighbours are correlated


def test_whitening_inverts_the_correlation_of_the_noise() -> None:
    noise, shape = Noise(), (13, 15)
    hit = np.ones(shape, dtype=bool)
    hit[:3, :4] = False
    pixels = np.flatnonzero(hit)
    columns = []
    for pixel in pixels:
        pulse = np.zeros(shape)
        pulse.flat[pixel] = 1.0
        for _ in range(2):
            pulse = gaussian_filter(pulse, noise.correlation_px, mode="constant")
        columns.append(pulse.ravel()[pixels])
    smooth = np.array(columns) / _filter_power(noise.correlation_px)
    covariance = noise.white_share * np.eye(len(pixels)) + (1.0 - noise.white_share) * smooth
    J = np.random.default_rng(0).normal(size=(len(pixels), 6))
    np.testing.assert_allclose(_whiten(J, hit, noise), np.linalg.solve(covariance, J), atol=2e-3)


def test_bound_falls_with_the_noise(box: ObjectModel) -> None:
    surface, T = SurfaceUncertainty(box), _tilted()
    bounds = []
    for scale in (0.5, 1.0):
        noise = Noise(sigma_per_m2=0.005 * scale, lateral_px=0.8 * scale)
        information = Simulator(box, noise, np.random.default_rng(0)).frame(T, color=False)[1]
        bounds.append(consistency.bound_m(box, surface, T, information))
    assert 0.0 < bounds[0] < 0.6 * bounds[1]
    assert bounds[1] < 1e-3


def test_frame_shows_the_object_where_it_is(box: ObjectModel) -> None:
    simulator = Simulator(box, Noise(sigma_per_m2=0.0, lateral_px=0.0), np.random.default_rng(0))
    frame, _ = simulator.frame(_tilted())
    depth = frame.depth_m()
    center = depth[round(CAMERA.cy), round(CAMERA.cx)]
    assert 0.6 - box.radius_m < center < 0.6
    assert frame.color is not None and frame.color.shape == (CAMERA.height, CAMERA.width, 3)


def test_logistic_fit_finds_the_weights_that_made_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(-2.0, 4.0, (4000, 3))
    truth = np.array([-2.0, 1.5, 0.8, 0.3])
    right = rng.random(4000) < calibrate_posterior.probability(truth, features)
    rows = [
        calibrate_posterior.Row("a" if k < 3000 else "b", k, "moved", "both", tuple(f), bool(r))
        for k, (f, r) in enumerate(zip(features, right, strict=True))
    ]
    found = calibrate_posterior.Rows(rows, "both")
    every = np.ones(4000, bool)
    np.testing.assert_allclose(found.fit(every, (True, True, True)), truth, atol=0.3)
    assert abs(found.fit(every, (True, False, True))[2]) < 1e-6
    assert abs(found.predicted((True, True, True)).mean() - right.mean()) < 0.03
