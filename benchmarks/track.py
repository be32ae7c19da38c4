"""Tracking over scenes in BOP layout, started from ground truth on the first frame and never helped again.

    taskset -c 0 python benchmarks/track.py                    # the table, one core
    taskset -c 0 python benchmarks/track.py --stride 3         # every third frame: three times the motion
    python benchmarks/track.py --scenes DIR --only 000005 --threads 2
    python benchmarks/track.py --profile | --recovery | --peers | --camera | --real | --loop 10000
    python benchmarks/track.py --loop 300 --instances 5 10 25 50

Each of these prints its own table instead of the first and writes out/track_*.json, with the machine and the
date. ``--core 0`` does what ``taskset -c 0`` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import track_loop
import track_peers
import track_profile
import track_real
import track_recovery
import warp as wp
from scenes import OPEN_SCENES, ROOT, Row, SceneData, pin_to_core, read_scenes, write_report
from track_table import HEADER, figures, line

import dr_perception as drp
from dr_perception.geometry.se3 import angle_between, perturb

_OFF = (1.0e-4, np.radians(0.05))
"""How far starts are off the truth: less than tracking is, so that it tells what is chance in its errors."""


def track_scene(
    scene: SceneData, config: drp.TrackerConfig, missing: float = 0.0, start: int = 0
) -> tuple[list[Row], list[float]]:
    """Rows and milliseconds an object of one run.

    ``missing`` is the share of frames that never arrive; every ``start`` but the first is off the truth.
    """
    rng, off = np.random.default_rng(0), np.random.default_rng(start)
    tracker = drp.Tracker(scene.models, config)
    truth = dict(scene.truth[0])
    tracker.start(scene.frames[0], {n: perturb(T, *_OFF, off) for n, T in truth.items()} if start else truth)
    rows, times = [], []
    for k in range(1, len(scene.frames)):
        if rng.random() < missing:
            continue
        result = tracker.track(scene.frames[k])
        times.append(result.timing_ms["total"] / len(scene.models))
        for name, state in result.objects.items():
            rows.append(scene.row(k, name, state.T_cam_obj, state.status.value, state.score))
    return rows, times


def track_again(
    scene: SceneData, config: drp.TrackerConfig, a: argparse.Namespace
) -> tuple[list[Row], list[float]]:
    """Rows, which are the same in every run, and of each frame the least time of some runs; from every start.

    What else a virtual machine did meanwhile is not in the times.
    """
    all_rows, all_times = [], []
    for start in range(a.starts):
        several = [track_scene(scene, config, a.frames_missing, start) for _ in range(a.least_of)]
        all_rows += several[0][0]
        all_times += [min(times) for times in zip(*(times for _, times in several), strict=True)]
    return all_rows, all_times


def show_tracking(a: argparse.Namespace, config: drp.TrackerConfig) -> dict[str, Any]:
    """Track every scene; print a line a scene and one over all."""
    print(
        f"\nTracking, one frame in {a.stride}, {100.0 * a.frames_missing:.0f} % of them missing,"
        f" {config.threads} thread(s)" + (f", least times of {a.least_of} runs" if a.least_of > 1 else "")
    )
    print(HEADER)
    all_rows: list[Row] = []
    all_times: list[float] = []
    lines = {}
    for scene in read_scenes(a.scenes, a.only, a.stride, a.frames):
        rows, times = track_again(scene, config, a)
        lines[scene.name] = figures(rows, times)
        print(line(f"{scene.name} {'+'.join(scene.models)}"[:22], lines[scene.name]), flush=True)
        all_rows, all_times = all_rows + rows, all_times + times
    lines["all"] = figures(all_rows, all_times)
    print(line("all", lines["all"]))
    states = [row.status for row in all_rows]
    print("  frames: " + ", ".join(f"{state} {states.count(state)}" for state in dict.fromkeys(states)))
    return {"lines": lines, "rows": all_rows}


def show_profile(a: argparse.Namespace, config: drp.TrackerConfig) -> dict[str, Any]:
    """Profile the first object of every scene."""
    parts = {}
    for scene in read_scenes(a.scenes, a.only, a.stride, a.frames):
        parts[scene.name] = track_profile.profile(scene, config)
        track_profile.show(scene.name, next(iter(scene.models)), parts[scene.name])
    return {"parts_ms": parts}


def show_recovery(a: argparse.Namespace, config: drp.TrackerConfig) -> dict[str, Any]:
    """Interrupt every scene."""
    results = [r for scene in read_scenes(a.scenes, a.only) for r in track_recovery.run(scene, config)]
    return {"summary": track_recovery.show(results), "interruptions": [vars(r) for r in results]}


def show_camera(a: argparse.Namespace, config: drp.TrackerConfig) -> dict[str, Any]:
    """Estimate the camera's path in the scenes where it moves; only the first frame tells where it is."""
    found = {}
    moving = config.model_copy(update={"camera": type(config.camera)(mode="static_objects")})
    for scene in read_scenes(a.scenes, a.only, a.stride, a.frames):
        if not scene.has_camera_path:
            continue
        tracker = drp.Tracker(scene.models, moving)
        tracker.start(scene.frames[0], dict(scene.truth[0]))
        errors = []
        for frame in scene.frames[1:]:
            T = tracker.track(replace(frame, T_world_cam=None)).T_world_cam
            assert T is not None and frame.T_world_cam is not None
            turn = float(angle_between(T[:3, :3], frame.T_world_cam[:3, :3]))
            errors.append((1e3 * np.linalg.norm(T[:3, 3] - frame.T_world_cam[:3, 3]), np.degrees(turn)))
        rms, worst = np.sqrt(np.mean(np.square(errors), axis=0)), np.max(errors, axis=0)
        found[scene.name] = {"rms_mm": rms[0], "rms_deg": rms[1], "max_mm": worst[0], "max_deg": worst[1]}
        print(
            f"\nCamera path of scene {scene.name}, {len(errors)} frames: {rms[0]:.2f} mm and"
            f" {rms[1]:.3f} deg RMS, {worst[0]:.2f} mm and {worst[1]:.3f} deg at most"
        )
    if not found:
        print(f"\nno scene below {a.scenes} has a moving camera")
    return {"camera": found}


