"""The JAX bridge gives the images and gradients of the Warp path."""

from __future__ import annotations

import numpy as np
import pytest
import ray_cases as shapes
import warp as wp

from dr_perception.geometry.camera import Camera
from dr_perception.render import Instance, Renderer, RenderOptions, Scene
from dr_perception.render.jax_bridge import antialias_jax, render_jax

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
pytestmark = pytest.mark.frameworks

CAMERA = Camera(width=48, height=36, fx=60.0, fy=60.0, cx=23.5, cy=17.5)
OPTIONS = RenderOptions(channels=("depth", "silhouette", "color", "position", "face"))
NAMES = ("pose", "vertices", "vertex_colors", "intrinsics", "albedo", "ambient")


def _scene() -> Scene:
    return Scene([Instance(shapes.cube(0.1, (200, 90, 40)), shapes.pose(0.01, 0.0, 0.4, (0.4, 0.5, 0.1)))])


def _adjoints() -> dict[str, np.ndarray]:
    rng, shape = np.random.default_rng(0), (1, 36, 48)
    sizes = {"depth": shape, "silhouette": shape, "color": (*shape, 3), "position": (*shape, 3)}
    return {n: rng.normal(size=s).astype(np.float32) for n, s in sizes.items()}


def _warp() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=NAMES)
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, OPTIONS)
    tape.backward(
        grads={
            getattr(images, n): wp.array(g, dtype=getattr(images, n).dtype) for n, g in _adjoints().items()
        }
    )
    return images.numpy(), parameters.gradients()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_images_and_gradients_equal_those_of_warp(compiled: bool) -> None:
    expected_images, expected = _warp()
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=NAMES)
    arrays = {n: jnp.asarray(getattr(parameters, n).numpy()) for n in NAMES}
    adjoints = {n: jnp.asarray(g) for n, g in _adjoints().items()}

    def loss(arrays):
        images = render_jax(renderer, scene, parameters, arrays, OPTIONS)
        return sum((images[n] * g).sum() for n, g in adjoints.items()), images

    gradient = jax.grad(loss, has_aux=True)
    found, images = (jax.jit(gradient) if compiled else gradient)(arrays)
    assert set(images) == set(expected_images)
    for name, image in expected_images.items():
        np.testing.assert_array_equal(np.asarray(images[name])[0], image)
    for name in NAMES:
        size = np.abs(expected[name]).max()
        assert size > 0
        np.testing.assert_allclose(np.asarray(found[name]), expected[name], rtol=1e-6, atol=1e-6 * size)


def test_several_renders_are_alive_at_their_own_values() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    weight = jnp.asarray(_adjoints()["depth"])

    def depth(pose):
        return render_jax(renderer, scene, parameters, {"pose": pose}, OPTIONS)["depth"]

    first, second = jnp.zeros((1, 1, 6)), jnp.full((1, 1, 6), 0.02)
    alone = jax.grad(lambda p: (depth(p) * weight).sum())(first)
    a, pull_a = jax.vjp(depth, first)
    b, pull_b = jax.vjp(depth, second)
    assert (a != b).any()
    for _ in range(2):
        np.testing.assert_allclose(np.asarray(pull_a(weight)[0]), np.asarray(alone), rtol=1e-6, atol=1e-6)
        pull_b(weight)


def test_a_shaded_image_is_blended_as_by_warp() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    rng = np.random.default_rng(5)
    image, g = (rng.normal(size=(1, 36, 48, 2)).astype(np.float32) for _ in range(2))
    given = wp.array(image, dtype=float, requires_grad=True)
    with wp.Tape() as tape:
        drawn = renderer.antialias(scene, parameters, given)
    tape.backward(grads={drawn: wp.array(g, dtype=float)})
    expected = given.grad.numpy(), parameters.pose.grad.numpy().copy()

    def blended(pose, image):
        return antialias_jax(renderer, scene, parameters, {"pose": pose}, image)

    found, pull = jax.vjp(blended, jnp.zeros((1, 1, 6)), jnp.asarray(image))
    np.testing.assert_array_equal(np.asarray(found), drawn.numpy())
    g_pose, g_image = pull(jnp.asarray(g))
    np.testing.assert_allclose(np.asarray(g_image), expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(g_pose), expected[1], rtol=1e-6, atol=1e-6 * np.abs(expected[1]).max()
    )


def test_bad_arrays_are_named() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    with pytest.raises(ValueError, match="'vertices' was not asked"):
        render_jax(renderer, scene, parameters, {"vertices": jnp.zeros((8, 3))})
    with pytest.raises(ValueError, match=r"\(1, 1, 6\)"):
        render_jax(renderer, scene, parameters, {"pose": jnp.zeros(6)})
    with pytest.raises(TypeError, match="array 'pose' must be an array of floats"):
        render_jax(renderer, scene, parameters, {"pose": jnp.zeros((1, 1, 6), int)})
