"""Derivatives of image losses against central differences of images rendered at 4 x 4 times the size.

benchmarks/gradients.py does the same at 16 x 16 for many poses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Camera, Mesh
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene, SceneParameters


@wp.kernel
def weigh_scalar(
    image: wp.array3d(dtype=float), weight: wp.array3d(dtype=float), total: wp.array(dtype=wp.float64)
):
    v, y, x = wp.tid()
    wp.atomic_add(total, 0, wp.float64(image[v, y, x] * weight[v, y, x]))


@wp.kernel
def weigh_vector(
    image: wp.array3d(dtype=wp.vec3), weight: wp.array3d(dtype=wp.vec3), total: wp.array(dtype=wp.float64)
):
    v, y, x = wp.tid()
    wp.atomic_add(total, 0, wp.float64(wp.dot(image[v, y, x], weight[v, y, x])))


FACTOR = 4


def enlarged(camera: Camera) -> Camera:
    """The same camera with more pixels."""
    cx, cy = (FACTOR * (c + 0.5) - 0.5 for c in (camera.cx, camera.cy))
    return Camera(
        camera.width * FACTOR, camera.height * FACTOR, camera.fx * FACTOR, camera.fy * FACTOR, cx, cy,
        camera.distortion, camera.distortion_model,
    )  # fmt: skip


def weights(shape: tuple[int, ...], vector: bool) -> wp.array:
    """Smooth weights without symmetry, which do not make the boundary's contributions cancel."""
    _, y, x = np.indices(shape)
    u, v = x / 40.0 - 1.2, y / 40.0 - 0.9
    parts = [u + 0.5 * v + 0.7 * u * u + v * v, v - 0.4 * u + u * v + u * u, 0.3 + u - v + 0.5 * v * v]
    data = np.stack(parts, -1) if vector else parts[0]
    return wp.array(data.astype(np.float32), dtype=wp.vec3 if vector else wp.float32, device="cpu")


class Loss:
    """A weighted sum over one image."""

    def __init__(
        self,
        scene: Scene,
        parameters: SceneParameters,
        channel: str,
        options: RenderOptions,
        camera: Camera = CAMERA,
    ) -> None:
        self.renderer, self.scene, self.parameters = Renderer("cpu"), scene, parameters
        self.fine = self.renderer.parameters(scene, enlarged(camera), requires_grad=parameters.requires_grad)
        self.channel, self.options = channel, options

    def __call__(self) -> wp.array:
        image = getattr(self.renderer.render(self.scene, self.parameters, self.options), self.channel)
        total = wp.zeros(1, dtype=wp.float64, device="cpu", requires_grad=True)
        vector = image.dtype == wp.vec3
        kernel = weigh_vector if vector else weigh_scalar
        wp.launch(kernel, image.shape, [image, weights(image.shape, vector), total], device="cpu")
        return total

    def gradients(self) -> dict[str, NDArray]:
        self.parameters.zero_grad()
        with wp.Tape() as tape:
            total = self()
        tape.backward(total)
        return self.parameters.gradients()

    def enlarged(self) -> float:
        """The loss of the images rendered larger and averaged."""
        image = getattr(self.renderer.render(self.scene, self.fine, self.options), self.channel).numpy()[0]
        height, width = image.shape[0] // FACTOR, image.shape[1] // FACTOR
        small = image.reshape(height, FACTOR, width, FACTOR, -1).mean((1, 3), dtype=np.float64)
        weight = weights((1, height, width), image.ndim == 3).numpy()[0].reshape(small.shape)
        return float((small * weight).sum())

    def difference(self, name: str, direction: NDArray, step: float) -> float:
        array = getattr(self.fine, name)
        start = array.numpy().copy()
        if name == "intrinsics":
            direction = direction * np.array([FACTOR] * 4 + [1.0] * 8)
        values = []
        for sign in (1.0, -1.0):
            array.assign((start + sign * step * direction).astype(np.float32))
            values.append(self.enlarged())
        array.assign(start)
        return (values[0] - values[1]) / (2.0 * step)


def scene_of(meshes: Sequence[Mesh], poses: Sequence[NDArray]) -> Scene:
    material = Material(albedo=(0.8, 0.6, 0.5), roughness=0.6, metallic=0.2, specular=0.4)
    two = ((0.3, -0.5, -0.8), (-0.6, 0.2, -0.7))
    lights = Lights(
        directions=two,
        colors=((0.5, 0.6, 0.4), (0.2, 0.1, 0.3)),
        harmonics=0.1 * np.sin(np.arange(27.0)).reshape(9, 3),
    )
    return Scene(
        [Instance(m, T, material) for m, T in zip(meshes, poses, strict=True)], lights, (0.1, 0.2, 0.4)
    )


