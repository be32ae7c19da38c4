from __future__ import annotations

import fuzz_render
import numpy as np
import pytest

from dr_perception.render import Renderer, RenderOptions


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_random_scenes_are_drawn_within_bounds_and_as_a_fresh_renderer_does(first: int) -> None:
    """Ten renders after each other through one renderer; `benchmarks/fuzz_render.py` draws thousands."""
    used = Renderer("cpu")
    found = {seed: fuzz_render.faults(seed, used) for seed in range(first, first + 10)}
    assert not {seed: text for seed, text in found.items() if text}


def test_random_scenes_are_of_every_kind_and_can_be_seen() -> None:
    cases = [fuzz_render.random_case(seed) for seed in range(40)]
    assert {len(case.scene.instances) for case in cases} == {1, 2, 3, 4}
    assert {case.camera.distortion for case in cases} >= {k for k, _ in fuzz_render.LENSES.values()}
    assert {case.options.near for case in cases} == {0.01, 0.05, 0.2}
    renderer = Renderer("cpu")
    options = RenderOptions(channels=("silhouette",))
    coverage = [renderer.render(c.scene, c.camera, options).silhouette.numpy() for c in cases[:20]]
    assert sum(image.max() > 0.9 for image in coverage) >= 15
    assert sum(((image > 0.01) & (image < 0.99)).any() for image in coverage) >= 15


def test_faults_are_told() -> None:
    shape = (4, 5)
    right = {
        "silhouette": np.ones(shape),
        "normal": np.broadcast_to([0.0, 0.0, -1.0], (*shape, 3)),
        "color": np.ones((*shape, 3)),
        "depth": np.ones(shape),
    }
    options = RenderOptions(antialias=False, supersampling=1)
    assert not fuzz_render.faults_of_images(right, options)
    wrong = {
        "silhouette": 1.0 + 2e-5,
        "normal": np.array([0.0, 0.0, -0.99]),
        "color": -0.1,
        "depth": -0.01,
    }
    for name, value in wrong.items():
        images = right | {name: np.broadcast_to(value, right[name].shape)}
        assert len(fuzz_render.faults_of_images(images, options)) == 1, name
    images = right | {"depth": np.full(shape, np.nan)}
    assert fuzz_render.faults_of_images(images, options) == ["depth is not finite"]
