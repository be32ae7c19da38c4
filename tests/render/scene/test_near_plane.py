"""Faces that the near plane cuts have the depths of their planes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from render_cases import LENSES, box, lens

from dr_perception.geometry import Camera, Mesh, make_transform, random_rotation
from dr_perception.render import RenderOptions, Scene, render


def _cast(mesh: Mesh, T_cam_obj: NDArray, camera: Camera, near: float) -> NDArray[np.float64]:
    """Depth by rays against every face, inf where nothing lies beyond the near plane, shape (H, W)."""
    corners = (mesh.vertices @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3])[mesh.faces]
    rays = np.concatenate([camera.rays(), np.ones((camera.height, camera.width, 1))], -1).reshape(-1, 3)
    nearest = np.full(len(rays), np.inf)
    for a, b, c in corners:
        n = np.cross(b - a, c - a)
        z = (n @ a) / (rays @ n)
        p = rays * z[:, None]
        inside = np.min([np.cross(q - o, p - o) @ n for o, q in ((a, b), (b, c), (c, a))], axis=0) >= 0.0
        nearest = np.where(inside & (z > near) & (z < nearest), z, nearest)
    return nearest.reshape(camera.height, camera.width)


@pytest.mark.parametrize("near", [0.01, 0.05])
@pytest.mark.parametrize("name", LENSES)
def test_depth_of_cut_faces_is_that_of_their_planes(name: str, near: float) -> None:
    """Slopes from where edges pass through the near plane, far beyond the image, were 1 mm off."""
    camera, rng, compared = lens(name), np.random.default_rng(0), 0
    for size in ((0.3, 0.3, 2.0), (1.0, 1.0, 0.02)):
        for _ in range(4):
            T = make_transform(random_rotation(rng), np.array([0.05, 0.02, 0.3]))
            options = RenderOptions(channels=("depth",), near=near)
            depth = render(Scene.of(box(size), T), camera, options=options).numpy()["depth"]
            expected = _cast(box(size), T, camera, near)
            assert ((depth > 0.0) != np.isfinite(expected)).sum() <= 2
            both = (depth > 0.0) & np.isfinite(expected)
            # A centre on an edge between two faces may show either.
            error = np.sort(np.abs(depth / expected - 1.0)[both])[:-2]
            compared += len(error)
            assert error.size == 0 or error[-1] < 3e-5
    assert compared > 5000
