"""The scene of the renderer drawn by rays: images and gradients of all groups against the rasteriser's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import ray_cases as shapes
import warp as wp

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.se3 import retract
from dr_perception.rays.casting import CastOptions, cast
from dr_perception.render import Images, Instance, Lights, Material, Renderer, RenderOptions, Scene
from dr_perception.render.scene.parameters import SceneParameters

SIZE = (48, 36)
CAMERAS = [
    Camera(48, 36, 60.0, 60.0, 23.5, 17.5),
    Camera(48, 36, 50.0, 52.0, 23.0, 18.0, (-0.2, 0.05, 0.002, -0.003, 0.01), "plumb_bob"),
]
T_WORLD_CAM = np.stack([np.eye(4), shapes.pose(0.02, -0.01, -0.05, (0.03, -0.05, 0.1))])
GROUPS = (
    *("vertices", "pose", "camera_pose", "intrinsics", "vertex_colors", "texels", "albedo", "roughness"),
    *("metallic", "specular", "ambient", "light_directions", "light_colors", "harmonics"),
)
MOTION_PX = np.array([0.4, 0.3, 1.0, 1.0, 6.0, 1.6, 20.0, 20.0, 0.4, 6.0, 1.6, 0.4])
"""How far a unit of each intrinsic moves the corner of the second camera's image, roughly."""


def textured_cube() -> Mesh:
    """A cube with a small smooth texture over each of its faces."""
    cube = shapes.cube(0.1)
    uv = np.clip(cube.vertices[:, :2] + 0.3 * cube.vertices[:, 2:], -0.06, 0.06) / 0.12 + 0.5
    y, x = np.mgrid[:6, :8]
    texture = np.stack([130 + 14 * x, 200 - 15 * y, 120 + 8 * x + 9 * y], axis=-1).astype(np.uint8)
    return Mesh(cube.vertices, cube.faces, corner_uv=uv[cube.faces].astype(np.float32), texture=texture)


def colored_ball() -> Mesh:
    """A ball with smoothly varying colours of its vertices."""
    ball = shapes.sphere(0.05, 2)
    return Mesh(ball.vertices, ball.faces, (128 + 100 * np.sin(40 * ball.vertices)).astype(np.uint8))


def scene() -> Scene:
    """Two bodies, one partly before the other, with all that a material and light have."""
    instances = [
        Instance(
            textured_cube(),
            shapes.pose(0.02, 0.0, 0.5, (0.4, 0.5, 0.1)),
            Material((0.8, 0.7, 0.9), 0.5, 0.3, 0.5),
        ),
        Instance(
            colored_ball(),
            shapes.pose(-0.03, 0.01, 0.34, (0.1, 0.2, 0.3)),
            Material((0.9, 0.9, 0.6), 0.6, 0.0, 0.8),
        ),
    ]
    harmonics = np.random.default_rng(0).uniform(-0.1, 0.2, size=(9, 3))
    lights = Lights((0.2, 0.3, 0.3), [[0.3, -0.5, -1.0]], [[0.7, 0.6, 0.5]], harmonics=harmonics)
    background = np.full((36, 48, 3), 0.1)
    background[:, 20:] = (0.0, 0.3, 0.2)
    return Scene(instances, lights, background)


def views() -> np.ndarray:
    """Two hypotheses of the poses of both bodies."""
    first = np.stack([item.T_world_obj for item in scene().instances])
    return np.stack([first, np.stack([retract(T, [0.01, -0.005, 0.02, 0.1, -0.2, 0.1]) for T in first])])


def adjoint(name: str, shape: tuple[int, int, int]) -> wp.array:
    """Smooth weights of the images (views, height, width) that do not cancel."""
    v, u = np.meshgrid(*(np.arange(n) / (n - 1) - 0.5 for n in shape[1:]), indexing="ij")
    rows = np.stack([np.sin(3 * u + v), np.cos(2 * v - u) - 0.5, u * v + v], axis=-1)
    vector = name in ("color", "normal")
    weights = np.broadcast_to(rows if vector else rows[..., 0], (*shape, 3)[: 4 if vector else 3])
    return wp.array(weights.astype(np.float32), dtype=wp.vec3 if vector else wp.float32, device="cpu")


