"""Tracking of synthetic sequences: accuracy, occlusion, loss and return, missing images, repeatability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import CAMERA, PERIOD_NS, WALL_M, make_model, pose_error, poses, render

from dr_perception.geometry import Camera, exp_so3, make_transform, retract
from dr_perception.tracking import Status, Tracker, TrackerConfig

CONFIG = TrackerConfig(recovery={"search": False})
"""Tracking alone: no search for lost objects."""


def sequence(name, count, extra=None, camera=CAMERA, speed=1.0, **options):
    """Frames and poses of one moving object; ``extra(i)`` gives what else is in frame i."""
    model, T = make_model(name), poses(name, count, speed)
    frames = [
        render(
            {name: (model.mesh, T[i]), **(extra(i) if extra else {})},
            camera=camera, stamp_ns=i * PERIOD_NS, seed=i, **options,
        )
        for i in range(count)
    ]  # fmt: skip
    return model, T, frames


def follow(model, T, frames, config=CONFIG, start=None):
    """States of every frame after the first, tracked from the true pose."""
    tracker = Tracker({model.name: model}, config)
    tracker.start(frames[0], {model.name: T[0] if start is None else start})
    return [tracker.track(frame).objects[model.name] for frame in frames[1:]]


def errors(states, T, model):
    """Errors of centre [mm] and rotation [deg], shape (N, 2)."""
    return np.array([pose_error(s.T_cam_obj, t, model) for s, t in zip(states, T[1:], strict=True)])


@pytest.mark.parametrize("name", ["box", "mug"])
def test_a_moving_object_is_followed(name: str) -> None:
    model, T, frames = sequence(name, 30)
    states = follow(model, T, frames)
    found = errors(states, T, model)
    assert all(s.status is Status.TRACKING and s.score > 0.9 and not s.reason for s in states)
    assert found[:, 0].max() < 0.5 and found[:, 1].max() < 0.6
    assert np.median(found[:, 0]) < 0.15 and np.median(found[:, 1]) < 0.2


def test_covariances_are_positive_definite_and_true_to_the_errors() -> None:
    model, T, frames = sequence("box", 30)
    states = follow(model, T, frames)
    normalised = []
    for s, t in zip(states, T[1:], strict=True):
        np.testing.assert_allclose(s.covariance, s.covariance.T, rtol=1e-6, atol=1e-15)
        assert np.linalg.eigvalsh(s.covariance).min() > 0.0
        assert 1e-5 < np.sqrt(s.covariance[0, 0]) < 2e-3
        xi = np.concatenate([t[:3, 3] - s.T_cam_obj[:3, 3], 0.5 * _skew(t[:3, :3] @ s.T_cam_obj[:3, :3].T)])
        normalised.append(xi @ np.linalg.solve(s.covariance, xi) / 6.0)
    # White noise of less than the sensor is believed to have, and a camera and a model without any error.
    assert np.mean(normalised) < 1.0


def _skew(R):
    return np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])


@pytest.mark.parametrize("name", ["box", "mug"])
def test_a_start_that_is_off_is_corrected(name: str) -> None:
    model, T, frames = sequence(name, 4)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(2, 3))
    xi = (direction / np.linalg.norm(direction, axis=1)[:, None] * [[0.01], [np.radians(5.0)]]).reshape(-1)
    states = follow(model, T, frames, start=retract(T[0], xi))
    error = errors(states, T, model)[-1]
    assert error[0] < 1.0 and error[1] < 1.0


def test_twice_the_speed_of_motion() -> None:
    model, T, frames = sequence("mug", 16, speed=2.5)
    states = follow(model, T, frames)
    assert errors(states, T, model)[:, 0].max() < 1.0
    assert all(s.status is Status.TRACKING for s in states)


def test_depth_alone_and_colour_alone_suffice_for_a_while() -> None:
    model, T, frames = sequence("mug", 12)
    blind = [replace(f, color=None) for f in frames]
    flat = [replace(f, depth=None) for f in frames]
    for kind, limit_mm in ((blind, 1.5), (flat, 8.0)):
        states = follow(model, T, kind)
        assert all(s.status is Status.TRACKING for s in states)
        assert errors(states, T, model)[:, 0].max() < limit_mm
        assert errors(states, T, model)[:, 1].max() < 3.0


def test_images_may_come_and_go() -> None:
    """Colour, depth or both from frame to frame."""
    model, T, frames = sequence("mug", 16)
    changed = [
        replace(f, color=None) if i % 4 in (0, 1) else (replace(f, depth=None) if i % 4 == 2 else f)
        for i, f in enumerate(frames)
    ]
    states = follow(model, T, changed)
    assert errors(states, T, model)[:, 0].max() < 3.0
    assert errors(states, T, model)[[2, 6, 10, 14], 0].max() < 1.0


def test_an_empty_depth_image_is_no_depth_image() -> None:
    model, T, frames = sequence("box", 6)
    states = follow(model, T, [replace(f, depth=np.zeros_like(f.depth)) for f in frames])
    same = follow(model, T, [replace(f, depth=None) for f in frames])
    for a, b in zip(states, same, strict=True):
        np.testing.assert_array_equal(a.T_cam_obj, b.T_cam_obj)


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_every_mark_of_a_missing_depth_means_the_same(nothing: float) -> None:
    model, T, frames = sequence("mug", 6)
    holes = np.random.default_rng(1).random(frames[0].depth.shape) < 0.3
    zeros = [replace(f, depth=np.where(holes, np.float32(0.0), f.depth)) for f in frames]
    marked = [replace(f, depth=np.where(holes, np.float32(nothing), f.depth)) for f in frames]
    for a, b in zip(follow(model, T, zeros), follow(model, T, marked), strict=True):
        np.testing.assert_array_equal(a.T_cam_obj, b.T_cam_obj)


def test_integer_millimetres_serve_as_well_as_float_metres() -> None:
    model, T, frames = sequence("box", 8)
    coarse = [replace(f, depth=np.rint(1e3 * f.depth).astype(np.uint16), depth_scale_m=1e-3) for f in frames]
    found = errors(follow(model, T, coarse), T, model)
    assert found[:, 0].max() < 0.5


def test_a_distorted_lens_does_no_harm() -> None:
    camera = Camera(320, 240, 300.0, 301.0, 158.2, 121.3, (-0.3, 0.1, 0.001, -0.0008), "plumb_bob")
    move = np.array([0.1, 0.06, 0.0, 0.0, 0.0, 0.0])
    model, T = make_model("mug"), poses("mug", 15)
    for lens in (camera, CAMERA):
        away = np.stack([retract(t, move) for t in T])
        frames = [
            render({"mug": (model.mesh, t)}, camera=lens, stamp_ns=i * PERIOD_NS, seed=i)
            for i, t in enumerate(away)
        ]
        states = follow(model, away, frames)
        found = errors(states, away, model)
        assert found[:, 0].max() < 0.6 and found[:, 1].max() < 0.8
        assert all(s.status is Status.TRACKING for s in states)


@pytest.mark.parametrize("distance_m", [0.25, 0.8])
def test_distance_does_not_matter(distance_m: float) -> None:
    model = make_model("box")
    T = np.stack([retract(t, np.r_[0, 0, distance_m - 0.45, 0, 0, 0]) for t in poses("box", 8, 0.5)])
    frames = [
        render({"box": (model.mesh, t)}, stamp_ns=i * PERIOD_NS, seed=i)
        for i, t in enumerate(T)
    ]  # fmt: skip
    states = follow(model, T, frames)
    assert all(s.status is Status.TRACKING for s in states)
    assert errors(states, T, model)[:, 0].max() < 3.0 * distance_m


def two_objects(count):
    """A box that passes before a mug."""
    box, mug = make_model("box"), make_model("mug")
    T_mug = np.repeat(poses("mug", 1), count, axis=0)
    side = np.linspace(-0.13, 0.1, 24)[:count]
    T_box = np.stack(
        [make_transform(exp_so3(np.array([0.5, 0.4, 0.1])), np.array([x, -0.05, 0.3])) for x in side]
    )
    frames = [
        render({"box": (box.mesh, a), "mug": (mug.mesh, b)}, stamp_ns=i * PERIOD_NS, seed=i)
        for i, (a, b) in enumerate(zip(T_box, T_mug, strict=True))
    ]
    return {"box": box, "mug": mug}, {"box": T_box, "mug": T_mug}, frames


def follow_two(models, T, frames, threads):
    tracker = Tracker(models, TrackerConfig(recovery={"search": False}, threads=threads))
    tracker.start(frames[0], {name: T[name][0] for name in models})
    return [tracker.track(frame) for frame in frames[1:]]


def test_objects_hide_each_other_and_threads_do_not_matter() -> None:
    models, T, frames = two_objects(24)
    results = follow_two(models, T, frames, threads=2)
    for i, result in enumerate(results, start=1):
        assert set(result.objects) == {"box", "mug"} and result.stamp_ns == frames[i].stamp_ns
        for name, state in result.objects.items():
            error = pose_error(state.T_cam_obj, T[name][i], models[name])
            if state.status is Status.TRACKING:
                assert error[0] < 2.0 and error[1] < 2.5
            assert error[0] < 12.0
    assert min(r.objects["mug"].visible_fraction for r in results) < 0.9
    assert all(r.objects["box"].status is Status.TRACKING for r in results)
    last = results[-1].objects["mug"]
    assert last.status is Status.TRACKING
    for again in (follow_two(models, T, frames, threads=1), follow_two(models, T, frames, threads=2)):
        for a, b in zip(results, again, strict=True):
            for name in models:
                np.testing.assert_array_equal(a.objects[name].T_cam_obj, b.objects[name].T_cam_obj)
                np.testing.assert_array_equal(a.objects[name].covariance, b.objects[name].covariance)
                assert a.objects[name].score == b.objects[name].score


def curtain(shift):
    """An unknown board in front, its right edge at a shift [m] from the optical axis."""
    board = make_model("box_curtain").mesh
    T = make_transform(np.eye(3), np.array([shift - 0.33, -0.2, 0.28]))
    stretched = type(board)(board.vertices * [3.0, 5.0, 0.2], board.faces)
    return {"curtain": (stretched, T)}


def test_an_unknown_thing_that_covers_more_than_half_does_not_mislead() -> None:
    count = 24
    cover = np.concatenate([np.linspace(-0.1, 0.03, 14), np.full(10, 0.03)])
    model, T, frames = sequence("mug", count, lambda i: curtain(cover[i]), speed=0.3)
    states = follow(model, T, frames)
    found = errors(states, T, model)
    assert states[-1].visible_fraction < 0.55
    for s, error in zip(states, found, strict=True):
        if s.status is Status.TRACKING and s.score > 0.5:
            assert error[0] < 3.0 and error[1] < 4.0


def test_what_was_hidden_is_found_again_where_it_was() -> None:
    there, back = np.linspace(-0.1, 0.14, 8), np.linspace(0.14, -0.12, 8)
    cover = np.concatenate([there, np.full(8, 0.14), back, np.full(6, -0.12)])
    model, T, frames = sequence("mug", len(cover), lambda i: curtain(cover[i]), speed=0.2)
    states = follow(model, T, frames)
    hidden = states[10:15]
    assert all(s.status in (Status.OCCLUDED, Status.LOST) and s.reason for s in hidden)
    spread = [s.covariance[0, 0] for s in hidden]
    assert (np.diff(spread) >= 0.0).all()
    assert states[-1].status is Status.TRACKING
    assert errors(states, T, model)[-1, 0] < 1.5


def test_a_wall_without_the_object_is_not_tracked() -> None:
    model, T, frames = sequence("mug", 11, speed=0.0)
    empty = [replace(f, depth=np.full_like(f.depth, WALL_M)) for f in frames]
    tracker = Tracker({"mug": model}, CONFIG)
    tracker.start(frames[0], {"mug": T[0]})
    for frame in empty[1:]:
        state = tracker.track(frame).objects["mug"]
        assert state.status is not Status.TRACKING and state.score < 0.5
    assert state.status is Status.LOST and state.reason


def test_a_cylinder_does_not_spin() -> None:
    model = make_model("cylinder")
    T = poses("cylinder", 1)[0]
    frames = [
        render({"cylinder": (model.mesh, T)}, stamp_ns=i * PERIOD_NS, seed=i)
        for i in range(12)
    ]  # fmt: skip
    tracker = Tracker({"cylinder": model}, CONFIG)
    tracker.start(frames[0], {"cylinder": T})
    for i in range(60):
        frame = replace(frames[i % 12], stamp_ns=(i + 1) * PERIOD_NS)
        state = tracker.track(frame).objects["cylinder"]
    axis = T[:3, 2]
    turned = state.T_cam_obj[:3, :3] @ T[:3, :3].T
    assert state.status is Status.TRACKING
    assert np.degrees(np.arccos(np.clip(axis @ turned @ axis, -1, 1))) < 0.5
    assert np.degrees(abs(axis @ (0.5 * _skew(turned)))) < 6.0
    about = axis @ state.covariance[3:, 3:] @ axis
    across = np.linalg.svd(axis[None])[2][1]
    assert about > 50.0 * (across @ state.covariance[3:, 3:] @ across)


def test_two_runs_and_a_restarted_tracker_give_the_same_poses() -> None:
    model, T, frames = sequence("mug", 6)
    tracker = Tracker({"mug": model}, CONFIG)
    runs = []
    for _ in range(2):
        tracker.start(frames[0], {"mug": T[0]})
        runs.append([tracker.track(f).objects["mug"] for f in frames[1:]])
        tracker.reset()
        assert not tracker.track(frames[0]).objects
        tracker.reset()
    runs.append(follow(model, T, frames))
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(a.T_cam_obj, b.T_cam_obj)
            np.testing.assert_array_equal(a.covariance, b.covariance)


def test_an_object_can_be_dropped_and_started_again_while_others_go_on() -> None:
    models, T, frames = two_objects(6)
    tracker = Tracker(models, CONFIG)
    tracker.start(frames[0], {name: T[name][0] for name in models})
    tracker.reset("mug")
    assert set(tracker.track(frames[1]).objects) == {"box"}
    tracker.track(frames[2])
    tracker.start(frames[2], {"mug": T["mug"][2]})
    result = tracker.track(frames[3])
    for name, state in result.objects.items():
        assert pose_error(state.T_cam_obj, T[name][3], models[name])[0] < 1.0


def test_one_model_may_stand_under_two_names() -> None:
    model = make_model("box")
    T = {
        "left": make_transform(exp_so3(np.array([0.5, 0.4, 0.1])), np.array([-0.16, 0.0, 0.5])),
        "right": make_transform(exp_so3(np.array([0.1, -0.4, 0.3])), np.array([0.06, 0.0, 0.55])),
    }
    parts = {name: (model.mesh, pose) for name, pose in T.items()}
    frames = [render(parts, stamp_ns=i * PERIOD_NS, seed=i) for i in range(3)]
    tracker = Tracker({"left": model, "right": model}, CONFIG)
    tracker.start(frames[0], T)
    for frame in frames[1:]:
        result = tracker.track(frame)
    for name, state in result.objects.items():
        assert pose_error(state.T_cam_obj, T[name], model)[0] < 0.6


def test_wrong_use_is_refused() -> None:
    model, T, frames = sequence("box", 2)
    with pytest.raises(ValueError, match="at least one model"):
        Tracker({})
    with pytest.raises(TypeError, match="ObjectModel"):
        Tracker({"box": model.mesh})
    tracker = Tracker({"box": model}, CONFIG)
    with pytest.raises(KeyError, match="lamp"):
        tracker.start(frames[0], {"lamp": np.eye(4)})
    with pytest.raises(KeyError, match="lamp"):
        tracker.reset("lamp")
    with pytest.raises(ValueError, match="box"):
        tracker.start(frames[0], {"box": 2.0 * np.eye(4)})
    tracker.start(frames[1], {"box": T[1]})
    with pytest.raises(KeyError, match="lamp"):
        tracker.track(frames[1], expected={"lamp": np.eye(4)})
    with pytest.raises(ValueError, match="expected pose of 'box'"):
        tracker.track(frames[1], expected={"box": np.full((4, 4), np.nan)})
    with pytest.raises(ValueError, match="expected at a pose but was not started"):
        Tracker({"box": model}, CONFIG).track(frames[1], expected={"box": T[1]})


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="no_such"):
        TrackerConfig(no_such=1)
    with pytest.raises(ValueError, match="threads"):
        TrackerConfig(threads=0)
