"""Sums across pose and parameters of a whole frame: those of the solver, and outlines sought farther away."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dr_perception.geometry import Camera, Frame, transform_points
from dr_perception.hypothesis.config import RefinerConfig
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.measure.config import (
    ColorConfig,
    ContourConfig,
    DepthConfig,
    SensorConfig,
    StageConfig,
)
from dr_perception.measure.consider import NAMES, NUM_CROSS, NUM_PARAMETERS
from dr_perception.measure.considered import Sums
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.measure.modalities import MODALITIES
from dr_perception.measure.terms import line_search

_spec = importlib.util.spec_from_file_location(
    "search_scenes", Path(__file__).parent.parent / "hypothesis" / "search_scenes.py"
)
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

TRUTH = scenes.pose(0.03, -0.02, 0.6, (0.9, -0.7, 1.8))
WHOLE = (0, 0, scenes.CAMERA.width, scenes.CAMERA.height)
LAST = StageConfig(lines="step", steps=3)


ALL = SensorConfig(
    depth=DepthConfig(cutoff_sigma=1e3),
    contour=ContourConfig(cutoff_sigma=1e3),
    color=ColorConfig(cutoff_sigma=1e3),
)
"""Every row counts in full, so that the weights of rows and the slopes of their pull are the same."""


@cache
def shown() -> tuple[object, Frame]:
    model = scenes.bracket()
    return model, scenes.render([(model, TRUTH)])[0]


def refined(frame: Frame | None = None, sensor: SensorConfig | None = None) -> PoseRefiner:
    """A refiner that has refined the true pose of the bracket in a frame."""
    model, rendered = shown()
    buffers = FrameBuffers(scenes.CAMERA)
    buffers.begin(frame or rendered)
    buffers.upload(WHOLE)
    made = PoseRefiner(model, buffers, RefinerConfig(sensor=sensor or SensorConfig()), considers=True)
    made.set_poses(TRUTH[None])
    made.set_prior(TRUTH[None], np.zeros((6, 6)))
    made.view.render()
    made.histograms.learn(1.0)
    made.refine([made.record_stage(LAST)])
    return made


def evidence(refiner: PoseRefiner, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """H (6, 6) and g (6,) that the solver ended with, of some modalities."""
    refiner.solver.best.pull()
    chosen = [MODALITIES.index(name) for name in names]
    sums = refiner.solver.best.host[0, chosen].astype(np.float64).sum(axis=0)
    H = np.zeros((6, 6))
    H[np.triu_indices(6)] = sums[:21]
    return H + np.triu(H, 1).T, sums[21:27]


def test_what_a_pose_was_fitted_to_is_what_is_considered() -> None:
    refiner = refined(sensor=ALL)
    assert refiner.considered is not None
    considered = refiner.considered.measure()[0]
    H, g = evidence(refiner, *MODALITIES)
    scale = np.sqrt(np.outer(np.diag(H), np.diag(H)))
    np.testing.assert_allclose(considered.used.H / scale, H / scale, atol=2e-3)
    np.testing.assert_allclose(considered.used.g / np.sqrt(np.diag(H)), g / np.sqrt(np.diag(H)), atol=0.05)
    for name in MODALITIES:
        assert evidence(refiner, name)[0].any(), f"{name} took no part, so that nothing was compared"
    again = refiner.considered.measure_used()[0]
    for key, value in again.__dict__.items():
        np.testing.assert_array_equal(value, considered.used.__dict__[key])


def test_without_a_colour_image_depth_alone_is_considered() -> None:
    refiner = refined(replace(shown()[1], color=None), ALL)
    assert refiner.considered is not None
    considered = refiner.considered.measure()[0]
    H, _ = evidence(refiner, "depth")
    scale = np.sqrt(np.outer(np.diag(H), np.diag(H)))
    for sums in (considered.used, considered.far):
        np.testing.assert_allclose(sums.H / scale, H / scale, atol=2e-3)
        assert not sums.H_tt[NAMES.index("outline_offset")].any()


def test_colours_of_an_earlier_frame_are_not_considered() -> None:
    refiner = refined(sensor=ALL)
    refiner.frame.begin(replace(shown()[1], color=None))
    refiner.frame.upload(WHOLE)
    assert refiner.considered is not None
    H, _ = evidence(refiner, "depth")
    scale = np.sqrt(np.outer(np.diag(H), np.diag(H)))
    np.testing.assert_allclose(refiner.considered.measure()[0].used.H / scale, H / scale, atol=2e-3)


def test_outlines_far_away_say_how_far_depth_and_colour_are_apart() -> None:
    """The colour image shifted by nine pixels: beyond the reach of steps, within that of regions."""
    _, frame = shown()
    refiner = refined(sensor=SensorConfig(depth=ALL.depth, color=ColorConfig(enabled=False)))
    buffers = refiner.frame
    buffers.begin(replace(frame, color=np.roll(frame.color, 9, axis=1)))
    buffers.upload(WHOLE)
    refiner.set_poses(TRUTH[None])
    refiner.set_prior(TRUTH[None], 1e12 * np.eye(6))
    refiner.refine([refiner.record_stage(LAST)])
    assert refiner.considered is not None
    considered = refiner.considered.measure()[0]
    pulls = {}
    for key, sums in considered.__dict__.items():
        H, g = evidence(refiner, "depth")
        # What outlines pull the pose by, in pixels along the columns of the image.
        step = np.linalg.solve((sums.H - H)[:2, :2], (sums.g - g)[:2])
        center = transform_points(TRUTH, shown()[0].center)
        pulls[key] = scenes.CAMERA.fx * step[0] / center[2]
    # Edges inside the outline are measured near themselves alone, and pull by what is there.
    assert 5.0 < pulls["far"] < 11.0
    assert abs(pulls["used"]) < 1.0


def test_the_velocity_is_that_of_the_delay() -> None:
    refiner = refined(sensor=ALL)
    assert refiner.considered is not None
    delay = NAMES.index("depth_delay")
    still = refiner.considered.measure()[0].used
    moving = refiner.considered.measure(np.array([[0.0, 0.0, 0.5, 0.0, 0.0, 0.0]]))[0].used
    assert not still.H_xt[:, delay].any()
    H, _ = evidence(refiner, "depth")
    np.testing.assert_allclose(moving.H_xt[:, delay], -0.5 * H[:, 2], rtol=1e-2, atol=1e-3 * H[2, 2])
    assert not refiner.considered.measure()[0].used.H_xt[:, delay].any(), "it is not kept"


def test_errors_known_before_weigh_the_rows_that_tell_of_errors_alone() -> None:
    refiner = refined()
    assert refiner.considered is not None
    plain = refiner.considered.measure()[0]
    theta = np.zeros((1, NUM_PARAMETERS))
    outline = NAMES.index("outline_offset")
    theta[0, outline] = 50.0
    told = refiner.considered.measure(theta=theta)[0]
    assert plain.far.H_tt[outline, outline] > 0.0
    assert told.far.H_tt[outline, outline] == 0.0, "no outline lies where all would lie 50 pixels farther out"
    np.testing.assert_array_equal(told.used.H, plain.used.H)
    np.testing.assert_array_equal(refiner.considered.measure()[0].far.H, plain.far.H)


def test_sums_are_unpacked_row_by_row() -> None:
    flat = np.arange(NUM_CROSS, dtype=np.float32)
    sums = Sums.unpack(flat)
    np.testing.assert_array_equal(sums.H[np.triu_indices(6)], flat[:21])
    np.testing.assert_array_equal(sums.H, sums.H.T)
    np.testing.assert_array_equal(sums.g, flat[21:27])
    n = 6 * NUM_PARAMETERS
    np.testing.assert_array_equal(sums.H_xt.ravel(), flat[27 : 27 + n])
    assert sums.H_xt.shape == (6, NUM_PARAMETERS)
    np.testing.assert_array_equal(sums.H_tt.ravel(), flat[27 + n : 27 + n + NUM_PARAMETERS**2])
    np.testing.assert_array_equal(sums.g_t, flat[-2 - NUM_PARAMETERS : -2])
    assert (sums.chi2, sums.rows) == (NUM_CROSS - 2, NUM_CROSS - 1)


def test_settings_reach_the_kernels_as_they_are_stated() -> None:
    sensor = SensorConfig()
    refiner = refined()
    depth, outline, color = refiner.terms
    noise, stride = depth.noise(0.01), refiner.view.settings.surface_stride_px
    assert noise.sigma_m == pytest.approx(sensor.depth.sigma_m + 0.01)
    assert noise.sigma_per_m2 == pytest.approx(sensor.depth.sigma_per_m2)
    assert noise.lateral_px == pytest.approx(sensor.registration.lateral_px)
    assert (noise.cutoff, noise.shared_px2) == (sensor.depth.cutoff_sigma, sensor.depth.shared_px2)
    assert noise.spacing_px == stride
    lines = outline.noise()
    assert (lines.cutoff, lines.shared_px) == (sensor.contour.cutoff_sigma, sensor.contour.shared_px)
    assert lines.spacing_px == refiner.view.settings.contour_spacing_px
    pattern = color.noise
    assert (pattern.sigma, pattern.cutoff) == (sensor.color.pattern_sigma, sensor.color.cutoff_sigma)
    assert (pattern.lateral_px, pattern.shared_px2) == (sensor.color.pattern_px, sensor.color.shared_px2)
    assert pattern.spacing_px == stride
    assert pattern.hidden_m == pytest.approx(sensor.depth.occlusion_m)
    config = sensor.contour
    far = line_search(sensor, StageConfig(lines="region", line_step_px=3.0, depth_sigma_m=0.01))
    assert (far.reach, far.step_px) == (config.reach_px, 3.0)
    assert far.prior_sigma_px == pytest.approx(3.0 * config.prior_sigma_px)
    assert far.floor_px == pytest.approx(3.0 * config.region_floor_px)
    assert far.occlusion_m == pytest.approx(sensor.depth.occlusion_m + 0.02)
    assert far.sharpness == pytest.approx(config.sharpness)
    near = line_search(sensor, StageConfig(lines="step"))
    assert near.floor_px == pytest.approx(config.step_floor_px)
    assert near.inner_floor_px == pytest.approx(config.inner_floor_px)
    assert near.color_sigma == pytest.approx(sensor.color.channel_sigma)


def test_the_light_is_fitted_once_more_without_what_it_does_not_explain() -> None:
    """A patch of glare bends the first light; the second knows which samples lie far from that."""
    frame = shown()[1]
    glare = frame.color.copy()
    u, v = np.rint(scenes.CAMERA.project(transform_points(TRUTH, shown()[0].center))).astype(int)
    glare[v - 8 : v + 4, u - 8 : u + 4] = 255
    refiner = refined(replace(frame, color=glare))
    color = refiner.terms[MODALITIES.index("color")]
    first, again = color.launches(LAST).measure
    first()
    bent = color.lights.numpy()[0].copy()
    first()
    np.testing.assert_array_equal(color.lights.numpy()[0], bent)
    again()
    clean = refined().terms[MODALITIES.index("color")].lights.numpy()[0]
    gain = np.array([1.0, 0.0, 0.0, -1.0, 0.0])  # of a surface that faces the camera
    assert abs(gain @ (color.lights.numpy()[0] - clean)) < 0.8 * abs(gain @ (bent - clean))


def uploaded(box: tuple[int, int, int, int], depth: np.ndarray | None, scale: float = 1.0) -> FrameBuffers:
    camera = Camera(8, 6, 10.0, 10.0, 3.5, 2.5)
    buffers = FrameBuffers(camera)
    color = np.full((6, 8, 3), 7, np.uint8)
    buffers.begin(Frame(color, depth, camera, 0, depth_scale_m=scale))
    buffers.upload(box)
    return buffers


def test_images_are_uploaded_where_they_are_looked_at_in_metres() -> None:
    buffers = uploaded((1, 2, 4, 5), np.full((6, 8), 1500, np.uint16), 0.001)
    expected = np.zeros((6, 8), np.float32)
    expected[2:5, 1:4] = 1.5
    np.testing.assert_allclose(buffers.depth.array.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(buffers.color.array.numpy()[..., 0], np.where(expected > 0, 7, 0))
    buffers.upload((5, 0, 8, 2))
    assert np.count_nonzero(buffers.depth.host) == 9 + 6
    buffers.clear()
    assert not buffers.depth.host.any() and not buffers.color.host.any()


def test_without_a_depth_image_depths_of_earlier_frames_do_not_show() -> None:
    buffers = uploaded((0, 0, 8, 6), np.ones((6, 8), np.float32))
    assert buffers.has_depth
    buffers.begin(Frame(np.zeros((6, 8, 3), np.uint8), None, buffers.camera, 1))
    buffers.upload((0, 0, 4, 6))
    assert not buffers.has_depth and buffers.has_color
    assert not buffers.depth.host[:, :4].any()
