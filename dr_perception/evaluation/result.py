"""What an evaluation yields: errors per object and frame, and the summary written to ``metrics.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.evaluation.statistics import Summary, auc, recall, summary
from dr_perception.tracking.result import Status

__all__ = ["LOST_FRACTION", "Metrics", "ObjectErrors", "Timing"]

LOST_FRACTION = 0.2
"""An error above this share of the diameter is a lost object, whatever the tracker says."""

RECALL_FRACTION = 0.1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectErrors:
    """Errors of one object over the scored frames; without a pose an error is inf. Lengths in metres."""

    name: str
    diameter_m: float
    symmetric: bool
    dof: int
    """Observable degrees of freedom: 6, less for continuous symmetry."""
    frame: NDArray[np.int64]
    """(F,) indices into the sequence."""
    stamp_ns: NDArray[np.int64]
    """(F,) stamps [ns]."""
    add: Array
    """(F,) ADD [m], the smallest over the symmetries."""
    add_s: Array
    """(F,) ADD-S [m]."""
    rotation: Array
    """(F,) rotation error [rad]."""
    translation: Array
    """(F,) translation error [m]."""
    mssd: Array
    """(F,) maximum symmetry-aware surface distance [m]."""
    mspd: Array
    """(F,) maximum symmetry-aware projection distance [pixel]."""
    nees: Array
    """(F,) normalised error squared; NaN without covariance."""
    error: Array
    """(F, 6) signed error (v, w) [m, rad] in camera axes; NaN without a pose."""
    status: tuple[Status | None, ...]
    """Reported status of each frame, None without a pose."""
    score: Array
    """(F,) reported score, NaN without a pose."""
    T_est: Array
    """(F, 4, 4) estimated poses, NaN without a pose."""
    T_ref: Array
    """(F, 4, 4) reference poses."""

    @property
    def lost(self) -> NDArray[np.bool_]:
        """(F,) frames without a usable pose: none given, reported LOST, or ADD above 20 % of the diameter."""
        return self.reported_lost | self.far_off

    @property
    def reported_lost(self) -> NDArray[np.bool_]:
        """(F,) frames in which the tracker said LOST or gave no pose."""
        return np.array([s in (None, Status.LOST) for s in self.status], dtype=bool)

    @property
    def far_off(self) -> NDArray[np.bool_]:
        """(F,) frames whose ADD is above 20 % of the diameter."""
        return np.asarray(~(self.add <= LOST_FRACTION * self.diameter_m))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(F,) frames whose ADD is below a tenth of the diameter."""
        return np.asarray(self.add < RECALL_FRACTION * self.diameter_m)


@dataclass(frozen=True)
class Timing:
    """Wall-clock times per scored frame [ms]; empty where nothing was timed."""

    track: Array = field(default_factory=lambda: np.zeros(0))
    """The call of ``Tracker.track``."""
    per_object: Array = field(default_factory=lambda: np.zeros(0))
    """The same divided by the number of objects tracked."""
    load: Array = field(default_factory=lambda: np.zeros(0))
    """Reading and decoding the frame."""

    def to_dict(self) -> dict[str, Summary]:
        """Summaries in the form of ``metrics.json``."""
        return {name: summary(getattr(self, name)) for name in ("track", "per_object", "load")}


@dataclass(frozen=True)
class Metrics:
    """Errors of a run over a sequence with all that is needed to report them."""

    sequence: str
    frames: int
    """Number of scored frames."""
    objects: dict[str, ObjectErrors]
    timing: Timing = field(default_factory=Timing)
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved configuration."""
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``metrics.json``, in millimetres, degrees and milliseconds.

        ``lost_frames`` counts frames without a usable pose (see :attr:`ObjectErrors.lost`). A frame without
        any pose is a miss in the recalls and areas; means and quantiles are over the frames that have one.
        ``symmetric`` of ``all`` says whether any object is symmetric.
        """
        every = list(self.objects.values())
        return {
            "sequence": self.sequence,
            "frames": self.frames,
            "objects": {name: summarise([errors]) for name, errors in self.objects.items()},
            "all": summarise(every),
            "timing_ms": self.timing.to_dict(),
            "config": dict(self.config),
            "versions": dict(self.versions),
        }

    def write(self, path: str | Path) -> None:
        """Write ``metrics.json``."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")


def summarise(parts: Iterable[ObjectErrors]) -> dict[str, Any]:
    """One entry of ``metrics.json`` over the frames of one or more objects."""
    parts = [p for p in parts if len(p.frame)]
    if not parts:
        raise ValueError("nothing to summarise: no frame has a reference pose of a tracked object")
    add = np.concatenate([p.add for p in parts])
    tenth = np.concatenate([np.full(len(p.add), RECALL_FRACTION * p.diameter_m) for p in parts])
    return {
        "add_mm": summary(1e3 * add),
        "add_s_mm": summary(1e3 * np.concatenate([p.add_s for p in parts])),
        "rotation_deg": summary(np.rad2deg(np.concatenate([p.rotation for p in parts]))),
        "translation_mm": summary(1e3 * np.concatenate([p.translation for p in parts])),
        "recall_10pct": recall(add, tenth),
        "auc_add_2cm": auc(add, 0.02),
        "auc_add_10cm": auc(add, 0.10),
        "lost_frames": int(sum(p.lost.sum() for p in parts)),
        "symmetric": any(p.symmetric for p in parts),
    }
