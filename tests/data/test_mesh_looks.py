"""Colours and textures of mesh files: where they come from, how they are oriented, and what is refused."""

from __future__ import annotations

import json
import logging
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dr_perception.data.gltf import srgb_from_linear
from dr_perception.data.models import load_model
from dr_perception.geometry.mesh import Mesh, face_normals
from dr_perception.geometry.mesh_topology import is_watertight

from .conftest import CUBE_FACES, CUBE_VERTICES, write_obj, write_ply

RED, GREEN, BLUE = (200, 20, 10), (10, 200, 20), (10, 20, 200)


def write_picture(path: Path, top: tuple[int, int, int] = RED, bottom: tuple[int, int, int] = BLUE) -> None:
    """A picture of two halves."""
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:4], rgb[4:] = top, bottom
    cv2.imwrite(str(path), rgb[..., ::-1])


def color_at(mesh: Mesh, point: tuple[float, float, float]) -> tuple[int, ...]:
    """Colour of the surface at the middle of the face nearest to a point, looked up in the texture."""
    middles = mesh.vertices[mesh.faces].mean(axis=1)
    face = int(np.argmin(np.linalg.norm(middles - np.array(point), axis=1)))
    if mesh.texture is None or mesh.corner_uv is None:
        assert mesh.vertex_colors is not None
        return tuple(np.rint(mesh.vertex_colors[mesh.faces[face]].mean(axis=0)).astype(int).tolist())
    u, v = mesh.corner_uv[face].mean(axis=0)
    height, width = mesh.texture.shape[:2]
    return tuple(mesh.texture[int((1.0 - v) * height), int(u * width)].tolist())


def corner_numbers(mesh: Mesh) -> NDArray[np.int64]:
    """Which of `CUBE_VERTICES` each vertex of a cube of 0.1 m is."""
    corners = np.rint(mesh.vertices * 20) / 2
    return np.array([np.flatnonzero((CUBE_VERTICES == corner).all(axis=1))[0] for corner in corners])


def obj_faces(uv_rows: str, uses: str = "") -> str:
    """Faces of a cube with texture coordinate 1 for the lower (x < 0) half, 2 for the rest."""
    lines = [uv_rows]
    for face in CUBE_FACES:
        corner = 1 if CUBE_VERTICES[face].mean(axis=0)[0] < -0.4 else 2
        lines.append("f " + " ".join(f"{i + 1}/{corner}" for i in face))
    return uses + "\n".join(lines)


def test_obj_texture_has_v_up_and_seams_do_not_split_vertices(tmp_path: Path) -> None:
    write_picture(tmp_path / "paint.png")
    # The space behind the file name is in real YCB files.
    (tmp_path / "cube.mtl").write_text("newmtl a\nKd 0.1 0.1 0.1\nmap_Kd paint.png \n")
    path = write_obj(
        tmp_path / "cube.obj", head="mtllib cube.mtl", faces=obj_faces("vt 0.5 0.9\nvt 0.5 0.1", "usemtl a\n")
    )
    mesh = load_model(path, unit="m").mesh
    assert is_watertight(mesh)
    assert color_at(mesh, (-0.05, 0, 0)) == RED
    assert color_at(mesh, (0.05, 0, 0)) == BLUE


def test_obj_material_colours_do_not_run_across_welded_vertices(tmp_path: Path) -> None:
    (tmp_path / "cube.mtl").write_text("newmtl unused\nKd 0 0 0\nnewmtl b\nKd 0 1 0\nnewmtl a\nKd 1 0 0\n")
    rows = ["f " + " ".join(str(i + 1) for i in face) for face in CUBE_FACES]
    faces = "\n".join(["usemtl a", *rows[:2], "usemtl b", *rows[2:]])
    mesh = load_model(write_obj(tmp_path / "cube.obj", head="mtllib cube.mtl", faces=faces), unit="m").mesh
    assert is_watertight(mesh)
    assert color_at(mesh, (-0.05, 0, 0)) == (255, 0, 0)
    assert color_at(mesh, (0.05, 0, 0)) == (0, 255, 0)
    assert color_at(mesh, (0, -0.05, 0)) == (0, 255, 0)


