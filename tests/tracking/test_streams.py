"""Streams as they come: stamps, black and repeated frames, changing cameras, objects that appear late."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from synthetic import CAMERA, PERIOD_NS, make_model, pose_error, poses, render

from dr_perception.geometry import Camera, Frame, exp_so3, make_transform
from dr_perception.tracking import Status, Tracker, TrackerConfig

ALONE = TrackerConfig(recovery={"search": False}, threads=1)
COUNT = 14


@cache
def moving(name: str = "mug"):
    """Model, poses and frames of a moving object."""
    model, T = make_model(name), poses(name, COUNT, 1.5)
    return model, T, [frame_of(name, T[i], i) for i in range(COUNT)]


def frame_of(name, T, i, camera=CAMERA):
    model = make_model(name)
    return render({name: (model.mesh, T)}, camera=camera, stamp_ns=i * PERIOD_NS, seed=i)


def follow(frames, T, model, config=ALONE):
    tracker = Tracker({model.name: model}, config)
    tracker.start(frames[0], {model.name: T[0]})
    return [tracker.track(frame) for frame in frames[1:]]


def kinds(result):
    return [(finding.subject, finding.kind) for finding in result.diagnosis]


@pytest.mark.parametrize(
    ("unit_ns", "kind", "words"),
    [
        (1_000, "unit", "microseconds"),
        (1_000_000, "unit", "milliseconds"),
        (PERIOD_NS, "unit", "seconds or frames"),
        (10**18, "constant", "do not change"),
    ],
)
def test_stamps_in_another_unit_are_noticed_and_do_no_harm(unit_ns, kind, words) -> None:
    model, T, frames = moving()
    expected = follow(frames, T, model)
    results = follow([replace(f, stamp_ns=f.stamp_ns // unit_ns) for f in frames], T, model)
    for a, b, t in zip(expected, results, T[1:], strict=True):
        assert b.objects["mug"].status is Status.TRACKING
        assert pose_error(b.objects["mug"].T_cam_obj, t, model)[0] < 1.0
        assert kinds(a) == []
    assert kinds(results[-1]) == [("stamps", kind)]
    assert words in results[-1].diagnosis[0].text and "33.3 ms" in results[-1].diagnosis[0].text


def test_one_odd_stamp_is_a_slip_and_named_by_nobody() -> None:
    model, T, frames = moving()
    frames = [*frames[:5], replace(frames[5], stamp_ns=frames[4].stamp_ns), *frames[6:]]
    results = follow(frames, T, model)
    assert all(kinds(r) == [] and r.objects["mug"].status is Status.TRACKING for r in results)


@pytest.mark.parametrize("jump_s", [-100.0, -0.05, 100.0])
def test_a_jump_of_time_restarts_motion_and_looks_where_objects_were(jump_s) -> None:
    """As in a bag that is played again: the object is back at the start when the stamps are."""
    model, T, frames = moving()
    frames = [replace(f, stamp_ns=f.stamp_ns + 10**12) for f in frames]
    shift_ns = frames[7].stamp_ns - frames[6].stamp_ns + round(1e9 * jump_s)
    again = [replace(f, stamp_ns=f.stamp_ns + shift_ns) for f in frames[6:]]
    tracker = Tracker({"mug": model}, ALONE)
    tracker.start(frames[0], {"mug": T[0]})
    for frame in frames[1:8]:
        tracker.track(frame)
    jumped, *later = [tracker.track(frame) for frame in again]
    assert kinds(jumped) == [("stamps", "jump")]
    assert jumped.diagnosis[0].value == pytest.approx(1e-9 * (again[0].stamp_ns - frames[7].stamp_ns))
    for result, t in zip((jumped, *later), T[6:], strict=True):
        assert result.objects["mug"].status is Status.TRACKING
        assert pose_error(result.objects["mug"].T_cam_obj, t, model)[0] < 1.0
    assert all(kinds(result) == [] for result in later)
    # At rest: nothing is extrapolated from before the jump.
    assert jumped.objects["mug"].score > 0.5


def test_what_is_gone_after_a_jump_is_lost_at_once_and_searched_for() -> None:
    model, T, frames = moving()
    elsewhere = make_transform(exp_so3(np.array([1.3, 0.2, 0.4])), np.array([0.11, 0.07, 0.6]))
    tracker = Tracker({"mug": model}, TrackerConfig(threads=1))
    tracker.start(frames[0], {"mug": T[0]})
    for frame in frames[1:6]:
        tracker.track(frame)
    later = [
        tracker.track(replace(frame_of("mug", elsewhere, 6 + i), stamp_ns=(3000 + i) * PERIOD_NS))
        for i in range(28)
    ]
    assert later[0].objects["mug"].status is Status.LOST and later[0].objects["mug"].reason
    found = later[-1].objects["mug"]
    assert found.status is Status.TRACKING
    assert pose_error(found.T_cam_obj, elsewhere, model)[0] < 3.0


def test_a_search_from_before_a_jump_is_dropped() -> None:
    model, T, frames = moving()
    tracker = Tracker({"mug": model}, TrackerConfig(threads=1, health={"patience_frames": 1}))
    tracker.start(frames[0], {"mug": T[0]})
    elsewhere = make_transform(exp_so3(np.array([1.3, 0.2, 0.4])), np.array([0.11, 0.07, 0.6]))
    tracker.track(replace(frame_of("mug", elsewhere, 1)))
    before = tracker._recovery._request
    tracker.track(replace(frame_of("mug", elsewhere, 2), stamp_ns=10**12))
    assert before is not None and tracker._recovery._request is not before


def black(frame: Frame) -> Frame:
    return replace(frame, color=np.zeros_like(frame.color), depth=np.zeros_like(frame.depth))


@pytest.mark.parametrize("name", ["mug", "box"])
@pytest.mark.parametrize("fault", ["black", "frozen"])
def test_frames_without_news_are_as_good_as_missing(name, fault) -> None:
    model, T, frames = moving(name)
    bad = {5, 6, 7}
    given = [
        (black(f) if fault == "black" else replace(frames[4], stamp_ns=f.stamp_ns)) if i in bad else f
        for i, f in enumerate(frames)
    ]
    results = follow(given, T, model)
    without = follow([f for i, f in enumerate(frames) if i not in bad], T, model)
    for i, result in enumerate(results, start=1):
        state = result.objects[name]
        if i in bad:
            assert state.status is Status.OCCLUDED and "images" in state.reason
            assert pose_error(state.T_cam_obj, T[i], model)[0] < 30.0
            wanted = {("color", "blank"), ("depth", "blank")} if fault == "black" else {("frames", "frozen")}
            assert set(kinds(result)) == wanted
        else:
            assert kinds(result) == []
    spread = [results[i - 1].objects[name].covariance[0, 0] for i in (5, 6, 7)]
    assert spread == sorted(spread) and spread[0] > 1e-5
    for a, b in zip(results[7:], without[4:], strict=True):
        np.testing.assert_array_equal(a.objects[name].T_cam_obj, b.objects[name].T_cam_obj)
        assert a.objects[name].score == pytest.approx(b.objects[name].score, abs=1e-12)


def test_an_object_that_stays_unseen_is_lost_and_doubted_when_it_is_back() -> None:
    model, T, frames = moving()
    config = TrackerConfig(recovery={"search": False}, threads=1, health={"occluded_patience_frames": 4})
    results = follow([*frames[:4], *map(black, frames[4:10]), *frames[10:]], T, model, config)
    assert [r.objects["mug"].status for r in results[3:9]] == [Status.OCCLUDED] * 3 + [Status.LOST] * 3
    back = results[9].objects["mug"]
    assert back.status is not Status.TRACKING or back.score <= 0.5


def test_images_without_noise_may_repeat() -> None:
    """A simulation at rest."""
    model, T, _ = moving()
    options = {"depth_noise": 0.0, "color_noise": 0.0}
    frames = [
        render({"mug": (model.mesh, T[max(i - 3, 0)])}, stamp_ns=i * PERIOD_NS, **options) for i in range(7)
    ]
    results = follow(frames, [T[max(i - 3, 0)] for i in range(7)], model)
    assert all(r.objects["mug"].status is Status.TRACKING and kinds(r) == [] for r in results)


def test_a_dark_colour_image_is_none() -> None:
    model, T, frames = moving()
    rng = np.random.default_rng(0)
    dark = [replace(f, color=rng.integers(0, 5, f.color.shape, dtype=np.uint8)) for f in frames]
    results = follow(dark, T, model)
    same = follow([replace(f, color=None) for f in frames], T, model)
    for a, b in zip(results, same, strict=True):
        np.testing.assert_array_equal(a.objects["mug"].T_cam_obj, b.objects["mug"].T_cam_obj)
        assert kinds(a) == [("color", "blank")]


def test_autofocus_goes_on() -> None:
    rng = np.random.default_rng(0)
    model, T = make_model("mug"), poses("mug", 10)
    cameras = [replace(CAMERA, fx=300.0 + f, fy=301.0 + f) for f in rng.normal(0.0, 2.0, 10)]
    frames = [frame_of("mug", T[i], i, cameras[i]) for i in range(10)]
    for result, t in zip(follow(frames, T, model), T[1:], strict=True):
        assert result.objects["mug"].status is Status.TRACKING
        assert pose_error(result.objects["mug"].T_cam_obj, t, model)[0] < 0.8


@pytest.mark.parametrize(
    "camera",
    [
        Camera(480, 360, 450.0, 451.5, 237.5, 182.2),
        Camera(320, 240, 300.0, 301.0, 158.2, 121.3, (-0.3, 0.1, 0.001, -0.0008), "plumb_bob"),
    ],
)
def test_another_size_or_lens_goes_on_with_what_was_learned(camera) -> None:
    model, T, frames = moving()
    changed = [frame_of("mug", T[i], i, camera) if i >= 6 else frames[i] for i in range(COUNT)]
    tracker = Tracker({"mug": model}, ALONE)
    tracker.start(changed[0], {"mug": T[0]})
    for i in range(1, COUNT):
        learned = tracker.tracks["mug"].refiner.histograms.log_ratio.numpy()
        result = tracker.track(changed[i]).objects["mug"]
        assert result.status is Status.TRACKING and result.score > 0.8
        assert pose_error(result.T_cam_obj, T[i], model)[0] < 1.0
        if i == 6:  # not learned afresh
            now = tracker.tracks["mug"].refiner.histograms.log_ratio.numpy()
            assert np.corrcoef(learned.ravel(), now.ravel())[0, 1] > 0.8


def test_an_object_that_is_not_there_yet_is_found_when_it_comes() -> None:
    model, T, _ = moving()
    other = {"box": (make_model("box").mesh, make_transform(np.eye(3), np.array([0.12, 0.06, 0.7])))}
    empty = [render(other, stamp_ns=i * PERIOD_NS, seed=100 + i) for i in range(6)]
    tracker = Tracker({"mug": model}, TrackerConfig(threads=1))
    result = tracker.start(empty[0], {"mug": None})
    assert not result.objects and kinds(result) == [("mug", "not found")]
    for frame in empty[1:]:
        result = tracker.track(frame)
        assert not result.objects and kinds(result) == [("mug", "not found")]
    states = []
    for i in range(26):
        frame = frame_of("mug", T[0], 6 + i)
        states.append(tracker.track(frame).objects.get("mug"))
    assert states[0] is None
    assert states[-1] is not None and states[-1].status is Status.TRACKING
    assert pose_error(states[-1].T_cam_obj, T[0], model)[0] < 2.0
    assert not tracker.track(frame_of("mug", T[0], 40)).diagnosis


def two_boxes():
    """Poses of two equal boxes, and frames of both."""
    model = make_model("box")
    T = [
        make_transform(exp_so3(np.array([0.5, 0.4, 0.1])), np.array([-0.16, 0.0, 0.5])),
        make_transform(exp_so3(np.array([0.1, -0.4, 0.3])), np.array([0.06, 0.0, 0.55])),
    ]
    parts = {str(k): (model.mesh, pose) for k, pose in enumerate(T)}
    return T, lambda i: render(parts, stamp_ns=i * PERIOD_NS, seed=i)


def places(result, model):
    return {n: s.T_cam_obj[:3, :3] @ model.center + s.T_cam_obj[:3, 3] for n, s in result.objects.items()}


@pytest.mark.parametrize("known", [False, True])
def test_equal_objects_get_instances_of_their_own(known) -> None:
    T, frame = two_boxes()
    model = make_model("box")
    copy = type(model)("copy", type(model.mesh)(model.mesh.vertices.copy(), model.mesh.faces.copy()))
    tracker = Tracker({"a": model, "b": copy}, ALONE)
    tracker.start(frame(0), {"a": T[0] if known else None, "b": None})
    result = tracker.track(frame(1))
    seen = places(result, model)
    assert set(seen) == {"a", "b"}
    centers = [pose[:3, :3] @ model.center + pose[:3, 3] for pose in T]
    nearest = {n: int(np.argmin([np.linalg.norm(c - p) for c in centers])) for n, p in seen.items()}
    assert sorted(nearest.values()) == [0, 1]
    assert all(np.linalg.norm(centers[nearest[n]] - p) < 0.01 for n, p in seen.items())
    assert not known or nearest["a"] == 0


def test_a_search_for_one_of_two_equal_objects_leaves_the_other_alone() -> None:
    T, frame = two_boxes()
    model = make_model("box")
    tracker = Tracker({"a": model, "b": model}, TrackerConfig(threads=1))
    tracker.start(frame(0), {"a": T[0], "b": None})
    tracker.reset("b")
    alone = render({"0": (model.mesh, T[0])}, stamp_ns=0, seed=7)
    result = tracker.start(alone, {"b": None})
    assert set(result.objects) == {"a"} and kinds(result) == [("b", "not found")]
    for i in range(1, 30):
        result = tracker.track(frame(i))
    seen = places(result, model)
    assert set(seen) == {"a", "b"} and np.linalg.norm(seen["a"] - seen["b"]) > 0.1


def at(z, x=0.0):
    return make_transform(exp_so3(np.array([0.9, 0.5, 0.3])), np.array([x, 0.0, z]))


@pytest.mark.parametrize(
    ("T", "words"),
    [
        (at(-0.5), "reaches behind the camera"),
        (at(0.02), "reaches behind the camera"),
        (at(1000.0), r"spans 0\.037 pixels"),
        (at(0.5, 3.0), "outside the image"),
        (np.full((4, 4), np.nan), "must be finite"),
    ],
)
def test_starts_that_cannot_be_are_refused(T, words) -> None:
    model, _, frames = moving()
    tracker = Tracker({"mug": model}, ALONE)
    with pytest.raises(ValueError, match=words) as error:
        tracker.start(frames[0], {"mug": T})
    assert "mug" in str(error.value)
    assert not tracker.track(frames[1]).objects


def test_what_is_partly_in_view_may_be_started() -> None:
    model, _, frames = moving()
    result = Tracker({"mug": model}, ALONE).start(frames[0], {"mug": at(0.5, -0.3)})
    assert set(result.objects) == {"mug"}


def test_outlines_outside_the_image_count_as_little_as_hidden_ones() -> None:
    model = make_model("mug")
    T = [at(0.4, -0.22 + 0.001 * i) for i in range(5)]
    frames = [frame_of("mug", t, i) for i, t in enumerate(T)]
    tracker = Tracker({"mug": model}, ALONE)
    tracker.start(frames[0], {"mug": T[0]})
    for frame in frames[1:]:
        state = tracker.track(frame).objects["mug"]
    uv = CAMERA.project(model.mesh.vertices @ T[-1][:3, :3].T + T[-1][:3, 3])
    assert 0.3 < np.mean(uv[:, 0] < 0.0) < 0.8  # a good part is outside
    assert state.status is Status.TRACKING
    assert tracker.tracks["mug"]._attempts.best.agreement.outline > 0.8


def test_reasons_say_what_is_true() -> None:
    model, T, frames = moving()
    tracker = Tracker({"mug": model}, ALONE)
    tracker.start(frames[0], {"mug": T[0]})
    state = tracker.track(frames[1], expected={"mug": at(0.5, 2.0)}).objects["mug"]
    assert state.status is not Status.TRACKING and state.reason.startswith(
        "out of view: it is expected at col"
    )
    tracker.start(frames[0], {"mug": T[0]})
    state = tracker.track(frames[1], expected={"mug": at(200.0)}).objects["mug"]
    assert state.status is not Status.TRACKING
    assert state.reason.startswith("too small or thin in the image to be measured: it spans 0.")


def test_rods_and_what_is_seen_from_near_are_tracked() -> None:
    import open3d as o3d

    from dr_perception.geometry import Mesh, ObjectModel

    for name, size, z in (("rod", (0.18, 0.004, 0.004), 0.45), ("slab", (0.4, 0.25, 0.12), 0.45)):
        made = o3d.geometry.TriangleMesh.create_box(*size).subdivide_midpoint(3)
        vertices = np.asarray(made.vertices) - 0.5 * np.array(size)
        model = ObjectModel(name, Mesh(vertices, np.asarray(made.triangles).astype(np.int32)))
        turns = [exp_so3(np.array([0.5, 0.3, 0.4 + 0.004 * i])) for i in range(8)]
        T = [make_transform(R, np.array([0.001 * i, 0.0, z])) for i, R in enumerate(turns)]
        frames = [render({name: (model.mesh, t)}, stamp_ns=i * PERIOD_NS, seed=i) for i, t in enumerate(T)]
        for result, t in zip(follow(frames, T, model), T[1:], strict=True):
            state = result.objects[name]
            assert state.status is Status.TRACKING, (name, state.reason)
            assert pose_error(state.T_cam_obj, t, model)[0] < 2.0