SHIFTS = ((0.0, 0.0), (0.35, 0.15), (0.7, 0.6), (0.15, 0.8))
"""Places of the principal point within a pixel.

Shading is sampled once a pixel, so that the derivative of the colours of one coarse image carries the noise
of that sampling (2 to 6 % here, docs/renderer.md); it has to vanish in the mean.
"""


def shifted(camera: Camera, channel: str) -> list[Camera]:
    """The camera for images that need no mean; four with the principal point elsewhere for colour."""
    return [
        dataclasses.replace(camera, cx=camera.cx + x, cy=camera.cy + y)
        for x, y in SHIFTS[: len(SHIFTS) if channel == "color" else 1]
    ]


def compare(
    losses: Loss | Sequence[Loss], name: str, directions: Sequence[NDArray], step: float, tolerance: float
) -> None:
    """Mean derivatives along some directions, all together within a share of the differences."""
    losses = [losses] if isinstance(losses, Loss) else losses
    ours, theirs = np.zeros(len(directions)), np.zeros(len(directions))
    for loss in losses:
        gradient = loss.gradients()[name]
        ours += [(gradient * d).sum() for d in directions]
        theirs += [loss.difference(name, d, step) for d in directions]
    assert np.linalg.norm(theirs) > 0.0
    assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs), (
        f"{name}: {ours} against {theirs}"
    )


def mixed(directions: Sequence[NDArray], count: int) -> list[NDArray]:
    """Fewer directions, orthogonal mixtures in which all of the given ones take part."""
    q = np.linalg.qr(np.random.default_rng(2).normal(size=(len(directions), count)))[0]
    return [np.tensordot(row, np.asarray(directions), 1) for row in q.T]


def unit(shape: tuple[int, ...], size: int, scale: float = 1.0) -> list[NDArray]:
    """Unit vectors of the last axis, rotations scaled by one over the size of the object."""
    rows = []
    for i in range(size):
        row = np.zeros(shape)
        row[..., i] = scale if i < 3 else scale / 0.07
        rows.append(row)
    return rows


@pytest.mark.parametrize("channel", ["silhouette", "depth", "color", "normal"])
@pytest.mark.parametrize("mesh", [box(), torus()], ids=["box", "torus"])
def test_pose(mesh: Mesh, channel: str) -> None:
    scene = scene_of([mesh], [pose()])
    parameters = Renderer("cpu").parameters(scene, CAMERA, requires_grad=("pose",))
    options = RenderOptions(channels=(channel,), antialias_depth=True)
    compare(Loss(scene, parameters, channel, options), "pose", unit((1, 1, 6), 6), 2e-4, 0.03)


def test_soft_silhouette() -> None:
    scene = scene_of([box()], [pose()])
    parameters = Renderer("cpu").parameters(scene, CAMERA, requires_grad=("pose",))
    fine = RenderOptions(channels=(), soft_silhouette_px=4.0 * FACTOR)
    loss = Loss(scene, parameters, "soft_silhouette", RenderOptions(channels=(), soft_silhouette_px=4.0))
    gradient = loss.gradients()["pose"]
    loss.options = fine
    directions = unit((1, 1, 6), 6)
    ours = np.array([(gradient * d).sum() for d in directions])
    theirs = np.array([loss.difference("pose", d, 4e-4) for d in directions])
    assert np.linalg.norm(ours - theirs) <= 0.08 * np.linalg.norm(theirs), f"{ours} against {theirs}"


@pytest.mark.parametrize("channel", ["silhouette", "color"])
def test_poses_of_objects_that_hide_each_other(channel: str) -> None:
    scene = scene_of([box(), torus()], [pose(0.25, x=-0.03), pose(0.4, x=0.03)])
    losses = []
    for camera in shifted(CAMERA, channel):
        parameters = Renderer("cpu").parameters(scene, camera, requires_grad=("pose", "camera_pose"))
        losses.append(Loss(scene, parameters, channel, RenderOptions(channels=(channel,)), camera))
    for instance in range(2):
        one = [d * (np.arange(2) == instance)[None, :, None] for d in unit((1, 2, 6), 6)]
        compare(losses, "pose", mixed(one, 3), 2e-4, 0.03)
    compare(losses, "camera_pose", mixed(unit((1, 6), 6, 0.5), 3), 2e-4, 0.03)


def test_interior_depth_without_boundary() -> None:
    scene = scene_of([box((1.0, 1.0, 0.05))], [pose(w=(0.5, 0.3, 0.1))])
    parameters = Renderer("cpu").parameters(scene, CAMERA, requires_grad=("pose", "vertices", "intrinsics"))
    loss = Loss(scene, parameters, "depth", RenderOptions(channels=("depth",), antialias=False))
    compare(loss, "pose", unit((1, 1, 6), 6), 2e-4, 0.01)


