"""The comparison harness's own adapters and this project refining single frames in one run, one table.

The trials are those of the harness's ``run_refine.py``: the same for every method.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import harness, reported, trackers
from scenes import LEVELS, moved

Row = dict[str, float]


def run(scenes: Path, trials: int) -> dict[str, dict[str, Row]]:
    """Figures of every method and level over the scenes with one object."""
    bopio, api = harness(scenes)
    models, sequences = bopio.load(scenes.resolve().name)
    single = [s for s in sequences if len(s.obj_ids) == 1]
    return {name: _run_one(name, bopio, api, models, single, trials) for name in trackers()}


def _run_one(
    name: str, bopio: ModuleType, api: ModuleType, models: dict[int, Any], sequences: list[Any], trials: int
) -> dict[str, Row]:
    rows: dict[str, list[Row]] = {level: [] for level in LEVELS}
    times: dict[str, list[float]] = {level: [] for level in LEVELS}
    for sequence in sequences:
        tracker = api.make(name)
        number = sequence.obj_ids[0]
        model = models[number]
        first = sequence.frame(0)
        height, width = first.depth.shape
        tracker.setup({0: model}, first.K, width, height)
        tracker.refine(first, {0: first.gt[0]})  # what is made at the first call is not counted
        for level in LEVELS:
            for frame, truth, guess in _trials(sequence, level, trials, 1000 + number):
                begin = time.perf_counter()
                found = tracker.refine(frame, {0: guess})
                times[level].append(1e3 * (time.perf_counter() - begin))
                rows[level].append(
                    {"diam": model.info["diameter"], **bopio.pose_errors(model, found[0], truth)}
                )
        tracker.close()
    return {level: _summary(bopio, rows[level], times[level]) for level in LEVELS}


def _trials(
    sequence: Any, level: str, count: int, seed: int
) -> Iterator[tuple[Any, NDArray[np.float64], NDArray[np.float64]]]:
    """Frames without their truth, the truth (4, 4) and a guess (4, 4)."""
    distance_m, angle_deg = LEVELS[level]
    usable = [k for k in range(sequence.n) if sequence.gti[str(k)][0]["visib_fract"] > 0.6]
    rng = np.random.RandomState(seed)
    for _ in range(count):
        frame = sequence.frame(usable[rng.randint(len(usable))], masks=False)
        truth, frame.gt = frame.gt[0], {}
        yield frame, truth, moved(truth, distance_m, angle_deg, rng)


def _summary(bopio: ModuleType, rows: list[Row], times: list[float]) -> Row:
    every = bopio.summarise(rows)
    figures = {"right": every["add01d"], "below_2mm": every["add_2mm"], "add_mm": every["add_median"]}
    return {**figures, "ms": float(np.median(times)), "ms_p95": float(np.percentile(times, 95))}


def show(results: dict[str, dict[str, Row]]) -> None:
    """Print one table, with the rows that the harness reports."""
    print("\nright / below 2 mm in percent, ms median (p95)")
    print(f"  {'method':44s}" + "".join(f"{level:>32s}" for level in LEVELS))
    for name, levels in results.items():
        cells = "".join(
            f"{f['right']:14.1f} / {f['below_2mm']:5.1f} {f['ms']:5.1f} ({f['ms_p95']:.0f})"
            for f in levels.values()
        )
        print(f"  {name:44s}{cells}")
    print("\nreported by the harness, of its own machine: the same, then ms")
    for pattern in ("M3T", "small_gicp", "Open3D"):
        for name, *levels, ms in reported(pattern, 5):
            print(f"  {name[:44]:44s}" + "".join(f"{level:>16s}" for level in levels) + f"{ms:>8s}")
