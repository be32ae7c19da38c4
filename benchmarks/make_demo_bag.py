"""Cut the demo that ships in ``models/demo`` from scene 5 of the project's own synthetic benchmark.

    python benchmarks/make_demo_bag.py

Colour keeps the JPEG files of the scene, depth is stored losslessly (compressedDepth), the models lose only
their stored normals. The benchmark is looked for in ``../shared``, or where ``DR_PERCEPTION_SHARED`` points.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from dr_perception.data.bag_writer import BagWriter
from dr_perception.data.bop import BopScene
from dr_perception.data.ply import read_ply_header

ROOT = Path(__file__).resolve().parents[1]
SCENE = "000005"
FRAMES = 48
FIRST_STAMP_NS = 1_760_000_000_000_000_000
"""The scene has no clock; a stamp near 0 would mean "unset" to tf2."""
LIMIT_BYTES = 10_000_000
DROPPED = {"nx", "ny", "nz"}


def shared_data() -> Path:
    """Folder of the benchmark's scenes."""
    shared = Path(os.environ.get("DR_PERCEPTION_SHARED", ROOT.parent / "shared"))
    return shared / "data" / "bench" / "open"


def write_bag(scene: BopScene, out: Path) -> None:
    """Write the scene as a recording with ground truth."""
    shutil.rmtree(out, ignore_errors=True)
    with BagWriter(out, storage="mcap", color="jpeg", depth="compressed", png_level=9) as writer:
        for index, frame in enumerate(scene):
            stamped = replace(frame, stamp_ns=FIRST_STAMP_NS + frame.stamp_ns, frame_id="")
            jpeg = (scene.path / "rgb" / f"{scene.image_ids[index]:06d}.jpg").read_bytes()
            writer.write(stamped, scene.ground_truth(index), jpeg)


def write_models(source: Path, out: Path, numbers: list[int]) -> None:
    """Copy models, without the normals of their vertices, and their entries in models_info.json."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    info = json.loads((source / "models_info.json").read_text(encoding="utf-8"))
    kept = {key: entry for key, entry in info.items() if int(key) in numbers}
    (out / "models_info.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for number in numbers:
        path = source / f"obj_{number:06d}.ply"
        (out / path.name).write_bytes(without_normals(path))
        for texture in read_ply_header(path).textures:
            shutil.copyfile(source / texture, out / texture)


def without_normals(path: Path) -> bytes:
    """Bytes of a binary PLY whose vertices have no normals."""
    header = read_ply_header(path)
    data = path.read_bytes()
    vertices = header.elements[0]
    if vertices.name != "vertex" or not header.order:
        raise ValueError(f"{path}: expected a binary PLY that starts with its vertices")
    dtype = np.dtype([(name, header.order + kind) for name, kind, _ in vertices.properties])
    end = header.size + dtype.itemsize * vertices.count
    rows = np.frombuffer(data[header.size : end], dtype)
    names = [name for name in dtype.names or () if name not in DROPPED]
    packed = np.empty(len(rows), np.dtype([(name, dtype[name]) for name in names]))
    for name in names:
        packed[name] = rows[name]
    lines = data[: header.size].decode().splitlines(keepends=True)
    text = "".join(line for line in lines if line.split()[-1] not in DROPPED)
    return text.encode() + packed.tobytes() + data[end:]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "models" / "demo", show_default=True)
def main(out: Path) -> None:
    """Write OUT/tabletop (the recording) and OUT/models."""
    source = shared_data()
    scene = BopScene(source / SCENE, image_ids=range(FRAMES))
    write_bag(scene, out / "tabletop")
    write_models(source / "models", out / "models", sorted(set(scene.object_ids.values())))
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    click.echo(f"{out}: {len(scene)} frames, {size / 1e6:.2f} MB")
    if size > LIMIT_BYTES:
        raise click.ClickException(f"the demo must stay below {LIMIT_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
