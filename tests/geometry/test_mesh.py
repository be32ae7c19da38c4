"""Meshes: what is refused, what welding and topology promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dr_perception.geometry import (
    Mesh,
    drop_degenerate_faces,
    edges,
    face_areas,
    face_normals,
    is_watertight,
    validate_mesh,
    vertex_normals,
    weld,
)

TRIANGLE = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
UV = np.zeros((1, 3, 2))
TEXTURE = np.zeros((4, 4, 3), np.uint8)


def test_arrays_get_their_types_and_are_read_only(box: Mesh) -> None:
    assert (box.vertices.dtype, box.faces.dtype) == (np.float64, np.int32)
    with pytest.raises(ValueError, match="read-only"):
        box.vertices[0] = 1.0


def test_the_arrays_given_stay_writable() -> None:
    vertices = TRIANGLE.copy()
    Mesh(vertices, np.array([[0, 1, 2]]))
    vertices[0, 0] = 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vertices": np.zeros((0, 3))}, "mesh is empty: it has no vertices"),
        ({"faces": np.zeros((0, 3), int)}, "mesh is empty: it has no faces"),
        ({"vertices": TRIANGLE[:, :2]}, r"vertices of mesh must have shape \(N, 3\), got \(3, 2\)"),
        ({"faces": np.array([[0, 1, 2, 0]])}, r"faces of mesh must have shape \(N, 3\), got \(1, 4\)"),
        (
            {"vertices": TRIANGLE * [1, np.nan, 1]},
            r"vertices of mesh must be finite, got \[0.0, nan, 0.0\] at index 0",
        ),
        ({"vertices": TRIANGLE + np.diag([0, 0, np.inf])}, "at index 2"),
        ({"faces": np.array([[0, 1, 3]])}, r"face 0 of mesh has vertex indices \[0, 1, 3\], expected 0 to 2"),
        ({"faces": np.array([[0, 1, 2], [0, -1, 2]])}, r"face 1 of mesh has vertex indices \[0, -1, 2\]"),
        ({"faces": np.array([[0, 1, 2**33]])}, "face 0 of mesh has vertex indices"),
        ({"faces": np.array([[0, 1, 1]])}, "zero surface area: all 1 faces are degenerate"),
        ({"vertices": np.zeros((3, 3))}, "zero surface area"),
        ({"vertex_colors": np.zeros((2, 3), np.uint8)}, r"vertex_colors of mesh must have shape \(3, 3\)"),
        ({"corner_uv": UV}, "has corner_uv but no texture"),
        ({"texture": TEXTURE}, "has texture but no corner_uv"),
        (
            {"corner_uv": UV[0], "texture": TEXTURE},
            r"corner_uv of mesh must have shape \(1, 3, 2\), got \(3, 2\)",
        ),
        ({"corner_uv": UV * np.nan, "texture": TEXTURE}, "corner_uv of mesh must be finite"),
        ({"corner_uv": UV, "texture": TEXTURE[..., 0]}, r"texture of mesh must have shape \(H, W, 3\)"),
    ],
)
def test_bad_arrays_are_refused_by_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mesh(**{"vertices": TRIANGLE, "faces": np.array([[0, 1, 2]]), **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"faces": np.array([[0.0, 1.0, 2.0]])},
        {"vertex_colors": np.zeros((3, 3))},
        {"corner_uv": UV, "texture": TEXTURE.astype(float)},
    ],
)
def test_wrong_data_types_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be"):
        Mesh(**{"vertices": TRIANGLE, "faces": np.array([[0, 1, 2]]), **fields})


def test_validation_calls_the_mesh_by_its_name(box: Mesh) -> None:
    validate_mesh(box, "mug.obj")
    broken = object.__new__(Mesh)
    for name, value in {**vars(box), "faces": box.faces + 1}.items():
        object.__setattr__(broken, name, value)
    with pytest.raises(ValueError, match=r"of mug\.obj has vertex indices"):
        validate_mesh(broken, "mug.obj")


def test_normals_point_outwards_and_areas_add_up(box: Mesh) -> None:
    centers = box.vertices[box.faces].mean(axis=1)
    assert np.all(np.sum(face_normals(box) * (centers - (0.05, 0.1, 0.15)), axis=1) > 0)
    np.testing.assert_allclose(np.linalg.norm(face_normals(box), axis=1), 1.0)
    assert face_areas(box).sum() == pytest.approx(2 * (0.02 + 0.03 + 0.06))


def test_vertex_normals_do_not_depend_on_the_triangulation(box: Mesh) -> None:
    outward = np.sign(box.vertices - (0.05, 0.1, 0.15)) / np.sqrt(3)
    np.testing.assert_allclose(vertex_normals(box), outward, atol=1e-12)


def test_vertices_of_no_face_have_no_normal() -> None:
    mesh = Mesh(np.vstack([TRIANGLE, [[5.0, 5.0, 5.0]]]), np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(vertex_normals(mesh)[3], 0.0)


def test_welding_a_soup_gives_back_the_box(box: Mesh, soup: Mesh) -> None:
    welded = weld(soup)
    assert len(welded.vertices) == 8
    assert is_watertight(welded)
    np.testing.assert_array_equal(welded.vertices[welded.faces], box.vertices[box.faces])


def test_welding_bridges_float32_rounding_by_default(soup: Mesh, rng: np.random.Generator) -> None:
    rounded = Mesh(soup.vertices + rng.uniform(-1, 1, soup.vertices.shape) * 1e-9, soup.faces)
    assert is_watertight(weld(rounded))
    assert not is_watertight(weld(rounded, tolerance_m=0.0))


def test_welding_merges_within_the_tolerance_only(rng: np.random.Generator, soup: Mesh) -> None:
    shaken = Mesh(soup.vertices + rng.uniform(-1, 1, soup.vertices.shape) * 1e-4, soup.faces)
    assert len(weld(shaken).vertices) == 36
    assert len(weld(shaken, tolerance_m=1e-3).vertices) == 8


def test_welding_keeps_colours_and_corner_coordinates(soup: Mesh) -> None:
    colors = np.arange(36 * 3, dtype=np.uint8).reshape(36, 3)
    uv = np.random.default_rng(0).random((12, 3, 2), dtype=np.float32)
    welded = weld(Mesh(soup.vertices, soup.faces, colors, uv, TEXTURE))
    assert welded.vertex_colors is not None and welded.corner_uv is not None
    first = [int(np.argmax(np.all(soup.vertices == v, axis=1))) for v in welded.vertices]
    np.testing.assert_array_equal(welded.vertex_colors, colors[first])
    np.testing.assert_array_equal(welded.corner_uv, uv)


def test_welding_drops_collapsed_faces_and_unused_vertices(box: Mesh) -> None:
    sliver = np.vstack([box.vertices, box.vertices[:1] + 1e-12, [[9.0, 9.0, 9.0]]])
    welded = weld(Mesh(sliver, np.vstack([box.faces, [[0, 8, 1]]])))
    assert (len(welded.vertices), len(welded.faces)) == (8, 12)


def test_welding_everything_away_is_refused(box: Mesh) -> None:
    with pytest.raises(ValueError, match="tolerance of 1 m collapses all 12 faces"):
        weld(box, tolerance_m=1.0)
    with pytest.raises(ValueError, match=r"0 or more metres, got -0\.1"):
        weld(box, tolerance_m=-0.1)


def test_degenerate_faces_are_dropped_at_any_scale(box: Mesh) -> None:
    for scale in (1e-6, 1.0, 1e6):
        vertices = np.vstack([box.vertices, (box.vertices[0] + box.vertices[1]) / 2]) * scale
        mesh = Mesh(vertices, np.vstack([box.faces, [[0, 8, 1], [2, 2, 3]]]))
        assert len(drop_degenerate_faces(mesh).faces) == 12
    assert drop_degenerate_faces(box) is box


def test_edges_of_a_closed_box(box: Mesh) -> None:
    found = edges(box)
    assert len(found) == 18  # Euler: V - E + F = 2
    assert np.all(found.vertices[:, 0] < found.vertices[:, 1])
    assert np.all(found.faces >= 0)
    for (low, high), (first, second) in zip(found.vertices, found.faces, strict=True):
        assert (low, high) in zip(box.faces[first], np.roll(box.faces[first], -1), strict=True)
        assert (high, low) in zip(box.faces[second], np.roll(box.faces[second], -1), strict=True)


def test_open_edges_are_marked(box: Mesh) -> None:
    opened = Mesh(box.vertices, box.faces[:-1])
    assert np.sum(edges(opened).faces[:, 1] == -1) == 3
    assert not is_watertight(opened)
    assert is_watertight(box)


def test_edges_of_three_faces_are_open_once_for_each() -> None:
    fins = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0.0]])
    found = edges(Mesh(fins, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])))
    shared = np.all(found.vertices == (0, 1), axis=1)
    assert sorted(found.faces[shared].tolist()) == [[0, -1], [1, -1], [2, -1]]


def test_faces_that_disagree_about_their_orientation_are_not_watertight(box: Mesh) -> None:
    faces = box.faces.copy()
    faces[0] = faces[0][::-1]
    assert not is_watertight(Mesh(box.vertices, faces))
