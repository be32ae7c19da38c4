"""A mesh is drawn as its surface, whichever vertices are split and faces repeated, flat or turned over."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from hypothesis import given, settings
from hypothesis import strategies as st
from render_cases import CAMERA, box, pose, torus

from dr_perception.geometry import Mesh
from dr_perception.render import Instance, Material, Renderer, RenderOptions, Scene

CHANNELS = ("silhouette", "color", "depth", "normal")
OPTIONS = RenderOptions(channels=CHANNELS, antialias_depth=True)
MESHES = {"box": box(), "torus": torus(rows=16, columns=10)}


def soup(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))


def split_at_creases(mesh: Mesh) -> Mesh:
    """As glTF and OBJ have a box: vertices of their own for every side."""
    vertices, faces = [], []
    for k in range(0, len(mesh.faces), 2):
        used, index = np.unique(mesh.faces[k : k + 2], return_inverse=True)
        faces.append(index.reshape(-1, 3) + sum(map(len, vertices)))
        vertices.append(mesh.vertices[used])
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def with_faces(mesh: Mesh, faces: object, vertices: object = ()) -> Mesh:
    more = np.reshape(vertices, (-1, 3))
    return Mesh(np.vstack([mesh.vertices, more]), np.vstack([mesh.faces, faces]))


def drawn(
    mesh: Mesh, T: np.ndarray, names: tuple[str, ...] = ("pose",), options: RenderOptions = OPTIONS
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Images, and gradients of a smooth weighting of them all."""
    renderer, scene = Renderer(), Scene([Instance(mesh, T)])
    parameters = renderer.parameters(scene, CAMERA, requires_grad=names)
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, options)
    rows, columns = np.sin(np.arange(CAMERA.height) / 13.0), np.cos(np.arange(CAMERA.width) / 17.0)
    weights = np.outer(rows, columns)[None].astype(np.float32)
    grads = {}
    for name in options.channels:
        image = getattr(images, name)
        shape = image.numpy().shape
        grads[image] = wp.array(
            np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - 3)), shape)
        )
        grads[image] = wp.array(grads[image].numpy(), dtype=image.dtype)
    tape.backward(grads=grads)
    return images.numpy(), parameters.gradients()


def assert_same(mesh: Mesh, other: Mesh, T: np.ndarray) -> None:
    images, gradients = drawn(mesh, T)
    found, found_gradients = drawn(other, T)
    for name in CHANNELS:
        np.testing.assert_allclose(found[name], images[name], atol=3e-5, err_msg=name)
    scale = np.abs(gradients["pose"]).max()
    np.testing.assert_allclose(found_gradients["pose"], gradients["pose"], atol=1e-4 * scale)


def test_positions_split_at_creases_and_seams_are_one() -> None:
    mesh = box()
    for k in range(6):
        w = np.random.default_rng(k).normal(size=3)
        for other in (split_at_creases(mesh), soup(mesh)):
            assert_same(mesh, other, pose(w=tuple(w)))


CORNER = box().vertices[0]
WRITTEN = {
    "no area": with_faces(box(), [[0, 0, 3]]),
    "no area, of vertices at one place": with_faces(box(), [[0, 8, 3]], CORNER),
    "a line on an edge": with_faces(box(), [[0, 8, 1]], (CORNER + box().vertices[1]) / 2),
    "a line that sticks out": with_faces(box(), [[0, 8, 9]], [2 * CORNER, 3 * CORNER]),
    "some faces twice": with_faces(box(), box().faces[:4]),
    "all faces twice": with_faces(box(), box().faces),
    "all faces from both sides": with_faces(box(), box().faces[:, ::-1]),
    "inside out": Mesh(box().vertices, box().faces[:, ::-1]),
    "some faces turned": Mesh(box().vertices, np.vstack([box().faces[:3][:, ::-1], box().faces[3:]])),
    "vertices of no face": with_faces(box(), np.zeros((0, 3), int), [[9.0, 9.0, 9.0]]),
}


@pytest.mark.parametrize("other", list(WRITTEN.values()), ids=list(WRITTEN))
def test_faces_that_add_nothing_change_nothing(other: Mesh) -> None:
    assert_same(box(), other, pose())
    assert_same(box(), other, pose(w=(-1.2, 0.3, 2.0)))


