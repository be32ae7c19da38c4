"""Derivatives are drawn with as many samples a pixel as they need, and the images say with how many."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import box, pose, torus

from dr_perception.geometry import Camera, Mesh, make_transform
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene
from dr_perception.render.scene.mesh_size import MeshSize
from dr_perception.render.scene.sampling import Extent, samples_for
from dr_perception.render.scene.topology import SceneTopology

CAMERA = Camera(64, 48, 80.0, 80.0, 31.5, 23.5)
COLOR, MASK = RenderOptions(("color",)), RenderOptions(("silhouette",))
DEPTH = RenderOptions(("depth", "instance"))


def at(diameter_px: float, mesh: Mesh) -> Scene:
    """A mesh so far away that it has a diameter on the image."""
    size = SceneTopology.of([Instance(mesh, np.eye(4))]).sizes[0]
    T = pose(size.diameter_m * CAMERA.fx / diameter_px, (0.4, 0.3, 0.2))
    return Scene([Instance(mesh, T, Material(roughness=0.5, specular=0.5))], Lights((0.2, 0.2, 0.2)))


def samples(scene: Scene, names: tuple[str, ...], options: RenderOptions, **budget: float) -> int:
    renderer = Renderer("cpu", **budget)
    return renderer.render(
        scene, renderer.parameters(scene, CAMERA, requires_grad=names), options
    ).supersampling


def test_sizes_of_meshes() -> None:
    rod, plate = box((0.2, 0.01, 0.01)), box((0.2, 0.2, 0.005))
    for mesh, thickness in ((rod, 0.015), (plate, 0.015), (torus(0.06, 0.01, 96, 48), 0.03)):
        found = SceneTopology.of([Instance(mesh, np.eye(4))]).sizes[0]
        assert found.thickness_m == pytest.approx(thickness, rel=0.06)
    assert found.diameter_m == pytest.approx(0.14, rel=0.02)
    leaf = Mesh(rod.vertices, rod.faces[:2])
    open_part = SceneTopology.of([Instance(leaf, np.eye(4))]).sizes[0]
    assert np.isinf(open_part.thickness_m) and np.isinf(open_part.texel_m)


def test_texels_have_a_size() -> None:
    square = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uv = square[faces][..., :2].astype(np.float32) * 5.0
    mesh = Mesh(square, faces, None, uv, np.zeros((20, 40, 3), np.uint8))
    topology = SceneTopology.of([Instance(mesh, np.eye(4))])
    # Half of the texture along each axis lies on 0.1 m: 10 x 20 texels.
    assert MeshSize.of(mesh, topology.surfaces[0]).texel_m == pytest.approx(0.1 / np.sqrt(200.0))


@pytest.mark.parametrize(
    ("diameter", "names", "options", "expected"),
    [
        (60.0, ("pose",), COLOR, 1),
        (60.0, ("pose",), MASK, 1),
        (60.0, ("roughness",), MASK, 1),
        (60.0, (), COLOR, 1),
        (60.0, ("roughness",), COLOR, 3),
        (10.0, ("roughness",), COLOR, 9),
        (10.0, ("light_directions",), COLOR, 9),
        (10.0, ("pose",), COLOR, 5),
        (10.0, ("pose",), MASK, 3),
        (10.0, ("pose", "albedo"), DEPTH, 1),
        (10.0, (), COLOR, 1),
        (60.0, ("vertices", "pose"), DEPTH, 1),
    ],
)
def test_what_is_asked_for_chooses(
    diameter: float, names: tuple[str, ...], options: RenderOptions, expected: int
) -> None:
    assert samples(at(diameter, torus(0.05, 0.04, 48, 24)), names, options) == expected


def test_thin_parts_and_small_facets_take_more() -> None:
    assert samples(at(40.0, box((0.2, 0.003, 0.003))), ("pose",), MASK) == 5
    coarse, fine = torus(0.05, 0.04, 12, 8), torus(0.05, 0.04, 96, 48)
    assert samples(at(60.0, coarse), ("vertex_colors",), COLOR) < samples(
        at(60.0, fine), ("vertex_colors",), COLOR
    )


def test_a_number_that_is_given_holds_and_memory_limits_one_that_is_not() -> None:
    scene = at(10.0, torus(0.05, 0.04, 48, 24))
    given = RenderOptions(("color",), supersampling=2)
    assert samples(scene, ("roughness",), given) == 2
    assert samples(scene, ("roughness",), COLOR, memory_budget_mb=8.0) in (3, 5)


def test_parts_out_of_sight_do_not_count() -> None:
    part = torus(0.05, 0.04, 48, 24)
    near = at(60.0, part).instances[0]
    far = make_transform(np.eye(3), np.array([0.0, 0.0, 1.0]))
    for place in ((5.0, 0.0, 1.0), (0.0, 0.0, -3.0), (0.0, 0.0, 200.0)):
        far[:3, 3] = place
        scene = Scene([near, Instance(part, far)])
        assert samples(scene, ("pose",), COLOR) == 1
    far[:3, 3] = 0.1, 0.05, 1.0
    assert samples(Scene([near, Instance(part, far)]), ("pose",), COLOR) == 5


def test_nothing_to_see_needs_one() -> None:
    assert samples_for(Extent(), frozenset({"pose", "albedo", "texels"}), RenderOptions()) == 1


def _gradients(scene: Scene, names: tuple[str, ...], weight: NDArray, factor: int) -> dict[str, NDArray]:
    """Gradients of a weighted sum of colours; with a factor, at so many samples a pixel."""
    renderer = Renderer("cpu", memory_budget_mb=2000.0)
    options = RenderOptions(("color",), supersampling=factor or None)
    parameters = renderer.parameters(scene, CAMERA, requires_grad=names)
    with wp.Tape() as tape:
        images = renderer.render(scene, parameters, options)
    images.color.grad.assign(weight)
    tape.backward()
    return parameters.gradients()


def test_materials_of_a_part_of_eight_pixels_have_the_derivative_of_fine_images() -> None:
    names = ("roughness", "metallic", "albedo", "light_directions", "light_colors")
    scene = at(8.0, torus(0.05, 0.04, 24, 16))
    weight = np.random.default_rng(3).normal(size=(1, CAMERA.height, CAMERA.width, 3)).astype(np.float32)
    fine, ours = (_gradients(scene, names, weight, n) for n in (24, 0))
    one = _gradients(scene, names, weight, 1)
    for name in names:
        scale = np.linalg.norm(fine[name])
        assert np.linalg.norm(ours[name] - fine[name]) < 0.03 * scale, name
        assert np.linalg.norm(one[name] - fine[name]) > 0.03 * scale, name


def test_captured_renders_take_as_many() -> None:
    scene, renderer = at(10.0, torus(0.05, 0.04, 48, 24)), Renderer("cpu")
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("roughness",))
    images = renderer.render(scene, parameters, COLOR)
    captured = renderer.capture(scene, parameters, COLOR).draw()
    assert captured.supersampling == images.supersampling == 9
    np.testing.assert_array_equal(captured.color.numpy(), images.color.numpy())
