"""A part that turns back is followed: what goes on as before is the rule, not a law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import PERIOD_NS, render

from dr_perception.geometry import Mesh, ObjectModel, exp_so3, make_transform
from dr_perception.geometry.se3 import log_so3
from dr_perception.tracking import Status, Tracker, TrackerConfig
from dr_perception.tracking.attempts import Attempts

FOLD = 5
STEP_RAD = np.radians(16.0)
FRAMES, BACK_AFTER = 16, 6


def cross(fold: int = FOLD) -> ObjectModel:
    """A disc of eight centimetres with low bars on it, alike after every ``fold``-th of a turn."""
    angle = 2.0 * np.pi * np.arange(96) / 96
    ring = 0.04 * np.column_stack([np.cos(angle), np.sin(angle)])
    n, i = 96, np.arange(96)
    j = (i + 1) % n
    disc = np.concatenate([np.column_stack([ring, np.full(n, z)]) for z in (-0.008, 0.0)])
    disc = np.concatenate([disc, [[0.0, 0.0, -0.008], [0.0, 0.0, 0.0]]])
    faces = [
        np.stack([i, j, n + j], 1),
        np.stack([i, n + j, n + i], 1),
        np.stack([j, i, np.full(n, 2 * n)], 1),
        np.stack([n + i, n + j, np.full(n, 2 * n + 1)], 1),
    ]
    vertices, first = [disc], len(disc)
    x, y, z = np.meshgrid([0.012, 0.038], [-0.005, 0.005], [0.0, 0.01], indexing="ij")
    corners = np.stack([x, y, z], -1).reshape(-1, 3)
    box = np.array(
        [
            [0, 1, 3],
            [0, 3, 2],
            [4, 6, 7],
            [4, 7, 5],
            [0, 4, 5],
            [0, 5, 1],
            [2, 3, 7],
            [2, 7, 6],
            [1, 5, 7],
            [1, 7, 3],
        ]
    )
    for k in range(fold):
        vertices.append(corners @ exp_so3([0.0, 0.0, 2.0 * np.pi * k / fold]).T)
        faces.append(box + first)
        first += 8
    return ObjectModel("cross", Mesh(np.concatenate(vertices), np.concatenate(faces).astype(np.int32)))


def followed() -> list[float]:
    """Turn about its axis [deg] by which the part is off in each frame."""
    model = cross()
    tilted = make_transform(exp_so3([np.pi + 0.7, 0.0, 0.0]), np.array([0.0, 0.0, 0.4]))
    signs = [-1.0 if k // BACK_AFTER % 2 else 1.0 for k in range(FRAMES)]
    angles = STEP_RAD * np.cumsum([0.0, *signs[:-1]])
    poses = [tilted @ make_transform(exp_so3([0.0, 0.0, a]), np.zeros(3)) for a in angles]
    tracker = Tracker({"cross": model}, TrackerConfig(recovery={"search": False}, threads=1))
    off = []
    for k, T in enumerate(poses):
        frame = render({"cross": (model.mesh, T)}, stamp_ns=k * PERIOD_NS, seed=k)
        if k == 0:
            tracker.start(frame, {"cross": T})
            continue
        state = tracker.track(frame).objects["cross"]
        assert state.status is Status.TRACKING
        off.append(float(np.degrees(log_so3(T[:3, :3].T @ state.T_cam_obj[:3, :3])[2])))
    return off


def test_a_part_that_turns_to_and_fro_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.abs(followed()).max() < 3.0
    monkeypatch.setattr(Attempts, "_other_motions", lambda *_: [])
    assert np.abs(followed()).max() > 20.0, "or the motion is too slow to tell"


def test_only_what_moves_is_tried_elsewhere_and_only_in_doubt() -> None:
    model = cross()
    T = make_transform(exp_so3([np.pi + 0.7, 0.0, 0.0]), np.array([0.0, 0.0, 0.4]))
    tracker = Tracker({"cross": model}, TrackerConfig(recovery={"search": False}, threads=1))
    tracker.start(render({"cross": (model.mesh, T)}), {"cross": T})
    for k in range(1, 3):
        tracker.track(render({"cross": (model.mesh, T)}, stamp_ns=k * PERIOD_NS, seed=k))
    track = tracker._tracks["cross"]
    attempts, standing = track._attempts, track._standing
    sure = attempts._kept(attempts.best)
    doubtful = replace(sure, agreement=replace(sure.agreement, score=0.7))
    belief = attempts._estimator.covariance.copy()
    assert attempts._other_motions(standing, doubtful, belief, ()) == []  # it rests
    attempts._estimator._velocity[3:] = [0.0, 0.0, 10.0]
    attempts._estimator.predict(1.0 / 30.0, moving=True)
    assert attempts._other_motions(standing, sure, belief, ()) == []
    found = attempts._other_motions(standing, doubtful, belief, ())
    assert len(found) >= 1
    np.testing.assert_allclose(found[0].T_cam_obj, T, atol=0.02)  # it has stopped
