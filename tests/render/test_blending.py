"""An image of a shader of the user's own is blended over outlines as the renderer's colours are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, box, enlarged, lens, pose, torus

from dr_perception.geometry import Camera
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene, SceneParameters

LIGHTS = Lights(ambient=(1.0, 1.0, 1.0), directions=(), colors=())
RING = replace(torus(), vertex_attributes=torus().vertices * [10.0, 12.0, 15.0])
BLOCK = replace(box(), vertex_attributes=box().vertices * [15.0, -10.0, 5.0])
FLAT = Scene(
    [
        Instance(RING, pose(0.3, x=-0.03), Material(albedo=(0.8, 0.3, 0.1))),
        Instance(BLOCK, pose(0.4, x=0.03), Material(albedo=(0.2, 0.5, 0.9))),
    ],
    LIGHTS,
    (0.1, 0.0, 0.3),
)
CENTRES = RenderOptions(channels=("color",), antialias=False)
FACTOR = 4


@wp.kernel
def shade(attributes: wp.array4d[float], face: wp.array3d[int], image: wp.array4d[float]):
    """Two numbers that are not linear in the attributes, and others where nothing is seen."""
    v, y, x = wp.tid()
    if face[v, y, x] < 0:
        image[v, y, x, 0] = 0.3
        image[v, y, x, 1] = -0.2
    else:
        a = attributes[v, y, x, 0]
        b = attributes[v, y, x, 1]
        image[v, y, x, 0] = 1.0 + 0.3 * wp.sin(a) + 0.2 * b * b
        image[v, y, x, 1] = wp.cos(a + b) - 0.2 * attributes[v, y, x, 2]


def flat(renderer: Renderer, scene: Scene, parameters: SceneParameters) -> wp.array:
    """Colours of the instances at pixel centres."""
    return renderer.render(scene, parameters, CENTRES).color


def shaded(renderer: Renderer, scene: Scene, parameters: SceneParameters) -> wp.array:
    """What a shader makes of the attributes at pixel centres."""
    options = RenderOptions(channels=("attributes", "face"))
    images = renderer.render(scene, parameters, options)
    made = wp.zeros((*images.face.shape, 2), dtype=float, requires_grad=True)
    wp.launch(shade, images.face.shape, [images.attributes, images.face], [made])
    return made


@pytest.mark.parametrize("name", ["pinhole", "plumb_bob", "equidistant"])
def test_colours_of_one_number_an_instance_become_those_of_the_renderer(name: str) -> None:
    renderer, camera = Renderer("cpu"), lens(name)
    parameters = renderer.parameters(FLAT, camera)
    ours = renderer.antialias(FLAT, parameters, flat(renderer, FLAT, parameters)).numpy()
    theirs = renderer.render(FLAT, parameters, RenderOptions(channels=("color",))).color.numpy()
    sampled = flat(renderer, FLAT, parameters).numpy()
    assert (np.abs(theirs - sampled).max(-1) > 1e-3).sum() > 200
    assert np.abs(ours - theirs).max() < 1e-5


def test_where_objects_cross_the_curve_is_an_edge() -> None:
    scene = Scene(
        [
            Instance(box((0.12, 0.05, 0.05)), pose(0.35), Material(albedo=(0.8, 0.3, 0.1))),
            Instance(box((0.05, 0.12, 0.05)), pose(0.355, (0.2, 0.9, 0.1)), Material(albedo=(0.1, 0.6, 0.9))),
        ],
        LIGHTS,
    )
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA)
    ours = renderer.antialias(scene, parameters, flat(renderer, scene, parameters)).numpy()
    theirs = renderer.render(scene, parameters, RenderOptions(channels=("color",))).color.numpy()
    assert np.abs(ours - theirs).max() < 1e-5


def test_an_image_is_a_linear_function_of_its_samples() -> None:
    """The gradient with respect to the samples is its transpose."""
    renderer = Renderer("cpu")
    parameters = renderer.parameters(FLAT, CAMERA)
    rng = np.random.default_rng(0)
    shape = (1, CAMERA.height, CAMERA.width, 3)
    a, d, g = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    given = wp.array(a, dtype=float, requires_grad=True)
    with wp.Tape() as tape:
        image = renderer.antialias(FLAT, parameters, given)
    tape.backward(grads={image: wp.array(g, dtype=float)})
    moved = renderer.antialias(FLAT, parameters, wp.array(a + d, dtype=float)).numpy()
    np.testing.assert_array_equal(given.numpy(), a)
    change = ((moved.astype(np.float64) - image.numpy()) * g).sum()
    np.testing.assert_allclose(change, (given.grad.numpy().astype(np.float64) * d).sum(), rtol=1e-4)
    vectors = renderer.antialias(FLAT, parameters, wp.array(a, dtype=wp.vec3))
    assert vectors.dtype is wp.vec3
    np.testing.assert_array_equal(vectors.numpy(), image.numpy())


def _weights(camera: Camera, numbers: int) -> NDArray:
    """Smooth weights of the numbers of every pixel, without symmetry."""
    y, x = np.indices((camera.height, camera.width)) * (CAMERA.width / camera.width)
    u, v = x / 40.0 - 1.2, y / 40.0 - 0.9
    parts = [u + 0.5 * v + 0.7 * u * u + v * v, v - 0.4 * u + u * v + u * u, 0.3 + u - v + 0.5 * v * v]
    return np.stack(parts[:numbers], -1)


def _enlarged_loss(
    shader: Callable, renderer: Renderer, parameters: SceneParameters, camera: Camera
) -> float:
    """The weighted sum of an image drawn larger and averaged."""
    image = shader(renderer, FLAT, parameters).numpy()[0].astype(np.float64)
    small = image.reshape(camera.height, FACTOR, camera.width, FACTOR, -1).mean((1, 3))
    return float((small * _weights(camera, small.shape[-1])).sum())


def _directions(name: str, parameters: SceneParameters) -> list[NDArray]:
    shape = getattr(parameters, name).numpy().shape
    rng = np.random.default_rng(4)
    if name == "vertices":
        x = parameters.vertices.numpy()
        return [np.cos(12.0 * x @ rng.normal(size=(3, 3))) for _ in range(2)]
    scale = {"intrinsics": np.array([1, 1, 0.3, 0.3, *([0.03] * 8)])}
    scale = scale.get(name, np.array([1.0, 1.0, 1.0, 14.0, 14.0, 14.0]))
    return [rng.normal(size=shape) * scale for _ in range(3)]


STEPS = {"pose": 4e-4, "camera_pose": 2e-4, "vertices": 4e-4, "intrinsics": 0.3}


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize(("shader", "factor"), [(flat, 1), (shaded, 2)])
def test_gradients_are_those_of_images_drawn_larger(shader: Callable, factor: int, name: str) -> None:
    """Of the mean over places of the principal point within a pixel, as the shading is sampled.

    What a shader makes at an edge is taken from the nearest centres: off by its change over half a pixel,
    which needs more pixels for a shader that changes.
    """
    ours, theirs = np.zeros(3), np.zeros(3)
    whole = enlarged(CAMERA, factor)
    for x, y in np.random.default_rng(0).random((4 * factor, 2)):
        renderer = Renderer("cpu")
        camera = replace(whole, cx=whole.cx + x, cy=whole.cy + y)
        parameters = renderer.parameters(FLAT, camera, requires_grad=(name,))
        with wp.Tape() as tape:
            image = renderer.antialias(FLAT, parameters, shader(renderer, FLAT, parameters))
        weights = _weights(camera, image.numpy().shape[-1])[None].astype(np.float32)
        tape.backward(grads={image: wp.array(weights, dtype=image.dtype)})
        gradient = getattr(parameters, name).grad.numpy()
        fine = renderer.parameters(FLAT, enlarged(camera, FACTOR))
        array = getattr(fine, name)
        start = array.numpy().copy()
        pixels = np.array([FACTOR] * 4 + [1.0] * 8) if name == "intrinsics" else 1.0
        for k, d in enumerate(_directions(name, parameters)):
            ours[k] += (gradient * d).sum()
            for sign in (1.0, -1.0):
                array.assign((start + sign * STEPS[name] * d * pixels).astype(np.float32))
                theirs[k] += sign * _enlarged_loss(shader, renderer, fine, camera) / (2.0 * STEPS[name])
            array.assign(start)
    assert np.linalg.norm(theirs) > 0.0
    assert np.linalg.norm(ours - theirs) <= 0.03 * np.linalg.norm(theirs), (ours, theirs)


def test_chunks_crops_and_renders_in_between_change_nothing() -> None:
    poses = np.array([[pose(0.3 + 0.01 * k, x=-0.03), pose(0.38, x=0.04)] for k in range(4)])
    found = []
    for budget in (256.0, 2.0):
        renderer = Renderer("cpu", memory_budget_mb=budget)
        parameters = renderer.parameters(FLAT, CAMERA, poses=poses, requires_grad=("pose",))
        with wp.Tape() as tape:
            image = renderer.antialias(FLAT, parameters, shaded(renderer, FLAT, parameters))
        if budget < 256.0:
            renderer.render(FLAT, CAMERA)
            renderer.antialias(FLAT, parameters, shaded(renderer, FLAT, parameters))
        g = np.broadcast_to(_weights(CAMERA, 2), image.shape).astype(np.float32)
        tape.backward(grads={image: wp.array(g, dtype=float)})
        found.append((image.numpy(), parameters.pose.grad.numpy().copy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-3 * np.abs(found[0][1]).max())
    crop = RenderOptions(channels=("color",), antialias=False, crop=(24, 10, 48, 40))
    parameters = renderer.parameters(FLAT, CAMERA)
    whole = renderer.antialias(FLAT, parameters, flat(renderer, FLAT, parameters)).numpy()
    part = renderer.antialias(FLAT, parameters, renderer.render(FLAT, parameters, crop).color, crop).numpy()
    np.testing.assert_allclose(part[:, 2:-2, 2:-2], whole[:, 12:48, 26:70], atol=1e-4)


def test_a_graph_of_the_users_own_draws_the_same() -> None:
    renderer = Renderer("cpu")
    parameters = renderer.parameters(FLAT, CAMERA, requires_grad=("pose",))
    image = shaded(renderer, FLAT, parameters)
    expected = renderer.antialias(FLAT, parameters, image).numpy()
    with wp.ScopedCapture(device="cpu") as capture:
        drawn = renderer.antialias(FLAT, parameters, image)
    parameters.pose.assign(np.full((1, 2, 6), 0.01, np.float32))
    moved = renderer.antialias(FLAT, parameters, image).numpy()
    assert (moved != expected).any()
    wp.capture_launch(capture.graph)
    np.testing.assert_array_equal(drawn.numpy(), moved)


def test_what_does_not_fit_is_named() -> None:
    renderer = Renderer("cpu")
    parameters = renderer.parameters(FLAT, CAMERA)
    right = wp.zeros((1, 72, 96, 2), dtype=float)
    with pytest.raises(TypeError, match="the image to be blended must be array, got ndarray"):
        renderer.antialias(FLAT, parameters, np.zeros((1, 72, 96)))
    with pytest.raises(ValueError, match=r"must have shape \(1, 72, 96\) or \(1, 72, 96, 'n'\)"):
        renderer.antialias(FLAT, parameters, wp.zeros((1, 96, 72), dtype=float))
    with pytest.raises(ValueError, match="must hold float32 or vectors of them"):
        renderer.antialias(FLAT, parameters, wp.zeros((1, 72, 96), dtype=wp.float64))
    with pytest.raises(ValueError, match="must be contiguous"):
        renderer.antialias(FLAT, parameters, wp.zeros((1, 72, 192), dtype=float)[:, :, ::2])
    with pytest.raises(ValueError, match="needs supersampling=1, got 2"):
        renderer.antialias(FLAT, parameters, right, RenderOptions(supersampling=2))
    with pytest.raises(TypeError, match="parameters of antialias must be SceneParameters, got Camera"):
        renderer.antialias(FLAT, CAMERA, right)
