"""An image depends on its arguments alone: nothing that was assigned or rendered before is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Mesh
from dr_perception.render import (
    CapturedRender,
    Images,
    Instance,
    Material,
    Renderer,
    RenderOptions,
    Scene,
    SceneParameters,
)

GRADED = ("pose", "vertices", "intrinsics", "albedo")
CAPTURED = RenderOptions(channels=("depth", "silhouette", "color"), antialias_depth=True)


def _scene(seed: int) -> Scene:
    """Closed bodies; with odd seeds one of them has a hole, so that back faces are seen."""
    ring = torus(rows=12, columns=8)
    if seed % 2:
        ring = Mesh(ring.vertices, ring.faces[:-9])
    glossy = Material((0.8, 0.6, 0.5), roughness=0.4, specular=0.6, crease_angle_rad=1.0)
    background = np.random.default_rng(seed).random((CAMERA.height, CAMERA.width, 3))
    instances = [Instance(box(), pose(0.25, x=-0.03), glossy), Instance(ring, pose(0.4, x=0.03), glossy)]
    return Scene(instances, background=background if seed % 3 else (0.1, 0.2, 0.3))


Change = Callable[[SceneParameters, RenderOptions, np.random.Generator], RenderOptions]


def _set(array: wp.array, values: NDArray) -> None:
    array.assign(values.astype(array.numpy().dtype))


def _move(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    """Tangent vectors, now and then so that the camera is inside the box."""
    xi = rng.normal(scale=0.02, size=p.pose.numpy().shape)
    if rng.random() < 0.4:
        xi[0, 0, :3] = -p.t_world_obj.numpy()[0, 0]
    _set(p.pose, xi)
    return o


def _place(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    _set(p.t_world_obj, rng.uniform((-0.05, -0.05, 0.0), (0.05, 0.05, 0.5), p.t_world_obj.numpy().shape))
    return o


def _look(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    _set(p.camera_pose, rng.normal(scale=0.03, size=p.camera_pose.numpy().shape))
    return o


def _zoom(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    rows = p.intrinsics.numpy().copy()
    rows[:, :4] = (*rng.uniform(60.0, 150.0, 2), 46.0, 36.0)
    rows[:, 4:] = 0.0
    rows[:, 4:6] = rng.uniform(-0.15, 0.15, 2)
    _set(p.intrinsics, rows)
    return o


def _change_lens(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    _set(p.camera_models, rng.integers(0, 3, p.camera_models.shape))
    return o


def _deform(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    _set(p.vertices, p.vertices.numpy() * rng.uniform(0.8, 1.25, 3))
    return o


def _paint(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    for array in (p.vertex_colors, p.albedo, p.ambient, p.light_colors, p.background):
        _set(array, rng.random(array.numpy().shape))
    _set(p.light_directions, rng.normal(size=p.light_directions.numpy().shape))
    return o


def _choose(p: SceneParameters, o: RenderOptions, rng: np.random.Generator) -> RenderOptions:
    return replace(
        o,
        near=float(rng.choice([0.01, 0.1, 0.3])),
        crop=None if rng.random() < 0.5 else (int(rng.integers(20)), 5, 60, 50),
        supersampling=int(rng.choice([1, 1, 2])),
        antialias=bool(rng.random() < 0.8),
        antialias_depth=bool(rng.random() < 0.5),
        soft_silhouette_px=float(rng.choice([0.0, 1.5])),
        channels=tuple(
            rng.permutation(["depth", "silhouette", "color", "normal"])[: rng.integers(1, 5)].tolist()
        ),
    )


CHANGES: tuple[Change, ...] = (_move, _place, _look, _zoom, _change_lens, _deform, _paint, _choose)


def _drawn(
    renderer: Renderer, scene: Scene, p: SceneParameters, options: RenderOptions
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Images and gradients of a render."""
    p.zero_grad()
    with wp.Tape() as tape:
        images = renderer.render(scene, p, options)
    _weigh(images)
    tape.backward()
    return images.numpy(), p.gradients()


def _weigh(images: Images) -> None:
    """Gradients of the images that are the same in every run."""
    for name in images.numpy():
        image = getattr(images, name)
        rng = np.random.default_rng(len(name))
        image.grad.assign(rng.normal(size=image.numpy().shape).astype(np.float32))


def _assert_same(found: dict[str, NDArray], expected: dict[str, NDArray], what: str) -> None:
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=f"{what}: {name}")


