"""Where surfaces cross, colours are those of the exact areas on both sides, and so are their derivatives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import box, torus

from dr_perception.geometry import Camera, Mesh, exp_so3, make_transform, retract
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene

CAMERA = Camera(24, 18, 30.0, 31.0, 11.3, 8.8)
AMBIENT = Lights((1.0, 1.0, 1.0), (), ())
COLORS = np.array([[0.9, 0.2, 0.1], [0.1, 0.5, 0.8]])
PLAIN = RenderOptions(("color", "silhouette"), supersampling=1)


def wall(half: float = 2.0) -> Mesh:
    """A square in the plane z = 0 that is larger than the image."""
    corners = half * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=np.float64)
    return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]))


WALLS = [
    make_transform(exp_so3([0.14, 0.47, 0.09]), np.array([0.0, 0.0, 1.0])),
    make_transform(exp_so3([0.46, -0.37, 0.09]), np.array([0.02, 0.01, 1.03])),
]


def two_walls(poses: list[NDArray]) -> Scene:
    return Scene([Instance(wall(), T, Material(c)) for T, c in zip(poses, COLORS, strict=True)], AMBIENT)


def _inverse_depth(T: NDArray, camera: Camera) -> NDArray:
    """Coefficients of x, y and 1 (pixels) in the inverse depth of the plane z = 0 of a pose."""
    n = T[:3, 2] / (T[:3, 2] @ T[:3, 3])
    by_x, by_y = n[0] / camera.fx, n[1] / camera.fy
    return np.array([by_x, by_y, n[2] - by_x * camera.cx - by_y * camera.cy])


def _area_where_positive(h: NDArray, x: float, y: float) -> float:
    """Share of a pixel's square where an affine function is positive: the square, clipped."""
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) + np.array([x, y])
    values = square @ h[:2] + h[2]
    kept: list[NDArray] = []
    for i in range(4):
        j = (i + 1) % 4
        if values[i] > 0.0:
            kept.append(square[i])
        if (values[i] > 0.0) != (values[j] > 0.0):
            kept.append(square[i] + values[i] / (values[i] - values[j]) * (square[j] - square[i]))
    if not kept:
        return 0.0
    p = np.array(kept)
    q = np.roll(p, -1, axis=0)
    return 0.5 * abs(float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()))


def exact_color(poses: list[NDArray], camera: Camera) -> NDArray:
    """Colours of two walls, whose areas in every pixel are polygons."""
    h = _inverse_depth(poses[0], camera) - _inverse_depth(poses[1], camera)
    share = [[_area_where_positive(h, x, y) for x in range(camera.width)] for y in range(camera.height)]
    return np.array(share)[..., None] * (COLORS[0] - COLORS[1]) + COLORS[1]


def weights() -> NDArray:
    y, x = np.mgrid[: CAMERA.height, : CAMERA.width] / 20.0
    return np.stack([0.3 + x - y * y, y + 0.5 * x * x, 1.0 - x * y], -1).astype(np.float32)


def gradients(scene: Scene, names: tuple[str, ...], camera: Camera = CAMERA) -> dict[str, NDArray]:
    """Gradients of the weighted sum of a colour image."""
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene, camera, requires_grad=names)
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, PLAIN)
    images.color.grad.assign(weights()[None])
    tape.backward()
    return parameters.gradients()


def test_two_walls_share_pixels_as_their_areas_do() -> None:
    images = Renderer("cpu").render(two_walls(WALLS), CAMERA, PLAIN).numpy()
    expected = exact_color(WALLS, CAMERA)
    mixed = np.abs(expected - COLORS[:, None, None]).max(-1).min(0) > 1e-3
    assert mixed.sum() > 15
    np.testing.assert_allclose(images["color"], expected, atol=3e-4)
    np.testing.assert_array_equal(images["silhouette"], 1.0)


