"""The errors of `honesty.py`: what the tracker is told, and which findings name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faults
import numpy as np
from numpy.typing import NDArray
from takes import FLANGES, SIMULATED, Take

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import invert

SIZE = ("model_scale", "focal_length", "depth_scale", "depth_bias")
"""Errors of size against distance, which one object at one distance does not tell apart (METHODS 5.5)."""
ACCEPTED: dict[str, tuple[str, ...]] = {
    "none": (),
    "mesh+3%": SIZE,
    "mesh-3%": SIZE,
    "focal+2%": SIZE,
    "depth+5mm": SIZE,
    "depthx1.02": SIZE,
    "depth_shift_u": ("depth_shift", "depth_registration"),
    "depth_shift_v": ("depth_shift", "depth_registration"),
    "depth_15ms_late": ("depth_delay",),
    "depth_33ms_late": ("depth_delay",),
    "mesh_x1.10": (*SIZE, "model_wrong", "unit"),
    "cut_40%": ("model_incomplete", "model_wrong"),
    "mirrored": ("model_mirrored", "model_wrong"),
    "unregistered_15mm": ("depth_registration", "depth_shift"),
    "black_3": ("blank",),
    "frozen_10": ("frozen",),
    "turning": (),
    "turning_to_and_fro": (),
    "depth_unit": ("unit",),
    "stamp_unit": ("unit",),
}
"""Kinds of findings that name an error, or its family; a family that lists one of them counts."""
UNNAMED = ("none", "black_3", "frozen_10", "turning", "turning_to_and_fro")
"""Sequences without an error that lasts: any other finding than the accepted is false there."""
MAIN = (
    "none",
    "mesh+3%",
    "focal+2%",
    "depth+5mm",
    "depth_shift_u",
    "depth_15ms_late",
    "mesh_x1.10",
    "cut_40%",
    "unregistered_15mm",
)
"""Those of a quick run."""

Told = tuple[dict[str, ObjectModel], Sequence[Frame]]
_LATE_S = 0.015
_PERIOD_S = 1.0 / 30.0
_BLACK, _FROZEN = 3, 10


@dataclass(frozen=True)
class Error:
    """One way of being wrong."""

    name: str
    tell: Callable[[Take, int], Told]
    """Models and frames that the tracker gets, for a sequence and a seed."""
    applies: Callable[[Take], bool]
    """Whether a sequence can show it."""
    seeded: bool = False


def _open(take: Take) -> bool:
    return take.name not in SIMULATED


def _no_flange(take: Take) -> bool:
    return take.name not in FLANGES


def _can_show_mirror(take: Take) -> bool:
    """The shapes of the scenes are their own mirror images; a print, and the dragon, are not."""
    return take.name == "dragon" or any(_printed(model) for model in take.models.values())


def _printed(model: ObjectModel) -> bool:
    return model.mesh.has_texture


def _models(change: Callable[[ObjectModel, int], ObjectModel]) -> Callable[[Take, int], Told]:
    return lambda take, seed: ({n: change(m, seed) for n, m in take.models.items()}, take.frames)


def _frames(change: Callable[[Frame], Frame]) -> Callable[[Take, int], Told]:
    return lambda take, _: (take.models, [change(frame) for frame in take.frames])


def _mirror(take: Take, _: int) -> Told:
    """Along y, a plane in which the scenes' shapes are alike; the dragon, which is in none, as well."""
    chosen = take.name == "dragon"
    models = {n: faults.mirrored(m, 1) if chosen or _printed(m) else m for n, m in take.models.items()}
    return models, take.frames


def _late(take: Take, _: int) -> Told:
    frames = [take.frames[0]]
    for k in range(1, len(take.frames)):
        now, last = take.frames[k], take.frames[k - 1]
        masks, before = take.masks(k), take.masks(k - 1)
        moves = [
            faults.motion_to_before(take.truth[k - 1][name], take.truth[k][name], _LATE_S / _PERIOD_S)
            for name in masks
        ]
        behind = last.depth_m()
        for mask in before.values():
            behind[mask] = 0.0
        rest = _camera_motion(last, now)
        uncovered = faults.with_depth(last, behind)
        frames.append(faults.late_depth(now, list(masks.values()), moves, rest, uncovered))
    return take.models, frames


def _camera_motion(last: Frame, now: Frame) -> NDArray[np.float64]:
    """What rests in the world, in the camera: where it was a delay before."""
    if now.T_world_cam is None or last.T_world_cam is None:
        return np.eye(4)
    T_last, T_now = invert(last.T_world_cam), invert(now.T_world_cam)
    return faults.motion_to_before(T_last, T_now, _LATE_S / _PERIOD_S)


def _a_frame_late(take: Take, _: int) -> Told:
    pairs = zip(take.frames, [take.frames[0], *take.frames[:-1]], strict=True)
    return take.models, [faults.with_depth(now, last.depth_m()) for now, last in pairs]


def _middle(take: Take) -> int:
    return len(take.frames) // 2


def _black(take: Take, _: int) -> Told:
    return take.models, faults.black(take.frames, _middle(take), _BLACK)


def _frozen(take: Take, _: int) -> Told:
    return take.models, faults.frozen(take.frames, _middle(take), _FROZEN)


def _same(take: Take, _: int) -> Told:
    return take.models, take.frames


ERRORS = {
    error.name: error
    for error in (
        Error("none", _same, _no_flange),
        Error("mesh+3%", _models(lambda m, _: faults.scaled(m, 1.03)), _open),
        Error("mesh-3%", _models(lambda m, _: faults.scaled(m, 0.97)), _open),
        Error("focal+2%", _frames(lambda f: faults.with_focal_length(f, 1.02)), _open),
        Error("depth+5mm", _frames(lambda f: faults.with_depth_error(f, bias_m=0.005)), _open),
        Error("depthx1.02", _frames(lambda f: faults.with_depth_error(f, factor=1.02)), _open),
        Error("depth_shift_u", _frames(lambda f: faults.with_shifted_depth(f, 2, 0)), _open),
        Error("depth_shift_v", _frames(lambda f: faults.with_shifted_depth(f, 0, 2)), _open),
        Error("depth_15ms_late", _late, _open),
        Error("depth_33ms_late", _a_frame_late, _open),
        Error("mesh_x1.10", _models(lambda m, _: faults.scaled(m, 1.10)), _open),
        Error("cut_40%", _models(lambda m, seed: faults.cut(m, 0.4, seed)), _open, seeded=True),
        Error("mirrored", _mirror, _can_show_mirror),
        Error("unregistered_15mm", _frames(lambda f: faults.unregistered(f, 0.015)), _open),
        Error("black_3", _black, _open),
        Error("frozen_10", _frozen, _open),
        Error("turning", _same, lambda take: take.name == "flange"),
        Error("turning_to_and_fro", _same, lambda take: take.name == "flange_to_and_fro"),
        Error("depth_unit", _frames(lambda f: faults.with_unit(f, 0.1)), _open),
        Error("stamp_unit", _frames(lambda f: faults.with_stamps_in(f, 1_000_000)), _open),
    )
}
"""By name, in the order of the table."""
assert set(ERRORS) == set(ACCEPTED)
