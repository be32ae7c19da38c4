"""Many frames in a loop, in a process that only tracks: does the memory stay, does the time of a frame stay?

``track.py --loop N`` decodes a scene into plain files and starts this script as a process of its own, so that
what decoding takes is not in the figures. With ``--instances M`` the scene is many instances of one model in
a grid, rendered here.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from frame_store import FrameStore, Poses, write_frames

import dr_perception as drp
from dr_perception.geometry.se3 import exp_so3, make_transform

_WARM_UP = 500
_GRID_COLUMNS = 10
_GRID_SPACING_M = 0.13
_GRID_DISTANCE_M = 1.5
_WALL_M = 2.2
_GRID_FRAMES = 12
_GRID_WARM_UP = 20


def resident_mb() -> float:
    """Resident memory of this process [MB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def play(store: FrameStore, config: drp.TrackerConfig, count: int, warm_up: int) -> dict[str, Any]:
    """Play frames to and fro for ``count`` frames after a warm-up.

    Returns:
        Memory before and after [MB], median time of a frame in the first and last tenth [ms], wrong or lost
        poses, and whether Open3D was loaded.
    """
    tracker = drp.Tracker(store.models, config)
    before, times, wrong, lost = 0.0, [], 0, 0
    for number, (k, frame) in enumerate(store.played(count + warm_up + 1)):
        if number == 0:
            tracker.start(frame, dict(store.truth[0]))
            continue
        result = tracker.track(frame)
        if number == warm_up:
            gc.collect()
            before = resident_mb()
        if number <= warm_up:
            continue
        times.append(result.timing_ms["total"])
        for name, state in result.objects.items():
            lost += state.status is drp.Status.LOST
            distance = np.linalg.norm(state.T_cam_obj[:3, 3] - store.truth[k][name][:3, 3])
            wrong += bool(distance > 0.1 * store.models[name].diameter_m)
    gc.collect()
    tenth = max(count // 10, 1)
    return {
        "frames": count,
        "objects": len(store.models),
        "resident_before_mb": before,
        "resident_after_mb": resident_mb(),
        "first_tenth_ms": float(np.median(times[:tenth])),
        "last_tenth_ms": float(np.median(times[-tenth:])),
        "wrong_poses": wrong,
        "lost_poses": lost,
        "open3d_loaded": "open3d" in sys.modules,
    }


def in_own_process(folder: Path, count: int, threads: int, warm_up: int) -> dict[str, Any]:
    """`play` of the frames in a folder by a process that does nothing else."""
    command = [sys.executable, __file__, str(folder), "--frames", str(count), "--threads", str(threads)]
    run = subprocess.run([*command, "--warm-up", str(warm_up)], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def run(
    frames: Sequence[drp.Frame],
    truth: Sequence[Poses],
    models: dict[str, Path],
    count: int,
    threads: int,
    warm_up: int = _WARM_UP,
) -> dict[str, Any]:
    """Loop over frames with known poses of the models in some files."""
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder), frames, truth, models)
        return in_own_process(Path(folder), count, threads, warm_up)


def grid(model: drp.ObjectModel, count: int) -> tuple[list[drp.Frame], list[Poses]]:
    """Frames of instances of a model in a grid before a wall, each swaying and turning a little."""
    from dr_perception.render import Instance, Scene

    camera = drp.Camera(width=640, height=480, fx=600.0, fy=600.0, cx=319.5, cy=239.5)
    rng = np.random.default_rng(0)
    frames, truth = [], []
    for k in range(_GRID_FRAMES):
        poses = {f"{model.name}_{i}": _grid_pose(model, i, count, k) for i in range(count)}
        images = drp.render(Scene([Instance(model, T) for T in poses.values()]), camera)
        depth = images.depth.numpy().reshape(480, 640)
        linear = np.clip(images.color.numpy().reshape(480, 640, 3), 0.0, 1.0)
        color = 255.0 * linear ** (1.0 / 2.2)
        noise = rng.normal(0.0, 1.0e-3, depth.shape)
        depth = np.where(depth > 0.0, depth, _WALL_M) + noise
        frames.append(drp.Frame(color=color.astype(np.uint8), depth=depth.astype(np.float32), camera=camera))
        truth.append(poses)
    return frames, truth


def _grid_pose(model: drp.ObjectModel, i: int, count: int, k: int) -> np.ndarray:
    """Pose (4, 4) of an instance in a frame."""
    rows = -(-count // _GRID_COLUMNS)
    place = np.array([i % _GRID_COLUMNS - 0.5 * (_GRID_COLUMNS - 1), i // _GRID_COLUMNS - 0.5 * (rows - 1)])
    sway = 0.004 * np.array([np.sin(0.5 * k + i), np.cos(0.4 * k + i)])
    R = exp_so3(np.array([0.9, 0.3 * i, 0.2 * i])) @ exp_so3(0.02 * k * np.array([0.0, 1.0, 0.5]))
    center = np.array([*(_GRID_SPACING_M * place + sway), _GRID_DISTANCE_M])
    return make_transform(R, center - R @ model.center)


def run_instances(file: Path, counts: Sequence[int], frames: int, threads: int) -> list[dict[str, Any]]:
    """Loop over some numbers of instances of the model of a file, each in a process of its own."""
    model = drp.load_model(file)
    found = []
    for count in counts:
        images, truth = grid(model, count)
        found.append(run(images, truth, dict.fromkeys(truth[0], file), frames, threads, _GRID_WARM_UP))
    return found


def show(name: str, f: dict[str, Any]) -> None:
    """Print the figures of a loop."""
    print(f"\n{f['frames']:.0f} frames of {name} to and fro, {f['objects']:.0f} objects")
    growth = f["resident_after_mb"] - f["resident_before_mb"]
    print(
        f"  resident memory {f['resident_before_mb']:.1f} MB, then {f['resident_after_mb']:.1f} MB"
        f" ({growth:+.2f} MB){', with Open3D' if f['open3d_loaded'] else ''}"
    )
    print(
        f"  a frame: {f['first_tenth_ms']:.3f} ms in the first tenth, {f['last_tenth_ms']:.3f} ms in the last"
    )
    print(f"  poses off by a tenth of the diameter: {f['wrong_poses']:.0f}, lost: {f['lost_poses']:.0f}")


def show_instances(found: Sequence[dict[str, Any]]) -> None:
    """Print what an instance costs."""
    for f in found:
        print(
            f"  {f['objects']:3.0f} instances: {f['resident_after_mb']:7.1f} MB, {f['last_tenth_ms']:7.2f} ms"
            f" a frame, {f['last_tenth_ms'] / f['objects']:.3f} ms an instance,"
            f" {f['wrong_poses']:.0f} poses wrong, {f['lost_poses']:.0f} lost"
        )
    first, last = found[0], found[-1]
    more = last["objects"] - first["objects"]
    if more:
        cost = (last["resident_after_mb"] - first["resident_after_mb"]) / more
        print(f"  a further instance: {cost:.2f} MB")


def main() -> None:
    """Track the frames of a folder; print the figures as JSON."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--frames", type=int, required=True)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--warm-up", type=int, default=_WARM_UP, help="frames before the memory is measured")
    a = p.parse_args()
    config = drp.TrackerConfig(threads=a.threads)
    print(json.dumps(play(FrameStore(a.folder), config, a.frames, a.warm_up)))


if __name__ == "__main__":
    main()
