"""Marks of faces that nobody ever saw, in PLY files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dr_perception.data.mesh_parts import MeshPart, join_parts
from dr_perception.data.models import load_model
from dr_perception.data.ply import read_ply
from dr_perception.data.ply_writer import write_ply
from dr_perception.geometry.mesh import Mesh

from .conftest import CUBE_FACES, CUBE_VERTICES

MARKS = np.arange(len(CUBE_FACES)) % 3 == 0


def cube(**looks: object) -> Mesh:
    return Mesh(0.1 * CUBE_VERTICES, CUBE_FACES, unseen_faces=MARKS, **looks)  # type: ignore[arg-type]


def test_a_written_mesh_is_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    uv = rng.uniform(size=(len(CUBE_FACES), 3, 2)).astype(np.float32)
    colored = cube(vertex_colors=rng.integers(0, 256, (8, 3)).astype(np.uint8))
    textured = cube(corner_uv=uv, texture=rng.integers(0, 256, (6, 5, 3)).astype(np.uint8))
    for mesh in (colored, textured):
        write_ply(tmp_path / "cube.ply", mesh)
        read = load_model(tmp_path / "cube.ply", unit="m").mesh
        for name in ("vertices", "faces", "vertex_colors", "corner_uv", "texture", "unseen_faces"):
            expected, found = getattr(mesh, name), getattr(read, name)
            assert (expected is None) == (found is None), name
            if expected is not None:
                np.testing.assert_array_equal(found, expected, err_msg=name)
    with pytest.raises(ValueError, match=r"must end in .ply, got 'cube.obj'"):
        write_ply(tmp_path / "cube.obj", colored)


def written(path: Path, kind: str, values: list[object]) -> Path:
    """A pentagon and a triangle, with values of the property in question."""
    lines = ["ply", "format ascii 1.0", "element vertex 6", *(f"property float {axis}" for axis in "xyz")]
    lines += ["element face 2", "property list uchar int vertex_indices", f"property {kind} unseen"]
    lines += ["end_header", "0 0 0", "1 0 0", "1 1 0", "0.5 2 0", "0 1 0", "0 0 1"]
    lines += [f"5 0 1 2 3 4 {values[0]}", f"3 0 1 5 {values[1]}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_triangles_have_the_mark_of_their_polygon(tmp_path: Path) -> None:
    mesh = read_ply(written(tmp_path / "a.ply", "uchar", [1, 0]))
    assert mesh.unseen_faces is not None and mesh.unseen_faces.dtype == np.bool_
    np.testing.assert_array_equal(mesh.unseen_faces, [True, True, True, False])


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("float", ["1", "0"], "property 'unseen' of its faces must be an integer, 0 or 1, got type float32"),
        (
            "list uchar int",
            ["1 1", "1 0"],
            "property 'unseen' of its faces must be an integer, 0 or 1, got a list",
        ),
        ("uchar", ["1", "2"], "property 'unseen' of its faces must be 0 or 1, got 1 to 2"),
    ],
)
def test_other_marks_are_refused_in_one_sentence(tmp_path: Path, kind: str, values: list, said: str) -> None:
    with pytest.raises(ValueError, match=f"a.ply is truncated or damaged: {said}$"):
        read_ply(written(tmp_path / "a.ply", kind, values))


def test_parts_without_marks_were_seen() -> None:
    parts = [
        MeshPart(CUBE_VERTICES, CUBE_FACES[:6]),
        MeshPart(CUBE_VERTICES, CUBE_FACES[6:], unseen_faces=MARKS[6:]),
    ]
    marks = join_parts(parts, 0.1, "cube").unseen_faces
    np.testing.assert_array_equal(marks, [*np.zeros(6, bool), *MARKS[6:]])
    with pytest.raises(ValueError, match=r"unseen_faces of mesh must have shape \(6,\), got \(5,\)"):
        join_parts([MeshPart(CUBE_VERTICES, CUBE_FACES[:6], unseen_faces=MARKS[:5])], 0.1, "cube")
