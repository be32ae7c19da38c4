"""Interruptions of a second: all images blank, or one object hidden.

Is every object found again, and is no wrong pose believed?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from faults import blank
from scenes import SceneData, restamped, there_and_back

import dr_perception as drp
from dr_perception.geometry.frame import Frame
from dr_perception.tracking.result import Status

LENGTH = 30
"""Frames of an interruption."""
WITHIN = 30
"""Frames, one second, in which a visible object must be found again."""
STARTS = (10, 35)
_VISIBLE = 0.3
_GAP_M = 0.15
_MARGIN_PX = 20


@dataclass(frozen=True)
class Interruption:
    """What happened to one object in one interruption."""

    scene: str
    kind: str
    start: int
    object: str
    frames_to_find: int | None
    """Frames from being visible again to a right pose that is reported as tracked; None: not within the
    second."""
    history: str
    """A letter a frame: T, O, L for tracking, occluded, lost with a right pose; t, o, l with a wrong one; !
    for a wrong one that is reported as tracking with a score above one half."""
    bystanders: str = ""
    """The same for the objects of the scene that were not interrupted, one after the other; given once."""


def hide(frame: Frame, scene: SceneData, index: int, name: str, rng: np.random.Generator) -> Frame:
    """The frame with a noisy board held before an object."""
    T, model = scene.truth[index][name], scene.models[name]
    center = T[:3, :3] @ model.center + T[:3, 3]
    (u, v), r = frame.camera.project(center), model.radius_m * frame.camera.fx / center[2] + _MARGIN_PX
    x0, x1 = (int(np.clip(u + s * r, 0, frame.camera.width)) for s in (-1, 1))
    y0, y1 = (int(np.clip(v + s * r, 0, frame.camera.height)) for s in (-1, 1))
    assert frame.color is not None and frame.depth is not None
    color, depth = frame.color.copy(), frame.depth.copy()
    shade = np.array([120.0, 110.0, 90.0]) + rng.normal(0.0, 8.0, (y1 - y0, x1 - x0, 3))
    color[y0:y1, x0:x1] = np.clip(shade, 0, 255).astype(np.uint8)
    board = max(center[2] - model.radius_m - _GAP_M, 0.2) / frame.depth_scale_m
    depth[y0:y1, x0:x1] = np.asarray(board, dtype=depth.dtype)
    return replace(frame, color=color, depth=depth)


def interruptions(scene: SceneData) -> Iterator[tuple[str, int, list[str], Callable[[int], Frame]]]:
    """Kind, first frame, objects concerned and what replaces a frame (by its index in the scene)."""
    rng = np.random.default_rng(0)
    for start in STARTS:
        yield "blank", start, list(scene.models), lambda k: blank(scene.frames[k])
        for name in scene.models:
            yield "hidden", start, [name], lambda k, n=name: hide(scene.frames[k], scene, k, n, rng)


def run(scene: SceneData, config: drp.TrackerConfig) -> list[Interruption]:
    """All interruptions of a scene."""
    found = []
    for kind, start, names, change in interruptions(scene):
        found += _interrupt(scene, config, kind, start, names, change)
    return found


def _interrupt(
    scene: SceneData,
    config: drp.TrackerConfig,
    kind: str,
    start: int,
    names: list[str],
    change: Callable[[int], Frame],
) -> list[Interruption]:
    tracker = drp.Tracker(scene.models, config)
    order = there_and_back(len(scene.frames), start + LENGTH + WITHIN + 10)
    tracker.start(restamped(scene.frames[0], 0), dict(scene.truth[0]))
    history = dict.fromkeys(scene.models, "")
    for number, k in enumerate(order[1:], start=1):
        disturbed = start <= number < start + LENGTH
        result = tracker.track(restamped(change(k) if disturbed else scene.frames[k], number))
        for name, state in result.objects.items():
            row = scene.row(k, name, state.T_cam_obj, state.status.value, state.score)
            history[name] += letter(state.status, row.right, state.score)
    after = start + LENGTH
    others = "".join(history[name] for name in history if name not in names)
    return [
        Interruption(
            scene.name,
            kind,
            start,
            name,
            _frames_to_find(scene, order, after, name, history[name]),
            history[name],
            others if name == names[0] else "",
        )
        for name in names
    ]


def letter(status: Status, right: bool, score: float) -> str:
    """One frame of `Interruption.history`."""
    if status is Status.TRACKING and not right and score > 0.5:
        return "!"
    mark = {Status.TRACKING: "T", Status.OCCLUDED: "O", Status.LOST: "L"}[status]
    return mark if right else mark.lower()


def _frames_to_find(scene: SceneData, order: list[int], after: int, name: str, history: str) -> int | None:
    seen = next(
        (n for n in range(after, len(order)) if scene.visible_fraction(order[n], name) >= _VISIBLE),
        len(order),
    )
    found = next((n for n in range(seen, len(order)) if history[n - 1] == "T"), None)
    return None if found is None or found - seen > WITHIN else found - seen


def show(results: list[Interruption]) -> dict[str, float]:
    """Print what was found again and how often a wrong pose was believed."""
    print(f"\nInterruptions of {LENGTH} frames ('!': a wrong pose tracked with a score above 0.5)")
    for r in results:
        text = "not found" if r.frames_to_find is None else f"{r.frames_to_find / 30.0:.2f} s"
        print(f"  {r.scene} {r.kind:7s} {r.start:3d} {r.object:14s} {text:>10s}  {r.history}")
    summary: dict[str, float] = {}
    for kind in ("blank", "hidden"):
        times = [r.frames_to_find for r in results if r.kind == kind]
        found = [t for t in times if t is not None]
        summary[f"{kind}_cases"] = len(times)
        summary[f"{kind}_found_percent"] = 100.0 * len(found) / max(len(times), 1)
        slowest = max(found) / 30.0 if found else float("nan")
        print(
            f"  {kind}: {len(found)} of {len(times)} found again within 1 s, slowest of them {slowest:.2f} s"
        )
    # Another object's occluder may hide this one in part: bystanders count as much.
    interrupted = "".join(r.history for r in results)
    bystanders = "".join(r.bystanders for r in results)
    for who, letters in (
        ("interrupted", interrupted),
        ("bystanders", bystanders),
        ("all", interrupted + bystanders),
    ):
        share = 100.0 * letters.count("!") / max(len(letters), 1)
        summary[f"wrong_believed_{who}_percent"] = share
        print(f"  wrong poses believed, {who}: {share:.2f} % of {len(letters)} frames")
    return summary