def test_obj_equal_materials_are_told_apart(tmp_path: Path) -> None:
    write_picture(tmp_path / "one.png", RED, RED)
    write_picture(tmp_path / "two.png", GREEN, GREEN)
    (tmp_path / "cube.mtl").write_text(
        "newmtl a\nKd 1 1 1\nmap_Kd one.png\nnewmtl b\nKd 1 1 1\nmap_Kd two.png\n"
    )
    rows = ["f " + " ".join(f"{i + 1}/1" for i in face) for face in CUBE_FACES]
    faces = "\n".join(["vt 0.5 0.5", "usemtl b", *rows[:2], "usemtl a", *rows[2:]])
    mesh = load_model(write_obj(tmp_path / "cube.obj", head="mtllib cube.mtl", faces=faces), unit="m").mesh
    assert color_at(mesh, (-0.05, 0, 0)) == GREEN
    assert color_at(mesh, (0.05, 0, 0)) == RED


def test_obj_single_colour_is_given_to_the_vertices(tmp_path: Path) -> None:
    (tmp_path / "cube.mtl").write_text("newmtl a\nKd 1 0.5 0\n")
    faces = "usemtl a\n" + "\n".join("f " + " ".join(str(i + 1) for i in face) for face in CUBE_FACES)
    mesh = load_model(write_obj(tmp_path / "cube.obj", head="mtllib cube.mtl", faces=faces), unit="m").mesh
    assert mesh.texture is None
    assert mesh.vertex_colors is not None
    assert np.unique(mesh.vertex_colors, axis=0).tolist() == [[255, 128, 0]]


def test_obj_vertex_colours(tmp_path: Path) -> None:
    lines = [f"v {x} {y} {z} {0 if x < 0 else 1} 0 0.2" for x, y, z in CUBE_VERTICES * 0.1]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in CUBE_FACES]
    path = tmp_path / "cube.obj"
    path.write_text("\n".join(lines))
    mesh = load_model(path, unit="m").mesh
    assert mesh.vertex_colors is not None
    expected = np.where(mesh.vertices[:, :1] < 0, [[0, 0, 51]], [[255, 0, 51]])
    assert np.array_equal(mesh.vertex_colors, expected)


def test_repeated_texture_beside_another_material_becomes_its_mean_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(tmp_path / "one.png", (100, 0, 0), (200, 0, 0))
    (tmp_path / "cube.mtl").write_text("newmtl a\nmap_Kd one.png\nnewmtl b\nKd 0 1 0\n")
    rows = ["f " + " ".join(f"{i + 1}/1" for i in face) for face in CUBE_FACES]
    faces = "\n".join(["vt 2.5 0.5", "usemtl a", *rows[:2], "usemtl b", *rows[2:]])
    with caplog.at_level(logging.WARNING):
        mesh = load_model(
            write_obj(tmp_path / "cube.obj", head="mtllib cube.mtl", faces=faces), unit="m"
        ).mesh
    assert "repeated texture" in caplog.text
    assert color_at(mesh, (-0.05, 0, 0)) == (150, 0, 0)
    assert color_at(mesh, (0.05, 0, 0)) == (0, 255, 0)


def test_missing_material_file_is_logged_and_missing_texture_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = obj_faces("vt 0.5 0.9\nvt 0.5 0.1", "usemtl a\n")
    path = write_obj(tmp_path / "cube.obj", head="mtllib cube.mtl", faces=faces)
    with caplog.at_level(logging.WARNING):
        assert load_model(path, unit="m").mesh.texture is None
    assert "material file 'cube.mtl' does not exist" in caplog.text
    (tmp_path / "cube.mtl").write_text("newmtl a\nmap_Kd gone.png\n")
    with pytest.raises(FileNotFoundError, match=r"texture of cube\.obj 'gone\.png' does not exist"):
        load_model(path, unit="m")


