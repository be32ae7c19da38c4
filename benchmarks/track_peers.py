"""The comparison harness's own adapters and this project in one run, one table.

Needs the harness (``../shared/bench``), and ``small_gicp`` and Open3D for its adapters. The rows of M3T are
those that the harness's README reports: it is not run here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scenes import SHARED

OURS = "harness_adapter:DrPerception"
PEERS = {"sgicp_gicp_crop": "small_gicp", "o3d_p2l_crop": "open3d"}
HARNESS = SHARED / "bench"


def harness(scenes: Path) -> tuple[ModuleType, ModuleType]:
    """The harness's modules ``bopio`` and ``tracker_api``, set to a folder of scenes.

    Raises:
        FileNotFoundError: The harness is not there.
    """
    if not (HARNESS / "tracker_api.py").is_file():
        raise FileNotFoundError(f"no comparison harness at {HARNESS} (set DR_PERCEPTION_SHARED)")
    os.environ["BENCH"] = str(scenes.resolve().parent)
    for folder in (HARNESS, Path(__file__).resolve().parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return importlib.import_module("bopio"), importlib.import_module("tracker_api")


def run(scenes: Path, names: list[str] | None, stride: int) -> dict[str, dict[str, float]]:
    """Figures of every tracker over the scenes, by tracker."""
    bopio, api = harness(scenes)
    models, sequences = bopio.load(scenes.resolve().name)
    chosen = [s for s in sequences if names is None or Path(s.path).name in names]
    trackers = [OURS]
    for peer, module in PEERS.items():
        if importlib.util.find_spec(module):
            trackers.append(peer)
        else:
            print(f"{peer} is left out: the package {module} is not installed")
    return {name: _run_one(name, bopio, api, models, chosen, stride) for name in trackers}


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
    for name, times, add, tenth, two, lost in reported():
        print(f"  {name:44s} {times:>18s} {add:>21s} {tenth:>8s} {two:>6s} {lost:>5s}   reported")


def reported() -> list[tuple[str, ...]]:
    """Rows of M3T in the README of the harness: name, times, errors, shares, lost."""
    found = []
    for text in (HARNESS / "README.md").read_text().splitlines():
        if re.match(r"\| M3T .*\|.*\|.*\|.*\|.*\|.*\|.*\|", text) and text.count("|") == 9:
            cells = [cell.strip() for cell in text.strip("|").split("|")]
            found.append(
                (cells[0].split(" (a hybrid")[0][:44], cells[1], cells[2], cells[4], cells[5], cells[7])
            )
    return found
