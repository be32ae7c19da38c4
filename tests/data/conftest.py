"""Small scenes and meshes that the tests of this room write and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import make_transform, random_rotation

CAMERA = Camera(
    width=32, height=24, fx=30.0, fy=31.0, cx=15.5, cy=11.5, distortion=(0.1, -0.05, 0.001, 0.002, 0.0)
)
START_NS = 1_700_000_000_123_456_789
PERIOD_NS = 33_333_333

Poses = dict[str, NDArray[np.float64]]


class Recording:
    """Frames and ground truth in memory, as a `FrameSource`."""

    name = "made up"
    scene_id = 7

    def __init__(self, frames: list[Frame], poses: list[Poses]) -> None:
        self.frames, self.poses = frames, poses
        self.image_ids = range(len(frames))
        self.stamps_ns = [frame.stamp_ns for frame in frames]
        self.camera = frames[0].camera
        self.object_ids = {name: k for k, name in enumerate(sorted(poses[0]), start=1)}

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def ground_truth(self, index: int) -> Poses | None:
        return self.poses[index]


def random_pose(rng: np.random.Generator) -> NDArray[np.float64]:
    return make_transform(random_rotation(rng), rng.normal(size=3))


def make_recording(count: int = 5, metric_depth: bool = False, seed: int = 0) -> Recording:
    """Frames of noise: every pixel of every frame is different, so that a mix-up cannot go unnoticed."""
    rng = np.random.default_rng(seed)
    frames, poses = [], []
    for k in range(count):
        depth: NDArray[np.generic] = rng.integers(0, 65536, (CAMERA.height, CAMERA.width), dtype=np.uint16)
        if metric_depth:
            depth = rng.uniform(0.2, 5.0, depth.shape).astype(np.float32)
        frames.append(
            Frame(
                color=rng.integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8),
                depth=depth,
                camera=CAMERA,
                stamp_ns=START_NS + k * PERIOD_NS,
                depth_scale_m=1.0 if metric_depth else 0.001,
                T_world_cam=random_pose(rng),
                frame_id="optical",
            )
        )
        poses.append({"mug": random_pose(rng), "box": random_pose(rng)})
    return Recording(frames, poses)


@pytest.fixture
def recording() -> Recording:
    return make_recording()


CUBE_VERTICES = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64) - 0.5
# Two triangles a side: -x, +x, -y, +y, -z, +z.
_SIDES = ([0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3])
CUBE_FACES = np.array([f for a, b, c, d in _SIDES for f in ([a, b, c], [a, c, d])], dtype=np.int32)


def write_obj(path: Path, scale: float = 0.1, head: str = "", faces: str = "") -> Path:
    """A cube with edges of `scale`; `faces` replaces its plain faces."""
    lines = [head, *(f"v {x} {y} {z}" for x, y, z in CUBE_VERTICES * scale)]
    lines.append(faces or "\n".join("f " + " ".join(str(i + 1) for i in face) for face in CUBE_FACES))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_stl(path: Path, scale: float = 0.1) -> Path:
    """A binary STL: 12 separate triangles."""
    record = np.zeros(
        len(CUBE_FACES), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("pad", "<u2")])
    )
    record["corners"] = CUBE_VERTICES[CUBE_FACES] * scale
    path.write_bytes(bytes(80) + np.uint32(len(record)).tobytes() + record.tobytes())
    return path


def write_ply(
    path: Path, scale: float = 100.0, format: str = "binary_little_endian", head: str = "", uv: bool = False
) -> Path:
    """A cube as PLY; with `uv` each vertex gets u = its number / 8 and v = 1 - u."""
    order = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}[format]
    names = ["x", "y", "z", *(["texture_u", "texture_v"] if uv else [])]
    rows = np.column_stack([CUBE_VERTICES * scale, *((np.arange(8) / 8, 1 - np.arange(8) / 8) if uv else ())])
    header = ["ply", f"format {format} 1.0", *([head] if head else []), f"element vertex {len(rows)}"]
    header += [f"property float {name}" for name in names]
    header += [f"element face {len(CUBE_FACES)}", "property list uchar int vertex_indices", "end_header", ""]
    if format == "ascii":
        body = "\n".join(" ".join(map(str, row)) for row in rows) + "\n"
        body += "\n".join("3 " + " ".join(map(str, face)) for face in CUBE_FACES) + "\n"
        data = body.encode()
    else:
        faces = np.zeros(len(CUBE_FACES), np.dtype([("n", "u1"), ("i", order + "i4", 3)]))
        faces["n"], faces["i"] = 3, CUBE_FACES
        data = rows.astype(order + "f4").tobytes() + faces.tobytes()
    path.write_bytes("\n".join(header).encode() + data)
    return path


WriteMesh = Callable[[Path], Path]