def gradients(parameters: SceneParameters, draw: Callable[[], Images], name: str) -> dict[str, np.ndarray]:
    """Those of a weighted sum of one image."""
    parameters.zero_grad()
    with wp.Tape() as tape:
        images = draw()
    image = getattr(images, name)
    tape.backward(grads={image: adjoint(name, image.shape)})
    return {k: g.astype(float) for k, g in parameters.gradients().items()}


def test_images_are_those_of_the_rasteriser() -> None:
    """Four views, a texture, colours, speculars, harmonics, a lens and a background image."""
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene(), CAMERAS, T_WORLD_CAM, views())
    rays = cast(parameters, CastOptions(samples=64))
    raster = renderer.render(scene(), parameters, RenderOptions(antialias_depth=True, supersampling=4))
    for name, mean, most in (
        ("depth", 1e-3, 0.04),
        ("silhouette", 1e-3, 0.06),
        ("color", 3e-4, 0.03),
        ("normal", 1e-3, 0.08),
    ):
        difference = np.abs(getattr(rays, name).numpy() - getattr(raster, name).numpy())
        assert difference.mean() < mean and difference.max() < most, (
            name,
            difference.mean(),
            difference.max(),
        )
    assert np.mean(rays.instance.numpy() != raster.instance.numpy()) < 0.01


@pytest.mark.parametrize("name", ["depth", "silhouette", "color", "normal"])
def test_gradients_of_all_groups_are_those_of_the_rasteriser(name: str) -> None:
    """Within 3 %, the rasteriser's own error; gradients of what an image does not show are zero."""
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene(), CAMERAS, T_WORLD_CAM, views(), requires_grad=GROUPS)
    options = RenderOptions(antialias_depth=True, supersampling=4)
    rays = gradients(parameters, lambda: cast(parameters, CastOptions(64, edge_samples=1 << 14)), name)
    raster = gradients(parameters, lambda: renderer.render(scene(), parameters, options), name)
    for group in GROUPS:
        norm = np.linalg.norm(raster[group])
        assert (norm > 0) == (name == "color" or group in GROUPS[:4]), group
        unit = MOTION_PX if group == "intrinsics" else 1.0
        error = np.linalg.norm((rays[group] - raster[group]) / unit) / np.linalg.norm(
            raster[group] / unit + 1e-30
        )
        assert error < 0.03, (group, error)


def _shadow_scene(xi: np.ndarray, turn: np.ndarray) -> Scene:
    """A ball above a plane that it throws its shadow on, the ball and the light moved."""
    corners = np.array([[-0.2, 0, -0.2], [0.2, 0, -0.2], [0.2, 0, 0.2], [-0.2, 0, 0.2]])
    plane = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    material = Material((0.9, 0.8, 0.6), crease_angle_rad=0.0)
    ball = Instance(
        shapes.sphere(0.04, 2), retract(shapes.pose(-0.01, -0.02, 0.4, (0.1, 0.2, 0.3)), xi), material
    )
    floor = Instance(plane, shapes.pose(0.0, 0.05, 0.42, (0.4, 0.0, 0.1)), material)
    return Scene([ball, floor], Lights((0.1,) * 3, [np.array([0.5, -1.0, -0.4]) + turn], [(0.7, 0.6, 0.5)]))


