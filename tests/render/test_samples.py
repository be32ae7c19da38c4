"""Images of samples: what they hold, and their derivatives against central differences at fixed faces."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, LENSES, box, enlarged, lens, pose, torus

from dr_perception.geometry import Mesh
from dr_perception.geometry.mesh_surface import faces_in_mesh, mesh_surface
from dr_perception.render import Images, Instance, Renderer, RenderOptions, Scene, SceneParameters

CHANNELS = ("position", "uv", "barycentric", "attributes")
NUMBERS = 5
"""Attributes of a vertex."""


def attributed(mesh: Mesh, seed: int = 0) -> Mesh:
    """A mesh with smooth attributes that are not linear, texture coordinates and a texture."""
    phase = np.random.default_rng(seed).normal(size=(3, NUMBERS)) * 20.0
    uv = 0.5 + 4.0 * mesh.vertices[mesh.faces][..., :2]
    texture = np.full((4, 4, 3), 200, np.uint8)
    values = np.sin(mesh.vertices @ phase).astype(np.float32)
    return dataclasses.replace(
        mesh, vertex_attributes=values, corner_uv=uv.astype(np.float32), texture=texture
    )


RING, BLOCK = attributed(torus(rows=16, columns=10)), attributed(box(), 1)
SCENE = Scene([Instance(RING, pose(0.3, x=-0.03)), Instance(BLOCK, pose(0.38, x=0.04))])
ALL = RenderOptions(channels=(*CHANNELS, "face", "instance", "depth"))


def corners_in_camera(images: dict[str, NDArray], k: int) -> tuple[NDArray, Mesh, NDArray]:
    """Pixels that show an instance, its mesh, and its vertices in the camera."""
    instance = SCENE.instances[k]
    T = np.asarray(instance.T_world_obj)
    return images["instance"] == k, instance.mesh, instance.mesh.vertices @ T[:3, :3].T + T[:3, 3]


@pytest.mark.parametrize("name", sorted(LENSES))
def test_samples_are_those_of_the_mesh_along_the_ray_of_the_pixel(name: str) -> None:
    camera = lens(name)
    images = Renderer("cpu").render(SCENE, camera, ALL).numpy()
    for k in range(2):
        seen, mesh, p_cam = corners_in_camera(images, k)
        assert seen.sum() > 200
        corners = mesh.faces[images["face"][seen]]
        weights = images["barycentric"][seen].astype(np.float64)
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
        assert weights.min() > -0.02  # centres that the grid of the rasteriser moves over an edge
        mixed = {
            "position": np.einsum("nk,nkc->nc", weights, p_cam[corners]),
            "attributes": np.einsum("nk,nkc->nc", weights, mesh.vertex_attributes[corners]),
            "uv": np.einsum("nk,nkc->nc", weights, mesh.corner_uv[images["face"][seen]]),
        }
        for channel, expected in mixed.items():
            np.testing.assert_allclose(images[channel][seen], expected, atol=2e-6, err_msg=channel)
        np.testing.assert_allclose(images["position"][seen][:, 2], images["depth"][seen], rtol=1e-5)
        pixel = camera.project(images["position"][seen].astype(np.float64))
        np.testing.assert_allclose(pixel, np.argwhere(seen)[:, ::-1], atol=2e-3)
    nothing = images["instance"] < 0
    assert (images["face"][nothing] == -1).all()
    for channel in CHANNELS:
        assert (images[channel][nothing] == 0.0).all()


def test_samples_are_not_mixed_at_outlines() -> None:
    """Antialiasing changes colours beside them, and nothing of them."""
    renderer, both = Renderer("cpu"), (*ALL.channels, "color", "normal", "silhouette")
    found = [
        renderer.render(SCENE, CAMERA, RenderOptions(channels=both, antialias=on)).numpy()
        for on in (True, False)
    ]
    for name in ALL.channels:
        np.testing.assert_array_equal(found[0][name], found[1][name])
    assert (found[0]["color"] != found[1]["color"]).any()


def test_faces_and_weights_are_those_of_the_mesh_as_it_was_given() -> None:
    """Also where the surface turns faces over, drops some, or divides them at a vertex on an edge."""
    rng = np.random.default_rng(3)
    turned = BLOCK.faces.copy()
    turned[[2, 7]] = turned[[2, 7], ::-1]
    faces = np.concatenate([turned, turned[:3]])[rng.permutation(15)]
    shuffled = Mesh(BLOCK.vertices, faces, vertex_attributes=BLOCK.vertex_attributes)
    images = Renderer("cpu").render(Scene.of(shuffled, pose()), CAMERA, ALL).numpy()
    seen = images["instance"] == 0
    T = pose()
    p_cam = (shuffled.vertices @ T[:3, :3].T + T[:3, 3])[shuffled.faces[images["face"][seen]]]
    expected = np.einsum("nk,nkc->nc", images["barycentric"][seen], p_cam)
    np.testing.assert_allclose(images["position"][seen], expected, atol=1e-6)


def test_a_face_that_was_divided_is_the_one_that_the_mesh_has() -> None:
    """A sliver on the edge of a face becomes part of it, and corners have weights within the whole face."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1.0]]) * 0.1
    # The diagonal 0-2 of the square has vertex 4 on it, for the upper half alone: a face without height.
    faces = np.array([[0, 1, 2], [0, 2, 4], [0, 4, 3], [4, 2, 3], [0, 5, 1]])
    mesh = Mesh(square, faces)
    surface = mesh_surface(mesh)
    face, weights = faces_in_mesh(surface, mesh)
    assert (face != 1).all() and (np.bincount(face)[[0]] == 2).all()
    placed = np.einsum("fik,fkc->fic", weights, mesh.vertices[mesh.faces[face]])
    np.testing.assert_allclose(placed, surface.positions[surface.faces], atol=1e-7)


