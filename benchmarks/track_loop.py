"""Many frames in a loop: does the memory stay, does the time of a frame stay?"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
from scenes import SceneData, restamped, there_and_back

import dr_perception as drp

_WARM_UP = 500


def resident_mb() -> float:
    """Resident memory of this process [MB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(scene: SceneData, config: drp.TrackerConfig, count: int) -> dict[str, float]:
    """Play a scene to and fro for ``count`` frames after a warm-up.

    Returns:
        Memory before and after [MB], median time of a frame in the first and last tenth [ms], and wrong or
        lost poses.
    """
    tracker = drp.Tracker(scene.models, config)
    tracker.start(restamped(scene.frames[0], 0), dict(scene.truth[0]))
    before, times, wrong, lost = 0.0, [], 0, 0
    for number, k in enumerate(there_and_back(len(scene.frames), count + _WARM_UP + 1)[1:], start=1):
        result = tracker.track(restamped(scene.frames[k], number))
        if number == _WARM_UP:
            gc.collect()
            before = resident_mb()
        if number <= _WARM_UP:
            continue
        times.append(result.timing_ms["total"])
        for name, state in result.objects.items():
            lost += state.status is drp.Status.LOST
            distance = np.linalg.norm(state.T_cam_obj[:3, 3] - scene.truth[k][name][:3, 3])
            wrong += bool(distance > 0.1 * scene.models[name].diameter_m)
    gc.collect()
    tenth = max(count // 10, 1)
    return {
        "frames": count,
        "objects": len(scene.models),
        "resident_before_mb": before,
        "resident_after_mb": resident_mb(),
        "first_tenth_ms": float(np.median(times[:tenth])),
        "last_tenth_ms": float(np.median(times[-tenth:])),
        "wrong_poses": wrong,
        "lost_poses": lost,
    }


def show(name: str, f: dict[str, float]) -> None:
    """Print the figures of a loop."""
    print(f"\n{f['frames']:.0f} frames of scene {name} to and fro, {f['objects']:.0f} objects")
    growth = f["resident_after_mb"] - f["resident_before_mb"]
    print(
        f"  resident memory {f['resident_before_mb']:.1f} MB, then {f['resident_after_mb']:.1f} MB"
        f" ({growth:+.2f} MB)"
    )
    print(
        f"  a frame: {f['first_tenth_ms']:.3f} ms in the first tenth, {f['last_tenth_ms']:.3f} ms in the last"
    )
    print(f"  poses off by a tenth of the diameter: {f['wrong_poses']:.0f}, lost: {f['lost_poses']:.0f}")
