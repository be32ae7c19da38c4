"""The offline loop gives the tracker images in order and nothing it must not know."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dr_perception.config import load_config
from dr_perception.data.bop_results import read_bop_results
from dr_perception.evaluation import replay as module
from dr_perception.evaluation.bop_records import read_poses
from dr_perception.evaluation.records import read_records
from dr_perception.evaluation.replay import replay_sequence, starting_poses, write_poses
from dr_perception.evaluation.scoring import evaluate
from dr_perception.tracking.result import ObjectState, Status, TrackResult


class SpyTracker:
    """Keeps the starting poses and writes down what it is given."""

    last: SpyTracker

    def __init__(self, models, config):
        SpyTracker.last = self
        self.models, self.config, self.started, self.frames = models, config, {}, []

    def start(self, frame, poses, *, in_view=True):
        self.started, self.first = dict(poses), frame
        return self._result(frame)

    def track(self, frame):
        self.frames.append(frame)
        return self._result(frame)

    def _result(self, frame):
        known = {name: T for name, T in self.started.items() if T is not None}
        states = {n: ObjectState(T, 1e-6 * np.eye(6), Status.TRACKING, 0.9) for n, T in known.items()}
        return TrackResult(states, frame.stamp_ns)


@pytest.fixture(autouse=True)
def spy(monkeypatch):
    monkeypatch.setattr(module, "Tracker", SpyTracker)


@pytest.fixture
def knowing_source(source):
    """A source whose frames carry masks and camera poses, as those of a data set do."""

    class Knowing(type(source)):
        def __iter__(self):
            for frame in super().__iter__():
                masks = {"box": np.ones((120, 160), bool)}
                yield dataclasses.replace(frame, masks=masks, T_world_cam=np.eye(4))

    return Knowing(source.truth, source.object_ids)


def test_the_tracker_sees_ground_truth_on_the_first_frame_only(knowing_source, models):
    run = replay_sequence(knowing_source, models)
    tracker = SpyTracker.last
    np.testing.assert_array_equal(tracker.started["box"], knowing_source.truth[0]["box"])
    assert len(tracker.frames) == 39 and run.indices == list(range(1, 40))
    for frame in (tracker.first, *tracker.frames):
        assert frame.masks is None and frame.T_world_cam is None


def test_search_gives_names_but_no_poses(source, models):
    replay_sequence(source, models, init="search")
    assert SpyTracker.last.started == {"box": None, "can": None}


def test_an_object_never_found_is_lost_in_every_frame(source, models):
    class Blind(SpyTracker):
        def start(self, frame, poses, *, in_view=True):
            return super().start(frame, {"box": source.truth[0]["box"], "can": None})

    module.Tracker = Blind  # restored by the fixture
    entry = replay_sequence(source, models, init="search").metrics.to_dict()["objects"]["can"]
    assert entry["lost_frames"] == 39 and entry["recall_10pct"] == 0.0
    assert entry["add_mm"]["median"] is None


def test_stride_and_length_choose_the_frames(source, models):
    seen = []
    run = replay_sequence(source, models, stride=3, max_frames=5, progress=lambda *n: seen.append(n))
    assert run.indices == [3, 6, 9, 12]
    assert [f.stamp_ns for f in SpyTracker.last.frames] == [1_000 + 33_000_000 * k for k in run.indices]
    assert seen == [(k, 5) for k in range(1, 6)]
    assert run.metrics.frames == 4
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        replay_sequence(source, models, stride=0)
    with pytest.raises(ValueError, match="two are needed"):
        replay_sequence(source, models, stride=40)


def test_configuration_reaches_tracker_and_metrics(source, models):
    config = load_config(None, ["node.queue_depth=7"])
    metrics = replay_sequence(source, models, config).metrics
    assert SpyTracker.last.config is config.tracker
    assert metrics.to_dict()["config"]["node"]["queue_depth"] == 7


def test_without_ground_truth_there_are_poses_but_no_metrics(source, models):
    source.truth = [None] * 40
    run = replay_sequence(source, models, init="search")
    assert run.metrics is None
    with pytest.raises(ValueError, match=r"no ground truth for \['box', 'can'\].*'search'"):
        starting_poses(source, models, "ground-truth")


def test_both_pose_files_give_the_same_errors_again(source, models, tmp_path):
    run = replay_sequence(source, models)
    write_poses(tmp_path, run, source)
    results = read_bop_results(tmp_path / "poses.csv")
    assert (results[0].scene_id, results[0].image_id, results[0].object_id) == (1, 11, 1)
    assert results[0].time_s >= 0.0
    assert len(read_records(tmp_path / "trajectory.csv")) == 2 * 39
    for name in ("trajectory.csv", "poses.csv"):
        again = evaluate(read_poses(tmp_path / name, run.stamps_ns, source), source, models)
        for key, errors in run.metrics.objects.items():
            np.testing.assert_allclose(again.objects[key].add, errors.add, atol=1e-9)


def test_poses_of_another_scene_are_refused(source, models, tmp_path):
    run = replay_sequence(source, models)
    write_poses(tmp_path, run, source)
    source.scene_id = 2
    with pytest.raises(ValueError, match="no estimate is of scene 2"):
        read_poses(tmp_path / "poses.csv", run.stamps_ns, source)
