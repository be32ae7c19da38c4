"""The table of `honesty.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from honesty_errors import UNNAMED
from honesty_run import WITHIN, Run

HEADER = (
    f"  {'':24s} {'seq.':>4s} {'frames':>6s} {'ADD mm':>7s} {'right %':>7s} {'NEES mean':>9s} {'median':>7s}"
    f" {'wrong believed %':>16s} {'tracking %':>10s} {'score':>5s} {'sigma mm':>8s} {'named':>7s}"
    f" {'false':>5s} {'ms':>6s}"
)


def figures(runs: Sequence[Run], name: str | None = None) -> dict[str, float]:
    """Figures of some runs of one error, of all objects or of one."""
    pairs = [(run, key) for run in runs for key in run.objects if name in (None, key)]
    rows = [row for run, key in pairs for row in run.rows if row.object == key]
    settled = np.array([row.nees for row in rows if row.frame >= WITHIN and row.status != "lost"])
    settled = settled[~np.isnan(settled)]

    def percent(values: Sequence[bool]) -> float:
        return 100.0 * float(np.mean(values)) if values else float("nan")

    def median(values: Sequence[float]) -> float:
        return float(np.median(values)) if len(values) else float("nan")

    return {
        "sequences": len(pairs),
        "frames": len(rows),
        "add_median_mm": 1e3 * median([row.add_m for row in rows]),
        "right_percent": percent([row.right for row in rows]),
        "nees_mean": float(settled.mean()) if len(settled) else float("nan"),
        "nees_median": median(settled),
        "wrong_believed": sum(row.believed and not row.right for row in rows),
        "wrong_believed_percent": percent([row.believed and not row.right for row in rows]),
        "tracking_percent": percent([row.status == "tracking" for row in rows]),
        "score_median": median([row.score for row in rows]),
        "sigma_median_mm": 1e3 * median([row.sigma_m for row in rows]),
        "named": sum(run.named(key) for run, key in pairs),
        "false": sum(bool(run.false_findings()) for run, _ in pairs),
        "ms_median": median([ms for run in runs for ms in run.ms]),
    }


def line(name: str, f: dict[str, float], can_be_named: bool) -> str:
    """One line under `HEADER`."""
    named = f"{f['named']:.0f}/{f['sequences']:.0f}" if can_be_named else "-"
    return (
        f"  {name:24s} {f['sequences']:4.0f} {f['frames']:6.0f} {f['add_median_mm']:7.2f}"
        f" {f['right_percent']:7.1f} {f['nees_mean']:9.2f} {f['nees_median']:7.2f}"
        f" {f['wrong_believed_percent']:16.2f} {f['tracking_percent']:10.1f} {f['score_median']:5.2f}"
        f" {f['sigma_median_mm']:8.2f} {named:>7s} {f['false']:5.0f} {f['ms_median']:6.2f}"
    )


def said(runs: Sequence[Run]) -> str:
    """Kinds of findings in how many runs, and what was refused."""
    kinds = Counter(kind for run in runs for kind in {f.finding.kind for f in run.findings})
    texts = [f"{kind} in {count}" for kind, count in kinds.most_common()]
    refused = Counter(run.refused for run in runs if run.refused)
    texts += [f"refused in {count}: {text}" for text, count in refused.most_common()]
    return "; ".join(texts)


def show(runs: Sequence[Run], detail: bool) -> dict[str, dict[str, float]]:
    """Print a line an error, what was found in its runs, and a line of all wrong poses believed."""
    print(HEADER)
    lines = {}
    for error in dict.fromkeys(run.error for run in runs):
        chosen = [run for run in runs if run.error == error]
        lines[error] = figures(chosen)
        print(line(error, lines[error], error not in UNNAMED))
        if said(chosen):
            print(f"      {said(chosen)}")
        for run in chosen if detail else ():
            for name in run.objects:
                what = f"{run.take} {name} {run.seed}"[:22]
                lines[f"{error}, {what}"] = figures([run], name)
                print(line(f"  {what}", lines[f"{error}, {what}"], error not in UNNAMED))
    everything = figures(runs)
    nameable, clean = (figures([run for run in runs if (run.error in UNNAMED) == c]) for c in (False, True))
    print(
        f"  over all {everything['frames']:.0f} frames: wrong and believed"
        f" {everything['wrong_believed']:.0f} ({everything['wrong_believed_percent']:.2f} %); errors named"
        f" {nameable['named']:.0f} of {nameable['sequences']:.0f}; false findings in {clean['false']:.0f} of"
        f" {clean['sequences']:.0f} sequences without a lasting error"
    )
    return {**lines, "all": everything}
