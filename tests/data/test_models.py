"""Loading models: units, sizes, welding, names, symmetries and every way in which a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dr_perception.data.models import load_model, load_models
from dr_perception.geometry.mesh_topology import is_watertight
from dr_perception.geometry.symmetry import Symmetries

from .conftest import CUBE_FACES, CUBE_VERTICES, write_obj, write_ply, write_stl

DIAGONAL_M = 0.1 * np.sqrt(3.0)


def sorted_rows(values: np.ndarray) -> np.ndarray:
    return values[np.lexsort(values.T)]


def write_text_stl(path: Path) -> Path:
    lines = ["solid cube"]
    for corners in CUBE_VERTICES[CUBE_FACES] * 0.1:
        lines += ["facet normal 0 0 0", "outer loop", *(f"vertex {x} {y} {z}" for x, y, z in corners)]
        lines += ["endloop", "endfacet"]
    path.write_text("\n".join([*lines, "endsolid cube"]) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("cube.obj", write_obj),
        ("cube.stl", write_stl),
        ("cube.STL", write_stl),
        ("text.stl", write_text_stl),
        ("ascii.ply", lambda path: write_ply(path, 0.1, "ascii")),
        ("little.ply", lambda path: write_ply(path, 0.1, "binary_little_endian")),
        ("big.ply", lambda path: write_ply(path, 0.1, "binary_big_endian")),
    ],
)
def test_every_format_gives_the_same_welded_cube(tmp_path: Path, name: str, write) -> None:  # type: ignore[no-untyped-def]
    model = load_model(write(tmp_path / name), unit="m")
    assert model.name == Path(name).stem
    assert np.allclose(sorted_rows(model.mesh.vertices), sorted_rows(CUBE_VERTICES * 0.1), atol=1e-7)
    assert len(model.mesh.faces) == len(CUBE_FACES)
    assert is_watertight(model.mesh)
    assert model.diameter_m == pytest.approx(DIAGONAL_M, rel=1e-6)
    assert model.mesh.vertex_colors is None
    assert model.mesh.texture is None


@pytest.mark.parametrize(("unit", "size"), [("m", 0.1), ("mm", 100.0), ("cm", 10.0), ("inch", 0.1 / 0.0254)])
def test_units_become_metres(tmp_path: Path, unit: str, size: float) -> None:
    model = load_model(write_obj(tmp_path / "cube.obj", size), unit=unit)
    assert model.diameter_m == pytest.approx(DIAGONAL_M, rel=1e-6)


def test_unit_must_be_stated(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unit of .*cube\.obj is not known: pass unit='m' or unit='mm'"):
        load_model(write_obj(tmp_path / "cube.obj"))


def test_unknown_unit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unit 'furlong' of .* is not known"):
        load_model(write_obj(tmp_path / "cube.obj"), unit="furlong")


@pytest.mark.parametrize(("size", "unit", "meant"), [(100.0, "m", "'mm'"), (0.1, "mm", "'m'")])
def test_wrong_unit_is_refused_with_the_likely_one(
    tmp_path: Path, size: float, unit: str, meant: str
) -> None:
    with pytest.raises(
        ValueError, match=rf"cube\.obj has a diameter of .* m when read with unit='{unit}'.*{meant}"
    ):
        load_model(write_obj(tmp_path / "cube.obj", size), unit=unit)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".glb", ".gltf"])
@pytest.mark.parametrize("content", [b"", b"\x00\x01 this is no mesh \xff" * 20])
def test_empty_and_unreadable_meshes_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"broken{suffix}"):
        load_model(path, unit="m")


def test_missing_mesh_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.obj does not exist"):
        load_model(tmp_path / "nothing.obj", unit="m")


def test_unknown_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cube.step"
    path.write_text("ISO-10303-21;")
    with pytest.raises(ValueError, match=r"unknown type '\.step'"):
        load_model(path, unit="m")


@pytest.mark.parametrize("write", [write_ply, write_stl])
def test_truncated_mesh_is_named(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / ("cut" + (".stl" if write is write_stl else ".ply")))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut"):
        load_model(path, unit="mm")


def test_points_without_faces_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cloud.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(ValueError, match=r"cloud\.obj cannot be read or has no faces"):
        load_model(path, unit="m")


def test_mesh_with_not_a_number_is_refused(tmp_path: Path) -> None:
    path = write_ply(tmp_path / "nan.ply", 0.1)
    data = bytearray(path.read_bytes())
    start = data.index(b"end_header\n") + len(b"end_header\n")
    data[start : start + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"nan\.ply: vertices .*finite"):
        load_model(path, unit="m")


def test_degenerate_faces_are_dropped(tmp_path: Path) -> None:
    faces = "\n".join("f " + " ".join(str(i + 1) for i in face) for face in CUBE_FACES) + "\nf 1 2 2\nf 3 3 3"
    assert len(load_model(write_obj(tmp_path / "cube.obj", faces=faces), unit="m").mesh.faces) == len(
        CUBE_FACES
    )


def test_quads_become_triangles(tmp_path: Path) -> None:
    faces = "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4"
    model = load_model(write_obj(tmp_path / "cube.obj", faces=faces), unit="m")
    assert len(model.mesh.faces) == 12
    assert is_watertight(model.mesh)


def bop_folder(folder: Path, entries: dict[str, dict[str, object]]) -> Path:
    folder.mkdir()
    for number in entries:
        write_ply(folder / f"obj_{int(number):06d}.ply", 100.0)
    (folder / "models_info.json").write_text(json.dumps(entries))
    return folder


def test_bop_folder_gives_names_numbers_millimetres_and_symmetries(tmp_path: Path) -> None:
    axis = {"axis": [0, 0, 1], "offset": [10, 0, 0]}
    folder = bop_folder(
        tmp_path / "models", {"2": {"name": "can", "symmetries_continuous": [axis]}, "1": {"diameter": 173.2}}
    )
    models = load_models(folder)
    assert list(models) == ["obj_000001", "can"]
    assert [model.object_id for model in models.values()] == [1, 2]
    assert models["can"].diameter_m == pytest.approx(DIAGONAL_M, rel=1e-6)
    assert not models["obj_000001"].symmetries.is_symmetric
    (symmetry,) = models["can"].symmetries.continuous
    assert symmetry.axis.tolist() == [0, 0, 1]
    assert symmetry.offset.tolist() == pytest.approx([0.01, 0, 0])


def test_single_bop_mesh_takes_its_entry_and_arguments_override_it(tmp_path: Path) -> None:
    folder = bop_folder(
        tmp_path / "models", {"1": {"name": "can", "symmetries_continuous": [{"axis": [0, 0, 1]}]}}
    )
    assert load_model(folder / "obj_000001.ply").name == "can"
    model = load_model(folder / "obj_000001.ply", name="tin", symmetries=Symmetries.none())
    assert (model.name, model.object_id, model.symmetries.is_symmetric) == ("tin", 1, False)


def test_names_select_objects(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path / "models", {"1": {"name": "can"}, "2": {"name": "box"}})
    assert list(load_models(folder, names=["box"])) == ["box"]
    with pytest.raises(ValueError, match=r"no object \['mug'\]; it has \['box', 'can'\]"):
        load_models(folder, names=["mug"])


def test_duplicate_object_name_in_models_info(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path / "models", {"1": {"name": "can"}, "2": {"name": "can"}})
    with pytest.raises(ValueError, match=r"duplicate object name 'can' .*: objects 1 and 2"):
        load_models(folder)


def test_duplicate_object_name_in_a_plain_folder(tmp_path: Path) -> None:
    write_obj(tmp_path / "mug.obj")
    write_stl(tmp_path / "mug.stl")
    with pytest.raises(ValueError, match=r"duplicate object name 'mug': .*mug\.obj and .*mug\.stl"):
        load_models(tmp_path, unit="m")


def test_plain_folder_needs_a_unit(tmp_path: Path) -> None:
    write_obj(tmp_path / "mug.obj")
    write_stl(tmp_path / "box.stl")
    assert list(load_models(tmp_path, unit="m")) == ["box", "mug"]
    with pytest.raises(ValueError, match="pass unit='m' or unit='mm'"):
        load_models(tmp_path)


def test_model_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model folder .*none does not exist"):
        load_models(tmp_path / "none")
    with pytest.raises(ValueError, match="has no meshes"):
        load_models(tmp_path)
    folder = bop_folder(tmp_path / "models", {"1": {}})
    (folder / "obj_000001.ply").unlink()
    with pytest.raises(FileNotFoundError, match=r"obj_000001\.ply of object 1"):
        load_models(folder)
    (folder / "models_info.json").write_text("{not json")
    with pytest.raises(ValueError, match=r"models_info\.json is not a valid"):
        load_models(folder)


def test_bad_symmetry_names_object_and_file(tmp_path: Path) -> None:
    folder = bop_folder(tmp_path / "models", {"1": {"symmetries_discrete": [[1, 2, 3]]}})
    with pytest.raises(ValueError, match=r"symmetries of obj_000001 in .*models_info\.json"):
        load_models(folder)