@settings(max_examples=25)
@given(name=st.sampled_from(list(MESHES)), seed=st.integers(0, 10_000), split=st.floats(0.0, 1.0))
def test_any_order_and_any_split_draw_the_same(name: str, seed: int, split: float) -> None:
    mesh, rng = MESHES[name], np.random.default_rng(seed)
    faces = mesh.faces.copy()
    own = rng.random(faces.shape) < split
    faces[own] = len(mesh.vertices) + np.arange(own.sum())
    vertices = np.concatenate([mesh.vertices, mesh.vertices[mesh.faces[own]]])
    over = rng.random(len(faces)) < 0.3
    faces[over] = faces[over][:, ::-1]
    faces = np.array([np.roll(f, k) for f, k in zip(faces, rng.integers(0, 3, len(faces)), strict=True)])
    order = rng.permutation(len(vertices))
    other = Mesh(vertices[order], rng.permutation(np.argsort(order)[faces]))
    T = pose(
        w=tuple(rng.normal(size=3)), x=float(rng.uniform(-0.02, 0.02)), y=float(rng.uniform(-0.02, 0.02))
    )
    assert_same(mesh, other, T)


@pytest.mark.parametrize("mesh", list(MESHES.values()), ids=list(MESHES))
def test_vertices_of_one_place_share_its_gradient(mesh: Mesh) -> None:
    T = pose(w=(0.5, 0.9, -0.3))
    plain = drawn(mesh, T, ("vertices",))[1]["vertices"]
    split = drawn(soup(mesh), T, ("vertices",))[1]["vertices"]
    index = mesh.faces.reshape(-1)
    total = np.stack([np.bincount(index, weights=split[:, i]) for i in range(3)], 1)
    np.testing.assert_allclose(total, plain, atol=2e-4 * np.abs(plain).max())
    for vertex in range(5):
        members = split[index == vertex]
        np.testing.assert_array_equal(members, np.broadcast_to(members[0], members.shape))


def test_a_place_is_drawn_where_the_mean_of_its_vertices_is() -> None:
    """So the gradient of each of them is that of the image, also when they are moved apart."""
    mesh, T = box(), pose()
    renderer = Renderer()
    scene, plain = Scene([Instance(soup(mesh), T)]), Scene([Instance(mesh, T)])
    split, whole = (
        renderer.parameters(scene, CAMERA, requires_grad=("vertices",)),
        renderer.parameters(plain, CAMERA, requires_grad=("vertices",)),
    )
    offset = np.random.default_rng(3).normal(size=(36, 3)) * 2e-3
    index = mesh.faces.reshape(-1)
    mean = np.stack([np.bincount(index, weights=offset[:, i]) / np.bincount(index) for i in range(3)], 1)
    split.vertices.assign((soup(mesh).vertices + offset).astype(np.float32))
    whole.vertices.assign((mesh.vertices + mean).astype(np.float32))
    images = renderer.render(scene, split, OPTIONS).numpy()
    expected = renderer.render(plain, whole, OPTIONS).numpy()
    for name in CHANNELS:
        np.testing.assert_allclose(images[name], expected[name], atol=1e-4, err_msg=name)


def test_colours_may_jump_where_vertices_are_split() -> None:
    """Both sides keep theirs up to the edge, and the edge is antialiased as a crease is."""
    vertices = np.array(
        [[-0.1, -0.1, 0], [0, -0.1, 0], [0, 0.1, 0], [-0.1, 0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0]]
    )
    split = np.vstack([vertices, vertices[1:3]])
    faces = np.array([[0, 2, 1], [0, 3, 2], [6, 5, 4], [6, 7, 5]])
    colors = np.zeros((8, 3), np.uint8)
    colors[[0, 1, 2, 3]] = (255, 0, 0)
    colors[[4, 5, 6, 7]] = (0, 0, 255)
    T = pose(0.4, (0.0, 0.0, 0.02), x=0.0017)
    image = drawn(Mesh(split, faces, colors), T)[0]["color"]
    middle = image[30:40, 35:60]
    assert (np.minimum(middle[..., 0], middle[..., 2]) > 0.02).sum() == 10  # one mixed pixel a row
    options = RenderOptions(channels=("color",), supersampling=5)
    fine = drawn(Mesh(split, faces, colors), T, options=options)[0]["color"]
    np.testing.assert_allclose(middle, fine[30:40, 35:60], atol=0.02)