@pytest.mark.parametrize("names", [("pose",), ("pose", "intrinsics")])
def test_the_line_moves_with_both_walls_and_the_camera(names: tuple[str, ...]) -> None:
    found = gradients(two_walls(WALLS), names)
    step = 1e-5
    expected = np.zeros((2, 6))
    for i in range(2):
        for k in range(6):
            ends = []
            for sign in (1.0, -1.0):
                poses = list(WALLS)
                poses[i] = retract(WALLS[i], sign * step * np.eye(6)[k])
                ends.append((weights() * exact_color(poses, CAMERA)).sum())
            expected[i, k] = (ends[0] - ends[1]) / (2.0 * step)
    assert np.linalg.norm(expected[0]) > 1.0 < np.linalg.norm(expected[1])
    np.testing.assert_allclose(found["pose"][0], expected, atol=3e-3 * np.abs(expected).max())
    if "intrinsics" in names:
        moved = []
        for name in ("fx", "fy", "cx", "cy"):
            ends = [
                (weights() * exact_color(WALLS, dataclasses.replace(CAMERA, **{name: value}))).sum()
                for value in (getattr(CAMERA, name) + 1e-4, getattr(CAMERA, name) - 1e-4)
            ]
            moved.append((ends[0] - ends[1]) / 2e-4)
        np.testing.assert_allclose(found["intrinsics"][0, :4], moved, atol=3e-3 * np.abs(moved).max())


def _joined(first: Mesh, second: Mesh) -> Mesh:
    """Two meshes with colours as one."""
    faces = np.concatenate([first.faces, second.faces + len(first.vertices)])
    colors = np.concatenate([first.vertex_colors, second.vertex_colors])
    return Mesh(np.concatenate([first.vertices, second.vertices]), faces, vertex_colors=colors)


def _colored(mesh: Mesh, color: tuple[int, int, int]) -> Mesh:
    return dataclasses.replace(mesh, vertex_colors=np.tile(np.uint8(color), (len(mesh.vertices), 1)))


def _finely(scene: Scene, camera: Camera, factor: int) -> NDArray:
    """Colours of point samples, averaged."""
    large = Camera(
        factor * camera.width, factor * camera.height, factor * camera.fx, factor * camera.fy,
        (camera.cx + 0.5) * factor - 0.5, (camera.cy + 0.5) * factor - 0.5,
        camera.distortion, camera.distortion_model,
    )  # fmt: skip
    options = RenderOptions(("color",), antialias=False, supersampling=1)
    image = Renderer("cpu").render(scene, large, options).numpy()["color"]
    return image.reshape(camera.height, factor, camera.width, factor, 3).mean((1, 3))


SKEW = make_transform(exp_so3([0.72, 0.51, 0.14]), np.array([0.0, 0.0, 0.32]))
LENSES = {
    "pinhole": ((), "plumb_bob"),
    "plumb_bob": ((-0.28, 0.09, 0.001, -0.002, -0.01), "plumb_bob"),
    "equidistant": ((0.02, -0.01, 0.003, -0.001), "equidistant"),
}


@pytest.mark.parametrize("lens", list(LENSES))
@pytest.mark.parametrize("bodies", [1, 2])
def test_bodies_and_one_body_that_passes_through_itself(lens: str, bodies: int) -> None:
    rod = _colored(box((0.2, 0.05, 0.05)), (230, 60, 40))
    ring = _colored(torus(0.05, 0.03, 64, 32), (40, 90, 220))
    meshes = [rod, ring] if bodies == 2 else [_joined(rod, ring)]
    scene = Scene([Instance(m, SKEW) for m in meshes], AMBIENT)
    k, model = LENSES[lens]
    camera = Camera(64, 48, 60.0, 61.0, 31.2, 23.7, k, model)
    renderer = Renderer("cpu")
    drawn = renderer.render(scene, camera, PLAIN).numpy()
    expected = _finely(scene, camera, 16)
    inner = drawn["silhouette"] > 0.999
    error = np.abs(drawn["color"] - expected).max(-1)[inner]
    sampled = renderer.render(scene, camera, dataclasses.replace(PLAIN, antialias=False)).numpy()["color"]
    before = np.abs(sampled - expected).max(-1)[inner]
    assert (before > 0.05).sum() > 40
    assert np.sqrt((error**2).mean()) < 0.2 * np.sqrt((before**2).mean())


