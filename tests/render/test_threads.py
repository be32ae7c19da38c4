"""Images and gradients depend on their arguments: not on the thread, nor on what was rendered before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Camera
from dr_perception.losses import L2
from dr_perception.render import Instance, Renderer, RenderOptions, Scene, render

SCENES = [
    Scene([Instance(torus(), pose(0.3)), Instance(box(), pose(0.35, x=0.05))]),
    Scene([Instance(torus(0.05, 0.02, 24, 16), pose(0.25, (0.1, 1.2, 0.3), x=-0.02))]),
]
SOFT = RenderOptions(soft_silhouette_px=3.0)
FINE = RenderOptions(supersampling=2)
SMALL = Camera(64, 48, 80.0, 80.0, 31.5, 23.5)
ALL = ("depth", "silhouette", "color", "normal", "instance", "soft_silhouette")


def bits(images) -> bytes:
    found = (getattr(images, name) for name in ALL)
    return b"".join(image.numpy().tobytes() for image in found if image is not None)


def gradient(renderer: Renderer, k: int, options: RenderOptions | None = None, z: float = 0.3) -> bytes:
    poses = np.stack([pose(z, x=0.04 * i) for i in range(len(SCENES[k].instances))])
    parameters = renderer.parameters(SCENES[k], CAMERA, poses=poses[None], requires_grad=("pose", "vertices"))
    target = wp.zeros((1, CAMERA.height, CAMERA.width), dtype=float, device=renderer.device)
    with wp.Tape() as tape:
        loss = L2()(renderer.render(SCENES[k], parameters, options).depth, target)
    tape.backward(loss)
    return loss.numpy().tobytes() + parameters.pose.grad.numpy().tobytes()


def test_render_in_two_threads(alike: Callable[..., None]) -> None:
    alike(lambda: bits(render(SCENES[0], CAMERA)), lambda: bits(render(SCENES[1], CAMERA, options=SOFT)))


def test_gradients_in_two_threads(alike: Callable[..., None]) -> None:
    renderers = [Renderer("cpu"), Renderer("cpu")]
    alike(lambda: gradient(renderers[0], 0), lambda: gradient(renderers[1], 1))


def test_threads_that_share_a_renderer_take_turns(alike: Callable[..., None]) -> None:
    renderer = Renderer("cpu")
    alike(lambda: gradient(renderer, 0), lambda: gradient(renderer, 0, z=0.4))


def test_captured_steps_beside_renders(alike: Callable[..., None]) -> None:
    def captured() -> bytes:
        renderer = Renderer("cpu")
        parameters = renderer.parameters(SCENES[0], SMALL, requires_grad=("pose",))
        target = wp.zeros((1, SMALL.height, SMALL.width), dtype=float, device="cpu")
        step = renderer.capture(SCENES[0], parameters, loss=lambda images: L2()(images.depth, target))
        images = bits(step.step())
        return images + parameters.pose.grad.numpy().tobytes()

    alike(captured, lambda: bits(render(SCENES[1], CAMERA)), rounds=10)


@pytest.mark.parametrize("options", [None, SOFT, FINE])
@pytest.mark.parametrize("k", [0, 1])
def test_images_do_not_depend_on_what_was_rendered_before(k: int, options: RenderOptions | None) -> None:
    fresh = bits(Renderer("cpu").render(SCENES[k], CAMERA, options)), gradient(Renderer("cpu"), k, options)
    used = Renderer("cpu")
    for camera in (CAMERA, SMALL):
        for scene in SCENES:
            for other in (None, SOFT, FINE):
                used.render(scene, camera, other)
                gradient(used, 1 - k, other)
                got = bits(used.render(SCENES[k], CAMERA, options)), gradient(used, k, options)
                assert got == fresh


def test_a_pose_that_is_written_to_the_near_plane_is_drawn_as_by_a_new_renderer() -> None:
    """Faces are seen from inside there, which a closed mesh further away never shows."""
    renderer, scene = Renderer("cpu"), Scene([Instance(box(), pose(0.3))])
    parameters = renderer.parameters(scene, CAMERA)
    images = renderer.render(scene, parameters)
    near = pose(0.02)
    parameters.t_world_obj.assign(np.broadcast_to(near[:3, 3], (*parameters.t_world_obj.shape, 3)))
    renderer.render(scene, parameters, out=images)
    assert bits(images) == bits(Renderer("cpu").render(scene, parameters))


def test_a_captured_render_of_a_pose_written_to_the_near_plane_is_that_of_a_new_renderer() -> None:
    renderer, scene = Renderer("cpu"), Scene([Instance(box(), pose(0.3))])
    parameters = renderer.parameters(scene, CAMERA)
    captured = renderer.capture(scene, parameters)
    for z in (0.3, 0.02, 0.3):
        parameters.t_world_obj.assign(np.float32([[[0.0, 0.0, z]]]))
        assert bits(captured.draw()) == bits(Renderer("cpu").render(scene, parameters))


def test_more_scenes_than_are_kept_are_drawn_as_by_a_new_renderer() -> None:
    used = Renderer("cpu")
    for rows in [*range(8, 28), 8]:
        scene = Scene([Instance(torus(rows=rows), pose(0.3))])
        assert bits(used.render(scene, SMALL)) == bits(Renderer("cpu").render(scene, SMALL))