@pytest.mark.parametrize("channel", ["silhouette", "depth", "color"])
def test_vertices(channel: str) -> None:
    scene = scene_of([torus()], [pose()])
    parameters = Renderer("cpu").parameters(scene, CAMERA, requires_grad=("vertices",))
    x = parameters.vertices.numpy()
    fields = [
        np.cos(x @ np.array(m).reshape(3, 3) * 12.0)
        for m in ([1, 2, 0, -1, 1, 3, 2, 0, 1], [0, 1, 1, 2, -1, 0, 1, 1, 1])
    ]
    loss = Loss(scene, parameters, channel, RenderOptions(channels=(channel,), antialias_depth=True))
    compare(loss, "vertices", fields, 2e-4, 0.03)


@pytest.mark.parametrize("channel", ["silhouette", "depth", "color"])
@pytest.mark.parametrize(
    ("k", "model"),
    [
        ((-0.2, 0.05, 0.002, -0.001, 0.01), "plumb_bob"),
        ((0.2, 0.05, 0.002, -0.001, 0.01, 0.35, 0.06, 0.005), "rational_polynomial"),
        ((-0.03, 0.01, -0.002, 0.0005), "equidistant"),
    ],
)
def test_intrinsics(channel: str, k: tuple[float, ...], model: str) -> None:
    bent = dataclasses.replace(CAMERA, distortion=k, distortion_model=model)
    scene = scene_of([torus()], [pose(0.2)])
    options = RenderOptions(channels=(channel,), antialias_depth=True)
    losses = []
    for camera in shifted(bent, channel):
        parameters = Renderer("cpu").parameters(scene, camera, requires_grad=("intrinsics",))
        losses.append(Loss(scene, parameters, channel, options, camera))
    scale = np.diag([1, 1, 0.3, 0.3, *([0.03] * 8)])
    compare(losses, "intrinsics", mixed([scale[i][None] for i in range(4 + len(k))], 4), 0.2, 0.03)


@pytest.mark.parametrize(
    "name",
    ["vertex_colors", "texels", "albedo", "roughness", "metallic", "specular", "ambient", "light_directions",
     "light_colors", "harmonics"],
)  # fmt: skip
def test_appearance_and_light(name: str) -> None:
    mesh = box()
    uv = 0.5 + 0.4 * np.sin(np.arange(72.0)).reshape(12, 3, 2)
    texture = (128 + 80 * np.sin(np.arange(8 * 8 * 3.0))).astype(np.uint8).reshape(8, 8, 3)
    textured = Mesh(mesh.vertices, mesh.faces, corner_uv=uv.astype(np.float32), texture=texture)
    scene = scene_of([textured, torus()], [pose(0.25, x=-0.03), pose(0.4, x=0.03)])
    parameters = Renderer("cpu").parameters(scene, CAMERA, requires_grad=(name,))
    loss = Loss(scene, parameters, "color", RenderOptions(channels=("color",)))
    shape = getattr(parameters, name).numpy().shape
    rng = np.random.default_rng(3)
    compare(loss, name, [rng.normal(size=shape) for _ in range(3)], 0.004, 0.02)


def test_only_what_is_asked_for_has_gradients() -> None:
    scene = scene_of([box()], [pose()])
    parameters = Renderer("cpu").parameters(scene, CAMERA, requires_grad=("pose",))
    assert parameters.vertices.grad is None and parameters.albedo.grad is None
    assert set(parameters.gradients()) == {"pose"}


def test_chunks_and_interleaved_renders_change_nothing() -> None:
    poses = np.array([[pose(0.3 + 0.02 * k)] for k in range(5)])
    scene = scene_of([torus()], [pose()])
    found = []
    for budget in (256.0, 2.0):
        parameters = Renderer("cpu").parameters(scene, CAMERA, poses=poses, requires_grad=("pose",))
        loss = Loss(scene, parameters, "color", RenderOptions(channels=("color",)))
        loss.renderer = Renderer("cpu", memory_budget_mb=budget)
        with wp.Tape() as tape:
            total = loss()
        loss.renderer.render(scene, CAMERA)
        loss()
        tape.backward(total)
        found.append(parameters.pose.grad.numpy().copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-2)
    assert (np.abs(found[0]).max(axis=(1, 2)) > 0).all()


def test_the_gradient_of_an_image_is_left_as_it_was() -> None:
    scene = scene_of([box()], [pose()])
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose", "albedo"))
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters)
    assert images.color is not None
    images.color.grad.fill_(1.0)
    tape.backward()
    assert (images.color.grad.numpy() == 1.0).all()
