"""What the tracking benchmarks share: scenes in BOP layout, errors of a pose, summaries, the machine."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.bop import BopScene
from dr_perception.data.models import load_model
from dr_perception.evaluation.metrics import add_symmetric, rotation_error, translation_error
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh_measure import sample_surface
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import retract
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DR_PERCEPTION_SHARED", ROOT.parent / "shared"))
OPEN_SCENES = SHARED / "data/bench/open"
REAL_SETS = ("ycbv_frames", "icbin_frames", "visp_rbt_sequence")
"""Folders below data/real with objects that move on their own."""
LEVELS = {"10 mm, 5 deg": (0.010, 5.0), "30 mm, 15 deg": (0.030, 15.0), "50 mm, 30 deg": (0.050, 30.0)}
"""Distances [m] and angles [deg] of the guesses that refinement starts from, as in the comparison harness."""
RIGHT = 0.1
"""Share of the diameter below which an error counts as right."""

Poses = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Row:
    """One object in one frame."""

    scene: str
    frame: int
    object: str
    diameter_m: float
    add_m: float
    rotation_rad: float
    translation_m: float
    status: str
    score: float

    @property
    def right(self) -> bool:
        """Whether ADD, over the declared symmetries, is below a tenth of the diameter."""
        return self.add_m < RIGHT * self.diameter_m


class SceneData:
    """A scene held in memory, with its models and ground truth."""

    def __init__(self, folder: Path, models: Path, stride: int = 1, limit: int | None = None) -> None:
        """Read the frames; ``stride`` keeps every so-many-th, ``limit`` is the number of frames kept."""
        ids = BopScene(folder).image_ids[::stride][:limit]
        source = BopScene(folder, models=models, image_ids=ids)
        self.name = folder.name
        self.image_ids = list(ids)
        self.frames = list(source)
        self.truth: list[Poses] = [source.ground_truth(k) or {} for k in range(len(ids))]
        self.models = {
            name: load_model(models / f"obj_{number:06d}.ply", name=name)
            for name, number in source.object_ids.items()
        }
        info = folder / "scene_gt_info.json"
        self._info: dict[str, Any] = json.loads(info.read_text()) if info.is_file() else {}
        self._points = {name: evaluation_points(model) for name, model in self.models.items()}

    @cached_property
    def has_camera_path(self) -> bool:
        """Whether the camera's pose is known and changes."""
        path = [frame.T_world_cam for frame in self.frames]
        return path[0] is not None and any(not np.allclose(path[0], T) for T in path)

    def visible_fraction(self, index: int, name: str) -> float:
        """Share of an object's silhouette that is visible, 1 where the scene does not say."""
        if not self._info:
            return 1.0
        entry = self._info[str(self.image_ids[index])][list(self.truth[index]).index(name)]
        return float(entry["visib_fract"])

    def row(self, index: int, name: str, T: NDArray[np.float64], status: str, score: float) -> Row:
        """Errors of a pose against the ground truth of a frame."""
        model, reference = self.models[name], self.truth[index][name]
        symmetries = model.symmetries
        return Row(
            self.name,
            self.image_ids[index],
            name,
            model.diameter_m,
            add_symmetric(T, reference, self._points[name], symmetries),
            rotation_error(T, reference, symmetries),
            translation_error(T, reference, symmetries),
            status,
            score,
        )


def evaluation_points(model: ObjectModel, count: int = 1000) -> NDArray[np.float64]:
    """Points, uniform over the surface, over which ADD is taken."""
    return sample_surface(model.mesh, count, np.random.default_rng(0))[0]


def moved(
    T: NDArray[np.float64], distance_m: float, angle_deg: float, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """A pose (4, 4) moved by exactly a distance and an angle, in random directions."""
    d, w = rng.normal(size=3), rng.normal(size=3)
    xi = np.concatenate([distance_m * d / np.linalg.norm(d), np.radians(angle_deg) * w / np.linalg.norm(w)])
    return retract(T, xi)


def about(symmetries: Symmetries, point: NDArray[np.float64]) -> Symmetries:
    """Symmetries in a frame whose origin is moved to a point of the old one."""
    axes = tuple(ContinuousSymmetry(s.axis, s.offset - point) for s in symmetries.continuous)
    discrete = np.array(symmetries.discrete)
    discrete[:, :3, 3] += discrete[:, :3, :3] @ point - point
    return Symmetries(discrete, axes)


def scene_folders(root: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Scene folders with ground truth below a folder, or those of them that are named.

    Raises:
        FileNotFoundError: There is none, or a name is not among them.
    """
    found = {p.name: p for p in sorted(root.glob("*")) if (p / "scene_gt.json").is_file()}
    if not found:
        raise FileNotFoundError(f"no scene in BOP layout (a folder with scene_gt.json) below {root}")
    missing = set(names or ()) - set(found)
    if missing:
        raise FileNotFoundError(f"no scene {sorted(missing)} below {root}; there are {sorted(found)}")
    return [found[name] for name in (names or found)]


def read_scenes(
    root: Path, names: Sequence[str] | None = None, stride: int = 1, limit: int | None = None
) -> Iterator[SceneData]:
    """Scenes one after the other, so that one is in memory at a time."""
    for folder in scene_folders(root, names):
        yield SceneData(folder, root / "models", stride, limit)


def there_and_back(count: int, length: int) -> list[int]:
    """Indices 0, 1, .. count - 1, count - 2, .. 0, 1, .. for a sequence that is played to and fro."""
    if count < 2:
        raise ValueError(f"playing to and fro needs at least two frames, got {count}")
    period = 2 * (count - 1)
    return [min(k % period, period - k % period) for k in range(length)]


def restamped(frame: Frame, number: int, rate_hz: float = 30.0) -> Frame:
    """The same frame with the stamp of a place in a longer sequence."""
    return replace(frame, stamp_ns=round(number * 1e9 / rate_hz))


def pin_to_core(core: int | None) -> None:
    """Let this process, and threads it starts later, run on one core alone."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, load and date."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = names[0] if names else name
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def write_report(path: Path, **content: Any) -> None:
    """Write a JSON file with the machine and the date, and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **content}, indent=1, default=_plain))
    print(f"\nwritten to {path}")


def _plain(value: Any) -> Any:
    if isinstance(value, Row):
        return asdict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return float(value)
