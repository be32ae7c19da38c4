"""The table of a tracking run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scenes import Row

HEADER = (
    f"  {'':22s} {'ADD mm median':>13s} {'mean':>6s} {'p95':>6s} {'max':>7s} {'<10 % d':>8s} {'<2 mm':>6s}"
    f" {'rot deg':>8s} {'trans mm':>8s} {'lost':>5s}   ms an object: median / p95 / p99"
)


def lost(rows: Sequence[Row]) -> bool:
    """Whether a track (rows of one object in one scene) ends lost.

    As the comparison harness counts: the median of the last ten errors is above a fifth of the diameter.
    """
    return bool(np.median([row.add_m for row in rows[-10:]]) > 0.2 * rows[0].diameter_m)


def tracks(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by scene and object."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.scene, row.object), []).append(row)
    return list(found.values())


def figures(rows: Sequence[Row], times_ms: Sequence[float]) -> dict[str, float]:
    """Figures of one line; times are milliseconds an object."""
    add = 1e3 * np.array([row.add_m for row in rows])
    median, p95, p99 = np.percentile(times_ms, [50, 95, 99])
    return {
        "add_median_mm": float(np.median(add)),
        "add_mean_mm": float(add.mean()),
        "add_p95_mm": float(np.percentile(add, 95)),
        "add_max_mm": float(add.max()),
        "below_tenth_percent": 100.0 * float(np.mean([row.right for row in rows])),
        "below_2mm_percent": 100.0 * float(np.mean(add < 2.0)),
        "rotation_median_deg": float(np.degrees(np.median([row.rotation_rad for row in rows]))),
        "translation_median_mm": 1e3 * float(np.median([row.translation_m for row in rows])),
        "lost": sum(lost(track) for track in tracks(rows)),
        "ms_median": float(median),
        "ms_p95": float(p95),
        "ms_p99": float(p99),
    }


def line(name: str, f: Mapping[str, float]) -> str:
    """One line under `HEADER`."""
    return (
        f"  {name:22s} {f['add_median_mm']:13.3f} {f['add_mean_mm']:6.3f} {f['add_p95_mm']:6.2f}"
        f" {f['add_max_mm']:7.2f}"
        f" {f['below_tenth_percent']:8.1f} {f['below_2mm_percent']:6.1f} {f['rotation_median_deg']:8.3f}"
        f" {f['translation_median_mm']:8.3f} {f['lost']:5.0f}  "
        f" {f['ms_median']:6.2f} / {f['ms_p95']:5.2f} / {f['ms_p99']:5.2f}"
    )
