"""The PyTorch bridge gives the images and gradients of the Warp path."""

from __future__ import annotations

import numpy as np
import pytest
import ray_cases as shapes
import warp as wp

from dr_perception.geometry.camera import Camera
from dr_perception.render import Instance, Renderer, RenderOptions, Scene
from dr_perception.render.torch_bridge import render_torch

torch = pytest.importorskip("torch")


CAMERA = Camera(width=48, height=36, fx=60.0, fy=60.0, cx=23.5, cy=17.5)
OPTIONS = RenderOptions(channels=("depth", "silhouette", "color"))


def _scene() -> Scene:
    return Scene([Instance(shapes.cube(0.1, (200, 90, 40)), shapes.pose(0.01, 0.0, 0.4, (0.4, 0.5, 0.1)))])


def _adjoints(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (1, 36, 48)
    values = {"depth": rng.normal(size=shape), "silhouette": rng.normal(size=shape)}
    return {n: v.astype(np.float32) for n, v in {**values, "color": rng.normal(size=(*shape, 3))}.items()}


def _warp_gradients(names: tuple[str, ...], adjoints: dict[str, np.ndarray]):
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=names)
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, OPTIONS)
    arrays = {getattr(images, n): wp.array(g, dtype=getattr(images, n).dtype) for n, g in adjoints.items()}
    tape.backward(grads=arrays)
    return images.numpy(), parameters.gradients()


def test_images_and_gradients_equal_those_of_warp() -> None:
    names = ("pose", "vertices", "vertex_colors", "intrinsics", "albedo", "ambient")
    adjoints = _adjoints(0)
    expected_images, expected = _warp_gradients(names, adjoints)
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=names)
    tensors = {n: torch.tensor(getattr(parameters, n).numpy(), requires_grad=True) for n in names}
    images = render_torch(renderer, scene, parameters, tensors, OPTIONS)
    for name, image in expected_images.items():
        if name in images:
            np.testing.assert_array_equal(images[name][0].detach().numpy(), image)
    sum((images[n] * torch.tensor(g)).sum() for n, g in adjoints.items()).backward()
    for name in names:
        assert np.abs(expected[name]).max() > 0
        np.testing.assert_allclose(tensors[name].grad.numpy(), expected[name], rtol=1e-4, atol=1e-4)


def test_two_renders_alive_at_once_go_back_at_their_own_values() -> None:
    """The second render must not change what the first one differentiates."""
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    weight = torch.tensor(_adjoints(1)["depth"])

    def gradient(together: bool) -> np.ndarray:
        first = torch.zeros((1, 1, 6), requires_grad=True)
        second = torch.full((1, 1, 6), 0.02, requires_grad=True)
        a = render_torch(renderer, scene, parameters, {"pose": first}, OPTIONS)["depth"]
        if together:
            b = render_torch(renderer, scene, parameters, {"pose": second}, OPTIONS)["depth"]
            ((a + b) * weight).sum().backward()
        else:
            (a * weight).sum().backward()
        return first.grad.numpy()

    np.testing.assert_allclose(gradient(True), gradient(False), rtol=1e-4, atol=1e-4)


def test_torch_optimiser_fits_a_translation() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    target = renderer.render(scene, renderer.parameters(scene, CAMERA), OPTIONS)
    seen = {n: wp.to_torch(getattr(target, n)).clone() for n in ("depth", "silhouette")}
    pose = torch.zeros((1, 1, 6))
    pose[0, 0, 0] = 0.02
    pose.requires_grad_(True)
    optimiser = torch.optim.Adam([pose], lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        images = render_torch(renderer, scene, parameters, {"pose": pose}, OPTIONS)
        ((images["silhouette"] - seen["silhouette"]) ** 2).sum().backward()
        optimiser.step()
    assert abs(float(pose.detach()[0, 0, 0])) < 2e-3


def test_bad_tensors_are_named() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    with pytest.raises(ValueError, match="'vertices' was not asked"):
        render_torch(renderer, scene, parameters, {"vertices": torch.zeros((8, 3))})
    with pytest.raises(ValueError, match=r"\(1, 1, 6\)"):
        render_torch(renderer, scene, parameters, {"pose": torch.zeros(6)})
