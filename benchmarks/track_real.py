"""Tracking of real video: status, score, distance from the reference and jitter, with either camera mode.

The references of real sequences are not exact: a distance from one is an error of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scenes import SHARED, Row, SceneData, read_scenes

import dr_perception as drp
from dr_perception.evaluation.consistency import jitter
from dr_perception.geometry.se3 import local

SEQUENCES = SHARED / "data/real/visp_rbt_sequence"
MODES = ("fixed", "static_objects")


@dataclass(frozen=True)
class Outcome:
    """One object of one sequence, tracked with one camera mode."""

    mode: str
    scene: str
    object: str
    status: dict[str, int]
    """Frames by status."""
    score_low: float
    """A twentieth of the scores lies below it."""
    score_median: float
    right_percent: float
    """Frames within a tenth of the diameter of the reference."""
    right_doubted_percent: float
    """Frames of these that were not tracked or scored at most 0.5."""
    wrong_believed_percent: float
    """Other frames that were tracked with a higher score."""
    add_median_mm: float
    add_p95_mm: float
    jitter_mm: float
    """Noise from frame to frame of the translation against the reference, root mean square of the axes."""
    jitter_deg: float


def track_sequence(scene: SceneData, mode: str, threads: int) -> list[Outcome]:
    """Track a sequence from the reference on the first frame; the camera's pose is told of none."""
    config = drp.TrackerConfig(threads=threads)
    config = config.model_copy(update={"camera": type(config.camera)(mode=mode)})
    tracker = drp.Tracker(scene.models, config)
    frames = [replace(frame, T_world_cam=None) for frame in scene.frames]
    tracker.start(frames[0], dict(scene.truth[0]))
    rows: dict[str, list[Row]] = {name: [] for name in scene.models}
    steps: dict[str, list[np.ndarray]] = {name: [] for name in scene.models}
    for k, frame in enumerate(frames[1:], start=1):
        for name, state in tracker.track(frame).objects.items():
            rows[name].append(scene.row(k, name, state.T_cam_obj, state.status.value, state.score))
            steps[name].append(local(scene.truth[k][name], state.T_cam_obj))
    return [outcome(mode, rows[name], np.array(steps[name])) for name in rows]


def outcome(mode: str, rows: Sequence[Row], errors: np.ndarray) -> Outcome:
    """Figures of one object; ``errors`` (N, 6) are tangent vectors from the reference."""
    states = [row.status for row in rows]
    add = 1e3 * np.array([row.add_m for row in rows])
    score = np.array([row.score for row in rows])
    right = np.array([row.right for row in rows])
    believed = np.array([s == "tracking" for s in states]) & (score > 0.5)
    noise = np.sqrt(np.mean(jitter(errors).reshape(2, 3) ** 2, axis=1))
    return Outcome(
        mode,
        rows[0].scene,
        rows[0].object,
        {s: states.count(s) for s in ("tracking", "occluded", "lost")},
        float(np.percentile(score, 5)),
        float(np.median(score)),
        100.0 * float(right.mean()),
        100.0 * float(np.mean(right & ~believed)),
        100.0 * float(np.mean(~right & believed)),
        float(np.median(add)),
        float(np.percentile(add, 95)),
        1e3 * float(noise[0]),
        float(np.degrees(noise[1])),
    )


def run(
    root: Path, only: Sequence[str] | None, stride: int, limit: int | None, threads: int
) -> list[dict[str, object]]:
    """Track all sequences below a folder and print a line for every object and mode."""
    print(
        f"\n  {'camera, object':24s} {'tracking / occluded / lost':>26s} {'score p5':>8s} {'median':>6s}"
        f" {'<10 % d':>7s} {'of these doubted %':>18s} {'wrong, believed %':>17s} {'ADD mm':>6s} {'p95':>5s}"
        f" {'jitter mm':>9s} {'deg':>5s}"
    )
    found = []
    for scene in read_scenes(root, only, stride, limit):
        for mode in MODES:
            for o in track_sequence(scene, mode, threads):
                found.append(asdict(o))
                print(
                    f"  {o.mode + ' ' + o.object:24s} {' / '.join(str(n) for n in o.status.values()):>26s}"
                    f" {o.score_low:8.2f} {o.score_median:6.2f} {o.right_percent:7.1f}"
                    f" {o.right_doubted_percent:18.1f} {o.wrong_believed_percent:17.1f}"
                    f" {o.add_median_mm:6.2f} {o.add_p95_mm:5.1f} {o.jitter_mm:9.2f} {o.jitter_deg:5.2f}",
                    flush=True,
                )
    return found
