"""Fits and searches in real sensor frames, by sensor: right, scored, and as exact as claimed?

    python benchmarks/real.py                                # everything
    python benchmarks/real.py --quick                        # few trials of every part
    python benchmarks/real.py --sets dexycb_frame --parts fit color --seeds 3 --json out/real.json

Parts: `fit` from the reference moved by three amounts, with and without the mask; `search-mask`; `search`
over the whole frame; `color`, a fit to the frame without depth from the least amount.
Right: ADD, over the symmetries of the object and what the reference does not tell apart, below a tenth of the
diameter; ADD-S for objects that bop_toolkit counts as symmetric. Of several instances any is right in a whole
frame; where not every instance is labelled (IC-BIN), an answer elsewhere is not judged.
Deviations, claimed standard deviations (roots of traces) and normalised errors (NEES a degree of freedom,
the covariance of the reference added: `real_cases.REFERENCES`) are of right fits at the model's centre. Where
the reference comes from ICP it is not ground truth, and its set is marked with `*`.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import warp as wp
from real_cases import SETS, Instance, instances
from real_table import show
from real_trial import Trial, judge
from scenes import ROOT, moved, write_report

from dr_perception.fitting.fit_pose import fit_pose
from dr_perception.geometry.frame import Frame
from dr_perception.hypothesis.region import Where
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import search_poses

GUESSES = {"5 mm, 3 deg": (0.005, 3.0), "10 mm, 8 deg": (0.010, 8.0), "20 mm, 15 deg": (0.020, 15.0)}
"""Distances [m] and angles [deg] of the guesses."""
QUICK_LEVEL = "10 mm, 8 deg"
QUICK_INSTANCES = 3
PARTS = ("fit", "search-mask", "search", "color")
UNLABELLED = ("icbin_frames",)
"""Sets with instances that have no label."""


def timed(find: Callable[[], PoseEstimate | None]) -> tuple[PoseEstimate | None, str, float]:
    """Result, or what was wrong in words, and seconds."""
    begin = time.perf_counter()
    try:
        found, reason = find(), ""
    except ValueError as error:
        found, reason = None, str(error)
    return found, reason, time.perf_counter() - begin


def random(instance: Instance, *what: object) -> np.random.RandomState:
    """Random numbers that depend on the trial alone, not on what else is run."""
    key = " ".join(map(str, (instance.set, instance.frame_name, instance.case.name, *what)))
    return np.random.RandomState(zlib.crc32(key.encode()))


def fits(instance: Instance, levels: Sequence[str], masks: Sequence[bool], seeds: int) -> Iterator[Trial]:
    """Fits with depth from moved references."""
    for level in levels:
        for seed in range(seeds):
            for masked in masks:
                yield _fit(instance, "fit", instance.case.frame, level, masked, seed)


def color_fits(instance: Instance, seeds: int) -> Iterator[Trial]:
    """Fits without depth, from the least moved reference."""
    frame = replace(instance.case.frame, depth=None)
    for seed in range(seeds):
        yield _fit(instance, "color", frame, next(iter(GUESSES)), False, seed)


def _fit(instance: Instance, part: str, frame: Frame, level: str, masked: bool, seed: int) -> Trial:
    case = instance.case
    guess = moved(case.T_cam_obj, *GUESSES[level], random(instance, level, seed))
    mask = case.mask if masked else None
    found, reason, wall = timed(lambda: fit_pose(case.model, frame, guess, mask))
    trial = judge([instance], part, found, reason, wall)
    return replace(trial, level=level, masked=masked, seed=seed)


def search(group: Sequence[Instance], masked: bool) -> Trial:
    """Search in the mask of an instance, or over the whole frame for any of a group."""
    case = group[0].case
    mask = case.mask if masked else None
    where = Where(mask=mask)
    found, reason, wall = timed(lambda: next(iter(search_poses(case.model, case.frame, where)), None))
    part = "search-mask" if masked else "search"
    trial = replace(judge(group, part, found, reason, wall), masked=masked)
    unknown = not masked and group[0].set in UNLABELLED and not trial.right and found is not None
    return replace(trial, judged=not unknown)


def by_model(found: Sequence[Instance]) -> list[list[Instance]]:
    """Instances of one model in one frame together."""
    groups: dict[tuple[str, str, str], list[Instance]] = {}
    for i in found:
        groups.setdefault((i.set, i.frame_name, i.case.model.name), []).append(i)
    return list(groups.values())


def trials(found: Sequence[Instance], a: argparse.Namespace) -> Iterator[Trial]:
    """All trials of the instances of a set."""
    levels, masks = ([QUICK_LEVEL], [False]) if a.quick else (list(GUESSES), [False, True])
    prepared: set[str] = set()
    for instance in found:
        if instance.case.model.name not in prepared:  # is not part of a trial's time
            timed(lambda i=instance: fit_pose(i.case.model, i.case.frame, i.case.T_cam_obj))
            prepared.add(instance.case.model.name)
        if "fit" in a.parts:
            yield from fits(instance, levels, masks, a.seeds)
        if "color" in a.parts:
            yield from color_fits(instance, a.seeds)
        if "search-mask" in a.parts:
            yield search([instance], True)
    if "search" in a.parts:
        for group in by_model(found):
            yield search(group, False)


def few(found: Sequence[Instance]) -> list[Instance]:
    """Some instances spread over a set."""
    return [found[k] for k in np.unique(np.linspace(0, len(found) - 1, QUICK_INSTANCES).astype(int))]


def run(a: argparse.Namespace) -> list[Trial]:
    """Trials of the sets asked for."""
    results: list[Trial] = []
    for name in a.sets:
        found, left_out = instances(name)
        print(f"{name}: {len(found)} instances", *(f"left out: {line}" for line in left_out), sep="\n  ")
        results += trials(few(found) if a.quick else found, a)
        print(f"  {len(results)} trials so far", flush=True)
    return results


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    p.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    p.add_argument("--seeds", type=int, default=1, help="guesses of each amount")
    p.add_argument("--quick", action="store_true", help="three instances a set, one amount, no mask in fits")
    p.add_argument("--json", type=Path, default=ROOT / "out/real.json", help="a row for every trial")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, write."""
    a = parse(arguments)
    wp.config.log_level = wp.LOG_ERROR
    results = run(a)
    lines = show(results)
    write_report(a.json, lines=lines, rows=[asdict(trial) for trial in results])


if __name__ == "__main__":
    main()
