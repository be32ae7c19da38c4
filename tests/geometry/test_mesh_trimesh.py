"""Meshes of trimesh keep positions, order and looks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from render_cases import box

from dr_perception.geometry import Mesh

RGBA = np.random.default_rng(0).integers(0, 256, (12, 4), dtype=np.uint8)
PICTURE = np.random.default_rng(1).integers(0, 256, (4, 5, 4), dtype=np.uint8)
UV = np.random.default_rng(2).random((8, 2))


def like(**visual: object) -> SimpleNamespace:
    """What trimesh would have: a mesh with its looks."""
    mesh = box()
    return SimpleNamespace(vertices=mesh.vertices, faces=mesh.faces, visual=SimpleNamespace(**visual))


def picture() -> SimpleNamespace:
    return SimpleNamespace(convert=lambda mode: {"RGB": PICTURE[..., :3]}[mode])


def test_positions_and_faces_stay_in_their_order() -> None:
    found = Mesh.from_trimesh(like(kind=None))
    assert np.array_equal(found.vertices, box().vertices)
    assert np.array_equal(found.faces, box().faces)
    assert found.vertex_colors is None


def test_colours_of_vertices() -> None:
    found = Mesh.from_trimesh(like(kind="vertex", vertex_colors=RGBA[:8]))
    assert np.array_equal(found.vertex_colors, RGBA[:8, :3])


def test_colours_of_faces_split_the_vertices() -> None:
    found = Mesh.from_trimesh(like(kind="face", face_colors=RGBA))
    assert np.array_equal(found.vertices[found.faces], box().vertices[box().faces])
    assert found.vertex_colors is not None
    assert np.array_equal(found.vertex_colors[found.faces], np.repeat(RGBA[:, None, :3], 3, axis=1))


@pytest.mark.parametrize("name", ["image", "baseColorTexture"])
def test_a_texture_with_coordinates_of_vertices(name: str) -> None:
    material = SimpleNamespace(**{name: picture(), "diffuse": RGBA[0]})
    found = Mesh.from_trimesh(like(kind="texture", uv=UV, material=material))
    assert np.array_equal(found.texture, PICTURE[..., :3])
    assert np.array_equal(found.corner_uv, UV.astype(np.float32)[box().faces])


@pytest.mark.parametrize(
    "material",
    [
        SimpleNamespace(image=None, diffuse=np.array([255, 102, 0, 255], np.uint8)),
        SimpleNamespace(baseColorTexture=None, baseColorFactor=[1.0, 0.4, 0.0, 1.0]),
    ],
    ids=["simple", "PBR"],
)
def test_the_colour_of_a_material(material: SimpleNamespace) -> None:
    found = Mesh.from_trimesh(like(kind="texture", uv=None, material=material))
    assert found.texture is None
    assert np.array_equal(found.vertex_colors, np.tile([255, 102, 0], (8, 1)))


def test_a_material_without_colour_leaves_none() -> None:
    material = SimpleNamespace(baseColorTexture=None, baseColorFactor=None)
    assert Mesh.from_trimesh(like(kind="texture", uv=UV, material=material)).vertex_colors is None


def test_what_is_no_mesh_is_refused() -> None:
    with pytest.raises(TypeError, match=r"from_trimesh expects a trimesh\.Trimesh, got int$"):
        Mesh.from_trimesh(3)
    with pytest.raises(TypeError, match="got SimpleNamespace: pass what its to_mesh"):
        Mesh.from_trimesh(SimpleNamespace(to_mesh=None))


def test_the_library_itself() -> None:
    trimesh = pytest.importorskip("trimesh")
    plain = trimesh.creation.icosphere(subdivisions=1)
    found = Mesh.from_trimesh(plain)
    assert np.array_equal(found.faces, plain.faces)
    plain.visual.face_colors = np.arange(len(plain.faces) * 4).reshape(-1, 4).astype(np.uint8)
    split = Mesh.from_trimesh(plain)
    assert split.vertex_colors is not None
    assert np.array_equal(split.vertex_colors[::3], plain.visual.face_colors[:, :3])
    with pytest.raises(TypeError, match="got Scene: pass what its to_mesh"):
        Mesh.from_trimesh(trimesh.Scene([plain]))
