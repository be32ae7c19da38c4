"""Pixels next to outlines: shading carried across them, and gaps between outlines narrower than a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import box, pose, torus

from dr_perception.geometry import Camera, make_transform
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene

FACTOR = 8


def _camera(shift: float, factor: int = 1) -> Camera:
    cx, cy = (factor * (c + shift + 0.5) - 0.5 for c in (29.5, 21.5))
    return Camera(60 * factor, 44 * factor, 70.0 * factor, 70.0 * factor, cx, cy)


def _small(image: NDArray, factor: int) -> NDArray:
    h, w = image.shape[0] // factor, image.shape[1] // factor
    return image.reshape(h, factor, w, factor, -1).mean((1, 3), dtype=np.float64)


def _lit_ring() -> Scene:
    material = Material(albedo=(0.8, 0.6, 0.5), roughness=0.6, metallic=0.2, specular=0.4)
    lights = Lights(
        directions=((0.3, -0.5, -0.8), (-0.6, 0.2, -0.7)), colors=((0.6, 0.6, 0.5), (0.2, 0.3, 0.4))
    )
    return Scene([Instance(torus(rows=48, columns=24), pose(0.28), material)], lights, (0.1, 0.2, 0.4))


def _weights(channels: int) -> NDArray:
    y, x = np.mgrid[:44, :60]
    return np.stack([np.sin(0.35 * x + k) * np.cos(0.3 * y - k) for k in range(channels)], -1)


@pytest.mark.parametrize("name", ["pose", "vertices"])
@pytest.mark.parametrize(("channel", "bound"), [("color", 0.05), ("normal", 0.03)])
def test_one_coarse_image_is_enough(channel: str, bound: float, name: str) -> None:
    """Mean over sub-pixel places, 40 pixels across, under weights that change over a few pixels."""
    scene = _lit_ring()
    options = RenderOptions(channels=(channel,))
    renderer = Renderer("cpu")
    weights = _weights(3)
    errors = []
    for shift in (0.0, 0.27, 0.61):
        coarse = renderer.parameters(scene, _camera(shift), requires_grad=(name,))
        with wp.Tape() as tape:
            image = getattr(renderer.render(scene, coarse, options), channel)
        image.grad.assign(weights[None].astype(np.float32))
        tape.backward()
        fine = renderer.parameters(scene, _camera(shift, FACTOR), requires_grad=(name,))
        array = getattr(fine, name)
        start = array.numpy().copy()
        ours, theirs = [], []
        for axis in range(3):
            direction = np.zeros(start.shape)
            direction[..., axis] = 1.0
            losses = []
            for sign in (1.0, -1.0):
                array.assign((start + sign * 3e-4 * direction).astype(np.float32))
                drawn = getattr(renderer.render(scene, fine, options), channel).numpy()[0]
                losses.append((_small(drawn, FACTOR) * weights).sum())
            array.assign(start)
            ours.append((getattr(coarse, name).grad.numpy() * direction).sum())
            theirs.append((losses[0] - losses[1]) / 6e-4)
        errors.append(np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs))
    assert np.mean(errors) < bound


@pytest.mark.parametrize("gap_px", [0.2, 0.45, 0.7])
def test_a_strip_that_no_pixel_centre_shows(gap_px: float) -> None:
    """A far edge just outside a near one: what lies between them is neither near surface nor background."""
    near, far = box((0.1, 0.1, 0.001)), box((0.4, 0.1, 0.001))
    x_near = 0.25 * (40.1 - 29.5) / 70.0 - 0.05
    x_far = 0.6 * (40.1 + gap_px - 29.5) / 70.0 - 0.2
    scene = Scene(
        [Instance(near, make_transform(np.eye(3), np.array([x_near, 0.0, 0.2505]))),
         Instance(far, make_transform(np.eye(3), np.array([x_far, 0.0, 0.6005])))],
    )  # fmt: skip
    options = RenderOptions(channels=("depth", "silhouette", "normal"), antialias_depth=True)
    renderer = Renderer("cpu")
    drawn = renderer.render(scene, renderer.parameters(scene, _camera(0.0)), options).numpy()
    exact = renderer.render(scene, renderer.parameters(scene, _camera(0.0, 16)), options).numpy()
    rows = slice(18, 26)
    for name in ("silhouette", "depth", "normal"):
        expected = _small(exact[name], 16)[rows]
        found = drawn[name][rows].reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=0.015 * np.abs(expected).max())
