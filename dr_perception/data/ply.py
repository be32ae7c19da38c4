"""PLY files: header, positions, colours, faces, texture coordinates and marks of faces that nobody ever saw.

This format is read here and not with Open3D, whose reader (0.20) drops all texture coordinates
(``texture_u``, ``texture_v`` of vertices, which BOP models have, and ``texcoord`` of faces, which MeshLab
writes), keeps a part of a truncated file without an error, and can crash the process on a damaged one. The
format: Greg Turk, "The PLY Polygon File Format", 1994.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlyElement", "PlyHeader", "PlyMesh", "read_ply", "read_ply_header"]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDER = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_UV_NAMES = (("texture_u", "texture_v"), ("s", "t"), ("u", "v"))
_FACE_NAMES = ("vertex_indices", "vertex_index")
_COLOR_NAMES = ("red", "green", "blue")

UNSEEN = "unseen"
"""Property of the faces that nobody ever saw, an integer, 1 for those; see `dr_perception.Mesh`."""

_Column = NDArray[Any] | list[NDArray[Any]]
"""Values of one property by row; lists of equal length are one array, others a list of arrays."""


@dataclass
class PlyElement:
    """One table of the file."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Name, type of the value, and type of the count if the property is a list."""


@dataclass
class PlyHeader:
    """What the header of a PLY file says."""

    order: str
    """Byte order character, empty for an ASCII file."""
    elements: list[PlyElement]
    textures: list[str]
    """File names in ``comment TextureFile``."""
    size: int
    """Bytes of the header."""


@dataclass(frozen=True, eq=False)
class PlyMesh:
    """The triangles of a PLY file."""

    vertices: NDArray[np.float64]
    """Shape (V, 3), in the unit of the file."""
    faces: NDArray[np.int32]
    """Shape (F, 3); polygons are cut into fans."""
    vertex_colors: NDArray[np.uint8] | None
    """Shape (V, 3)."""
    corner_uv: NDArray[np.float32] | None
    """Shape (F, 3, 2), v up."""
    textures: list[str]
    """Names of the textures in the header."""
    unseen_faces: NDArray[np.bool_] | None = None
    """Faces that nobody ever saw (F,), from the property `UNSEEN` of the faces, 0 or 1."""


def read_ply(path: Path) -> PlyMesh:
    """Read a PLY file, ASCII or binary.

    Raises:
        ValueError: The file is damaged or truncated, or has no faces; the message names it.
    """
    header = read_ply_header(path)
    try:
        tables = _read_tables(path.read_bytes()[header.size :], header)
        vertex, face = tables["vertex"], tables["face"]
        vertices = _stacked(vertex, ("x", "y", "z")).astype(np.float64)
        indices = next((face[name] for name in _FACE_NAMES if name in face), None)
        if indices is None or not len(indices):
            raise ValueError("it has no faces")
        faces = _fans(indices).astype(np.int64)
        if not len(faces):
            raise ValueError("its faces have fewer than 3 corners")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(f"a face has vertex {faces.max()}, but there are {len(vertices)} vertices")
        colors, corner_uv = _colors(vertex, header), _corner_uv(vertex, face, faces)
        unseen = _unseen_faces(face, indices, header)
        return PlyMesh(vertices, faces.astype(np.int32), colors, corner_uv, header.textures, unseen)
    except KeyError as error:
        raise ValueError(f"mesh file {path} is damaged: it has no {error}") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"mesh file {path} is truncated or damaged: {error}") from error


def read_ply_header(path: Path) -> PlyHeader:
    """Read the header of a PLY file.

    Raises:
        ValueError: The file does not start with a valid PLY header.
    """
    with path.open("rb") as file:
        if file.readline(16).strip() != b"ply":
            raise ValueError(f"mesh file {path} is not a PLY file: it does not start with 'ply'")
        header = PlyHeader("", [], [], 0)
        while line := file.readline(4096):
            words = line.decode("utf-8", "replace").split()
            if words[:1] == ["end_header"]:
                header.size = file.tell()
                return header
            _read_header_line(header, words, path)
    raise ValueError(f"mesh file {path} is truncated: its header has no end_header")


