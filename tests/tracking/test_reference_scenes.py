"""Tracking of the reference scenes from the true poses of their first frames."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from dr_perception.data.models import load_model
from dr_perception.data.source import open_sequence
from dr_perception.tracking import Status, Tracker, TrackerConfig

FRAMES = 15


@pytest.mark.parametrize("scene", [1, 2, 3, 4])
def test_median_distance_of_model_points_is_below_a_millimetre(shared_dir: Path, scene: int) -> None:
    folder = shared_dir / "data" / "bench" / "open"
    if not folder.is_dir():
        pytest.skip(f"no reference scenes at {folder}")
    sequence = open_sequence(folder / f"{scene:06d}")
    truth = [sequence.ground_truth(i) for i in range(FRAMES)]
    models = {}
    for name, number in sequence.object_ids.items():
        models[name] = load_model(folder / "models" / f"obj_{number:06d}.ply", name=name)
    tracker = Tracker(models, TrackerConfig(recovery={"search": False}))
    distances = []
    for i, frame in enumerate(islice(sequence, FRAMES)):
        if i == 0:
            tracker.start(frame, truth[0])
            continue
        for name, state in tracker.track(frame).objects.items():
            if state.status is Status.TRACKING:
                model = models[name]
                T = model.symmetries.closest(state.T_cam_obj, truth[i][name])
                moved = model.mesh.vertices @ (state.T_cam_obj - T)[:3, :3].T
                distances.append(np.linalg.norm(moved + (state.T_cam_obj - T)[:3, 3], axis=1).mean())
    assert len(distances) >= 0.8 * (FRAMES - 1) * len(models)
    assert np.median(distances) < 1e-3
