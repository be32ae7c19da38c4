"""A synthetic sequence: two boxes on known paths, no images that matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from dr_perception.evaluation.records import PoseRecord
from dr_perception.geometry import se3
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

FRAMES = 40
CAMERA = Camera(width=160, height=120, fx=150.0, fy=150.0, cx=79.5, cy=59.5)


def box_mesh(size: Sequence[float]) -> Mesh:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], dtype=np.int32)
    return Mesh(corners, faces, None, None, None)


class SyntheticSource:
    """A `FrameSource` with exact ground truth."""

    name = "synthetic/000001"
    scene_id = 1
    camera = CAMERA

    def __init__(self, truth: list[dict[str, np.ndarray]], object_ids: Mapping[str, int]) -> None:
        self.truth, self.object_ids = truth, dict(object_ids)
        self.image_ids = [10 + k for k in range(len(truth))]
        self.stamps_ns = [1_000 + 33_000_000 * k for k in range(len(truth))]

    def __len__(self) -> int:
        return len(self.truth)

    def __iter__(self) -> Iterator[Frame]:
        rows, columns = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
        color = np.stack([rows + 60, columns, 0 * rows + 90], axis=2).astype(np.uint8)
        for k in range(len(self)):
            yield Frame(color=color, depth=None, camera=CAMERA, stamp_ns=self.stamps_ns[k])

    def ground_truth(self, index: int) -> dict[str, np.ndarray] | None:
        return self.truth[index]


def trajectory(count: int, offset: Sequence[float]) -> list[np.ndarray]:
    angles = np.linspace(0.0, 1.5, count)
    return [
        se3.make_transform(
            se3.exp_so3(a * np.array([0.3, 0.8, 0.2])), np.add(offset, (0.05 * np.sin(a), 0, 0))
        )
        for a in angles
    ]


def noisy_records(source: SyntheticSource, sigma: np.ndarray, rng: np.random.Generator) -> list[PoseRecord]:
    """Poses with Gaussian errors of the covariance that they report."""
    frames = list(source)
    return [
        PoseRecord(frame.stamp_ns, name, se3.retract(T, sigma * rng.standard_normal(6)), np.diag(sigma**2))
        for k, frame in enumerate(frames)
        for name, T in source.truth[k].items()
    ]


@pytest.fixture(scope="session")
def models() -> dict[str, ObjectModel]:
    revolution = Symmetries(continuous=(ContinuousSymmetry(np.array([0.0, 0.0, 1.0])),))
    return {
        "box": ObjectModel("box", box_mesh((0.08, 0.05, 0.03)), object_id=1),
        "can": ObjectModel("can", box_mesh((0.05, 0.05, 0.10)), revolution, object_id=2),
    }


def make_source() -> SyntheticSource:
    paths = {"box": trajectory(FRAMES, (-0.05, 0.0, 0.5)), "can": trajectory(FRAMES, (0.08, 0.02, 0.6))}
    return SyntheticSource([{n: p[k] for n, p in paths.items()} for k in range(FRAMES)], {"box": 1, "can": 2})


@pytest.fixture
def source() -> SyntheticSource:
    """A source that a test may change."""
    return make_source()


@pytest.fixture(scope="session")
def fixed_source() -> SyntheticSource:
    """A source that no test changes."""
    return make_source()


@pytest.fixture(scope="session")
def records(fixed_source: SyntheticSource) -> list[PoseRecord]:
    sigma = np.array([0.0005, 0.0005, 0.001, 0.008, 0.008, 0.004])
    return noisy_records(fixed_source, sigma, np.random.default_rng(7))
