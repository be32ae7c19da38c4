"""Refinement of batches of poses: recovery, information, image boxes and missing images."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import warp as wp

from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.device.evidence import NUM_SUMS
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.estimate.report import PoseReport, report_poses
from dr_perception.geometry import Camera, Frame, Mesh, ObjectModel, invert, local, make_transform, retract
from dr_perception.hypothesis.config import WIDE_STAGES, BodyConfig, RefinerConfig
from dr_perception.hypothesis.refiner import PoseRefiner, reporter_of
from dr_perception.measure.config import StageConfig
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.view.others import PosedBody

sys.path.insert(0, str(Path(__file__).parent.parent / "tracking"))

from synthetic import CAMERA, make_model, pose_error, poses, render

WHOLE = (0, 0, CAMERA.width, CAMERA.height)
NO_PRIOR = np.zeros((6, 6))


@cache
def scene(name: str):
    """Model, true pose and frame."""
    model, T = make_model(name), poses(name, 1)[0]
    return model, T, render({name: (model.mesh, T)})


def make_refiner(name: str, num_problems: int = 1, frame=None) -> PoseRefiner:
    """A refiner with the frame uploaded and the colours of the true pose learned."""
    model, T, rendered = scene(name)
    buffers = FrameBuffers(CAMERA)
    buffers.begin(rendered if frame is None else frame)
    buffers.upload(WHOLE)
    refiner = PoseRefiner(model, buffers, RefinerConfig(), num_problems=num_problems)
    refiner.set_poses(np.repeat(T[None], num_problems, axis=0))
    refiner.view.render()
    refiner.histograms.learn(1.0)
    return refiner


def perturbed(T, count, shift_m, angle_rad, seed=0):
    """Poses moved by a distance and turned by an angle in random directions."""
    d = np.random.default_rng(seed).normal(size=(count, 2, 3))
    d /= np.linalg.norm(d, axis=2, keepdims=True)
    return np.stack([retract(T, np.concatenate([shift_m * a, angle_rad * b])) for a, b in d])


def refine(refiner, start, stages=WIDE_STAGES, information=NO_PRIOR):
    refiner.set_poses(start)
    refiner.set_prior(start, information)
    refiner.refine([refiner.record_stage(stage) for stage in stages])
    return refiner.result()


@pytest.mark.parametrize("name", ["box", "mug"])
def test_poses_ten_millimetres_and_five_degrees_off_are_recovered(name: str) -> None:
    model, T, _ = scene(name)
    result = refine(make_refiner(name, 16), perturbed(T, 16, 0.01, np.radians(5.0)))
    error = np.array([pose_error(found, T, model) for found in result.T_cam_obj])
    assert error[:, 0].max() < 0.3 and error[:, 1].max() < 0.3
    rotation = result.T_cam_obj[:, :3, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.eye(3)[None].repeat(16, 0), atol=1e-9
    )


def test_depth_alone_recovers_a_shape_that_it_determines() -> None:
    model, T, frame = scene("mug")
    refiner = make_refiner("mug", 16, replace(frame, color=None))
    result = refine(refiner, perturbed(T, 16, 0.006, np.radians(3.0)))
    error = np.array([pose_error(found, T, model) for found in result.T_cam_obj])
    assert error[:, 0].max() < 1.0 and error[:, 1].max() < 1.0


def test_depth_alone_claims_nothing_along_the_edge_of_two_visible_faces() -> None:
    """Sliding along their common edge leaves the visible faces in place: it is neither found nor claimed."""
    model, T, frame = scene("box")
    refiner = make_refiner("box", 16, replace(frame, color=None))
    result = refine(refiner, perturbed(T, 16, 0.006, np.radians(3.0)))
    shift_obj = ((result.T_cam_obj - T)[:, :3] @ np.append(model.center, 1.0)) @ T[:3, :3]
    assert np.abs(shift_obj[:, 1:]).max() < 0.5e-3
    assert max(pose_error(found, T, model)[1] for found in result.T_cam_obj) < 0.5
    R = T[:3, :3]
    H_obj = R.T @ result.information[:, :3, :3] @ R
    assert (H_obj[:, 0, 0] < 0.01 * H_obj[:, 1, 1]).all()


def test_colour_alone_finds_the_outline() -> None:
    model, T, frame = scene("mug")
    refiner = make_refiner("mug", 8, replace(frame, depth=None))
    information = np.diag(1.0 / np.repeat([0.01, 0.1], 3) ** 2)
    result = refine(refiner, perturbed(T, 8, 0.006, np.radians(3.0)), information=information)
    shift = (result.T_cam_obj - T)[:, :3] @ np.append(model.center, 1.0)
    assert np.abs(shift[:, :2]).max() < 1.0e-3
    assert np.median([pose_error(found, T, model)[1] for found in result.T_cam_obj]) < 1.5


def test_problems_of_a_batch_do_not_influence_each_other() -> None:
    _, T, _ = scene("mug")
    start = perturbed(T, 4, 0.01, 0.08)
    together = refine(make_refiner("mug", 4), start)
    alone = make_refiner("mug", 1)
    for i in range(4):
        single = refine(alone, start[i : i + 1])
        np.testing.assert_array_equal(single.T_cam_obj[0], together.T_cam_obj[i])
        np.testing.assert_array_equal(single.information[0], together.information[i])


def test_information_is_symmetric_positive_and_larger_with_colour() -> None:
    _, T, frame = scene("box")
    both = refine(make_refiner("box"), T[None]).information[0]
    depth = refine(make_refiner("box", 1, replace(frame, color=None)), T[None]).information[0]
    # Depths of two faces say nothing of a motion along both: zero but for rounding of single precision.
    rounding = 1.0e-6 * np.eye(6) * np.linalg.norm(depth, 2)
    for H, least in ((both, 0.0 * rounding), (depth, rounding)):
        np.testing.assert_allclose(H, H.T)
        assert np.linalg.eigvalsh(H + least).min() > 0.0
    known, less_known = (np.trace(np.linalg.inv(H + rounding)[:3, :3]) for H in (both, depth))
    assert known < less_known


def test_poses_are_of_the_models_frame_wherever_its_centre_is() -> None:
    mug, T, frame = scene("mug")
    model = ObjectModel("off", Mesh(mug.mesh.vertices + np.array([0.3, -0.2, 0.1]), mug.mesh.faces))
    buffers = FrameBuffers(frame.camera)
    refiner = PoseRefiner(model, buffers, RefinerConfig())
    refiner.set_poses(T[None])
    np.testing.assert_allclose(refiner.poses_of_model()[0], T, atol=1e-6)
    center = T[:3, :3] @ model.center + T[:3, 3]
    np.testing.assert_allclose(refiner.poses.get()[0, :3, 3], center, atol=1e-6)


def test_covariance_of_the_origin_is_that_of_the_centre_moved_there() -> None:
    mug, T, _ = scene("mug")
    model = ObjectModel("off", Mesh(mug.mesh.vertices + np.array([0.3, -0.2, 0.1]), mug.mesh.faces))
    A = np.random.default_rng(0).normal(size=(6, 6))
    information = 1.0e6 * (A @ A.T + np.eye(6))
    uncertainty = BodyConfig(floor_m=1.0e-4, floor_rad=3.0e-4)
    reporter = reporter_of(model, np.zeros((3, 3)), uncertainty)
    poses = PoseArrays(1, "cpu")
    shift = make_transform(np.eye(3), model.center)
    poses.set((T @ shift)[None])
    sums = np.zeros((1, 2, NUM_SUMS), np.float32)
    sums[0, 1, :21] = information[np.triu_indices(6)]
    reports = wp.zeros(1, dtype=PoseReport, device="cpu")
    inputs = [reporter, poses.struct, wp.array(sums, device="cpu")]
    wp.launch(report_poses, 1, inputs=inputs, outputs=[reports], device="cpu")
    report = reports.numpy()[0]
    np.testing.assert_allclose(report["T"], T, atol=1e-7)
    centred = np.linalg.inv(information) + np.diag(uncertainty.variances)
    J = np.stack([local(T, retract(T @ shift, xi) @ invert(shift)) for xi in 1e-6 * np.eye(6)], axis=1) / 1e-6
    np.testing.assert_allclose(report["covariance"], J @ centred @ J.T, rtol=1e-3, atol=1e-9)


def test_a_stage_tells_how_far_it_moved_in_standard_deviations() -> None:
    _, T, frame = scene("box")
    start = perturbed(T, 1, 0.002, 0.02)
    refiner = make_refiner("box", 1, frame)
    last = [StageConfig(lines="step", steps=3)]
    ended = refine(refiner, start, last).T_cam_obj
    far = refiner.moved()[0]
    refine(refiner, ended, last)
    assert far > 100.0 and refiner.moved()[0] < 1.0


def test_a_strong_prior_holds_the_pose() -> None:
    model, T, _ = scene("box")
    start = perturbed(T, 1, 0.005, 0.03)
    result = refine(make_refiner("box"), start, information=1e12 * np.eye(6))
    shift, angle = pose_error(result.T_cam_obj[0], start[0], model)
    assert shift < 0.05 and angle < 0.05


def test_counts_tell_how_many_samples_were_seen() -> None:
    _, T, _ = scene("box")
    result = refine(make_refiner("box"), T[None])
    assert result.surface_samples[0] > 100 and result.contour_samples[0] > 50
    assert result.cost[0] >= 0.0 and result.last_step[0] < 1e-3
    assert result.evidence.shape[0] == 1


def test_a_frame_without_colour_teaches_no_colours() -> None:
    _, _, frame = scene("box")
    assert not make_refiner("box", 1, replace(frame, color=None)).histograms.log_ratio.numpy().any()
    assert make_refiner("box").histograms.log_ratio.numpy().any()


def test_a_stage_without_lines_uses_depth_alone() -> None:
    _, T, frame = scene("box")
    stages = [StageConfig(lines="none", steps=4)]
    start = perturbed(T, 1, 0.003, 0.02)
    with_color = refine(make_refiner("box"), start, stages)
    without = refine(make_refiner("box", 1, replace(frame, color=None)), start, stages)
    np.testing.assert_array_equal(with_color.T_cam_obj, without.T_cam_obj)


@pytest.mark.parametrize("distortion", [(), (-0.3, 0.1, 0.001, -0.0008)])
def test_the_image_box_holds_the_projected_model(distortion: tuple[float, ...]) -> None:
    camera = Camera(320, 240, 300.0, 301.0, 158.2, 121.3, distortion)
    model = make_model("mug")
    refiner = PoseRefiner(model, FrameBuffers(camera), RefinerConfig())
    rng = np.random.default_rng(3)
    for _ in range(50):
        T = retract(
            poses("mug", 1)[0], np.r_[rng.uniform(-0.2, 0.2, 2), rng.uniform(-0.2, 0.4), rng.normal(size=3)]
        )
        x0, y0, x1, y1 = refiner.image_box(T, 0.0)
        uv = camera.project(model.mesh.vertices @ T[:3, :3].T + T[:3, 3])
        inside = ((uv >= 0) & (uv <= [319, 239])).all(axis=1)
        assert 0 <= x0 <= x1 <= 320 and 0 <= y0 <= y1 <= 240
        assert (uv[inside] >= [x0 - 1.0, y0 - 1.0]).all() and (uv[inside] <= [x1 + 1.0, y1 + 1.0]).all()


def test_another_calibration_is_taken_over_and_another_size_refused() -> None:
    """A refiner recorded for one lens gives with another what one recorded for that gives."""
    model, T, frame = scene("box")
    start = retract(T, np.array([0.004, -0.003, 0.005, 0.02, -0.01, 0.03]))
    changed = replace(frame, camera=Camera(320, 240, 310.0, 311.0, 155.0, 123.0, (-0.1, 0.02, 0.0, 0.0)))
    found = []
    for first in (frame, changed):
        buffers = FrameBuffers(first.camera)
        refiner = PoseRefiner(model, buffers, RefinerConfig())
        stages = [refiner.record_stage(stage) for stage in WIDE_STAGES]
        buffers.begin(changed)
        buffers.upload((0, 0, 320, 240))
        refiner.set_poses(start[None])
        refiner.view.render()
        refiner.histograms.learn(1.0)
        refiner.refine(stages)
        found.append(refiner.result().T_cam_obj[0])
    np.testing.assert_array_equal(*found)
    with pytest.raises(ValueError, match="160 x 120 pixels large, the buffers 320 x 240"):
        FrameBuffers(frame.camera).begin(
            Frame(None, np.ones((120, 160), np.float32), Camera(160, 120, 150.0, 150.0, 79.5, 59.5))
        )


def test_other_bodies_hide_what_lies_behind_them_however_stages_are_run() -> None:
    mug, T, _ = scene("mug")
    refiner = make_refiner("mug")
    stages = [StageConfig(lines="step", steps=1)]
    sequence = refiner.record_sequence(stages)
    board = make_model("box")
    poses = PoseArrays(1, "cpu")
    center = T[:3, :3] @ mug.center + T[:3, 3]
    low, high = board.mesh.vertices.min(axis=0), board.mesh.vertices.max(axis=0)
    # Its left side stands before the middle of the mug.
    poses.set(make_transform(np.eye(3), 0.6 * center - [low[0], 0.5 * (low[1] + high[1]), low[2]])[None])
    posed = PosedBody(ModelBuffers(board.mesh), poses)
    posed.place()

    def counts(run, *arguments) -> np.ndarray:
        refiner.set_poses(T[None])
        refiner.set_prior(T[None], 1e12 * np.eye(6))
        run(*arguments)
        return refiner.view.pull_counts()[:, 0].copy()

    free = counts(refiner.refine_sequence, sequence)
    np.testing.assert_array_equal(counts(refiner.refine, sequence.stages), free)
    for run, what in ((refiner.refine_sequence, sequence), (refiner.refine, sequence.stages)):
        hidden = counts(run, what, [posed])
        assert (hidden < 0.9 * free).all() and (hidden > 0.1 * free).all(), (free, hidden)
    np.testing.assert_array_equal(counts(refiner.refine_sequence, sequence), free)
