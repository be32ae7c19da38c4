"""The offline loop: frames through the tracker to records, errors and a report.

It is deterministic, and the loop is the one the node runs: start on the first frame, then one call of
``track`` for each following frame in order. Only images and, for the first frame, starting poses reach the
tracker: masks and camera poses that a data set knows about its frames are taken away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dr_perception.config import Config
from dr_perception.data.bop_results import write_bop_results
from dr_perception.data.source import DamagedSequenceError, FrameSource
from dr_perception.evaluation.bop_records import to_bop_results
from dr_perception.evaluation.records import PoseRecord, write_records
from dr_perception.evaluation.result import Metrics, Timing
from dr_perception.evaluation.scoring import evaluate, instances
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.tracking.result import TrackResult
from dr_perception.tracking.tracker import Tracker

__all__ = ["Replay", "records_of", "replay_sequence", "starting_poses", "write_poses"]

InitMethod = Literal["ground-truth", "search"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Replay:
    """What a replay yields."""

    records: list[PoseRecord]
    """Poses of the tracked frames, in order of frames, then of objects."""
    metrics: Metrics | None
    """Errors; None when the sequence has no ground truth or ended in damaged data."""
    models: dict[str, ObjectModel]
    """Model of every tracked instance."""
    indices: list[int]
    """Frames that were tracked: all of the stride but the first, on which the tracker started."""
    stamps_ns: list[int]
    """Stamp of every frame of the sequence [ns], in order."""
    timing: Timing
    damage: str = ""
    """Why the sequence ended early; empty when all of it could be read."""

    def seconds(self) -> dict[int, float]:
        """Time of the tracker for each frame [s], by stamp."""
        return {
            self.stamps_ns[k]: 1e-3 * float(ms) for k, ms in zip(self.indices, self.timing.track, strict=True)
        }


def replay_sequence(
    source: FrameSource,
    models: Mapping[str, ObjectModel],
    config: Config | None = None,
    *,
    init: InitMethod | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    progress: Progress | None = None,
) -> Replay:
    """Track a recorded sequence and measure the errors.

    Args:
        source: The sequence.
        models: Models by name. With ground truth the instances of these models in its first frame are
            tracked, otherwise one instance of each model.
        config: The configuration; defaults when None.
        init: Where the poses of the first frame come from; overrides ``config.init.method``.
        stride: Use every n-th frame.
        max_frames: Stop after this many frames of the stride.
        progress: Called with (frames done, frames in all) after each frame.

    Returns:
        Records, errors and times. The first frame starts the tracker and is not scored.

    Raises:
        ValueError: ``stride`` is not positive, fewer than two frames are left, or the starting poses asked
            for do not exist.
    """
    config = Config() if config is None else config
    if stride < 1:
        raise ValueError(f"the stride must be at least 1, got {stride}")
    wanted = list(range(0, len(source), stride))[:max_frames]
    if len(wanted) < 2:
        raise ValueError(f"'{source.name}' has {len(wanted)} frame(s) at stride {stride}; two are needed")
    poses = starting_poses(source, models, init or config.init.method)
    tracked = instances(poses, models)
    tracker = Tracker(tracked, config=config.tracker)
    stamps, records, times, damage = _run(tracker, poses, source, wanted, progress)
    wanted = wanted[: len(times["track"]) + 1]
    if len(wanted) < 2:
        raise DamagedSequenceError(damage)
    timing = Timing(
        np.array(times["track"]), np.array(times["track"]) / len(tracked), np.array(times["load"])
    )
    metrics = None
    if not damage and source.ground_truth(wanted[1]) is not None:
        metrics = evaluate(
            records,
            source,
            tracked,
            stamps_ns=stamps,
            indices=wanted[1:],
            timing=timing,
            config=config.model_dump(mode="json"),
        )
    return Replay(records, metrics, tracked, wanted[1:], stamps, timing, damage)


def starting_poses(
    source: FrameSource, models: Mapping[str, ObjectModel], init: InitMethod
) -> dict[str, np.ndarray | None]:
    """Pose of every instance to track, None where it is to be searched for.

    Which instances are there is taken from the first ground truth in both cases, their poses only for
    ``"ground-truth"``. Without ground truth there is one instance of each model.

    Raises:
        ValueError: ``init`` is "ground-truth" and the first frame has none for any of the models.
    """
    truth = source.ground_truth(0) or {}
    present = instances(truth, models, strict=False)
    if init == "ground-truth":
        if not present:
            raise ValueError(
                f"'{source.name}' has no ground truth for {sorted(models)} in its first frame; "
                "start with init 'search' instead"
            )
        return {name: np.asarray(truth[name], dtype=np.float64) for name in present}
    return {name: None for name in present or models}


def records_of(result: TrackResult) -> Iterator[PoseRecord]:
    """The records of one tracked frame; an object that was never found has none."""
    for name, state in result.objects.items():
        if state.T_cam_obj is not None and np.isfinite(state.T_cam_obj).all():
            yield PoseRecord(
                result.stamp_ns, name, state.T_cam_obj, state.covariance, state.status, state.score
            )


def write_poses(out: str | Path, run: Replay, source: FrameSource) -> None:
    """Write ``trajectory.csv`` (everything) and ``poses.csv`` (BOP results) of a replay into a folder."""
    write_records(Path(out) / "trajectory.csv", run.records)
    results = to_bop_results(run.records, run.stamps_ns, source, run.models, run.seconds())
    write_bop_results(Path(out) / "poses.csv", results)


def _run(
    tracker: Tracker,
    poses: Mapping[str, Any],
    source: FrameSource,
    wanted: list[int],
    progress: Progress | None,
) -> tuple[list[int], list[PoseRecord], dict[str, list[float]], str]:
    """Stamps of all frames, records and times of the tracked ones, and what cut the sequence short."""
    damage: list[str] = []
    odometry = tracker.config.camera.mode == "both"
    stamps: list[int] = []
    records: list[PoseRecord] = []
    times: dict[str, list[float]] = {"track": [], "load": []}
    for index, frame, load_ms in _timed(source, damage):
        stamps.append(frame.stamp_ns)
        if index not in wanted:
            continue
        if index == wanted[0]:
            # What a data set labels may be hidden or outside the image.
            tracker.start(_images_only(frame, odometry), dict(poses), in_view=False)
        else:
            given = _images_only(frame, odometry)
            begin = time.perf_counter()
            result = tracker.track(given)
            times["track"].append(1e3 * (time.perf_counter() - begin))
            times["load"].append(load_ms)
            records.extend(records_of(result))
        if progress is not None:
            progress(wanted.index(index) + 1, len(wanted))
    return stamps, records, times, "".join(damage)


def _images_only(frame: Frame, odometry: bool) -> Frame:
    """The frame without what a data set knows: masks, and the pose of the camera unless it is an input."""
    return replace(frame, masks=None, T_world_cam=frame.T_world_cam if odometry else None)


def _timed(source: FrameSource, damage: list[str]) -> Iterator[tuple[int, Frame, float]]:
    """Frames with their index and the time to get them [ms]; what ends them early goes to ``damage``."""
    frames = iter(source)
    index = 0
    while True:
        begin = time.perf_counter()
        try:
            frame = next(frames, None)
        except DamagedSequenceError as error:
            damage.append(str(error))
            return
        if frame is None:
            return
        yield index, frame, 1e3 * (time.perf_counter() - begin)
        index += 1
