"""Digests of what prepared tables are made from: content of a model, settings and the code for them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dr_perception.device.shared_tables import SharedTables
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.symmetry import Symmetries

_MESH_ARRAYS = (
    "vertices", "faces", "vertex_colors", "corner_uv", "texture", "unseen_faces", "vertex_attributes"
)  # fmt: skip
_digests: SharedTables[Mesh, str] = SharedTables()


def content_key(
    mesh: Mesh, settings: Iterable[object], rooms: tuple[str, ...], symmetries: Symmetries | None = None
) -> str:
    """Digest of a mesh with its looks, of settings, and of the code of rooms, which changes with any of them.

    Args:
        mesh: The mesh in metres.
        settings: Numbers and words that matter as well.
        rooms: Folders of this package whose code makes the tables.
        symmetries: Declared symmetries, where they matter.
    """
    digest = hashlib.sha256(_digests.get(mesh, None, lambda: _mesh_digest(mesh)).encode())
    if symmetries is not None:
        _update(digest, "discrete", symmetries.discrete)
        for axis in symmetries.continuous:
            _update(digest, "axis", np.stack([axis.axis, axis.offset]))
    digest.update(repr(tuple(settings)).encode())
    digest.update(code_digest(rooms).encode())
    return digest.hexdigest()


def model_key(model: ObjectModel, settings: Iterable[object], rooms: tuple[str, ...]) -> str:
    """`content_key` of a model with its symmetries; its name does not matter."""
    return content_key(model.mesh, settings, rooms, model.symmetries)


def _mesh_digest(mesh: Mesh) -> str:
    digest = hashlib.sha256()
    for name in _MESH_ARRAYS:
        _update(digest, name, getattr(mesh, name))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, name: str, array: np.ndarray | None) -> None:
    """Add a named array with its type and shape, so that no two lists of arrays look alike."""
    kind = None if array is None else (array.dtype.str, array.shape)
    digest.update(repr((name, kind)).encode())
    if array is not None:
        digest.update(array.tobytes())


@functools.cache
def code_digest(rooms: tuple[str, ...]) -> str:
    """Digest of the sources of some rooms: nobody has to remember to raise a number when they change."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((package / room).glob("*.py")):
            digest.update(f"{room}/{path.name}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
