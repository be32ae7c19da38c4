"""Write a mesh as PLY with all that `dr_perception.data.ply` reads: looks, marks of faces nobody ever saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.ply import UNSEEN
from dr_perception.geometry.mesh import Mesh

__all__ = ["write_ply"]

_VERTEX = [("double", "x", "<f8"), ("double", "y", "<f8"), ("double", "z", "<f8")]
_COLOR = [("uchar", "red", "u1"), ("uchar", "green", "u1"), ("uchar", "blue", "u1")]


def write_ply(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh in metres as binary PLY, its texture as a PNG of the same name beside it.

    Faces that nobody ever saw have 1 in the property ``unseen`` of the faces, an unsigned char.

    Args:
        path: The file, which ends in ``.ply``; its folder must exist. An older file is replaced.
        mesh: The mesh.

    Raises:
        ValueError: The name does not end in ``.ply``.
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise ValueError(f"the name of a PLY file must end in .ply, got {path.name!r}")
    texture = path.with_suffix(".png")
    header = ["ply", "format binary_little_endian 1.0"]
    if mesh.texture is not None:
        header.append(f"comment TextureFile {texture.name}")
        _write_png(texture, mesh.texture)
    vertex = _VERTEX + ([] if mesh.vertex_colors is None else _COLOR)
    header += [
        f"element vertex {len(mesh.vertices)}",
        *(f"property {kind} {name}" for kind, name, _ in vertex),
    ]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    header += [] if mesh.corner_uv is None else ["property list uchar float texcoord"]
    header += [] if mesh.unseen_faces is None else [f"property uchar {UNSEEN}"]
    text = "\n".join([*header, "end_header", ""]).encode()
    path.write_bytes(text + _vertex_rows(mesh, vertex).tobytes() + _face_rows(mesh).tobytes())


def _vertex_rows(mesh: Mesh, fields: list[tuple[str, str, str]]) -> NDArray[Any]:
    rows = np.zeros(len(mesh.vertices), np.dtype([(name, kind) for _, name, kind in fields]))
    for k, name in enumerate("xyz"):
        rows[name] = mesh.vertices[:, k]
    if mesh.vertex_colors is not None:
        for k, (_, name, _) in enumerate(_COLOR):
            rows[name] = mesh.vertex_colors[:, k]
    return rows


def _face_rows(mesh: Mesh) -> NDArray[Any]:
    fields: list[Any] = [("count", "u1"), ("corners", "<i4", 3)]
    fields += [] if mesh.corner_uv is None else [("numbers", "u1"), ("uv", "<f4", 6)]
    fields += [] if mesh.unseen_faces is None else [(UNSEEN, "u1")]
    rows = np.zeros(len(mesh.faces), np.dtype(fields))
    rows["count"], rows["corners"] = 3, mesh.faces
    if mesh.corner_uv is not None:
        rows["numbers"], rows["uv"] = 6, mesh.corner_uv.reshape(-1, 6)
    if mesh.unseen_faces is not None:
        rows[UNSEEN] = mesh.unseen_faces
    return rows


def _write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes())
