"""Gaps narrower than a pixel show what lies behind them, also where no pixel's centre does."""

from __future__ import annotations

import numpy as np
import pytest
from render_cases import box

from dr_perception.geometry import Camera, make_transform
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene

CAMERA = Camera(60, 40, 100.0, 100.0, 29.5, 19.5)
OPTIONS = RenderOptions(("silhouette", "color"))


def _plate(top_px: float, bottom_px: float, z: float) -> np.ndarray:
    """Pose of a plate of 0.4 x 0.1 m whose one end is at a row of the image."""
    edge = top_px if np.isfinite(top_px) else bottom_px
    middle = (edge - CAMERA.cy) / CAMERA.fy * z + (0.05 if np.isfinite(top_px) else -0.05)
    return make_transform(np.eye(3), np.array([0.0, middle, z]))


@pytest.mark.parametrize("gap", [(20.1, 20.4), (19.7, 19.95), (20.02, 20.45)])
@pytest.mark.parametrize("depths", [(0.9, 1.3), (1.3, 0.9)])
@pytest.mark.parametrize("wall", [False, True])
def test_a_gap_between_two_plates(gap: tuple[float, float], depths: tuple[float, float], wall: bool) -> None:
    plate = box((0.4, 0.1, 1e-4))
    poses = [_plate(np.inf, gap[0], depths[0]), _plate(gap[1], np.inf, depths[1])]
    bodies = [Instance(plate, T, Material((0.2, 0.2, 0.2))) for T in poses]
    if wall:
        behind = make_transform(np.eye(3), np.array([0.0, 0.0, 3.0]))
        bodies.append(Instance(box((4.0, 4.0, 0.1)), behind, Material((1.0, 1.0, 1.0))))
    scene = Scene(bodies, Lights((1.0, 1.0, 1.0), (), ()), background=(0.6, 0.6, 0.6))
    images = Renderer("cpu").render(scene, CAMERA, OPTIONS).numpy()
    height = gap[1] - gap[0]
    behind_color = 1.0 if wall else 0.6
    np.testing.assert_allclose(images["silhouette"][20, 20:40], 1.0 if wall else 1.0 - height, atol=2e-3)
    expected = 0.2 + height * (behind_color - 0.2)
    np.testing.assert_allclose(images["color"][20, 20:40, 0], expected, atol=3e-3)
