"""A captured render gives what an uncaptured one gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Camera
from dr_perception.losses import L2
from dr_perception.render import Instance, Material, Renderer, RenderOptions, Scene, SceneParameters

OPTIONS = RenderOptions(channels=("depth", "silhouette", "color", "normal"))
BENT = Camera(96, 72, 120.0, 118.0, 46.3, 36.9, distortion=(0.1, -0.05, 0.001, 0.002, 0.01))

_FLAT = Material((0.8, 0.6, 0.5), crease_angle_rad=0.0)


def _scene() -> Scene:
    glossy = Material((0.8, 0.6, 0.5), roughness=0.4, specular=0.6)
    return Scene([Instance(box(), pose(0.25, x=-0.03), glossy), Instance(torus(), pose(0.4, x=0.03), glossy)])


def _move(parameters: SceneParameters, k: int) -> None:
    parameters.pose.assign(np.full((1, 2, 6), 0.01 * k, np.float32))


def _adjoints(images: dict[str, NDArray]) -> dict[str, NDArray]:
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=image.shape).astype(np.float32)[None] for name, image in images.items()}


@pytest.mark.parametrize("camera", [CAMERA, BENT])
@pytest.mark.parametrize("requires_grad", [("pose",), ("pose", "vertices", "albedo", "intrinsics")])
def test_captured_and_uncaptured_are_the_same_to_the_bit(
    camera: Camera, requires_grad: tuple[str, ...]
) -> None:
    scene, renderer = _scene(), Renderer("cpu")
    parameters = renderer.parameters(scene, camera, requires_grad=requires_grad)
    captured = renderer.capture(scene, parameters, OPTIONS)
    for k in range(3):
        _move(parameters, k)
        drawn = captured.draw().numpy()
        with wp.Tape() as tape:
            expected = renderer.render(scene, parameters, OPTIONS)
        adjoints = _adjoints(expected.numpy())
        for name, adjoint in adjoints.items():
            np.testing.assert_array_equal(drawn[name], expected.numpy()[name])
            getattr(captured.images, name).grad.assign(adjoint)
            getattr(expected, name).grad.assign(adjoint)
        parameters.zero_grad()
        captured.pull_back()
        found = parameters.gradients()
        parameters.zero_grad()
        tape.backward()
        for name, gradient in parameters.gradients().items():
            assert np.abs(gradient).max() > 0.0
            np.testing.assert_array_equal(found[name], gradient)


def test_step_runs_the_loss_and_gives_the_same_every_time() -> None:
    scene, renderer, l2 = _scene(), Renderer("cpu"), L2()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    target = renderer.render(scene, parameters, OPTIONS).color
    captured = renderer.capture(scene, parameters, OPTIONS, loss=lambda images: l2(images.color, target))
    assert captured.loss is not None
    for k in (1, 2, 2):
        _move(parameters, k)
        captured.step()
        value, gradient = captured.loss.numpy().copy(), parameters.gradients()["pose"]
        parameters.zero_grad()
        with wp.Tape() as tape:
            loss = l2(renderer.render(scene, parameters, OPTIONS).color, target)
        tape.backward(loss)
        np.testing.assert_array_equal(value, loss.numpy())
        np.testing.assert_array_equal(gradient, parameters.pose.grad.numpy())
        assert np.abs(captured.images.color.grad.numpy()).max() > 0.0


def test_an_outline_that_outgrows_the_graph_is_drawn_whole() -> None:
    """The graph looks at as many pieces as there were from afar, and half as many again."""
    camera = Camera(480, 360, 600.0, 600.0, 239.5, 179.5)
    scene, renderer = Scene.of(torus(), pose(3.0)), Renderer("cpu")
    parameters = renderer.parameters(scene, camera, requires_grad=("pose",))
    captured = renderer.capture(scene, parameters, RenderOptions(channels=("silhouette",)))
    parameters.t_world_obj.assign(np.array([[[0.0, 0.0, 0.2]]], np.float32))
    drawn = captured.draw().silhouette.numpy()
    expected = renderer.render(scene, parameters, RenderOptions(channels=("silhouette",))).silhouette.numpy()
    np.testing.assert_array_equal(drawn, expected)


def test_a_graph_of_the_callers_says_that_its_outline_outgrew_its_room() -> None:
    """Edges are never left out silently: the graph's images are not numbers, an eager render makes room."""
    options = RenderOptions(channels=("silhouette", "color", "depth"), antialias_depth=True)
    scene, renderer = Scene([Instance(torus(rows=120, columns=60), pose(-1.0), _FLAT)]), Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA)
    images = renderer.render(scene, parameters, options)
    with wp.ScopedCapture("cpu") as capture:
        renderer.render(scene, parameters, options, out=images)
    wp.capture_launch(capture.graph)
    assert (images.silhouette.numpy() == 0.0).all()
    for eager in (False, True):
        parameters.t_world_obj.assign(np.array([[[0.0, 0.0, 0.3]]], np.float32))
        if eager:
            drawn = renderer.render(scene, parameters, options).numpy()
            expected = Renderer("cpu").render(scene, parameters, options).numpy()
            np.testing.assert_array_equal(drawn["color"], expected["color"])
        wp.capture_launch(capture.graph)
        assert all(np.isnan(image).all() for image in images.numpy().values())
        parameters.t_world_obj.assign(np.array([[[0.0, 0.0, -1.0]]], np.float32))
        wp.capture_launch(capture.graph)
        assert (images.silhouette.numpy() == 0.0).all() and (images.depth.numpy() == 0.0).all()


