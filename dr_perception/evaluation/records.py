"""Recorded poses: what a tracker or a node said about an object in a frame, and its CSV file.

Two files exist. ``trajectory.csv`` (this module) keeps everything: stamp, name, status, score, pose,
covariance. ``poses.csv`` is the result format of the BOP Challenge, which knows neither covariance nor
status.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.se3 import make_transform, matrix_from_quaternion, quaternion_from_matrix
from dr_perception.tracking.result import Status

__all__ = ["PoseRecord", "read_records", "write_records"]

_UPPER = np.triu_indices(6)
_POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
_COVARIANCE = tuple(f"c{i}{j}" for i, j in zip(*_UPPER, strict=True))
COLUMNS = ("stamp_ns", "name", "status", "score", *_POSE, *_COVARIANCE)


def _unknown_covariance() -> NDArray[np.float64]:
    return np.full((6, 6), np.nan)


@dataclass(frozen=True)
class PoseRecord:
    """One object in one frame."""

    stamp_ns: int
    """Stamp of the image the pose belongs to [ns]."""
    name: str
    """Name of the object instance."""
    T_cam_obj: NDArray[np.float64]
    """(4, 4) pose [m]."""
    covariance: NDArray[np.float64] = field(default_factory=_unknown_covariance)
    """(6, 6), tangent order (v, w), camera axes; NaN where none was reported."""
    status: Status = Status.TRACKING
    """Reported health of the object."""
    score: float = 1.0
    """Probability that the pose is right, 0..1."""

    def __post_init__(self) -> None:
        """Check the shapes."""
        if np.shape(self.T_cam_obj) != (4, 4):
            raise ValueError(f"pose of '{self.name}' must have shape (4, 4), got {np.shape(self.T_cam_obj)}")
        if np.shape(self.covariance) != (6, 6):
            raise ValueError(f"covariance of '{self.name}' must be (6, 6), got {np.shape(self.covariance)}")


def write_records(path: str | Path, records: Iterable[PoseRecord]) -> None:
    """Write records as CSV: translation [m], quaternion x y z w, upper triangle of the covariance by rows."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in records:
            T = np.asarray(record.T_cam_obj, dtype=np.float64)
            values = [*T[:3, 3], *quaternion_from_matrix(T[:3, :3]), *np.asarray(record.covariance)[_UPPER]]
            head = [record.stamp_ns, record.name, record.status.name, repr(float(record.score))]
            writer.writerow([*head, *(repr(float(v)) for v in values)])


def read_records(path: str | Path) -> list[PoseRecord]:
    """Read what :func:`write_records` wrote.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A column is missing or a row cannot be read; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"pose file {path} does not exist")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} is not a trajectory file: columns {missing} are missing")
        return [_record(row, f"{path}:{reader.line_num}") for row in reader]


def _record(row: dict[str, str], place: str) -> PoseRecord:
    try:
        pose = np.array([float(row[c]) for c in _POSE])
        covariance = np.zeros((6, 6))
        covariance[_UPPER] = [float(row[c]) for c in _COVARIANCE]
        covariance.T[_UPPER] = covariance[_UPPER]
        T_cam_obj = make_transform(matrix_from_quaternion(pose[3:]), pose[:3])
        stamp, score = int(row["stamp_ns"]), float(row["score"])
        return PoseRecord(stamp, row["name"], T_cam_obj, covariance, Status[row["status"]], score)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: cannot read the row: {error}") from error