@pytest.mark.parametrize("outside", ["../secret.png", "/etc/passwd", "sub/../../secret.png"])
def test_textures_outside_the_folder_are_refused(tmp_path: Path, outside: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_picture(tmp_path / "secret.png")
    (folder / "cube.mtl").write_text(f"newmtl a\nmap_Kd {outside}\n")
    faces = obj_faces("vt 0.5 0.9\nvt 0.5 0.1", "usemtl a\n")
    with pytest.raises(ValueError, match="outside the model's folder"):
        load_model(write_obj(folder / "cube.obj", head="mtllib cube.mtl", faces=faces), unit="m")
    with pytest.raises(ValueError, match="outside the model's folder"):
        load_model(write_ply(folder / "cube.ply", head=f"comment TextureFile {outside}", uv=True), unit="mm")
    with pytest.raises(ValueError, match="outside its folder"):
        load_model(write_obj(folder / "other.obj", head="mtllib ../cube.mtl"), unit="m")


@pytest.mark.parametrize("format", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("named", [True, False])
def test_ply_vertex_texture_coordinates(tmp_path: Path, format: str, named: bool) -> None:
    write_picture(tmp_path / ("other.png" if named else "cube.png"))
    head = "comment TextureFile other.png" if named else ""
    mesh = load_model(write_ply(tmp_path / "cube.ply", 100.0, format, head, uv=True), unit="mm").mesh
    assert mesh.corner_uv is not None and mesh.texture is not None
    number = np.array(
        [np.flatnonzero((CUBE_VERTICES == p).all(axis=1))[0] for p in np.rint(mesh.vertices * 20) / 2]
    )
    assert np.allclose(mesh.corner_uv[..., 0], number[mesh.faces] / 8)
    assert np.allclose(mesh.corner_uv[..., 1], 1 - number[mesh.faces] / 8)
    assert mesh.texture[0, 0].tolist() == list(RED)


def test_ply_face_texture_coordinates(tmp_path: Path) -> None:
    write_picture(tmp_path / "cube.png")
    uv = np.random.default_rng(0).uniform(size=(len(CUBE_FACES), 3, 2)).astype(np.float32)
    header = ["ply", "format binary_little_endian 1.0", "element vertex 8"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [
        "element face 12",
        "property list uchar int vertex_indices",
        "property list uchar float texcoord",
    ]
    faces = np.zeros(12, np.dtype([("n", "u1"), ("i", "<i4", 3), ("m", "u1"), ("t", "<f4", 6)]))
    faces["n"], faces["i"], faces["m"], faces["t"] = 3, CUBE_FACES, 6, uv.reshape(12, 6)
    data = (CUBE_VERTICES * 100).astype("<f4").tobytes() + faces.tobytes()
    (tmp_path / "cube.ply").write_bytes("\n".join([*header, "end_header\n"]).encode() + data)
    mesh = load_model(tmp_path / "cube.ply", unit="mm").mesh
    assert mesh.corner_uv is not None
    assert np.allclose(mesh.corner_uv, uv)


def write_glb(path: Path, tree: dict[str, Any], blob: bytes) -> Path:
    blob += b"\0" * (-len(blob) % 4)
    text = json.dumps({**tree, "asset": {"version": "2.0"}, "buffers": [{"byteLength": len(blob)}]}).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    )
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def cube_gltf(material: dict[str, Any], picture: NDArray[np.uint8]) -> tuple[dict[str, Any], bytes]:
    """A cube of 1 m that its node scales to 0.1 m and moves; v (down in glTF) of the face at -x is 0.1."""
    corners = CUBE_VERTICES[CUBE_FACES].reshape(-1, 3).astype("<f4")
    low = np.repeat(CUBE_VERTICES[CUBE_FACES].mean(axis=1)[:, 0] < -0.4, 3)
    uv = np.column_stack([np.full(len(corners), 0.5), np.where(low, 0.1, 0.9)]).astype("<f4")
    parts = [corners.tobytes(), uv.tobytes(), np.arange(len(corners), dtype="<u4").tobytes()]
    parts.append(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    starts = np.cumsum([0] + [len(part) for part in parts]).tolist()
    kinds = [(5126, "VEC3"), (5126, "VEC2"), (5125, "SCALAR")]
    accessors: list[dict[str, Any]] = [
        {"bufferView": k, "componentType": kind, "count": len(corners), "type": shape}
        for k, (kind, shape) in enumerate(kinds)
    ]
    accessors[0].update(min=[-0.5] * 3, max=[0.5] * 3)
    tree = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [0.1] * 3, "translation": [0.0, 0.0, 1.0]}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}
        ],
        "materials": [{"pbrMetallicRoughness": material}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "accessors": accessors,
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part)}
            for start, part in zip(starts, parts, strict=False)
        ],
    }
    return tree, b"".join(parts)


