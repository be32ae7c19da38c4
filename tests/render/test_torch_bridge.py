"""The PyTorch bridge gives the images and gradients of the Warp path."""

from __future__ import annotations

import numpy as np
import pytest
import ray_cases as shapes
import warp as wp

from dr_perception.geometry.camera import Camera
from dr_perception.render import Instance, Renderer, RenderOptions, Scene
from dr_perception.render.torch_bridge import antialias_torch, render_torch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks

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


def test_a_render_goes_back_twice_and_its_images_are_used_twice() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    pose = torch.zeros((1, 1, 6), requires_grad=True)
    images = render_torch(renderer, scene, parameters, {"pose": pose}, OPTIONS)
    weight = {n: torch.tensor(g) for n, g in _adjoints(2).items()}
    loss = (images["depth"] * weight["depth"]).sum() + (images["depth"] * images["silhouette"]).sum()
    loss.backward(retain_graph=True)
    once = pose.grad.clone()
    render_torch(renderer, scene, parameters, {"pose": torch.full((1, 1, 6), 0.05)}, OPTIONS)
    loss.backward()
    assert once.abs().max() > 0
    torch.testing.assert_close(pose.grad, 2.0 * once, rtol=1e-5, atol=1e-3)


def test_tensors_may_be_strided_double_or_made_by_others() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("vertices",))
    values = torch.tensor(parameters.vertices.numpy())
    found = []
    for given in (values.clone(), values.double(), values.T.contiguous().T):
        given = given.requires_grad_(True)
        images = render_torch(renderer, scene, parameters, {"vertices": given}, OPTIONS)
        (images["depth"] * torch.tensor(_adjoints(3)["depth"])).sum().backward()
        assert given.grad.dtype == given.dtype
        found.append(given.grad.numpy())
    assert np.abs(found[0]).max() > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-4)


def test_whole_numbers_have_no_gradient() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    pose = torch.zeros((1, 1, 6), requires_grad=True)
    images = render_torch(
        renderer, scene, parameters, {"pose": pose}, RenderOptions(channels=("face", "position", "instance"))
    )
    assert images["face"].dtype == torch.int32 and not images["face"].requires_grad
    images["position"].sum().backward()
    assert pose.grad.abs().max() > 0


@pytest.mark.filterwarnings("ignore")
def test_the_compiler_of_torch_leaves_a_render_alone() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    weight = torch.tensor(_adjoints(4)["depth"])

    def loss(pose: torch.Tensor) -> torch.Tensor:
        images = render_torch(renderer, scene, parameters, {"pose": 0.5 * pose}, OPTIONS)
        return (images["depth"] * weight).sum().sin()

    found = []
    for function in (loss, torch.compile(loss, backend="eager")):
        pose = torch.full((1, 1, 6), 0.01, requires_grad=True)
        value = function(pose)
        value.backward()
        found.append((value.item(), pose.grad.numpy()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-4)


def test_a_shaded_image_is_blended_as_by_warp() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    rng = np.random.default_rng(5)
    image, g = (rng.normal(size=(1, 36, 48, 2)).astype(np.float32) for _ in range(2))
    given = wp.array(image, dtype=float, requires_grad=True)
    with wp.Tape() as tape:
        drawn = renderer.antialias(scene, parameters, given)
    tape.backward(grads={drawn: wp.array(g, dtype=float)})
    expected = drawn.numpy(), given.grad.numpy(), parameters.pose.grad.numpy().copy()
    pose = torch.zeros((1, 1, 6), requires_grad=True)
    tensor = torch.tensor(image, requires_grad=True)
    blended = antialias_torch(renderer, scene, parameters, {"pose": pose}, tensor)
    (blended * torch.tensor(g)).sum().backward()
    np.testing.assert_array_equal(blended.detach().numpy(), expected[0])
    np.testing.assert_allclose(tensor.grad.numpy(), expected[1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pose.grad.numpy(), expected[2], rtol=1e-5, atol=1e-4)
    alone = antialias_torch(renderer, scene, parameters, {}, tensor)
    np.testing.assert_array_equal(alone.detach().numpy(), expected[0])


def test_bad_tensors_are_named() -> None:
    renderer, scene = Renderer(), _scene()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    with pytest.raises(ValueError, match="'vertices' was not asked"):
        render_torch(renderer, scene, parameters, {"vertices": torch.zeros((8, 3))})
    with pytest.raises(ValueError, match=r"\(1, 1, 6\)"):
        render_torch(renderer, scene, parameters, {"pose": torch.zeros(6)})
    with pytest.raises(TypeError, match=r"tensor 'pose' must be a torch\.Tensor, got ndarray"):
        render_torch(renderer, scene, parameters, {"pose": np.zeros((1, 1, 6))})
    with pytest.raises(TypeError, match=r"tensor 'pose' must hold floats, got torch\.int64"):
        render_torch(renderer, scene, parameters, {"pose": torch.zeros((1, 1, 6), dtype=torch.int64)})
    with pytest.raises(ValueError, match="tensor 'pose' must be on a CPU or CUDA device, got meta"):
        render_torch(renderer, scene, parameters, {"pose": torch.zeros((1, 1, 6), device="meta")})
    with pytest.raises(ValueError, match=r"image must have shape \(1, 36, 48\)"):
        antialias_torch(renderer, scene, parameters, {}, torch.zeros((1, 48, 36)))
