"""Load CAD models: unit, plausible size, welded vertices, symmetries and name."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dr_perception.data.mesh_files import MESH_SUFFIXES, read_mesh_parts
from dr_perception.data.mesh_parts import join_parts
from dr_perception.geometry.mesh_measure import diameter
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.symmetry import Symmetries

__all__ = ["UNITS", "load_model", "load_models", "model_name", "read_models_info"]

UNITS: Mapping[str, float] = {"m": 1.0, "mm": 1e-3, "cm": 1e-2, "inch": 0.0254}
"""Metres per unit."""

_SMALLEST_M, _LARGEST_M = 0.005, 5.0
_BOP_FILE = re.compile(r"obj_(\d{6})$")
_GLTF = (".gltf", ".glb")


def load_model(
    path: str | Path, unit: str | None = None, name: str | None = None, symmetries: Symmetries | None = None
) -> ObjectModel:
    """Load one object.

    Args:
        path: OBJ, PLY, STL, glTF or GLB file.
        unit: Unit of the file, one of `UNITS`. None: millimetres for ``obj_NNNNNN`` beside a
            ``models_info.json`` (BOP), metres for glTF (its specification says so); for any other file the
            unit must be given.
        name: Name of the object; None: the name in ``models_info.json`` if there is one, otherwise the
            file's.
        symmetries: Symmetries; None: those of ``models_info.json``, otherwise none.

    Returns:
        The model in metres, vertices welded, degenerate faces dropped, closed parts turned outwards.

    Raises:
        FileNotFoundError: The file, or a texture that it names, does not exist.
        ValueError: The unit is missing or unknown, the file is damaged or empty, or the diameter is outside
            5 mm to 5 m.
    """
    path = Path(path)
    number, entry = _bop_entry(path)
    if entry is not None and unit is None:
        unit = "mm"
    if unit is None and path.suffix.lower() in _GLTF:
        unit = "m"
    if unit is None:
        raise ValueError(
            f"the unit of {path} is not known: pass unit='m' or unit='mm' ({_units()} are supported)"
        )
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} of {path} is not known: expected one of {_units()}")
    mesh = join_parts(read_mesh_parts(path), UNITS[unit], f"mesh file {path}")
    _check_size(path, diameter(mesh), unit)
    if name is None:
        name = model_name(number, entry) if entry is not None else path.stem
    if symmetries is None:
        symmetries = Symmetries.none() if entry is None else _symmetries(path, entry)
    return ObjectModel(name, mesh, symmetries, number)


def load_models(
    directory: str | Path, unit: str | None = None, names: Collection[str] = ()
) -> dict[str, ObjectModel]:
    """Load the objects of a folder: a BOP model folder (with ``models_info.json``) or a folder of mesh files.

    Args:
        directory: The folder.
        unit: Unit of all files; see `load_model`.
        names: Objects to load; empty: all.

    Returns:
        Models by name, in the order of their numbers (BOP) or files.

    Raises:
        FileNotFoundError: The folder or a mesh does not exist.
        ValueError: No meshes, two objects of one name, a name that is not there, or what `load_model` raises.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"model folder {directory} does not exist")
    files = _bop_files(directory) if (directory / "models_info.json").is_file() else _mesh_files(directory)
    if not files:
        raise ValueError(f"model folder {directory} has no meshes ({', '.join(MESH_SUFFIXES)})")
    unknown = sorted(set(names) - files.keys())
    if unknown:
        raise ValueError(f"model folder {directory} has no object {unknown}; it has {sorted(files)}")
    return {name: load_model(path, unit, name) for name, path in files.items() if not names or name in names}


def model_name(object_id: int, entry: Mapping[str, Any] | None) -> str:
    """Name of a BOP object: that of its entry in ``models_info.json``, otherwise ``obj_NNNNNN``."""
    return str((entry or {}).get("name") or f"obj_{object_id:06d}")


def read_models_info(directory: Path) -> dict[int, dict[str, Any]]:
    """Entries of ``models_info.json`` by object number; empty if there is no such file.

    Raises:
        ValueError: The file is no JSON object of objects with whole numbers as keys, or two objects have one
            name.
    """
    path = directory / "models_info.json"
    if not path.is_file():
        return {}
    try:
        tree = {int(key): dict(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a valid models_info.json: {error}") from error
    seen: dict[str, int] = {}
    for number, entry in tree.items():
        name = model_name(number, entry)
        if name in seen:
            raise ValueError(f"duplicate object name {name!r} in {path}: objects {seen[name]} and {number}")
        seen[name] = number
    return tree


def _bop_files(directory: Path) -> dict[str, Path]:
    """Mesh file of each object in ``models_info.json``; a PLY is preferred."""
    files = {}
    suffixes = sorted(MESH_SUFFIXES, key=lambda suffix: suffix != ".ply")
    for number, entry in sorted(read_models_info(directory).items()):
        candidates = [directory / f"obj_{number:06d}{suffix}" for suffix in suffixes]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"mesh file {candidates[0]} of object {number} in models_info.json does not exist"
            )
        files[model_name(number, entry)] = path
    return files


def _mesh_files(directory: Path) -> dict[str, Path]:
    """Mesh files of a plain folder by their names without suffix."""
    files: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix.lower() not in MESH_SUFFIXES:
            continue
        if path.stem in files:
            raise ValueError(f"duplicate object name {path.stem!r}: {files[path.stem]} and {path}")
        files[path.stem] = path
    return files


def _bop_entry(path: Path) -> tuple[int, dict[str, Any] | None]:
    """Number and entry of a mesh in a BOP model folder; (0, None) for any other mesh."""
    match = _BOP_FILE.match(path.stem)
    if match is None:
        return 0, None
    number = int(match.group(1))
    entry = read_models_info(path.parent).get(number)
    return (number, entry) if entry is not None else (0, None)


def _symmetries(path: Path, entry: Mapping[str, Any]) -> Symmetries:
    try:
        return Symmetries.from_models_info(entry)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"symmetries of {path.stem} in {path.parent / 'models_info.json'}: {error}"
        ) from error


def _check_size(path: Path, diameter_m: float, unit: str) -> None:
    """Refuse an object that is smaller or larger than anything this package is for."""
    if _SMALLEST_M <= diameter_m <= _LARGEST_M:
        return
    in_file = diameter_m / UNITS[unit]
    plausible = [u for u, scale in UNITS.items() if _SMALLEST_M <= in_file * scale <= _LARGEST_M]
    advice = f"; is its unit {' or '.join(map(repr, plausible))}?" if plausible else ""
    raise ValueError(
        f"mesh file {path} has a diameter of {diameter_m:.4g} m when read with unit={unit!r}, "
        f"expected {_SMALLEST_M} m to {_LARGEST_M} m{advice}"
    )


def _units() -> str:
    return ", ".join(map(repr, UNITS))
