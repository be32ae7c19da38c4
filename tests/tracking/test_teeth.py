"""A part that looks the same a tooth farther keeps its turn."""

from __future__ import annotations

import numpy as np
from synthetic import PERIOD_NS, render

from dr_perception.geometry import Mesh, ObjectModel, exp_so3, make_transform
from dr_perception.geometry.se3 import log_so3
from dr_perception.tracking import Status, Tracker, TrackerConfig

TEETH = 36
FRAMES = 14


def wheel() -> ObjectModel:
    """A toothed wheel of five centimetres with a flat bottom and top."""
    angle = np.repeat(np.arange(2 * TEETH), 2) * (np.pi / TEETH)
    angle += np.tile([-0.3, 0.3], 2 * TEETH) * (np.pi / TEETH)
    radius = np.repeat(np.tile([0.0225, 0.025], TEETH), 2)
    ring = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    n = len(ring)
    low, high = (np.column_stack([ring, np.full(n, z)]) for z in (-0.01, 0.01))
    vertices = np.concatenate([low, high, [[0.0, 0.0, -0.01], [0.0, 0.0, 0.01]]])
    i = np.arange(n)
    j = (i + 1) % n
    sides = [np.stack([i, j, n + j], 1), np.stack([i, n + j, n + i], 1)]
    ends = [np.stack([j, i, np.full(n, 2 * n)], 1), np.stack([n + i, n + j, np.full(n, 2 * n + 1)], 1)]
    return ObjectModel("wheel", Mesh(vertices, np.concatenate(sides + ends).astype(np.int32)))


def test_a_toothed_wheel_does_not_spin_by_a_tooth_a_frame() -> None:
    model = wheel()
    poses = []
    for k in range(FRAMES):
        tilt = exp_so3(np.radians([80.0 + 2.5 * k, 2.5 * k, 0.0]))
        poses.append(make_transform(tilt, np.array([0.004 * k - 0.02, 0.003 * k, 0.35])))
    frames = [
        render({"wheel": (model.mesh, T)}, stamp_ns=k * PERIOD_NS, seed=k, depth_noise=0.006)
        for k, T in enumerate(poses)
    ]
    tracker = Tracker({"wheel": model}, TrackerConfig(recovery={"search": False}, threads=1))
    tracker.start(frames[0], {"wheel": poses[0]})
    for frame, T in zip(frames[1:], poses[1:], strict=True):
        state = tracker.track(frame).objects["wheel"]
        assert state.status is Status.TRACKING
        turn = np.degrees(log_so3(T[:3, :3] @ state.T_cam_obj[:3, :3].T))
        assert abs(turn @ T[:3, 2]) < 180.0 / TEETH  # less than half a tooth
