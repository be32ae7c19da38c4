"""Several samples a pixel: averages of a larger render, with the gradients of the average."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Camera
from dr_perception.losses import L2
from dr_perception.render import Instance, Material, Renderer, RenderOptions, Scene

CHANNELS = ("depth", "silhouette", "color", "normal", "instance")
BENT = Camera(96, 72, 120.0, 118.0, 46.3, 36.9, distortion=(0.1, -0.05, 0.001, 0.002, 0.01))


def enlarged(camera: Camera, n: int) -> Camera:
    """The same camera with n times as many pixels along each axis."""
    return Camera(
        n * camera.width, n * camera.height, n * camera.fx, n * camera.fy,
        n * (camera.cx + 0.5) - 0.5, n * (camera.cy + 0.5) - 0.5, camera.distortion, camera.distortion_model,
    )  # fmt: skip


def scene(background: np.ndarray | None = None) -> Scene:
    """Two objects, one before the other."""
    glossy = Material((0.8, 0.6, 0.5), roughness=0.4, specular=0.6)
    instances = [Instance(box(), pose(0.25, x=-0.03), glossy), Instance(torus(), pose(0.4, x=0.03), glossy)]
    return Scene(instances, background=(0.1, 0.2, 0.3) if background is None else background)


def blocks(image: np.ndarray, n: int) -> np.ndarray:
    """Samples of every pixel, (H, W, n, n, ...)."""
    h, w = image.shape[0] // n, image.shape[1] // n
    return np.moveaxis(image.reshape(h, n, w, n, *image.shape[2:]), 2, 1)


@pytest.mark.parametrize("camera", [CAMERA, BENT])
@pytest.mark.parametrize("n", [2, 3])
def test_images_are_averages_of_a_larger_render(camera: Camera, n: int) -> None:
    rng = np.random.default_rng(0)
    wall = rng.uniform(size=(camera.height, camera.width, 3)).astype(np.float32)
    renderer = Renderer("cpu")
    small = renderer.render(scene(wall), camera, RenderOptions(CHANNELS, supersampling=n)).numpy()
    large_wall = np.repeat(np.repeat(wall, n, axis=0), n, axis=1)
    large = renderer.render(scene(large_wall), enlarged(camera, n), RenderOptions(CHANNELS)).numpy()
    for name in ("silhouette", "color", "normal"):
        expected = blocks(large[name], n).mean(axis=(2, 3))
        np.testing.assert_allclose(small[name], expected, atol=2e-5)
    middle = blocks(large["depth"], n)[:, :, (n - 1) // 2 : n // 2 + 1, (n - 1) // 2 : n // 2 + 1]
    seen = middle > 0.0
    count = seen.sum(axis=(2, 3))
    expected = np.where(count > 0, (middle * seen).sum(axis=(2, 3)) / np.maximum(count, 1), 0.0)
    np.testing.assert_allclose(small["depth"], expected, atol=1e-5)
    np.testing.assert_array_equal(small["instance"], blocks(large["instance"], n)[:, :, n // 2, n // 2])


@pytest.mark.parametrize("name", ["color", "silhouette", "normal", "depth"])
def test_gradients_are_those_of_the_average(name: str) -> None:
    """Against central differences of the same images, whose samples hardly change within a step."""
    renderer, l2 = Renderer("cpu"), L2()
    options = RenderOptions((name,), supersampling=2, antialias_depth=True)
    groups = ("pose", "camera_pose", "intrinsics")
    parameters = renderer.parameters(scene(), CAMERA, requires_grad=groups)
    target = renderer.render(scene(), enlarged(CAMERA, 1), options)
    target = wp.clone(getattr(target, name))
    rng = np.random.default_rng(1)
    moves = {
        "pose": 0.004 * rng.normal(size=(1, 2, 6)) * ([0.05] * 3 + [1.0] * 3),
        "camera_pose": 0.002 * rng.normal(size=(1, 6)) * ([0.1] * 3 + [1.0] * 3),
        "intrinsics": np.pad(0.2 * rng.normal(size=(1, 4)), ((0, 0), (0, 8))),
    }
    parameters.pose.assign(np.full((1, 2, 6), 0.02, np.float32))

    def loss() -> wp.array:
        return l2(getattr(renderer.render(scene_kept, parameters, options), name), target)

    scene_kept = scene()
    with wp.Tape() as tape:
        value = loss()
    tape.backward(value)
    for group, move in moves.items():
        array = getattr(parameters, group)
        start = array.numpy().copy()
        values = []
        for sign in (1.0, -1.0):
            array.assign((start + sign * move).astype(np.float32))
            values.append(float(loss().numpy()[0]))
        array.assign(start)
        expected = 0.5 * (values[0] - values[1])
        found = float((array.grad.numpy() * move).sum())
        assert found == pytest.approx(expected, rel=0.06), group


def test_chunks_and_captured_graphs_give_the_same() -> None:
    options = RenderOptions(("color", "depth"), supersampling=2)
    poses = np.stack([[pose(0.25 + 0.01 * k), pose(0.4, x=0.03)] for k in range(3)])
    found = []
    for budget in (256.0, 1.0):
        renderer = Renderer("cpu", memory_budget_mb=budget)
        parameters = renderer.parameters(scene(), CAMERA, poses=poses, requires_grad=("pose", "intrinsics"))
        with wp.Tape() as tape:
            images = renderer.render(scene(), parameters, options)
        images.color.grad.fill_(1.0)
        images.depth.grad.fill_(0.5)
        tape.backward()
        found.append((images.color.numpy(), parameters.gradients()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for name in ("pose", "intrinsics"):
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-4, atol=1e-4)
    renderer = Renderer("cpu")
    kept = scene()
    parameters = renderer.parameters(kept, CAMERA, poses=poses, requires_grad=("pose", "intrinsics"))
    captured = renderer.capture(kept, parameters, options)
    np.testing.assert_array_equal(captured.draw().color.numpy(), found[0][0])
    captured.images.color.grad.fill_(1.0)
    captured.images.depth.grad.fill_(0.5)
    parameters.zero_grad()
    captured.pull_back()
    for name, gradient in parameters.gradients().items():
        np.testing.assert_allclose(gradient, found[0][1][name], rtol=1e-4, atol=1e-4)


def test_a_number_of_samples_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="supersampling must be a whole number"):
        RenderOptions(supersampling=0)
