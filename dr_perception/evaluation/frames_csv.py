"""``frames.csv``: the errors of every object in every frame, for one's own plots."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from dr_perception.evaluation.result import Metrics, ObjectErrors

__all__ = ["write_frames"]

COLUMNS = (
    "frame",
    "stamp_ns",
    "name",
    "status",
    "score",
    "add_mm",
    "add_s_mm",
    "rotation_deg",
    "translation_mm",
    "mssd_mm",
    "mspd_px",
    "nees",
)


def write_frames(path: str | Path, metrics: Metrics) -> None:
    """Write a row for each object and frame; without a pose errors are ``inf`` and the status is empty."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for errors in metrics.objects.values():
            writer.writerows(_rows(errors))


def _rows(errors: ObjectErrors) -> list[list[object]]:
    values = np.stack(
        [
            errors.score,
            1e3 * errors.add,
            1e3 * errors.add_s,
            np.rad2deg(errors.rotation),
            1e3 * errors.translation,
            1e3 * errors.mssd,
            errors.mspd,
            errors.nees,
        ],
        axis=1,
    )
    return [
        [
            int(frame),
            int(stamp),
            errors.name,
            "" if status is None else status.name,
            *(f"{v:.6g}" for v in row),
        ]
        for frame, stamp, status, row in zip(
            errors.frame, errors.stamp_ns, errors.status, values, strict=True
        )
    ]
