"""Join the parts of a mesh file (one a material) into one welded mesh with at most one texture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.mesh_winding import weld_outwards

__all__ = ["MeshPart", "join_parts"]

_log = logging.getLogger(__name__)

_PADDING = 4
"""Pixels around each picture of an atlas, so that bilinear sampling at its border stays inside it."""
_DEFAULT_COLOR = (153, 153, 153)
_MAX_ATLAS_SIDE = 16384


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Triangles of one material, as they come from a file."""

    vertices: NDArray[np.float64]
    """Positions in the unit of the file, shape (V, 3); not welded."""
    faces: NDArray[np.int32]
    """Vertex indices, shape (F, 3)."""
    vertex_colors: NDArray[np.uint8] | None = None
    """sRGB, shape (V, 3)."""
    corner_uv: NDArray[np.float32] | None = None
    """Texture coordinates, v up, shape (F, 3, 2)."""
    texture: NDArray[np.uint8] | None = None
    """sRGB, shape (H, W, 3), first row at v = 1. Parts that share a texture share the array."""
    base_color: tuple[int, int, int] | None = None
    """sRGB colour of the material; None if the file states none."""
    unseen_faces: NDArray[np.bool_] | None = None
    """Faces that nobody ever saw, shape (F,); None: all were seen."""

    @property
    def is_textured(self) -> bool:
        """Whether both texture and coordinates are there."""
        return self.texture is not None and self.corner_uv is not None


def join_parts(parts: Sequence[MeshPart], scale: float, name: str) -> Mesh:
    """Make one mesh: scaled, welded across the seams of materials and textures, without degenerate faces.

    Faces that are turned unlike their neighbours, and closed parts that are inside out, are turned over.

    One texture is kept as it is. Several textures, or a texture beside plain materials, are packed into an
    atlas if no coordinate leaves its picture; where one does (a repeated texture), the parts become plain,
    each with the mean of its picture, and a warning says so. Several plain colours become a texture with a
    patch for each, so that colours do not run across welded vertices.

    Args:
        parts: At least one part with faces.
        scale: Metres per unit of the file.
        name: What to call the mesh in errors.

    Returns:
        The mesh in metres.

    Raises:
        ValueError: There are no faces, or the arrays are not valid.
    """
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise ValueError(f"{name} is empty: it has no faces")
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    colors, corner_uv, texture = _appearance(parts, name)
    try:
        vertices = np.concatenate([part.vertices for part in parts]) * scale
        mesh = Mesh(vertices, faces, colors, corner_uv, texture, _unseen_faces(parts))
        return weld_outwards(mesh)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _unseen_faces(parts: Sequence[MeshPart]) -> NDArray[np.bool_] | None:
    if all(part.unseen_faces is None for part in parts):
        return None
    marks = (np.zeros(len(p.faces), bool) if p.unseen_faces is None else p.unseen_faces for p in parts)
    return np.concatenate(list(marks))


def _appearance(parts: Sequence[MeshPart], name: str) -> tuple[Any, Any, Any]:
    """Vertex colours, corner uv and texture (each may be None) of all parts together."""
    textured = [part for part in parts if part.is_textured]
    if len(textured) == len(parts) and len({id(part.texture) for part in parts}) == 1:
        return None, np.concatenate([_uv(part) for part in parts]), parts[0].texture
    if textured:
        return None, *_atlas(parts, name)
    if any(part.vertex_colors is not None for part in parts):
        return np.concatenate([_vertex_colors(part) for part in parts]), None, None
    stated = {part.base_color for part in parts}
    if stated == {None}:
        return None, None, None
    if len(stated) == 1:
        return np.concatenate([_vertex_colors(part) for part in parts]), None, None
    return None, *_atlas(parts, name)


def _uv(part: MeshPart) -> NDArray[np.float32]:
    assert part.corner_uv is not None
    return part.corner_uv


def _vertex_colors(part: MeshPart) -> NDArray[np.uint8]:
    """Colours of the vertices, or the colour of the material for each of them."""
    if part.vertex_colors is not None:
        return part.vertex_colors
    return np.tile(np.array(part.base_color or _DEFAULT_COLOR, np.uint8), (len(part.vertices), 1))


def _atlas(parts: Sequence[MeshPart], name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Put the pictures of all parts beside each other; returns corner uv and the atlas."""
    pictures: dict[Any, NDArray[np.uint8]] = {}
    keys: list[Any] = []
    for part in parts:
        picture = _picture(part, name)
        key = id(part.texture) if picture is part.texture else picture.tobytes()
        pictures.setdefault(key, picture)
        keys.append(key)
    height = max(picture.shape[0] for picture in pictures.values()) + 2 * _PADDING
    width = sum(picture.shape[1] + 2 * _PADDING for picture in pictures.values())
    if max(height, width) > _MAX_ATLAS_SIDE:
        raise ValueError(f"{name} needs a texture atlas of {width}x{height} pixels: use one smaller texture")
    atlas = np.zeros((height, width, 3), np.uint8)
    left: dict[Any, int] = {}
    x = 0
    for key, picture in pictures.items():
        padded = np.pad(picture, ((_PADDING, _PADDING), (_PADDING, _PADDING), (0, 0)), mode="edge")
        atlas[: padded.shape[0], x : x + padded.shape[1]] = padded
        left[key] = x + _PADDING
        x += padded.shape[1]
    corner_uv = [
        _uv_in_atlas(part, pictures[key], left[key], atlas.shape)
        for part, key in zip(parts, keys, strict=True)
    ]
    return np.concatenate(corner_uv), atlas


def _picture(part: MeshPart, name: str) -> NDArray[np.uint8]:
    """The texture of a part, or a single pixel of its colour."""
    if part.texture is None or part.corner_uv is None:
        if part.vertex_colors is not None:
            _log.warning(
                "%s: vertex colours beside textured parts are not supported; their mean is used", name
            )
            return np.rint(part.vertex_colors.mean(axis=0)).astype(np.uint8).reshape(1, 1, 3)
        return np.array(part.base_color or _DEFAULT_COLOR, np.uint8).reshape(1, 1, 3)
    if part.corner_uv.min() < -1e-3 or part.corner_uv.max() > 1.0 + 1e-3:
        _log.warning("%s: a repeated texture beside other materials is not supported; its mean is used", name)
        return np.rint(part.texture.mean(axis=(0, 1))).astype(np.uint8).reshape(1, 1, 3)
    return part.texture


def _uv_in_atlas(
    part: MeshPart, picture: NDArray[np.uint8], left: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Coordinates of a part's corners in the atlas."""
    height, width = picture.shape[:2]
    uv = part.corner_uv if picture is part.texture else np.full((len(part.faces), 3, 2), 0.5)
    assert uv is not None
    u = (left + uv[..., 0] * width) / shape[1]
    v = 1.0 - (_PADDING + (1.0 - uv[..., 1]) * height) / shape[0]
    return np.stack([u, v], axis=-1).astype(np.float32)
