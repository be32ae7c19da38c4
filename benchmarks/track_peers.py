"""The comparison harness's own adapters and this project tracking in one run, one table."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from peers import harness, reported, trackers


def run(scenes: Path, names: list[str] | None, stride: int) -> dict[str, dict[str, float]]:
    """Figures of every tracker over the scenes, by tracker."""
    bopio, api = harness(scenes)
    models, sequences = bopio.load(scenes.resolve().name)
    chosen = [s for s in sequences if names is None or Path(s.path).name in names]
    return {name: _run_one(name, bopio, api, models, chosen, stride) for name in trackers()}


def _run_one(
    name: str, bopio: ModuleType, api: ModuleType, models: dict[int, Any], sequences: list[Any], stride: int
) -> dict[str, float]:
    rows, times, lost = [], [], 0
    for sequence in sequences:
        tracker = api.make(name)
        first = sequence.frame(0)
        height, width = first.depth.shape
        tracker.setup({j: models[o] for j, o in enumerate(sequence.obj_ids)}, first.K, width, height)
        tracker.init(first, {k: T.copy() for k, T in first.gt.items()})
        new = []
        for k in range(stride, sequence.n, stride):
            frame = sequence.frame(k, masks=False)
            truth, frame.gt = frame.gt, {}
            begin = time.perf_counter()
            poses = tracker.track(frame)
            times.append(1e3 * (time.perf_counter() - begin) / len(truth))
            for j, o in enumerate(sequence.obj_ids):
                error = bopio.pose_errors(models[o], poses[j], truth[j])
                new.append({"key": j, "diam": models[o].info["diameter"], **error})
        tracker.close()
        for j in range(len(sequence.obj_ids)):
            track = [row for row in new if row["key"] == j]
            lost += bool(np.median([row["add"] for row in track[-10:]]) > 0.2 * track[0]["diam"])
        rows += new
    return {
        **bopio.summarise(rows),
        "lost": lost,
        "ms": float(np.median(times)),
        "ms_p95": float(np.percentile(times, 95)),
    }


def show(results: dict[str, dict[str, float]]) -> None:
    """Print one table, with the rows of M3T that the harness reports."""
    titles = f"{'ms an object / p95':>18s} {'ADD median / mean mm':>21s}"
    print(f"\n  {'tracker':44s} {titles} {'<10 % d':>8s} {'<2 mm':>6s} {'lost':>5s}")
    for name, f in results.items():
        times, add = f"{f['ms']:.2f} / {f['ms_p95']:.1f}", f"{f['add_median']:.2f} / {f['add_mean']:.2f}"
        print(f"  {name:44s} {times:>18s} {add:>21s} {f['add01d']:8.1f} {f['add_2mm']:6.1f} {f['lost']:5.0f}")
    for cells in reported("M3T", 8):
        name, times, add, _, tenth, two, _, lost = cells
        name = name.split(" (a hybrid")[0][:44]
        print(f"  {name:44s} {times:>18s} {add:>21s} {tenth:>8s} {two:>6s} {lost:>5s}   reported")
