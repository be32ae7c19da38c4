"""Pose estimates in the result format of the BOP Challenge: ``scene_id,im_id,obj_id,score,R,t,time``.

R is row by row, t in millimetres, time in seconds for the whole image (-1 where it is not known); see
https://bop.felk.cvut.cz/challenges/bop-challenge-2020. Poses in memory are in metres.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.se3 import check_transform, make_transform

__all__ = ["BopResult", "read_bop_results", "write_bop_results"]

_COLUMNS = ("scene_id", "im_id", "obj_id", "score", "R", "t", "time")


@dataclass(frozen=True, eq=False)
class BopResult:
    """One estimate of one object in one image."""

    scene_id: int
    image_id: int
    object_id: int
    score: float
    """Confidence; larger is better."""
    T_cam_obj: NDArray[np.float64]
    """Pose, shape (4, 4), metres."""
    time_s: float = -1.0
    """Time for the whole image [s]; -1 if it is not known."""


def write_bop_results(path: str | Path, results: Iterable[BopResult]) -> None:
    """Write estimates; numbers are written so that reading them gives the very same values of rotation.

    Args:
        path: File to write.
        results: The estimates, in the order in which they are written.
    """
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for result in results:
            T = check_transform(result.T_cam_obj, "T_cam_obj")
            writer.writerow(
                [
                    result.scene_id,
                    result.image_id,
                    result.object_id,
                    repr(float(result.score)),
                    _joined(T[:3, :3]),
                    _joined(1e3 * T[:3, 3]),
                    repr(float(result.time_s)),
                ]
            )


def read_bop_results(path: str | Path) -> list[BopResult]:
    """Read estimates; a header line is optional.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A line is not valid; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"pose file {path} does not exist")
    results = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        for row in reader:
            if not row or (reader.line_num == 1 and row[0].strip() == _COLUMNS[0]):
                continue
            try:
                results.append(_parse(row))
            except ValueError as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return results


def _parse(row: list[str]) -> BopResult:
    if len(row) != len(_COLUMNS):
        raise ValueError(f"expected the {len(_COLUMNS)} columns {','.join(_COLUMNS)}, got {len(row)}")
    scene, image, number = (int(value) for value in row[:3])
    R, t = _numbers(row[4], 9).reshape(3, 3), _numbers(row[5], 3)
    T = check_transform(make_transform(R, 1e-3 * t), "R, t")
    return BopResult(scene, image, number, float(row[3]), T, float(row[6]))


def _numbers(text: str, count: int) -> NDArray[np.float64]:
    values = np.array([float(word) for word in text.split()])
    if values.size != count:
        raise ValueError(f"expected {count} numbers, got {text!r}")
    return values


def _joined(values: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in values.reshape(-1))
