"""Meshes of the library trimesh as meshes of this one; trimesh itself is not imported."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh

__all__ = ["TriangleMesh", "mesh_from_trimesh"]


@runtime_checkable
class TriangleMesh(Protocol):
    """What is used of a ``trimesh.Trimesh``."""

    vertices: Any
    """Positions, shape (V, 3)."""
    faces: Any
    """Vertex indices, shape (F, 3)."""
    visual: Any
    """Looks: ``ColorVisuals`` or ``TextureVisuals``."""


def mesh_from_trimesh(mesh: TriangleMesh) -> Mesh:
    """Convert a mesh with its looks.

    Kept are colours of vertices or faces (their vertices are split), a texture with its coordinates (the
    image of a simple material, the base colour texture of a PBR material), and the colour of a material that
    has no texture.

    Args:
        mesh: A ``trimesh.Trimesh`` in metres (``mesh.apply_scale(0.001)`` if it is in millimetres).

    Returns:
        The mesh, in its order of vertices and faces.

    Raises:
        TypeError: It is something else, e.g. a ``trimesh.Scene``.
        ValueError: See `validate_mesh`.
    """
    if not isinstance(mesh, TriangleMesh):
        raise TypeError(
            f"from_trimesh expects a trimesh.Trimesh, got {type(mesh).__name__}"
            + (": pass what its to_mesh() returns" if hasattr(mesh, "to_mesh") else "")
        )
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int32)
    kind = getattr(mesh.visual, "kind", None)
    if kind == "vertex":
        return Mesh(vertices, faces, vertex_colors=_rgb(mesh.visual.vertex_colors))
    if kind == "face":
        colors = np.repeat(_rgb(mesh.visual.face_colors), 3, axis=0)
        corners = np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)
        return Mesh(vertices[faces].reshape(-1, 3), corners, colors)
    if kind == "texture":
        return _textured(vertices, faces, mesh.visual)
    return Mesh(vertices, faces)


def _textured(vertices: NDArray[np.float64], faces: NDArray[np.int32], visual: Any) -> Mesh:
    image = _of_material(visual.material, "image", "baseColorTexture")
    if image is not None and visual.uv is not None:
        corner_uv = np.asarray(visual.uv, dtype=np.float32)[faces]
        return Mesh(vertices, faces, corner_uv=corner_uv, texture=np.asarray(image.convert("RGB")))
    color = _of_material(visual.material, "baseColorFactor", "diffuse")
    if color is None:
        return Mesh(vertices, faces)
    return Mesh(vertices, faces, np.tile(_rgb(np.atleast_2d(color)), (len(vertices), 1)))


def _of_material(material: Any, *names: str) -> Any:
    """The first of some attributes that a material has; those of another kind of material it has not."""
    return next((found for name in names if (found := getattr(material, name, None)) is not None), None)


def _rgb(colors: Any) -> NDArray[np.uint8]:
    """Colours as bytes without opacity, shape (N, 3)."""
    found = np.asarray(colors)[:, :3]
    return found if found.dtype == np.uint8 else np.rint(255.0 * np.clip(found, 0.0, 1.0)).astype(np.uint8)