def _parameters(renderer: Renderer, names: tuple[str, ...], camera=CAMERA) -> SceneParameters:
    return renderer.parameters(SCENE, camera, requires_grad=names)


def _weights(image: NDArray, kept: NDArray, seed: int = 1) -> NDArray:
    """Random weights of an image's numbers, zero at pixels that are not kept."""
    shape = (*kept.shape, *image.shape[kept.ndim :])
    noise = np.random.default_rng(seed).normal(size=shape)
    return noise * kept.reshape(*kept.shape, *[1] * (len(shape) - kept.ndim))


def _stack(images: Images) -> dict[str, NDArray]:
    return {name: getattr(images, name).numpy() for name in (*CHANNELS, "face", "instance")}


def _direction(name: str, shape: tuple[int, ...], seed: int = 2) -> NDArray:
    d = np.random.default_rng(seed).normal(size=shape)
    if name == "intrinsics":
        d *= np.array([1.0] * 4 + [0.02] * 8)
    return d


STEPS = {"pose": 4e-5, "camera_pose": 4e-5, "vertices": 2e-5, "intrinsics": 0.01, "attributes": 0.05}


CASES = [(name, "pinhole") for name in sorted(STEPS)] + [
    ("intrinsics", name) for name in LENSES if name != "pinhole"
]


