"""Least squares on images: derivatives, optimum and covariance of a lens and a pose, and gauges by name."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose

import dr_perception as drp
from dr_perception.fitting.image_residuals import ImageResiduals
from dr_perception.geometry.se3 import local, retract
from dr_perception.losses import L2, Objective, Term

SIGMA = 0.02
OPTIONS = drp.RenderOptions(channels=("color", "silhouette"), supersampling=3)
SCENE = drp.Scene([drp.Instance(box(), pose(0.25))])
OFF = np.array([0.002, -0.001, 0.004, 0.03, -0.02, 0.04])


def made(seed: int, names: tuple[str, ...] = ("pose",)) -> drp.ImageFit:
    """A fit whose unknowns start at a distance from what noisy pictures were drawn with."""
    renderer, rng = drp.Renderer(), np.random.default_rng(seed)
    clean = renderer.render(SCENE, renderer.parameters(SCENE, CAMERA), OPTIONS)
    seen = {}
    for name in ("color", "silhouette"):
        image = getattr(clean, name)
        noisy = image.numpy() + rng.normal(0.0, SIGMA, image.numpy().shape)
        seen[name] = wp.array(noisy.astype(np.float32), dtype=image.dtype)
    start = retract(pose(0.25), OFF)[None, None]
    p = renderer.parameters(SCENE, CAMERA, poses=start, requires_grad=names)
    objective = Objective({name: Term(L2(), name) for name in seen})
    return drp.ImageFit(renderer, SCENE, p, objective, seen, options=OPTIONS)


NOISE = {"color": SIGMA, "silhouette": SIGMA}
SCALE = [0.002] * 3 + [0.02] * 3


def test_poses_come_back_and_scatter_as_their_covariance_says() -> None:
    errors, claimed = [], None
    for seed in range(16):
        fit = made(seed)
        found = drp.least_squares(fit, {"pose": fit.block("pose", SCALE)}, NOISE)
        errors.append(local(pose(0.25), found.values["pose"][0, 0]))
        claimed = found.covariance(["pose"])
        assert found.noise_factor == pytest.approx(1.0, abs=0.05)
    errors = np.array(errors)
    assert np.abs(errors).max() < 0.05 * np.abs(OFF).max()
    chi2 = np.einsum("ni,ij,nj->n", errors, np.linalg.inv(claimed), errors) / 6
    assert 0.4 < chi2.mean() < 2.2


def test_derivatives_agree_with_those_of_the_tape() -> None:
    """Of half the sum of squares, where no residual is an outlier."""
    fit = made(0)
    problem = ImageResiduals(fit, {"pose": fit.block("pose", SCALE)}, {"color": 10.0})
    values = problem.unknowns.start()
    normal = problem.linearise(values)
    fit._objective = Objective({"color": Term(L2(), "color")})
    rows = problem.rows
    value, gradients = fit(values)
    expected = gradients["pose"][0, 0] * np.array(SCALE)
    expected *= 0.5 * normal.chi2 / value  # the loss is a mean
    np.testing.assert_allclose(normal.g, expected, atol=0.1 * np.abs(expected).max())
    assert rows == 3 * CAMERA.width * CAMERA.height


def test_albedo_and_light_have_a_gauge_with_their_names() -> None:
    fit = made(1, ("albedo", "light_colors", "ambient"))
    blocks = {name: fit.block(name, 0.1) for name in ("albedo", "light_colors", "ambient")}
    found = drp.least_squares(fit, blocks, {"color": SIGMA}, iterations=2)
    assert [g.name for g in found.gauges] == ["albedo x ambient x light_colors"]
    assert found.gauges[0].count == 3  # one for each colour channel
    priors = {"albedo": drp.Prior(0.8, 0.02)}
    closed = drp.least_squares(fit, blocks, {"color": SIGMA}, priors=priors, iterations=2)
    assert closed.gauges == ()


def test_the_best_of_several_starts_is_taken() -> None:
    fit = made(2)
    block = {"pose": fit.block("pose", SCALE)}
    far = retract(pose(0.25), [0.0, 0.0, 0.0, 0.0, 0.0, 2.0])[None, None]
    found = drp.least_squares(fit, block, NOISE, starts=[{"pose": far}, {}], iterations=12)
    assert np.abs(local(pose(0.25), found.values["pose"][0, 0])).max() < 0.01
    with pytest.raises(ValueError, match="starts must have at least one entry"):
        drp.least_squares(fit, block, NOISE, starts=[])
    with pytest.raises(ValueError, match=r"a start names blocks \['lens'\]"):
        drp.least_squares(fit, block, NOISE, starts=[{"lens": np.zeros(12)}])


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    fit = made(3)
    block = {"pose": fit.block("pose", SCALE)}
    for noise, text in (
        ({}, "noise must name at least one image"),
        ({"depth": 0.1}, "noise is given for 'depth', which is not drawn"),
        ({"color": 0.0}, "noise of 'color' must be positive, got 0"),
        ({"color": np.ones((2, 2))}, "noise of 'color' must be a number or fit"),
    ):
        with pytest.raises(ValueError, match=text):
            drp.least_squares(fit, block, noise)
    with pytest.raises(ValueError, match=r"blocks \['lens'\] are not optimised"):
        drp.least_squares(fit, {"lens": drp.Block([1.0])}, NOISE)
