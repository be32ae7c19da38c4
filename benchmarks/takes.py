"""Sequences for `honesty.py`: the reference scenes, and simulated ones of what they do not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from kinds import Film, load
from numpy.typing import NDArray
from scenes import OPEN_SCENES, SceneData

from dr_perception.data.bop import BopScene
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh, drop_degenerate_faces, weld
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import exp_so3, make_transform, transform_points
from dr_perception.geometry.symmetry import Symmetries
from dr_perception.measure.config import SensorConfig

Array = NDArray[np.float64]
SCENES = ("000001", "000002", "000003", "000004", "000005", "000006")
FLANGES = {"flange": (90.0, None), "flange_to_and_fro": (360.0, 7)}
"""Degrees a second, and frames after which the turn is reversed: by less than half of a sixth at once."""
SIMULATED = (*FLANGES, "dragon")
_RATE_HZ = 30.0
_TILT_RAD = 0.7
_DISTANCE_M = 0.5
_BOLTS_M = 0.034


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
    sensor: SensorConfig = field(default_factory=SensorConfig)
    """What is known of the noise: the defaults, or what was simulated."""


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
    model = flange() if name in FLANGES else load(name)
    film = Film(model, 0.0, 3)
    poses = turning(count, *FLANGES[name]) if name in FLANGES else film.poses(count)
    frames = [replace(film.frame(T)[0], stamp_ns=round(k * 1e9 / _RATE_HZ)) for k, T in enumerate(poses)]
    sensor = film.noise.fit_config().sensor
    return Take(name, {name: model}, frames, [{name: T} for T in poses], lambda _: {}, sensor)


def turning(count: int, deg_s: float, reversed_after: int | None) -> list[Array]:
    """Poses that turn about z, which is tilted by 40 degrees to the view."""
    R = exp_so3(np.array([np.pi + _TILT_RAD, 0.0, 0.0]))
    tilted = make_transform(R, np.array([0.0, 0.0, _DISTANCE_M]))
    signs = [-1.0 if reversed_after and k // reversed_after % 2 else 1.0 for k in range(count)]
    angles = np.radians(deg_s) / _RATE_HZ * np.cumsum([0.0, *signs[:-1]])
    return [tilted @ turned(a) for a in angles]


def flange(fold: int = 6, segments: int = 96) -> ObjectModel:
    """A round flange of 90 mm with a hub, a bore and bolt heads, alike after each ``fold``-th of a turn.

    Its bolt heads, 10 mm wide and 5 mm high, alone show the turn. The symmetry is declared, so that a turn by
    whole bolts is right.
    """
    ring = [(0.012, 0.0), (0.045, 0.0), (0.045, 0.010), (0.022, 0.010), (0.022, 0.028), (0.012, 0.028)]
    bolt = [(0.0, 0.008), (0.005, 0.008), (0.005, 0.015), (0.0, 0.015)]
    turns = [turned(2.0 * np.pi * k / fold) for k in range(fold)]
    parts = [_revolved(ring, segments)]
    vertices, faces = _revolved(bolt, segments // fold)
    parts += [(transform_points(T, vertices + np.array([_BOLTS_M, 0.0, 0.0])), faces) for T in turns]
    starts = np.cumsum([0, *(len(v) for v, _ in parts)])
    joined = np.concatenate([f + start for (_, f), start in zip(parts, starts[:-1], strict=True)])
    mesh = drop_degenerate_faces(Mesh(np.concatenate([v for v, _ in parts]), joined))
    return ObjectModel("flange", weld(mesh), Symmetries(np.array(turns[1:])))


def _revolved(profile: Sequence[tuple[float, float]], segments: int) -> tuple[Array, NDArray[np.int32]]:
    """Vertices and faces of a closed profile (radius, height), counter-clockwise, turned about z."""
    angle = 2.0 * np.pi * np.arange(segments) / segments
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    rings = [np.column_stack([r * circle, np.full(segments, z)]) for r, z in profile]
    i = np.arange(segments)
    j = (i + 1) % segments
    faces = []
    for a in range(len(profile)):
        p, q = a * segments, (a + 1) % len(profile) * segments
        faces += [np.column_stack([p + i, p + j, q + j]), np.column_stack([p + i, q + j, q + i])]
    return np.concatenate(rings), np.concatenate(faces).astype(np.int32)


def turned(angle_rad: float) -> Array:
    """Turn about z (4, 4)."""
    return make_transform(exp_so3(np.array([0.0, 0.0, angle_rad])), np.zeros(3))