@pytest.mark.parametrize(("name", "model"), CASES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_derivatives_are_those_of_the_face_at_the_pixel(channel: str, name: str, model: str) -> None:
    """Along random directions, over all pixels whose face stays the same."""
    renderer, camera = Renderer("cpu"), lens(model)
    parameters = _parameters(renderer, (name,), camera)
    array, options = getattr(parameters, name), RenderOptions(channels=(*CHANNELS, "face", "instance"))
    start = array.numpy().copy()
    direction = _direction(name, start.shape)
    ends = []
    for sign in (1.0, -1.0):
        array.assign((start + sign * STEPS[name] * direction).astype(np.float32))
        ends.append(_stack(renderer.render(SCENE, parameters, options)))
    array.assign(start)
    same = [(e["face"] == ends[0]["face"]) & (e["instance"] == ends[0]["instance"]) for e in ends]
    with wp.Tape() as tape:
        images = renderer.render(SCENE, parameters, options)
    middle = _stack(images)
    kept = same[1] & (middle["face"] == ends[0]["face"]) & (middle["instance"] >= 0)
    kept &= middle["instance"] == ends[0]["instance"]
    assert kept.sum() > 0.8 * (middle["instance"] >= 0).sum()
    weights = _weights(middle[channel], kept)
    image = getattr(images, channel)
    image.grad.assign(weights.astype(np.float32))
    tape.backward()
    np.testing.assert_array_equal(image.grad.numpy(), weights.astype(np.float32))
    ours = float((getattr(parameters, name).grad.numpy() * direction).sum())
    change = (ends[0][channel].astype(np.float64) - ends[1][channel]) * weights / (2.0 * STEPS[name])
    if name == "attributes" and channel != "attributes":
        assert ours == 0.0 and not change.any()
        return
    assert change.any()
    # What pixels say against each other is what their rounding leaves.
    assert abs(ours - change.sum()) < 2e-3 * max(abs(change.sum()), 0.05 * np.abs(change).sum())


def test_gradients_of_attributes_go_to_vertices_that_share_a_place() -> None:
    """A seam: split vertices keep attributes of their own, and the surface has an edge there."""
    V, F = BLOCK.vertices, BLOCK.faces
    soup = Mesh(
        V[F].reshape(-1, 3), np.arange(36).reshape(-1, 3), vertex_attributes=np.arange(72.0).reshape(36, 2)
    )
    renderer, scene = Renderer("cpu"), Scene.of(soup, pose())
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("attributes",))
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, ALL)
    images.attributes.grad.fill_(1.0)
    tape.backward()
    found = images.numpy()
    seen = found["face"] >= 0
    expected = np.zeros(36)
    np.add.at(expected, soup.faces[found["face"][seen]], found["barycentric"][seen])
    np.testing.assert_allclose(parameters.attributes.grad.numpy()[:, 1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [2, 3])
def test_with_several_samples_a_pixel_it_is_the_one_nearest_to_the_centre(factor: int) -> None:
    renderer = Renderer("cpu")
    large = renderer.render(SCENE, enlarged(CAMERA, factor), ALL).numpy()
    options = dataclasses.replace(ALL, channels=(*ALL.channels, "color"), supersampling=factor)
    names = ("pose", "attributes")
    parameters = _parameters(renderer, names)
    with wp.Tape() as tape:
        images = renderer.render(SCENE, parameters, options)
    small, middle = images.numpy(), slice(factor // 2, None, factor)
    for name in (*CHANNELS, "face", "instance"):
        # Rays are those of the enlarged camera but for rounding.
        np.testing.assert_allclose(small[name], large[name][middle, middle], rtol=0.0, atol=2e-5)
    images.attributes.grad.fill_(1.0)
    images.position.grad.fill_(1.0)
    tape.backward()
    fine = renderer.parameters(SCENE, enlarged(CAMERA, factor), requires_grad=names)
    with wp.Tape() as tape:
        drawn = renderer.render(SCENE, fine, ALL)
    for image in (drawn.attributes, drawn.position):
        g = np.zeros(image.grad.numpy().shape, np.float32)
        g[:, middle, middle] = 1.0
        image.grad.assign(g)
    tape.backward()
    for name in names:
        expected = fine.gradients()[name]
        np.testing.assert_allclose(
            parameters.gradients()[name], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
        )


def test_chunks_crops_and_graphs_have_the_same_samples() -> None:
    poses = np.array([[pose(0.3 + 0.01 * k, x=-0.03), pose(0.38, x=0.04)] for k in range(4)])
    found = []
    for budget in (256.0, 2.0):
        renderer = Renderer("cpu", memory_budget_mb=budget)
        parameters = renderer.parameters(
            SCENE, CAMERA, poses=poses, requires_grad=("vertices", "attributes", "intrinsics")
        )
        with wp.Tape() as tape:
            images = renderer.render(SCENE, parameters, ALL)
        images.attributes.grad.fill_(1.0)
        images.position.grad.fill_(1.0)
        tape.backward()
        found.append((_stack(images), parameters.gradients()))
    for name, image in found[0][0].items():
        np.testing.assert_array_equal(image, found[1][0][name])
    for name, g in found[0][1].items():
        np.testing.assert_allclose(g, found[1][1][name], rtol=1e-3, atol=1e-4 * np.abs(g).max())
    renderer = Renderer("cpu")
    parameters = renderer.parameters(
        SCENE, CAMERA, poses=poses, requires_grad=("vertices", "attributes", "intrinsics")
    )
    captured = renderer.capture(SCENE, parameters, ALL)
    captured.draw()
    for name, image in found[0][0].items():
        np.testing.assert_array_equal(image, getattr(captured.images, name).numpy())
    cropped = renderer.render(SCENE, parameters, dataclasses.replace(ALL, crop=(20, 10, 40, 30)))
    for name in found[0][0]:
        np.testing.assert_array_equal(
            getattr(cropped, name).numpy(), found[0][0][name][:, 10:40, 20:60], err_msg=name
        )


def test_what_is_missing_is_named() -> None:
    renderer = Renderer("cpu")
    with pytest.raises(ValueError, match="'attributes' needs a mesh with vertex_attributes"):
        renderer.render(Scene.of(box(), pose()), CAMERA, RenderOptions(channels=("attributes",)))
    with pytest.raises(ValueError, match=r"vertex_attributes of mesh must have shape \(8, n\), got \(7, 2\)"):
        dataclasses.replace(box(), vertex_attributes=np.zeros((7, 2)))
    with pytest.raises(ValueError, match="vertex_attributes of mesh must be finite"):
        dataclasses.replace(box(), vertex_attributes=np.full((8, 2), np.nan))
    three = dataclasses.replace(box(), vertex_attributes=np.zeros((8, 3)))
    with pytest.raises(ValueError, match=r"equally many vertex_attributes or none, got \[3, 5\]"):
        renderer.parameters(Scene([Instance(three, pose()), Instance(BLOCK, pose())]), CAMERA)
