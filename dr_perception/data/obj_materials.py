"""Materials of OBJ files.

Open3D 0.20 returns the materials of an OBJ without their names, merges equal ones, and does not find a
texture whose name is followed by a space. So the material files are read here, and Open3D is given a copy
in which the diffuse colour of each material is its number; geometry and the assignment of faces come from
Open3D, colours and textures from here.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Materials", "ObjMaterial", "coded_obj", "read_materials"]

_log = logging.getLogger(__name__)
_MTLLIB = re.compile(rb"^[ \t]*mtllib[ \t]+(.+?)[ \t\r]*$", re.MULTILINE)
_CODE_STEPS = 65536


@dataclass
class ObjMaterial:
    """The part of a material that is used."""

    name: str
    color: tuple[int, int, int] | None = None
    """Diffuse colour (Kd), sRGB."""
    texture: str | None = None
    """File of the diffuse texture (map_Kd), relative to the OBJ."""


@dataclass
class Materials:
    """All materials that an OBJ can use."""

    materials: list[ObjMaterial] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Names of the material files, as the OBJ has them."""

    def coded_text(self) -> str:
        """A material file in which the colour of each material is its number."""
        lines = []
        for number, material in enumerate(self.materials):
            lines += [f"newmtl {material.name}", f"Kd {number / _CODE_STEPS:.10f} 0 1", ""]
        return "\n".join(lines)

    def decode(self, base_color: Sequence[float]) -> ObjMaterial | None:
        """The material with this coded colour; None for the default one of faces without a material."""
        if base_color[1] != 0.0 or base_color[2] != 1.0:
            return None
        number = round(float(base_color[0]) * _CODE_STEPS)
        return self.materials[number] if number < len(self.materials) else None


def read_materials(path: Path) -> Materials:
    """Read the material files that an OBJ names.

    A material file that does not exist is logged: the object then has no colours.

    Raises:
        ValueError: A material file lies outside the folder of the OBJ.
    """
    found = Materials()
    for name_bytes in dict.fromkeys(_MTLLIB.findall(path.read_bytes())):
        name = name_bytes.decode("utf-8", "surrogateescape")
        file = path.parent / name
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise ValueError(f"material file {name!r} of {path} lies outside its folder")
        if not file.is_file():
            _log.warning(
                "%s: material file %r does not exist; the object is loaded without colours", path, name
            )
            continue
        found.files.append(name)
        found.materials += _read_material_file(file, Path(name).parent)
    return found


@contextmanager
def coded_obj(path: Path, materials: Materials) -> Iterator[Path]:
    """Path of the OBJ beside material files with numbers for colours; the original if it has no materials."""
    if not materials.materials:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="dr_perception_") as folder:
        copy = Path(folder) / path.name
        copy.symlink_to(path.resolve())
        for name in materials.files:
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(materials.coded_text(), encoding="utf-8", errors="surrogateescape")
        yield copy


def _read_material_file(file: Path, folder: Path) -> list[ObjMaterial]:
    """Materials of one file; texture names are made relative to the OBJ by `folder`."""
    materials: list[ObjMaterial] = []
    for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        key, _, value = line.strip().partition(" ")
        value = value.strip()
        if key == "newmtl":
            materials.append(ObjMaterial(value))
        elif not materials:
            continue
        elif key == "Kd":
            materials[-1].color = _color(value, file)
        elif key == "map_Kd":
            materials[-1].texture = str(folder / _texture_name(value, file))
    return materials


def _color(value: str, file: Path) -> tuple[int, int, int] | None:
    """Three numbers 0..1 as bytes; None for spectral colours, which are not supported."""
    words = value.split()
    try:
        r, g, b = (round(255.0 * min(max(float(word), 0.0), 1.0)) for word in words[:3])
    except ValueError:
        _log.warning("%s: colour 'Kd %s' is not supported", file, value)
        return None
    return r, g, b


def _texture_name(value: str, file: Path) -> str:
    """File name of a map statement; options before it are not supported."""
    if not value.startswith("-"):
        return value.replace("\\", "/")
    _log.warning("%s: the options of 'map_Kd %s' are not supported", file, value)
    return value.split()[-1].replace("\\", "/")
