"""Texture coordinates of PLY files.

Open3D 0.20 reads positions, colours and faces of a PLY, but drops the texture coordinates (both the
``texture_u``, ``texture_v`` of vertices, which BOP models use, and the ``texcoord`` lists of faces, which
MeshLab writes) and the name of the texture. This module reads those alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlyHeader", "read_ply_corner_uv", "read_ply_header"]

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

    def element(self, name: str) -> PlyElement | None:
        """The table of this name, if there is one."""
        return next((element for element in self.elements if element.name == name), None)

    def count(self, name: str) -> int:
        """Number of rows of a table, 0 if there is none."""
        element = self.element(name)
        return element.count if element is not None else 0

    @property
    def vertex_uv(self) -> tuple[str, str] | None:
        """Names of the vertices' texture coordinates."""
        element = self.element("vertex")
        names = {name for name, _, _ in element.properties} if element else set()
        return next((pair for pair in _UV_NAMES if names.issuperset(pair)), None)

    @property
    def has_face_uv(self) -> bool:
        """Whether the faces carry ``texcoord`` lists."""
        element = self.element("face")
        return element is not None and any(name == "texcoord" for name, _, _ in element.properties)


def read_ply_header(path: Path) -> PlyHeader:
    """Read the header of a PLY file.

    Raises:
        ValueError: The file does not start with a valid PLY header.
    """
    with path.open("rb") as file:
        if file.readline(16).strip() != b"ply":
            raise ValueError(f"{path} is not a PLY file: it does not start with 'ply'")
        header = PlyHeader("", [], [], 0)
        while line := file.readline(4096):
            words = line.decode("utf-8", "replace").split()
            if words[:1] == ["end_header"]:
                header.size = file.tell()
                return header
            _read_header_line(header, words, path)
    raise ValueError(f"{path} is truncated: its header has no end_header")


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
        raise ValueError(f"{path} has an invalid PLY header line: {' '.join(words)!r}") from error


def read_ply_corner_uv(path: Path, header: PlyHeader, faces: NDArray[np.int32]) -> NDArray[np.float32] | None:
    """Texture coordinates of the corners of triangles.

    Args:
        path: The file.
        header: Its header.
        faces: The triangles that Open3D read, shape (F, 3).

    Returns:
        Shape (F, 3, 2), v up; None if the file has no texture coordinates.

    Raises:
        ValueError: The file is truncated, or faces that are no triangles carry coordinates.
    """
    if header.vertex_uv is None and not header.has_face_uv:
        return None
    tables = _read_tables(path, header)
    if header.vertex_uv is not None:
        table = tables["vertex"]
        uv = np.stack([table[name] for name in header.vertex_uv], axis=1).astype(np.float32)
        return uv[faces]
    texcoord = tables["face"]["texcoord"]
    if texcoord.shape != (len(faces), 6):
        raise ValueError(
            f"{path} has texture coordinates on faces that are no triangles: triangulate it first"
        )
    return texcoord.reshape(-1, 3, 2).astype(np.float32)


def _read_tables(path: Path, header: PlyHeader) -> dict[str, dict[str, NDArray[Any]]]:
    """Columns of all tables up to the faces; lists must have the same length in all rows."""
    data = path.read_bytes()[header.size :]
    read = _read_binary if header.order else _read_ascii
    tables: dict[str, dict[str, NDArray[Any]]] = {}
    position = 0
    for element in header.elements:
        tables[element.name], position = read(path, header, element, data, position)
        if element.name == "face" or (element.name == "vertex" and header.vertex_uv):
            break
    return tables


def _read_binary(
    path: Path, header: PlyHeader, element: PlyElement, data: bytes, position: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """Read one table as records of equal size, taking the lengths of lists from the first row."""
    fields: list[Any] = []
    for name, kind, count_kind in element.properties:
        if count_kind is None:
            fields.append((name, header.order + kind))
            continue
        place = position + np.dtype(fields).itemsize if fields else position
        counts = np.frombuffer(data[place : place + np.dtype(count_kind).itemsize], header.order + count_kind)
        length = int(counts[0]) if len(counts) else 0
        fields += [(name + ".count", header.order + count_kind), (name, header.order + kind, (length,))]
    dtype = np.dtype(fields)
    end = position + dtype.itemsize * element.count
    if end > len(data):
        raise ValueError(
            f"{path} is truncated: {element.name} needs {end} bytes of data, the file has {len(data)}"
        )
    rows = np.frombuffer(data[position:end], dtype)
    for name, _, count_kind in element.properties:
        if count_kind is not None and len(rows) and np.any(rows[name + ".count"] != rows[name].shape[1]):
            raise ValueError(
                f"{path}: lists {name!r} of different lengths are not supported: triangulate it first"
            )
    return {name: rows[name] for name, _, _ in element.properties}, end


def _read_ascii(
    path: Path, header: PlyHeader, element: PlyElement, data: bytes, position: int
) -> tuple[dict[str, NDArray[Any]], int]:
    """Read one table of text lines."""
    lines = data[position:].split(b"\n", element.count)
    if len(lines) < element.count or (len(lines) == element.count and not lines[-1].strip()):
        raise ValueError(f"{path} is truncated: {element.name} needs {element.count} lines")
    rest = lines.pop() if len(lines) > element.count else b""
    try:
        rows = np.array([line.split() for line in lines], dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: rows of {element.name!r} differ in length or are no numbers") from error
    columns: dict[str, NDArray[Any]] = {}
    column = 0
    for name, _, count_kind in element.properties:
        if count_kind is None:
            columns[name] = rows[:, column]
            column += 1
        else:
            length = int(rows[0, column]) if len(rows) else 0
            columns[name] = rows[:, column + 1 : column + 1 + length]
            column += 1 + length
    return columns, len(data) - len(rest)
