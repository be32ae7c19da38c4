"""Where the time of a frame goes, for the first object of a scene.

Every part is captured as the tracker captures it and timed by itself at the poses of the run; a part that
cannot run without the ones before it is the difference of two prefixes. What is left of the whole is the
host's: Python, prediction, judging.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from scenes import SceneData

import dr_perception as drp
from dr_perception.device.recording import capture
from dr_perception.hypothesis.refiner import PoseRefiner
from dr_perception.measure.config import StageConfig
from dr_perception.measure.terms import stage_launches
from dr_perception.tracking.object_track import ObjectTrack

PARTS = ("upload", "draw", "sample", "measure", "accumulate", "solve", "learn", "host")
_EVERY = 10
_REPEATS = 15


def median_ms(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Median time of a call, with something untimed before each."""
    times = []
    for _ in range(_REPEATS):
        before()
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


class StageParts:
    """Captured prefixes of one stage."""

    def __init__(self, refiner: PoseRefiner, stage: StageConfig) -> None:
        """Capture what the refiner captures for the stage, prefix by prefix."""
        device, solver = refiner.frame.device, refiner.solver
        measure, rows = stage_launches(refiner.terms, stage)
        self.draw = capture(refiner.view.draw_launches(), device) if stage.render else _nothing
        sample = list(refiner.view.sample_launches()) if stage.render else []
        self.sample = capture(sample, device) if sample else _nothing
        self.measure = capture([*sample, *measure], device) if sample or measure else _nothing
        self.all = capture([*sample, *solver.launches(rows, stage.steps, measure)], device)
        self.solve = capture(solver.launches([], stage.steps), device)

    def times(self, start: Callable[[], None]) -> dict[str, float]:
        """Milliseconds of each part; ``start`` sets the pose that the stage begins from."""
        draw = median_ms(self.draw, start)

        def drawn() -> None:
            start()
            self.draw()

        sample, measure, whole = (median_ms(part, drawn) for part in (self.sample, self.measure, self.all))
        solve = median_ms(self.solve, drawn)
        return {
            "draw": draw,
            "sample": sample,
            "measure": measure - sample,
            "accumulate": whole - measure - solve,
            "solve": solve,
        }


def _nothing() -> None:
    """Stands for a part that a stage does not have."""


def profile(scene: SceneData, config: drp.TrackerConfig) -> dict[str, float]:
    """Milliseconds of each part (`PARTS`) and of the whole, medians over the frames of a scene."""
    name = next(iter(scene.models))
    tracker = drp.Tracker({name: scene.models[name]}, config)
    tracker.start(scene.frames[0], {name: scene.truth[0][name]})
    stages: list[StageParts] = []
    samples: list[dict[str, float]] = []
    totals = []
    for k, frame in enumerate(scene.frames[1:], start=1):
        totals.append(tracker.track(frame).timing_ms["total"])
        if k % _EVERY == 0:
            track = tracker._tracks[name]
            stages = stages or [StageParts(track.refiner, stage) for stage in config.stages]
            samples.append(_parts(track, stages))
    parts = {part: float(np.median([s[part] for s in samples])) for part in PARTS if part != "host"}
    whole = float(np.median(totals))
    return {**parts, "host": whole - sum(parts.values()), "whole": whole}


def _parts(track: ObjectTrack, stages: Sequence[StageParts]) -> dict[str, float]:
    refiner = track.refiner
    box = track.box(track.config.margin_px)
    sums = dict.fromkeys(PARTS, 0.0)
    assert track.T_cam_obj is not None
    before, after = track.predicted[None], track.T_cam_obj[None]

    def start_at(T: np.ndarray) -> Callable[[], None]:
        return lambda: refiner.set_poses(T)

    refiner.set_prior(before, np.eye(6))
    for k, stage in enumerate(stages):
        for part, ms in stage.times(start_at(before if k == 0 else after)).items():
            sums[part] += ms
    rate = track.config.color_learning_rate
    sums["upload"] = median_ms(lambda: refiner.frame.upload(box))
    sums["learn"] = median_ms(lambda: refiner.histograms.learn(rate), start_at(after))
    return sums


def show(scene: str, name: str, parts: dict[str, float]) -> None:
    """Print the parts and their shares."""
    whole = parts["whole"]
    print(f"\nWhere the time of a frame goes: scene {scene}, {name}, median {whole:.3f} ms")
    for part in PARTS:
        bar = "#" * max(0, round(40 * parts[part] / whole))
        print(f"  {part:11s} {parts[part]:7.3f} ms {100.0 * parts[part] / whole:5.1f} %  {bar}")