def test_bodies_that_touch_along_an_edge_are_drawn_as_apart() -> None:
    cube = box((0.05, 0.05, 0.05))
    other = Mesh(cube.vertices + np.array([0.05, 0.05, 0.0]), cube.faces)
    both = Mesh(np.vstack([cube.vertices, other.vertices]), np.vstack([cube.faces, other.faces + 8]))
    for k in range(5):
        T = pose(0.35, tuple(np.random.default_rng(k).normal(size=3)))
        one = Renderer().render(Scene([Instance(both, T)]), CAMERA, OPTIONS).numpy()
        two = Renderer().render(Scene([Instance(cube, T), Instance(other, T)]), CAMERA, OPTIONS).numpy()
        for name in ("silhouette", "depth"):
            np.testing.assert_allclose(one[name], two[name], atol=3e-5, err_msg=name)


def test_a_long_sliver_has_its_outline() -> None:
    """Snapping turns a sliver over more easily than a compact face of its area: nobody knows which way."""
    mesh = box()
    middle = (mesh.vertices[0] + mesh.vertices[1]) / 2 + [1e-6, 1e-6, 0.0]
    faces = [f for f in mesh.faces.tolist() if not {0, 1} <= set(f)]
    first, second = (f for f in mesh.faces.tolist() if {0, 1} <= set(f))
    halves = [[8 if v == old else v for v in first] for old in (0, 1)]
    start, end = (v for v in first if v in (0, 1)) if first.index(0) - first.index(1) in (-1, 2) else (1, 0)
    sliver = Mesh(np.vstack([mesh.vertices, middle]), np.array([*faces, *halves, second, [start, end, 8]]))
    for k in (5, 17, 18):
        T = pose(w=tuple(np.random.default_rng(k).normal(size=3)))
        mask = RenderOptions(channels=("silhouette",))
        found, expected = (drawn(m, T, options=mask)[0]["silhouette"] for m in (sliver, mesh))
        np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("names", [("pose",), ("pose", "vertices"), ("camera_pose", "intrinsics")])
def test_faces_that_lose_their_area_leave_gradients_finite(names: tuple[str, ...]) -> None:
    """Vertices may be moved onto each other after the surface was found."""
    mesh = torus(rows=12, columns=8)
    renderer, scene = (
        Renderer(),
        Scene([Instance(mesh, pose(), Material(crease_angle_rad=3.0, specular=0.5))]),
    )
    parameters = renderer.parameters(scene, CAMERA, requires_grad=names)
    vertices = mesh.vertices.copy()
    vertices[1] = vertices[0]
    vertices[40] = (vertices[41] + vertices[39]) / 2
    vertices[60:76] = vertices[60]
    parameters.vertices.assign(vertices.astype(np.float32))
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, OPTIONS)
    tape.backward(
        grads={a: wp.ones_like(a) for a in (images.silhouette, images.color, images.depth, images.normal)}
    )
    for name in CHANNELS:
        assert np.isfinite(images.numpy()[name]).all(), name
    for name, gradient in parameters.gradients().items():
        assert np.isfinite(gradient).all(), name


def test_a_captured_render_follows_vertices_that_share_places() -> None:
    scene, renderer = Scene([Instance(soup(box()), pose())]), Renderer()
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("vertices",))
    captured = renderer.capture(scene, parameters, OPTIONS)
    parameters.vertices.assign((1.1 * soup(box()).vertices).astype(np.float32))
    images = captured.draw().numpy()
    expected = Renderer().render(scene, parameters, OPTIONS).numpy()
    for name in CHANNELS:
        np.testing.assert_array_equal(images[name], expected[name], err_msg=name)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), rounded=st.booleans(), flat=st.booleans())
def test_whatever_faces_there_are_images_and_gradients_are_finite(
    seed: int, rounded: bool, flat: bool
) -> None:
    """Faces at random: through each other, three and more at an edge, lines, points and repetitions."""
    rng = np.random.default_rng(seed)
    vertices = 0.04 * rng.normal(size=(int(rng.integers(4, 40)), 3))
    vertices = np.round(vertices, 2) if rounded else vertices
    vertices[:, 2] *= 1e-7 if flat else 1.0
    faces = rng.integers(0, len(vertices), (int(rng.integers(2, 80)), 3))
    T = pose(w=tuple(rng.normal(size=3)), z=float(rng.uniform(0.05, 0.5)))
    try:
        images, gradients = drawn(Mesh(vertices, faces), T, ("pose", "vertices"))
    except ValueError as error:
        assert "degenerate" in str(error)
        return
    assert all(np.isfinite(image).all() for image in images.values())
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert images["silhouette"].min() >= -1e-5
    assert images["silhouette"].max() <= 1.0 + 1e-5