def test_an_outline_close_before_a_wall_is_seen() -> None:
    ball = Mesh(*_ball(48))
    poses = [make_transform(np.eye(3), np.array([0.003, 0.004, z])) for z in (0.3, 0.305)]
    bodies = zip((ball, wall()), poses, COLORS, strict=True)
    scene = Scene([Instance(m, T, Material(c)) for m, T, c in bodies], AMBIENT)
    camera, renderer = Camera(48, 36, 60.0, 61.0, 23.2, 17.7), Renderer("cpu")
    expected = _finely(scene, camera, 16)
    drawn, sampled = (
        renderer.render(scene, camera, dataclasses.replace(PLAIN, antialias=smooth)).numpy()["color"]
        for smooth in (True, False)
    )
    assert np.linalg.norm(drawn - expected) < 0.2 * np.linalg.norm(sampled - expected)


def _ball(rows: int) -> tuple[NDArray, NDArray]:
    """Vertices and faces of a ball of 50 mm, so fine that several edges pass through a pixel."""
    grid = np.stack(np.meshgrid(np.arange(rows + 1), np.arange(2 * rows), indexing="ij"), -1).reshape(-1, 2)
    theta, phi = np.pi * grid[:, 0] / rows, np.pi * grid[:, 1] / rows
    x = 0.05 * np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    i, j = (a.reshape(-1) for a in np.meshgrid(np.arange(rows), np.arange(2 * rows), indexing="ij"))
    n = 2 * rows
    a, b = i * n + j, i * n + (j + 1) % n
    faces = np.concatenate([np.stack([a, a + n, b + n], 1), np.stack([a, b + n, b], 1)])
    return x, faces


def test_bodies_that_do_not_cross_have_no_such_pieces() -> None:
    behind = make_transform(np.eye(3), np.array([0.01, 0.0, 0.6])) @ make_transform(SKEW[:3, :3], np.zeros(3))
    meshes = [torus(0.05, 0.02, 64, 32), box((0.3, 0.2, 0.02))]
    scene = Scene([Instance(m, T) for m, T in zip(meshes, (SKEW, behind), strict=True)], AMBIENT)
    renderer = Renderer("cpu")
    renderer.render(scene, Camera(64, 48, 80.0, 80.0, 31.2, 23.7), PLAIN)
    work = next(iter(renderer._workspaces.values()))[0]
    pieces = work.pieces.numpy()[: int(work.piece_count.numpy()[0])]
    assert len(pieces) > 100
    assert not pieces["crossing"].any()


def test_vertices_that_are_moved_into_each_other_cross() -> None:
    apart, rod = 0.3, _colored(box((0.2, 0.05, 0.05)), (230, 60, 40))
    ring = _colored(torus(0.05, 0.03, 64, 32), (40, 90, 220))
    far = dataclasses.replace(ring, vertices=ring.vertices + np.array([0.0, 0.0, apart]))
    moved, meant = Scene([Instance(_joined(rod, far), SKEW)], AMBIENT), _joined(rod, ring)
    camera, renderer = Camera(64, 48, 60.0, 61.0, 31.2, 23.7), Renderer("cpu")
    parameters = renderer.parameters(moved, camera)
    captured = renderer.capture(moved, parameters, PLAIN)
    captured.draw()
    parameters.vertices.assign(meant.vertices.astype(np.float32))
    expected = renderer.render(Scene([Instance(meant, SKEW)], AMBIENT), camera, PLAIN).numpy()["color"]
    drawn = renderer.render(moved, parameters, PLAIN).numpy()["color"]
    np.testing.assert_allclose(drawn, expected, atol=1e-5)
    np.testing.assert_array_equal(captured.draw().numpy()["color"], drawn)
