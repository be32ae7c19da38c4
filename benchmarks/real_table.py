"""The table of trials in real frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from real_trial import Trial

from dr_perception.evaluation.consistency import reliability

HEADER = (
    f"  {'':34s} {'n':>4s} {'right %':>7s} {'ECE':>5s} {'right < 0.5':>11s} {'wrong > 0.5':>11s}"
    f" {'NEES/dof':>8s} {'alone':>7s} {'claimed mm, deg':>15s} {'deviation mm, deg':>17s}"
    f" {'converged %':>11s} {'ms':>7s}"
)


def figures(trials: Sequence[Trial]) -> dict[str, float]:
    """Figures of one line; deviations are of right trials with a certain reference."""
    score = np.array([t.score for t in trials])
    right = np.array([t.right for t in trials], bool)
    sure = [t for t in trials if t.right and t.certain]

    def median(name: str) -> float:
        return float(np.median([getattr(t, name) for t in sure])) if sure else float("nan")

    return {
        "n": len(trials),
        "right_percent": 100.0 * float(right.mean()),
        "calibration_error": reliability(np.clip(score, 0.0, 1.0), right).expected_error,
        "right_doubted": int(np.sum(right & (score < 0.5))),
        "right": int(right.sum()),
        "wrong_believed": int(np.sum(~right & (score > 0.5))),
        "wrong": int(np.sum(~right)),
        "converged_percent": 100.0 * float(np.mean([t.converged for t in trials])),
        "ms": 1e3 * float(np.median([t.wall_s for t in trials])),
        **{
            f"{name}_median": median(name)
            for name in ("nees", "nees_alone", "sigma_m", "sigma_rad", "deviation_m", "deviation_rad")
        },
    }


def line(name: str, f: dict[str, float]) -> str:
    """One line under `HEADER`; counts stand for shares of the right, and of the wrong."""
    claimed = f"{1e3 * f['sigma_m_median']:.2f}, {np.degrees(f['sigma_rad_median']):.2f}"
    deviation = f"{1e3 * f['deviation_m_median']:.2f}, {np.degrees(f['deviation_rad_median']):.2f}"
    doubted = f"{f['right_doubted']:.0f}/{f['right']:.0f}"
    believed = f"{f['wrong_believed']:.0f}/{f['wrong']:.0f}"
    return (
        f"  {name:34s} {f['n']:4.0f} {f['right_percent']:7.1f} {f['calibration_error']:5.2f}"
        f" {doubted:>11s} {believed:>11s} {f['nees_median']:8.2f} {f['nees_alone_median']:7.1f}"
        f" {claimed:>15s} {deviation:>17s} {f['converged_percent']:11.0f} {f['ms']:7.1f}"
    )


def groups(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Trials of one part by reference, together, and by amount and mask where there are several."""
    found: dict[str, list[Trial]] = {}
    for t in trials:
        found.setdefault(t.reference + ("" if t.is_truth else " *"), []).append(t)
    found["all"] = list(trials)
    found["all, ground truth"] = [t for t in trials if t.is_truth]
    ways = dict.fromkeys((t.level, t.masked) for t in trials)
    for level, masked in ways if len(ways) > 1 else ():
        chosen = [t for t in trials if (t.level, t.masked) == (level, masked)]
        found[f"all from {level}{', mask' if masked else ''}"] = chosen
    return {name: chosen for name, chosen in found.items() if chosen}


def mean_of_references(trials: Sequence[Trial]) -> dict[str, float]:
    """Shares [%] and calibration error, every reference with the same weight, however many trials it has."""
    parts = [figures([t for t in trials if t.reference == r]) for r in {t.reference for t in trials}]
    return {
        "right_percent": float(np.mean([f["right_percent"] for f in parts])),
        "calibration_error": float(np.mean([f["calibration_error"] for f in parts])),
        "right_doubted_percent": _mean_share(parts, "right_doubted", "right"),
        "wrong_believed_percent": _mean_share(parts, "wrong_believed", "wrong"),
    }


def _mean_share(parts: Sequence[dict[str, float]], some: str, every: str) -> float:
    """Mean share [%] over the parts that have any."""
    found = [100.0 * f[some] / f[every] for f in parts if f[every]]
    return float(np.mean(found)) if found else float("nan")


def shares(f: dict[str, float]) -> str:
    """The line of `mean_of_references`."""
    return (
        f"  references weighted alike: right {f['right_percent']:.1f} %, calibration error"
        f" {f['calibration_error']:.3f}, of the right below 0.5 {f['right_doubted_percent']:.1f} %, of the"
        f" wrong above 0.5 {f['wrong_believed_percent']:.1f} %"
    )


def show(trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """Print the table of every part; answers that cannot be judged are counted and left out."""
    lines = {}
    for part in dict.fromkeys(t.part for t in trials):
        chosen = [t for t in trials if t.part == part]
        judged = [t for t in chosen if t.judged]
        print(f"\n{part}: {len(chosen)} trials, {len(chosen) - len(judged)} of them not judged")
        print(HEADER)
        for name, group in groups(judged).items():
            lines[f"{part}, {name}"] = figures(group)
            print(line(name, lines[f"{part}, {name}"]))
        lines[f"{part}, mean"] = mean_of_references(judged)
        print(shares(lines[f"{part}, mean"]))
    print("  * reference by ICP, not ground truth")
    return lines