def two_halves() -> NDArray[np.uint8]:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4], picture[4:] = RED, BLUE
    return picture


def test_glb_is_in_metres_with_nodes_applied_and_its_texture_upright(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "cube.glb", *cube_gltf({"baseColorTexture": {"index": 0}}, two_halves()))
    mesh = load_model(path).mesh
    assert is_watertight(mesh)
    assert np.allclose(
        [mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)], [[-0.05, -0.05, 0.95], [0.05, 0.05, 1.05]]
    )
    assert color_at(mesh, (-0.05, 0, 1)) == RED
    assert color_at(mesh, (0.05, 0, 1)) == BLUE


def test_a_mirrored_node_of_glb_is_not_inside_out(tmp_path: Path) -> None:
    tree, blob = cube_gltf({"baseColorTexture": {"index": 0}}, two_halves())
    tree["nodes"][0]["scale"] = [-0.1, 0.1, 0.1]
    mesh = load_model(write_glb(tmp_path / "mirrored.glb", tree, blob)).mesh
    middles = mesh.vertices[mesh.faces].mean(axis=1) - [0.0, 0.0, 1.0]
    assert (np.einsum("ij,ij->i", face_normals(mesh), middles) > 0.04).all()
    assert color_at(mesh, (0.05, 0, 1)) == RED
    assert color_at(mesh, (-0.05, 0, 1)) == BLUE


def test_glb_colour_factor_is_linear_light(tmp_path: Path) -> None:
    expected = tuple(round(255 * float(srgb_from_linear(np.array(c)))) for c in (0.5, 0.25, 0.0))
    plain = {"baseColorFactor": [0.5, 0.25, 0.0, 1.0]}
    mesh = load_model(write_glb(tmp_path / "plain.glb", *cube_gltf(plain, two_halves()))).mesh
    assert color_at(mesh, (0, 0, 1)) == expected
    white = np.full((8, 8, 3), 255, np.uint8)
    both = {**plain, "baseColorTexture": {"index": 0}}
    mesh = load_model(write_glb(tmp_path / "both.glb", *cube_gltf(both, white))).mesh
    assert color_at(mesh, (0, 0, 1)) == expected


def test_srgb_transfer_function_at_known_points() -> None:
    """IEC 61966-2-1: 18 % grey is 0.4614 in sRGB, and the two branches meet at 0.0031308."""
    assert srgb_from_linear(np.array([0.0, 0.18, 1.0])).tolist() == pytest.approx(
        [0.0, 0.46136, 1.0], abs=1e-5
    )
    below, above = srgb_from_linear(np.array([0.0031307, 0.0031309]))
    assert above - below == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("uri", ["../secret.bin", "http://example.org/a.bin"])
