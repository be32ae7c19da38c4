"""The short way from images to poses gives what the long way over vertices and materials gives."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Mesh
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene


def _scene() -> Scene:
    """A textured box and a ring with vertex colours, glossy, in every kind of light."""
    mesh = box()
    uv = 0.5 + 0.4 * np.sin(np.arange(72.0)).reshape(12, 3, 2)
    texture = (128 + 80 * np.sin(np.arange(8 * 8 * 3.0))).astype(np.uint8).reshape(8, 8, 3)
    textured = Mesh(mesh.vertices, mesh.faces, corner_uv=uv.astype(np.float32), texture=texture)
    ring = torus()
    colors = (128 + 90 * np.sin(60.0 * ring.vertices)).astype(np.uint8)
    ring = Mesh(ring.vertices, ring.faces, vertex_colors=colors)
    lights = Lights(
        directions=((0.3, -0.5, -0.8), (-0.6, 0.2, -0.7)),
        colors=((0.5, 0.6, 0.4), (0.2, 0.1, 0.3)),
        harmonics=0.1 * np.sin(np.arange(27.0)).reshape(9, 3),
    )
    return Scene(
        [
            Instance(textured, pose(0.25, x=-0.03), Material((0.8, 0.6, 0.5), 0.4, 0.3, 0.6)),
            Instance(ring, pose(0.4, x=0.03), Material((0.7, 0.9, 0.5), 0.6, 0.0, 0.5)),
        ],
        lights,
        (0.1, 0.2, 0.4),
    )


def _gradient(scene: Scene, options: RenderOptions, requires_grad: tuple[str, ...]) -> NDArray:
    """Gradient with respect to the poses under random weights of every pixel."""
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA, requires_grad=requires_grad)
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, options)
    rng = np.random.default_rng(4)
    for image in (images.depth, images.silhouette, images.color):
        if image is not None:
            image.grad.assign(rng.normal(size=image.grad.numpy().shape).astype(np.float32))
    tape.backward()
    return parameters.pose.grad.numpy()[0]


@pytest.mark.parametrize(
    ("channels", "antialias"),
    [(("depth",), False), (("color",), False), (("silhouette",), True), (("depth", "color"), True)],
)
def test_short_and_long_way_agree(channels: tuple[str, ...], antialias: bool) -> None:
    scene = _scene()
    options = RenderOptions(
        channels=channels, antialias=antialias, antialias_depth=antialias, supersampling=1
    )
    short = _gradient(scene, options, ("pose",))
    long = _gradient(scene, options, ("pose", "vertices", "albedo"))
    assert np.abs(long).min() > 0.0
    np.testing.assert_allclose(short, long, rtol=2e-3, atol=2e-4 * np.abs(long).max())
