"""Read CAD files into parts of one material each: OBJ, STL, glTF and GLB through Open3D, PLY directly.

Open3D reads geometry, vertex colours and the pictures embedded in glTF. What it gets wrong is read here: PLY
files (`dr_perception.data.ply` says why) and the materials of OBJ files (`dr_perception.data.obj_materials`).
Files named inside a model must lie in the model's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.mesh_parts import MeshPart
from dr_perception.data.obj_materials import coded_obj, read_materials
from dr_perception.data.ply import read_ply

__all__ = ["MESH_SUFFIXES", "file_inside", "read_mesh_parts", "read_texture"]


def read_mesh_parts(path: Path) -> list[MeshPart]:
    """Read a mesh file.

    Args:
        path: File with one of `MESH_SUFFIXES`.

    Returns:
        Parts in the unit of the file.

    Raises:
        FileNotFoundError: The file, its material file's texture or another file it names does not exist.
        ValueError: The suffix is not known, the file is damaged or empty, or it names a file outside its
            folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"mesh file {path} does not exist")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"mesh file {path} has unknown type {path.suffix!r}: expected {', '.join(_READERS)}")
    if path.stat().st_size == 0:
        raise ValueError(f"mesh file {path} is empty (0 bytes)")
    parts = [part for part in reader(path) if len(part.faces)]
    if not parts:
        raise ValueError(f"mesh file {path} cannot be read or has no faces")
    return parts


def file_inside(folder: Path, name: str, what: str) -> Path:
    """Path of a file that a model names, which must lie in the model's folder.

    Raises:
        ValueError: The path leaves the folder.
        FileNotFoundError: There is no such file.
    """
    path = folder / name.strip().replace("\\", "/")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{what} {name!r} lies outside the model's folder {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"{what} {name!r} does not exist in {folder}")
    return path


def read_texture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB, shape (H, W, 3) uint8."""
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError(f"texture {path} cannot be decoded")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_ply(path: Path) -> list[MeshPart]:
    mesh = read_ply(path)
    texture = None if mesh.corner_uv is None else _ply_texture(path, mesh.textures)
    unseen = mesh.unseen_faces
    return [
        MeshPart(mesh.vertices, mesh.faces, mesh.vertex_colors, mesh.corner_uv, texture, unseen_faces=unseen)
    ]


def _ply_texture(path: Path, named: list[str]) -> NDArray[np.uint8] | None:
    """The texture that the header names, or the picture with the name of the mesh."""
    if len(named) > 1:
        raise ValueError(
            f"mesh file {path} names {len(named)} textures ({', '.join(named)}): one is supported"
        )
    if named:
        return read_texture(file_inside(path.parent, named[0], f"texture of {path.name}"))
    same_stem = (path.with_suffix(suffix) for suffix in (".png", ".jpg", ".jpeg"))
    found = next((picture for picture in same_stem if picture.is_file()), None)
    return None if found is None else read_texture(found)


def _read_obj(path: Path) -> list[MeshPart]:
    materials = read_materials(path)
    with coded_obj(path, materials) as coded:
        read = _read_with_open3d(coded)
    pictures: dict[str, NDArray[np.uint8]] = {}
    parts = []
    for mesh, record in read:
        material = materials.decode(record.base_color)
        texture = None
        if material is not None and material.texture is not None and len(mesh.triangle_uvs):
            if material.texture not in pictures:
                file = file_inside(path.parent, material.texture, f"texture of {path.name}")
                pictures[material.texture] = read_texture(file)
            texture = pictures[material.texture]
        parts.append(_part(mesh, texture, material.color if material else None))
    return parts


def _read_stl(path: Path) -> list[MeshPart]:
    return [_part(mesh, None, None) for mesh, _ in _read_with_open3d(path)]


def _read_gltf(path: Path) -> list[MeshPart]:
    from dr_perception.data.gltf import base_colors, inspect_gltf

    info = inspect_gltf(path)
    parts = []
    read = _read_with_open3d(path)
    if info.textured and all(record.albedo_img is None for _, record in read):
        raise ValueError(f"mesh file {path} has a texture that cannot be read: use PNG or JPEG")
    pictures: dict[bytes, NDArray[np.uint8]] = {}
    for mesh, record in read:
        color, texture = base_colors(record)
        if texture is not None:
            texture = pictures.setdefault(texture.tobytes(), texture)
        parts.append(_part(mesh, texture, color if info.materials else None, linear=True))
    return parts


def _read_with_open3d(path: Path) -> list[tuple[Any, Any]]:
    """Pairs of Open3D mesh and material, one for each material of the file."""
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        reader: Any = open3d.io.read_triangle_model
        model = reader(str(path))
    return [(part.mesh, model.materials[part.material_idx]) for part in model.meshes]


def _part(
    mesh: Any, texture: NDArray[np.uint8] | None, color: tuple[int, int, int] | None, linear: bool = False
) -> MeshPart:
    """Copy Open3D's arrays out; `linear`: vertex colours are linear (glTF), otherwise sRGB."""
    from dr_perception.data.gltf import srgb_from_linear

    faces = np.array(mesh.triangles, dtype=np.int32)
    corner_uv = None
    if texture is not None:
        corner_uv = np.array(mesh.triangle_uvs, dtype=np.float32).reshape(-1, 3, 2)
        if len(corner_uv) != len(faces):
            corner_uv, texture = None, None
    colors = None
    if mesh.has_vertex_colors():
        values = np.asarray(mesh.vertex_colors)
        colors = _bytes_from_unit(srgb_from_linear(values) if linear else values)
    return MeshPart(np.array(mesh.vertices, dtype=np.float64), faces, colors, corner_uv, texture, color)


def _bytes_from_unit(values: Any) -> NDArray[np.uint8]:
    """Colours 0..1 to 0..255."""
    return np.rint(255.0 * np.clip(np.asarray(values), 0.0, 1.0)).astype(np.uint8)


_READERS: dict[str, Callable[[Path], list[MeshPart]]] = {
    ".obj": _read_obj,
    ".ply": _read_ply,
    ".stl": _read_stl,
    ".gltf": _read_gltf,
    ".glb": _read_gltf,
}
MESH_SUFFIXES = tuple(_READERS)
"""Suffixes of the files that are read, lower case."""
