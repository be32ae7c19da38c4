"""The loop benchmark: frames come back as they were written, and instances stand apart."""

from __future__ import annotations

from pathlib import Path

import frame_store
import numpy as np
import pytest
import track
import track_loop

import dr_perception as drp

MODEL = Path(__file__).parents[2] / "models" / "demo" / "models" / "obj_000001.ply"
CAMERA = drp.Camera(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)


def frames(count: int) -> list[drp.Frame]:
    rng = np.random.default_rng(0)
    return [
        drp.Frame(
            color=rng.integers(0, 256, (48, 64, 3)).astype(np.uint8),
            depth=rng.integers(400, 900, (48, 64)).astype(np.uint16),
            camera=CAMERA,
            depth_scale_m=1e-3,
        )
        for _ in range(count)
    ]


def test_frames_are_played_to_and_fro_as_they_were_written(tmp_path: Path) -> None:
    written = frames(3)
    truth = [{"a": np.eye(4) + k} for k in range(3)]
    frame_store.write_frames(tmp_path, written, truth, {"a": MODEL, "b": MODEL})
    store = frame_store.FrameStore(tmp_path)
    assert store.models["a"] is store.models["b"] and store.camera == CAMERA
    np.testing.assert_array_equal([one["a"] for one in store.truth], [one["a"] for one in truth])
    played = list(store.played(6))
    assert [k for k, _ in played] == [0, 1, 2, 1, 0, 1]
    for k, frame in played:
        np.testing.assert_array_equal(frame.color, written[k].color)
        np.testing.assert_allclose(frame.depth, 1e-3 * written[k].depth.astype(float), rtol=1e-6)
    assert np.ptp(np.diff([frame.stamp_ns for _, frame in played])) <= 1


def test_instances_stand_apart() -> None:
    model = drp.load_model(MODEL)
    poses = [track_loop._grid_pose(model, i, 50, 3) for i in range(50)]
    places = np.array([T[:3, :3] @ model.center + T[:3, 3] for T in poses])
    distance = np.linalg.norm(places[:, None] - places, axis=2) + np.eye(50)
    assert distance.min() > 0.1


def test_instances_are_read() -> None:
    assert track.parse(["--loop", "5", "--instances", "2", "4"]).instances == [2, 4]
    with pytest.raises(SystemExit):
        track.parse(["--instances", "2"])