def show_loop(a: argparse.Namespace, config: drp.TrackerConfig) -> dict[str, Any]:
    """Loop over the scene with the most objects, or over instances of its first model."""
    scene = max(read_scenes(a.scenes, a.only, limit=a.frames), key=lambda s: len(s.models))
    files = {name: a.scenes / "models" / f"obj_{m.object_id:06d}.ply" for name, m in scene.models.items()}
    if a.instances:
        file = next(iter(files.values()))
        found = track_loop.run_instances(file, a.instances, a.loop, config.threads)
        track_loop.show_instances(found)
        return {"instances": found}
    result = track_loop.run(scene.frames, scene.truth, files, a.loop, config.threads)
    track_loop.show(f"scene {scene.name}", result)
    return {"loop": result}


def show_peers(a: argparse.Namespace, _config: drp.TrackerConfig) -> dict[str, Any]:
    """Run the peers and this project through the harness."""
    results = track_peers.run(a.scenes, a.only, a.stride)
    track_peers.show(results)
    return {"peers": results}


def show_real(a: argparse.Namespace, config: drp.TrackerConfig) -> dict[str, Any]:
    """Track real sequences."""
    root = track_real.SEQUENCES if a.scenes == OPEN_SCENES else a.scenes
    return {"real": track_real.run(root, a.only, a.stride, a.frames, config.threads)}


PARTS = {
    "profile": show_profile,
    "recovery": show_recovery,
    "camera": show_camera,
    "loop": show_loop,
    "peers": show_peers,
    "real": show_real,
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--scenes", type=Path, default=OPEN_SCENES, help="folder of scenes and models/ in BOP layout"
    )
    p.add_argument("--only", nargs="+", help="names of scenes; default: all")
    p.add_argument("--stride", type=int, default=1, help="use every so-many-th frame")
    p.add_argument("--frames", type=int, help="use at most so many frames of a scene")
    p.add_argument("--frames-missing", type=float, default=0.0, help="share of frames that never arrive")
    p.add_argument("--threads", type=int, default=1, help="threads of the tracker")
    p.add_argument("--least-of", type=int, default=1, help="runs of which each frame's least time counts")
    p.add_argument("--starts", type=int, default=1, help="also from so many starts off the truth: chance")
    p.add_argument("--core", type=int, help="run on this core alone")
    p.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the JSON files")
    part = p.add_mutually_exclusive_group()
    part.add_argument("--profile", action="store_true", help="where the time of a frame goes")
    part.add_argument("--recovery", action="store_true", help="blank images and hidden objects")
    part.add_argument("--peers", action="store_true", help="GICP, ICP and this project through the harness")
    part.add_argument("--camera", action="store_true", help="path of a moving camera")
    part.add_argument("--real", action="store_true", help="real video, both camera modes")
    part.add_argument("--loop", type=int, default=0, metavar="N", help="N frames in a loop: memory and time")
    p.add_argument(
        "--instances", type=int, nargs="+", default=[], metavar="M", help="loop: M of one model instead"
    )
    a = p.parse_args(arguments)
    if a.stride < 1 or not 0.0 <= a.frames_missing < 1.0 or a.loop < 0 or a.least_of < 1:
        p.error(
            f"--stride {a.stride}, --frames-missing {a.frames_missing}, --loop {a.loop} and --least-of"
            f" {a.least_of} must be >= 1, in [0, 1), >= 0 and >= 1"
        )
    if a.instances and not (a.loop and min(a.instances) > 0):
        p.error(f"--instances {a.instances} must be positive and needs --loop")
    return a


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the part asked for and write its file."""
    a = parse(arguments)
    pin_to_core(a.core)
    wp.config.log_level = wp.LOG_ERROR
    config = drp.TrackerConfig(threads=a.threads)
    name = next((part for part in PARTS if getattr(a, part)), "table")
    content = PARTS[name](a, config) if name in PARTS else show_tracking(a, config)
    suffix = (f"_stride{a.stride}" if a.stride > 1 else "") + ("_missing" if a.frames_missing else "")
    settings = {k: str(v) for k, v in vars(a).items()}
    write_report(
        a.out / f"track_{name}{suffix}.json", settings=settings, config=config.model_dump(), **content
    )


if __name__ == "__main__":
    main()