def test_gltf_reads_no_file_outside_its_folder(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(100))
    path = folder / "cube.gltf"
    path.write_text(json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": uri, "byteLength": 100}]}))
    with pytest.raises(ValueError, match=r"outside the model's folder|from the network"):
        load_model(path)


def test_truncated_glb_is_named(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "cube.glb", *cube_gltf({}, two_halves()))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"cube\.glb is truncated"):
        load_model(path)


@pytest.mark.parametrize(("kind", "value"), [("uchar", 128), ("ushort", 128 * 257), ("float", 128 / 255)])
def test_ply_vertex_colour_types(tmp_path: Path, kind: str, value: float) -> None:
    header = ["ply", "format ascii 1.0", "element vertex 8", *(f"property float {axis}" for axis in "xyz")]
    header += [f"property {kind} {channel}" for channel in ("red", "green", "blue")]
    header += ["element face 6", "property list uchar int vertex_index", "end_header"]
    rows = [f"{x} {y} {z} {value} 0 0" for x, y, z in CUBE_VERTICES * 100]
    rows += [f"4 {a} {b} {c} {d}" for (a, b, c), (_, _, d) in CUBE_FACES.reshape(-1, 2, 3)]
    (tmp_path / "cube.ply").write_text("\n".join([*header, *rows]) + "\n")
    mesh = load_model(tmp_path / "cube.ply", unit="mm").mesh
    assert is_watertight(mesh)
    assert mesh.vertex_colors is not None
    assert np.unique(mesh.vertex_colors, axis=0).tolist() == [[128, 0, 0]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_ply_polygons_of_different_sizes(tmp_path: Path, order: str) -> None:
    """A cube with one side as two triangles and the others as quads; uv are on the faces."""
    sides = [list(CUBE_FACES[0]), list(CUBE_FACES[1])]
    sides += [[a, b, c, d] for (a, b, c), (_, _, d) in CUBE_FACES.reshape(-1, 2, 3)[1:]]
    name = "little" if order == "<" else "big"
    header = ["ply", f"format binary_{name}_endian 1.0", "element vertex 8"]
    header += [f"property double {axis}" for axis in "xyz"]
    header += [f"element face {len(sides)}", "property list uint ushort vertex_indices"]
    header += ["property list uchar float texcoord", "end_header", ""]
    body = (CUBE_VERTICES * 100).astype(order + "f8").tobytes()
    for side in sides:
        uv = [value for i in side for value in (i / 8, 1 - i / 8)]
        body += struct.pack(f"{order}I{len(side)}HB{len(uv)}f", len(side), *side, len(uv), *uv)
    write_picture(tmp_path / "cube.png")
    (tmp_path / "cube.ply").write_bytes("\n".join(header).encode() + body)
    mesh = load_model(tmp_path / "cube.ply", unit="mm").mesh
    assert len(mesh.faces) == 12
    assert is_watertight(mesh)
    number = np.array(
        [np.flatnonzero((CUBE_VERTICES == p).all(axis=1))[0] for p in np.rint(mesh.vertices * 20) / 2]
    )
    assert mesh.corner_uv is not None
    assert np.allclose(mesh.corner_uv, np.stack([number / 8, 1 - number / 8], axis=-1)[mesh.faces])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"element face 12", b"element face 13", "need more than the"),
        (b"element vertex 8", b"element vertex -1", "-1 rows of 'vertex'"),
        (b"element vertex 8", b"element vertex 99999999", "99999999 rows of 'vertex'"),
        (b"property float x", b"property float w", "has no 'x'"),
        (b"property float x", b"property quad x", "invalid header line: 'property quad x'"),
        (b"end_header", b"", "has no end_header|invalid header line"),
        (b"3 0 1 3", b"3 0 1 8", "a face has vertex 8, but there are 8 vertices"),
        (b"3 0 1 3", b"3 0 1 x", "truncated or damaged"),
    ],
)
def test_damaged_ply_is_refused_with_the_reason(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = write_ply(tmp_path / "cube.ply", format="ascii")
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ValueError, match=rf"cube\.ply .*({message})"):
        load_model(path, unit="mm")
