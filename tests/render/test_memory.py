"""Scratch memory stays within the budget whatever the number of views."""

from __future__ import annotations

import numpy as np
from render_cases import CAMERA, box, pose

from dr_perception.render import Renderer, Scene
from dr_perception.render.workspace import bytes_per_view


def test_scratch_memory_is_that_of_a_chunk() -> None:
    scene = Scene.of(box(), pose())
    poses = np.array([[pose(0.3 + 0.01 * k)] for k in range(24)])
    held = {}
    for budget in (256.0, 3.0):
        renderer = Renderer("cpu", memory_budget_mb=budget)
        parameters = renderer.parameters(scene, CAMERA, poses=poses)
        renderer.render(scene, parameters)
        spaces = [w for w, _ in renderer._workspaces.values()]
        arrays = [a for w in spaces for a in vars(w).values() if hasattr(a, "capacity")]
        held[budget] = sum(a.capacity for a in arrays)
        per_view = bytes_per_view(renderer._scene_arrays(scene), CAMERA.width, CAMERA.height)
        most = max(w.key.views for w in spaces)
        assert most * per_view <= max(budget * 1e6, per_view)
    assert held[3.0] < 0.3 * held[256.0]