@pytest.mark.parametrize("seed", range(8))
def test_any_sequence_of_changes_draws_what_a_fresh_renderer_draws(seed: int) -> None:
    rng, scene, renderer = np.random.default_rng(seed), _scene(seed), Renderer("cpu")
    p = renderer.parameters(scene, CAMERA, requires_grad=GRADED if seed % 4 < 2 else ("pose",))
    captured, options = renderer.capture(scene, p, CAPTURED), RenderOptions(channels=("depth", "silhouette"))
    for _ in range(10):
        done = [str(change.__name__) for change in rng.choice(np.array(CHANGES), 2, replace=False)]
        for name in done:
            options = globals()[name](p, options, rng)
        expected = _drawn(Renderer("cpu"), scene, p, options)
        for found, wanted in zip(_drawn(renderer, scene, p, options), expected, strict=True):
            _assert_same(found, wanted, f"{done}, {options}")
        if rng.random() < 0.6:
            _compare_captured(captured, scene, p, done)


def _compare_captured(captured: CapturedRender, scene: Scene, p: SceneParameters, done: list[str]) -> None:
    images, gradients = _drawn(Renderer("cpu"), scene, p, CAPTURED)
    p.zero_grad()
    found = captured.draw().numpy()
    _weigh(captured.images)
    captured.pull_back()
    _assert_same(found, images, f"captured, {done}")
    _assert_same(p.gradients(), gradients, f"captured, {done}")


def test_a_graph_of_the_callers_reads_what_is_assigned_later() -> None:
    """The graph makes rays and normals itself, and eager renders beside it do not trust theirs."""
    scene, renderer, options = _scene(0), Renderer("cpu"), RenderOptions(channels=("depth", "color"))
    p = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    images = renderer.render(scene, p, options)
    with wp.ScopedCapture("cpu") as capture:
        renderer.render(scene, p, options, out=images)
    start = {name: getattr(p, name).numpy().copy() for name in ("intrinsics", "vertices")}
    rng = np.random.default_rng(0)
    for restored in (False, True):
        if restored:
            p.intrinsics.assign(start["intrinsics"])
            p.vertices.assign(start["vertices"])
        else:
            _zoom(p, options, rng)
            _deform(p, options, rng)
            wp.capture_launch(capture.graph)
            found = images.numpy()
        expected = Renderer("cpu").render(scene, p, options).numpy()
        _assert_same(renderer.render(scene, p, options).numpy(), expected, "eager")
        if not restored:
            _assert_same(found, expected, "captured by the caller")


def test_going_back_draws_again_what_a_graph_has_drawn_over() -> None:
    scene, renderer, options = _scene(0), Renderer("cpu"), RenderOptions(channels=("depth",))
    p = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    other = renderer.parameters(scene, CAMERA, poses=np.array([[pose(0.3), pose(0.35)]]))
    drawn = renderer.render(scene, other, options)
    with wp.ScopedCapture("cpu") as capture:
        renderer.render(scene, other, options, out=drawn)
    _, expected = _drawn(Renderer("cpu"), scene, p, options)
    p.zero_grad()
    with wp.Tape() as tape:
        images = renderer.render(scene, p, options)
    wp.capture_launch(capture.graph)
    _weigh(images)
    tape.backward()
    _assert_same(p.gradients(), expected, "gradient")


def test_faces_are_left_out_only_where_nobody_sees_their_backs() -> None:
    """The camera is moved into a box, by assignment; and a box without a side is looked into."""
    renderer, options = Renderer("cpu"), RenderOptions(channels=("silhouette", "depth"))
    scene = Scene.of(box(), pose(0.3))
    p = renderer.parameters(scene, CAMERA)
    renderer.render(scene, p, options)
    p.pose.assign(np.array([[[0.0, 0.0, -0.3, 0.0, 0.0, 0.0]]], np.float32))
    assert (renderer.render(scene, p, options).silhouette.numpy() == 1.0).all()
    closed = box()
    front = closed.vertices[closed.faces][..., 2].max(1) < 0.0
    opened, T = Mesh(closed.vertices, closed.faces[~front]), pose(0.3, (0.0, 0.0, 0.0))
    depth = renderer.render(Scene.of(opened, T), CAMERA, options).depth.numpy()
    np.testing.assert_allclose(depth[0, 36, 46], 0.3 + 0.025, atol=1e-5)
