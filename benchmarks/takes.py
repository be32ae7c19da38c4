"""Sequences for `honesty.py`: the reference scenes, and simulated ones of what they do not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from kinds import Film, load
from numpy.typing import NDArray
from scenes import OPEN_SCENES, SceneData

from dr_perception.data.bop import BopScene
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import exp_so3, make_transform
from dr_perception.geometry.symmetry import Symmetries

Array = NDArray[np.float64]
SCENES = ("000001", "000002", "000003", "000004", "000005", "000006")
SIMULATED = ("flange", "dragon")
_RATE_HZ = 30.0
_TURN_RAD_S = np.pi / 2.0
_TILT_RAD = 0.7
_DISTANCE_M = 0.5


@dataclass(frozen=True)
class Take:
    """A sequence with true poses."""

    name: str
    models: dict[str, ObjectModel]
    frames: Sequence[Frame]
    truth: Sequence[dict[str, Array]]
    """Poses of the objects in the camera, by frame."""
    masks: Callable[[int], dict[str, NDArray[np.bool_]]]
    """Visible pixels of the objects in a frame."""


def load_take(name: str, limit: int | None) -> Take:
    """A reference scene, or a simulated sequence; at most that many frames of it."""
    if name in SIMULATED:
        return simulated(name, limit or 60)
    data = SceneData(OPEN_SCENES / name, OPEN_SCENES / "models", limit=limit)
    scene = BopScene(OPEN_SCENES / name, image_ids=data.image_ids)
    truth = [dict(poses) for poses in data.truth]
    return Take(name, data.models, data.frames, truth, lambda k: dict(scene.masks(k)))


def simulated(name: str, count: int) -> Take:
    """A moving dragon, or a flange that turns about its axis; images as of `kinds.py`."""
    model = flange() if name == "flange" else load(name)
    film = Film(model, 0.0, 3)
    poses = turning(count) if name == "flange" else film.poses(count)
    frames = [replace(film.frame(T)[0], stamp_ns=round(k * 1e9 / _RATE_HZ)) for k, T in enumerate(poses)]
    return Take(name, {name: model}, frames, [{name: T} for T in poses], lambda _: {})


def turning(count: int) -> list[Array]:
    """Poses that turn by 90 degrees a second about z, which is tilted by 40 degrees to the view."""
    R = exp_so3(np.array([np.pi + _TILT_RAD, 0.0, 0.0]))
    tilted = make_transform(R, np.array([0.0, 0.0, _DISTANCE_M]))
    return [tilted @ turned(_TURN_RAD_S / _RATE_HZ * k) for k in range(count)]


def flange(fold: int = 6, segments: int = 180) -> ObjectModel:
    """A flange of 90 mm with lugs of 4 mm and a hub with a bore, alike after each ``fold``-th of a turn.

    Its outline alone shows the turn. The symmetry is declared, so that a turn by a whole lug is right.
    """
    angle = 2.0 * np.pi * np.arange(segments) / segments
    lug = 0.045 - 0.002 * (1.0 - np.cos(fold * angle))
    profile = [(0.012, 0.0), (lug, 0.0), (lug, 0.010), (0.022, 0.010), (0.022, 0.028), (0.012, 0.028)]
    rings = [
        np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(segments, z)]) for r, z in profile
    ]
    i = np.arange(segments)
    j = (i + 1) % segments
    faces = []
    for a in range(len(profile)):
        b = (a + 1) % len(profile)
        p, q = a * segments, b * segments
        faces += [np.column_stack([p + i, p + j, q + j]), np.column_stack([p + i, q + j, q + i])]
    mesh = Mesh(np.concatenate(rings), np.concatenate(faces).astype(np.int32))
    turns = [turned(2.0 * np.pi * k / fold) for k in range(1, fold)]
    return ObjectModel("flange", mesh, Symmetries(np.array(turns)))


def turned(angle_rad: float) -> Array:
    """Turn about z (4, 4)."""
    return make_transform(exp_so3(np.array([0.0, 0.0, angle_rad])), np.zeros(3))
