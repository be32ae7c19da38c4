"""What has to be known of a glTF file before and after Open3D reads it: safe paths, colours and textures."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

__all__ = ["GltfInfo", "base_colors", "inspect_gltf", "srgb_from_linear"]

_GLB_HEADER = struct.Struct("<4sIIII")
_GLB_JSON_CHUNK = 0x4E4F534A


@dataclass(frozen=True)
class GltfInfo:
    """Facts from the JSON part of a file."""

    materials: int
    """Number of materials."""
    textured: bool
    """Whether any material has a base colour texture."""


def inspect_gltf(path: Path) -> GltfInfo:
    """Read the JSON of a ``.gltf`` or ``.glb`` file and check the files that it names.

    Raises:
        ValueError: The file is damaged, needs an extension for its geometry, or names a file outside its
            folder.
        FileNotFoundError: A file that it names does not exist.
    """
    tree = _read_json(path)
    required = set(tree.get("extensionsRequired", ())) - {"KHR_materials_unlit", "KHR_mesh_quantization"}
    if required:
        raise ValueError(f"mesh file {path} needs glTF extensions that are not supported: {sorted(required)}")
    for item in [*tree.get("buffers", ()), *tree.get("images", ())]:
        uri = item.get("uri")
        if uri is not None and not uri.startswith("data:"):
            _check_uri(path, unquote(uri))
    materials = tree.get("materials", ())
    textured = any("baseColorTexture" in m.get("pbrMetallicRoughness", {}) for m in materials)
    return GltfInfo(len(materials), textured)


def base_colors(material: Any) -> tuple[tuple[int, int, int], NDArray[np.uint8] | None]:
    """Colour and texture (already multiplied with the colour) of an Open3D material, both sRGB."""
    factor = np.asarray(material.base_color, dtype=np.float64)[:3]
    r, g, b = np.rint(255.0 * srgb_from_linear(factor)).astype(int).tolist()
    if material.albedo_img is None:
        return (r, g, b), None
    texture = np.array(material.albedo_img)
    if texture.dtype != np.uint8:
        texture = (texture >> 8).astype(np.uint8)
    if texture.ndim == 2 or texture.shape[2] < 3:
        texture = np.repeat(texture.reshape(*texture.shape[:2], -1)[:, :, :1], 3, axis=2)
    texture = np.ascontiguousarray(texture[:, :, :3])
    if not np.allclose(factor, 1.0):
        table = srgb_from_linear(_linear_from_srgb(np.arange(256)[:, None] / 255.0) * factor)
        channels = [np.rint(255.0 * table[:, c]).astype(np.uint8)[texture[..., c]] for c in range(3)]
        texture = np.stack(channels, axis=-1)
    return (r, g, b), texture


def srgb_from_linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transfer function of sRGB (IEC 61966-2-1), values clipped to 0..1."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1.0 / 2.4) - 0.055)


def _linear_from_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `srgb_from_linear`."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _read_json(path: Path) -> dict[str, Any]:
    """The JSON tree of a file of either kind."""
    data = path.read_bytes()
    if path.suffix.lower() == ".glb":
        if len(data) < _GLB_HEADER.size:
            raise ValueError(f"mesh file {path} is truncated")
        magic, _, total, length, kind = _GLB_HEADER.unpack_from(data)
        if magic != b"glTF" or kind != _GLB_JSON_CHUNK:
            raise ValueError(f"mesh file {path} is not a binary glTF 2.0 file")
        if total > len(data):
            raise ValueError(f"mesh file {path} is truncated: {len(data)} of {total} bytes")
        data = data[_GLB_HEADER.size : _GLB_HEADER.size + length]
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ValueError(f"mesh file {path} is damaged: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"mesh file {path} is damaged: its JSON is no object")
    return tree


def _check_uri(path: Path, uri: str) -> None:
    from dr_perception.data.mesh_files import file_inside

    if "://" in uri:
        raise ValueError(f"mesh file {path} names {uri!r}: files from the network are not read")
    file_inside(path.parent, uri, f"file of {path.name}")