def test_buffers_of_a_graph_of_the_callers_are_kept() -> None:
    scene, renderer = _scene(), Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA)
    images = renderer.render(scene, parameters, OPTIONS)
    with wp.ScopedCapture("cpu") as capture:
        renderer.render(scene, parameters, OPTIONS, out=images)
    held = {work for work, _ in renderer._workspaces.values()}
    for width in range(20, 40):
        renderer.render(scene, parameters, RenderOptions(crop=(0, 0, width, 10)))
    assert held <= {work for work, _ in renderer._workspaces.values()}
    assert len(renderer._workspaces) < 12
    expected = renderer.render(scene, parameters, OPTIONS).numpy()
    wp.capture_launch(capture.graph)
    np.testing.assert_array_equal(images.numpy()["color"], expected["color"])


def test_render_and_backward_can_be_captured_by_the_caller() -> None:
    scene, renderer = _scene(), Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    images = renderer.render(scene, parameters, OPTIONS)
    gradients = []
    for captured in (False, False, True):
        parameters.zero_grad()
        if captured:
            with wp.ScopedCapture("cpu") as capture:
                _draw_and_pull(renderer, scene, parameters, images)
            parameters.zero_grad()
            wp.capture_launch(capture.graph)
        else:
            images.color.grad.fill_(1.0)
            _draw_and_pull(renderer, scene, parameters, images)
        gradients.append(parameters.gradients()["pose"])
    np.testing.assert_array_equal(gradients[2], gradients[1])


def _draw_and_pull(renderer: Renderer, scene: Scene, parameters: SceneParameters, images) -> None:
    with wp.Tape() as tape:
        renderer.render(scene, parameters, OPTIONS, out=images)
    tape.backward()


def test_what_cannot_be_captured_says_so() -> None:
    scene, renderer = _scene(), Renderer("cpu", memory_budget_mb=1.0)
    poses = np.tile(np.array([pose(0.25), pose(0.4)]), (20, 1, 1, 1))
    with pytest.raises(ValueError, match="memory_budget_mb"):
        renderer.capture(scene, renderer.parameters(scene, CAMERA, poses=poses))
    captured = renderer.capture(scene, renderer.parameters(scene, CAMERA))
    with pytest.raises(RuntimeError, match="requires_grad"):
        captured.pull_back()
    with pytest.raises(RuntimeError, match="loss"):
        captured.step()
