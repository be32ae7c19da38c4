"""What is claimed of a tracked pose: bands that hold errors of a known size, and moves of the origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from half_known import half_known
from scipy.stats import chi2
from synthetic import CAMERA, PERIOD_NS, make_model, poses, render

from dr_perception.geometry import Frame, Mesh, ObjectModel, local, make_transform
from dr_perception.geometry.se3 import covariance_about
from dr_perception.hypothesis.config import BodyConfig, RefinerConfig
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.measure.config import (
    DepthConfig,
    RegistrationConfig,
    SensorConfig,
    StageConfig,
    SystematicConfig,
)
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.tracking import Status, Tracker, TrackerConfig
from dr_perception.tracking.estimator import FOUND_COVARIANCE, Estimator

OFFSET = np.array([0.25, -0.1, 0.15])
ALONE = TrackerConfig(
    recovery={"search": False}, threads=1, body=BodyConfig(usual_scale=1e-9, gross_scale=1e-9)
)
"""Without doubts about the size of the model: a wrong size about another origin is another error."""


def moved_origin(model: ObjectModel) -> ObjectModel:
    """The same body with its origin elsewhere."""
    return ObjectModel(model.name, Mesh(model.mesh.vertices - OFFSET, model.mesh.faces))


@cache
def frames(count: int) -> tuple[Frame, ...]:
    model, T = make_model("mug"), poses("mug", count)
    return tuple(render({"mug": (model.mesh, T[i])}, stamp_ns=i * PERIOD_NS, seed=i) for i in range(count))


def states(model: ObjectModel, start: np.ndarray, seen: Sequence[Frame]):
    tracker = Tracker({"mug": model}, ALONE)
    tracker.start(seen[0], {"mug": start})
    return [tracker.track(frame).objects["mug"] for frame in seen[1:]]


def blank(frame: Frame) -> Frame:
    """A frame that shows nothing, as a camera that dropped its images sends."""
    return replace(frame, color=np.zeros_like(frame.color), depth=np.zeros_like(frame.depth))


def test_the_covariance_is_of_the_origin_wherever_the_model_has_it() -> None:
    """Measured, predicted and held poses of one body with two origins are the same belief."""
    model, T = make_model("mug"), poses("mug", 8)
    seen = [*frames(6), *(blank(frame) for frame in frames(8)[6:])]
    shift = make_transform(np.eye(3), OFFSET)
    here, there = states(model, T[0], seen), states(moved_origin(model), T[0] @ shift, seen)
    assert here[-1].status is not Status.TRACKING, "or nothing was predicted"
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one.T_cam_obj @ shift, other.T_cam_obj, atol=3e-3)
        lever = one.T_cam_obj[:3, :3] @ OFFSET
        J = np.eye(6)
        J[:3, 3:] = -np.array(
            [[0.0, -lever[2], lever[1]], [lever[2], 0.0, -lever[0]], [-lever[1], lever[0], 0.0]]
        )
        expected = J @ one.covariance @ J.T
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        # Both are simplified by themselves, so that their samples differ; a missing lever is a factor of ten.
        np.testing.assert_allclose(other.covariance / scale, expected / scale, atol=0.3)
        # Turns that are uncertain move an origin so far away by more than the origin here is uncertain.
        assert np.trace(other.covariance[:2, :2]) > 3.0 * np.trace(one.covariance[:2, :2])


def test_a_doubted_pose_is_as_uncertain_as_where_else_it_may_be() -> None:
    model, T = make_model("mug"), poses("mug", 4)
    seen = frames(4)
    tracker = Tracker({"mug": model}, ALONE)
    tracker.start(seen[0], {"mug": T[0]})
    sure = tracker.track(seen[1]).objects["mug"]
    track = tracker.tracks["mug"]
    track.confidence.update(0.6, unexpected=False, challenged=False)
    doubted = track.state().covariance
    lever = -sure.T_cam_obj[:3, :3] @ model.center
    added = covariance_about(lever, 0.4 * FOUND_COVARIANCE)
    np.testing.assert_allclose(doubted - sure.covariance, added, atol=1e-12)


def test_errors_that_frames_share_add_to_what_is_reported() -> None:
    model, T = make_model("mug"), poses("mug", 2)[0]
    buffers, config = FrameBuffers(CAMERA), ALONE
    estimator = Estimator(model, PoseRefiner(model, buffers, config.refiner), config)
    estimator.begin(T, np.diag(np.repeat([1e-6, 1e-4], 3)))
    half = np.random.default_rng(1).normal(size=(6, 6))
    errors = 1e-6 * half @ half.T
    plain, wide = (estimator.reported_covariance(T[:3, :3], e, 0.0) for e in (np.zeros((6, 6)), errors))
    lever = -T[:3, :3] @ model.center
    np.testing.assert_allclose(plain, covariance_about(lever, estimator.covariance), atol=1e-15)
    np.testing.assert_allclose(wide - plain, covariance_about(lever, errors), atol=1e-15)


TRIALS = 120
SIGMA_PER_M2 = 0.003
WHITE = SensorConfig(
    depth=DepthConfig(sigma_per_m2=SIGMA_PER_M2, shared_px2=1.0),
    registration=RegistrationConfig(lateral_px=0.0),
)
"""A sensor whose pixels have noise of their own."""


def squared_errors(sensor: SensorConfig, trials: int = TRIALS) -> np.ndarray:
    """Normalised squared errors of fits to depths alone, each with other noise of `SIGMA_PER_M2`."""
    model, T = make_model("mug"), poses("mug", 1)[0]
    clean = render({"mug": (model.mesh, T)}, depth_noise=0.0)
    buffers = FrameBuffers(CAMERA)
    body = BodyConfig(floor_m=0.0, floor_rad=0.0, mesh_error=1e-5)
    refiner = PoseRefiner(model, buffers, RefinerConfig(sensor=sensor, body=body))
    stages = [refiner.record_stage(StageConfig(lines="none", steps=4)) for _ in range(2)]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(trials):
        noise = rng.normal(0.0, SIGMA_PER_M2, clean.depth.shape) * clean.depth**2
        buffers.begin(replace(clean, depth=(clean.depth + noise).astype(np.float32)))
        buffers.upload((0, 0, CAMERA.width, CAMERA.height))
        refiner.set_poses(T[None])
        refiner.set_prior(T[None], np.zeros((6, 6)))
        refiner.refine(stages)
        result = refiner.result()
        xi = local(result.T_cam_obj[0], T)
        found.append(xi @ np.linalg.solve(result.covariance[0], xi))
    return np.array(found)


def test_normalised_errors_of_depth_lie_in_the_band_of_their_noise() -> None:
    nees = squared_errors(WHITE)
    low, high = chi2.ppf([0.0005, 0.9995], 6 * TRIALS) / TRIALS
    assert 4.8 < low < nees.mean() < high < 7.2
    inside = np.mean(nees < chi2.ppf(0.95, 6))
    assert 0.88 < inside <= 1.0  # 0.95 with a standard deviation of 0.02


def test_what_one_tracked_object_hides_of_another_is_not_compared() -> None:
    box, mug = make_model("box"), make_model("mug")
    T = {"mug": poses("mug", 1)[0], "box": make_transform(np.eye(3), np.array([-0.09, -0.05, 0.3]))}
    parts = {"box": (box.mesh, T["box"]), "mug": (mug.mesh, T["mug"])}
    seen = [replace(render(parts, stamp_ns=i * PERIOD_NS, seed=i), depth=None) for i in range(3)]

    def samples(*names: str) -> int:
        """Points on the surface of the mug that a frame was compared at."""
        tracker = Tracker({"box": box, "mug": mug}, ALONE)
        tracker.start(seen[0], {name: T[name] for name in names})
        for frame in seen[1:]:
            tracker.track(frame)
        return int(tracker.tracks["mug"].refiner.view.pull_counts()[0, 0])

    assert 0 < samples("mug", "box") < 0.6 * samples("mug")


TINY = SystematicConfig(**dict.fromkeys(SystematicConfig.model_fields, 1e-9))
"""A camera without errors."""


def tracked_errors(model: ObjectModel, true: ObjectModel) -> np.ndarray:
    """Normalised squared errors, by degree of freedom, of a model tracked in depths of the true one.

    With the noise that the settings state and no error besides.
    """
    sensor = WHITE.model_copy(update={"usual": TINY, "gross": TINY})
    body = BodyConfig(
        floor_m=0.0, floor_rad=0.0, mesh_error=1e-5, usual_scale=1e-9, gross_scale=1e-9, usual_surface_m=1e-9,
        gross_surface_m=1e-9,
    )  # fmt: skip
    config = TrackerConfig(recovery={"search": False}, threads=1, sensor=sensor, body=body)
    found = []
    for seed in range(3):
        T = poses("mug", 40, speed=1.0 + 0.5 * seed)
        seen = [
            replace(
                render(
                    {"mug": (true.mesh, t)},
                    stamp_ns=i * PERIOD_NS,
                    seed=100 * seed + i,
                    depth_noise=SIGMA_PER_M2,
                ),
                color=None,
            )
            for i, t in enumerate(T)
        ]
        tracker = Tracker({"mug": model}, config)
        tracker.start(seen[0], {"mug": T[0]})
        for frame, truth in zip(seen[1:], T[1:], strict=True):
            state = tracker.track(frame).objects["mug"]
            xi = local(state.T_cam_obj, truth)
            found.append(xi @ np.linalg.solve(state.covariance, xi) / 6.0)
    return np.array(found)


def test_normalised_errors_of_tracked_poses_lie_in_the_band_of_their_noise() -> None:
    model = make_model("mug")
    found = tracked_errors(model, model)
    # 117 poses, each from about two frames: a standard deviation of 0.08, and what association adds.
    assert 0.75 < np.mean(found) < 1.5
    assert 0.6 < np.median(found) < 1.4


def test_normalised_errors_lie_in_the_band_where_half_of_the_model_is_a_marked_guess() -> None:
    models = half_known("mug", 2, 0.02)
    found = tracked_errors(models.marked, models.true)
    assert 0.75 < np.mean(found) < 1.5
    assert 0.6 < np.median(found) < 1.4