def _read_header_line(header: PlyHeader, words: list[str], path: Path) -> None:
    """Add what one line of the header says."""
    try:
        if words[:1] == ["format"]:
            header.order = _ORDER[words[1]]
        elif words[:1] == ["element"]:
            header.elements.append(PlyElement(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            header.elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif words[:1] == ["property"]:
            header.elements[-1].properties.append((words[2], _TYPES[words[1]], None))
        elif [word.lower() for word in words[:2]] == ["comment", "texturefile"]:
            header.textures.append(" ".join(words[2:]))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"mesh file {path} has an invalid header line: {' '.join(words)!r}") from error


def _read_tables(data: bytes, header: PlyHeader) -> dict[str, dict[str, _Column]]:
    """Columns of all tables up to the faces."""
    order, elements = header.order, header.elements
    if not order:
        # Text is a stream of numbers: read it as binary numbers of one type.
        data, order = np.array(data.split(), dtype="<f8").tobytes(), "<"
        elements = [
            replace(e, properties=[(name, "f8", "f8" if count else None) for name, _, count in e.properties])
            for e in elements
        ]
    tables: dict[str, dict[str, _Column]] = {}
    position = 0
    for element in elements:
        if not 0 <= element.count <= len(data):
            raise ValueError(f"{element.count} rows of {element.name!r} in {len(data)} bytes")
        tables[element.name], position = _read_table(data, position, element, order)
        if element.name == "face":
            break
    return tables


def _read_table(
    data: bytes, position: int, element: PlyElement, order: str
) -> tuple[dict[str, _Column], int]:
    """Columns of one table and the position behind it."""
    if not element.count:
        return {name: np.zeros((0, 0)) for name, _, _ in element.properties}, position
    first, _ = _read_row(data, position, element, order)
    fields: list[Any] = []
    for (name, kind, count_kind), value in zip(element.properties, first, strict=True):
        fields += [(name + "/count", order + count_kind)] if count_kind else []
        fields.append((name, order + kind, (len(value),) if count_kind else ()))
    dtype = np.dtype(fields)
    end = position + dtype.itemsize * element.count
    if end <= len(data):
        rows = np.frombuffer(data, dtype, element.count, position)
        lists = [name for name, _, count_kind in element.properties if count_kind]
        if all(np.all(rows[name + "/count"] == rows[name].shape[1]) for name in lists):
            return {name: rows[name] for name, _, _ in element.properties}, end
    return _read_ragged(data, position, element, order)


def _read_ragged(
    data: bytes, position: int, element: PlyElement, order: str
) -> tuple[dict[str, _Column], int]:
    """Read row by row, for lists of different lengths."""
    rows = []
    for _ in range(element.count):
        row, position = _read_row(data, position, element, order)
        rows.append(row)
    columns: dict[str, _Column] = {}
    for (name, _, count_kind), values in zip(element.properties, zip(*rows, strict=True), strict=True):
        columns[name] = list(values) if count_kind else np.concatenate(values)
    return columns, position


def _read_row(data: bytes, position: int, element: PlyElement, order: str) -> tuple[list[NDArray[Any]], int]:
    """Values of one row, each as an array, and the position behind it."""
    row = []
    for _, kind, count_kind in element.properties:
        length = 1
        if count_kind:
            counts, position = _take(data, position, order + count_kind, 1, element)
            length = int(counts[0])
        values, position = _take(data, position, order + kind, length, element)
        row.append(values)
    return row, position


def _take(data: bytes, position: int, kind: str, count: int, element: PlyElement) -> tuple[NDArray[Any], int]:
    end = position + count * np.dtype(kind).itemsize
    if count < 0 or end > len(data):
        raise ValueError(
            f"{element.count} rows of {element.name!r} need more than the {len(data)} bytes there are"
        )
    return np.frombuffer(data, kind, count, position), end


def _stacked(table: dict[str, _Column], names: tuple[str, ...]) -> NDArray[Any]:
    """Some scalar columns side by side."""
    return np.stack([np.asarray(table[name]) for name in names], axis=1)


def _colors(vertex: dict[str, _Column], header: PlyHeader) -> NDArray[np.uint8] | None:
    """Vertex colours: bytes, 16-bit numbers, or floats from 0 to 1."""
    if not vertex.keys() >= set(_COLOR_NAMES):
        return None
    declared = next(
        kind for e in header.elements if e.name == "vertex" for n, kind, _ in e.properties if n == "red"
    )
    scale = {"u1": 1.0, "u2": 1.0 / 257.0, "f4": 255.0, "f8": 255.0}.get(declared)
    if scale is None:
        raise ValueError(f"colours of type {declared!r} are not supported")
    values = _stacked(vertex, _COLOR_NAMES)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    return np.rint(np.clip(scale * np.nan_to_num(values), 0.0, 255.0)).astype(np.uint8)


def _corner_uv(
    vertex: dict[str, _Column], face: dict[str, _Column], faces: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Texture coordinates of vertices or of faces, by triangle corner."""
    names = next((pair for pair in _UV_NAMES if vertex.keys() >= set(pair)), None)
    if names is not None:
        return _stacked(vertex, names).astype(np.float32)[faces]
    if "texcoord" not in face:
        return None
    texcoord = face["texcoord"]
    u, v = _fans(_every_second(texcoord, 0)), _fans(_every_second(texcoord, 1))
    if u.shape != faces.shape or v.shape != faces.shape:
        raise ValueError("the faces' texture coordinates do not fit their corners")
    return np.stack([u, v], axis=-1).astype(np.float32)


def _unseen_faces(face: dict[str, _Column], indices: _Column, header: PlyHeader) -> NDArray[np.bool_] | None:
    """Marks of the triangles (F,), those of the polygons that they are cut from."""
    if UNSEEN not in face:
        return None
    properties = next(e.properties for e in header.elements if e.name == "face")
    kind, count_kind = next((kind, count_kind) for name, kind, count_kind in properties if name == UNSEEN)
    if count_kind is not None or kind[0] == "f":
        got = f"type {np.dtype(kind).name}" if count_kind is None else "a list"
        raise ValueError(f"property {UNSEEN!r} of its faces must be an integer, 0 or 1, got {got}")
    marks = np.asarray(face[UNSEEN])
    if not np.isin(marks, (0, 1)).all():
        raise ValueError(
            f"property {UNSEEN!r} of its faces must be 0 or 1, got {marks.min():g} to {marks.max():g}"
        )
    return np.repeat(marks == 1, [max(len(polygon) - 2, 0) for polygon in indices])


def _every_second(column: _Column, start: int) -> _Column:
    """The u (start 0) or v (start 1) of lists u, v, u, v, ..."""
    if isinstance(column, list):
        return [values[start::2] for values in column]
    return column[:, start::2]


def _fans(polygons: _Column) -> NDArray[Any]:
    """Cut polygons into triangles around their first corner, in the order of the polygons; shape (F, 3)."""
    if isinstance(polygons, list):
        return np.concatenate([_fans(polygon[None]) for polygon in polygons])
    if polygons.ndim != 2 or polygons.shape[1] < 3:
        return np.zeros((0, 3), polygons.dtype)
    corners = [(0, k, k + 1) for k in range(1, polygons.shape[1] - 1)]
    return polygons[:, corners].reshape(-1, 3)