def test_gradients_under_shadows_equal_central_differences() -> None:
    """The ball across the floor and the light turned: within 3 %, and the shadow makes a third of it."""
    renderer, camera = Renderer("cpu"), Camera(32, 24, 40.0, 40.0, 15.5, 11.5)
    weights = adjoint("color", (1, 24, 32)).numpy().astype(float)

    def value(step: np.ndarray) -> float:
        moved = _shadow_scene(np.append(step[:3], np.zeros(3)), step[3:])
        options = CastOptions(28 * 28, "stratified", seed=3, shadows=True)
        return float((cast(renderer.parameters(moved, camera), options).color.numpy() * weights).sum())

    still = _shadow_scene(np.zeros(6), np.zeros(3))
    parameters = renderer.parameters(still, camera, requires_grad=("pose", "light_directions"))
    found = []
    for shadows in (True, False):
        options = CastOptions(64, shadows=shadows, edge_samples=1 << 14)
        g = gradients(parameters, lambda options=options: cast(parameters, options), "color")
        found.append(np.append(g["pose"][0, 0, :3], g["light_directions"][0]))
    steps = np.array([1.2e-3] * 3 + [1e-2] * 3)  # longer ones are off by their square, shorter ones by noise
    moved = [0, 2, 3, 5]  # along the floor
    differences = [(value(h) - value(-h)) / 2 for h in np.diag(steps)[moved]]
    error = [np.linalg.norm((g * steps)[moved] - differences) / np.linalg.norm(differences) for g in found]
    assert error[0] < 0.03 and error[1] > 0.3, (error, found[0] * steps, differences)


def test_shadow_falls_where_light_is_blocked() -> None:
    """A small cube between a lamp at the camera's right and a wall darkens the wall to ambient."""
    lights = Lights((0.1,) * 3, [[1.0, 0.0, -1.0]], [(1.0,) * 3])
    wall = Instance(shapes.cube(1.0), shapes.pose(z=1.5))
    block = Instance(shapes.cube(0.1), shapes.pose(x=0.1, z=0.9))
    colors = [
        cast(Renderer("cpu").parameters(Scene(items, lights), CAMERAS[0]), CastOptions(shadows=True)).color
        for items in ([wall, block], [wall])
    ]
    np.testing.assert_allclose(colors[0].numpy()[0, 18, 24], 0.1, rtol=1e-4)
    np.testing.assert_allclose(colors[1].numpy()[0, 18, 24], 0.1 + np.sqrt(0.5), rtol=1e-4)


def test_split_vertices_share_the_gradient_of_their_place() -> None:
    ball = shapes.sphere(0.05, 2)
    soup = Mesh(ball.vertices[ball.faces].reshape(-1, 3), np.arange(3 * len(ball.faces)).reshape(-1, 3))
    sums = []
    for mesh in (ball, soup):
        drawn = Scene([Instance(mesh, shapes.pose(0.01, 0.0, 0.3))])
        parameters = Renderer("cpu").parameters(drawn, CAMERAS[0], requires_grad=("vertices", "pose"))
        g = gradients(parameters, lambda p=parameters: cast(p), "color")
        sums.append(g["vertices"].sum(axis=0))
        np.testing.assert_allclose(sums[-1], g["pose"][0, 0, :3], rtol=2e-3, atol=1e-2)
    assert np.linalg.norm(sums[0] - sums[1]) < 0.02 * np.linalg.norm(sums[0])


def test_the_image_depends_on_its_arguments_alone() -> None:
    """Moved vertices are seen, and the same arguments give the same bits."""
    parameters = Renderer("cpu").parameters(scene(), CAMERAS[0])
    first, rest = cast(parameters).color.numpy(), parameters.vertices.numpy().copy()
    parameters.vertices.assign(1.2 * rest)
    assert np.abs(cast(parameters).color.numpy() - first).max() > 0.1
    parameters.vertices.assign(rest)
    np.testing.assert_array_equal(cast(parameters).color.numpy(), first)


def test_bad_input_is_named() -> None:
    parameters = Renderer("cpu").parameters(scene(), CAMERAS[0])
    with pytest.raises(TypeError, match="parameters"):
        cast(scene())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="edge_samples must be 1 or more, got 0"):
        cast(parameters, CastOptions(edge_samples=0))
    with pytest.raises(ValueError, match="square number"):
        cast(parameters, CastOptions(samples=3))
    with pytest.raises(ValueError, match="no instances"):
        cast(Renderer("cpu").parameters(Scene([]), CAMERAS[0]))
