"""Does the tracker say what is wrong? Reference scenes with an error in what it is told.

    python benchmarks/honesty.py                                  # all sequences and errors
    python benchmarks/honesty.py --quick                          # scenes 1-4, 45 frames, main errors
    python benchmarks/honesty.py --show out/honesty.json          # the table of what was run before
    python benchmarks/honesty.py --scenes 000001 flange --errors none mesh+3% --frames 60 --jobs 2

Every sequence is tracked from the true poses of its first frame, with a model, a calibration or frames that
are wrong in one way (`honesty_errors.py`, `faults.py`). Errors of poses are against the truth, of the model's
frame and over the true surface. NEES is a degree of freedom, from frame 30 on, of poses that are measured or
predicted; that of a lost object is only where it was seen last.

Believed: TRACKING, with a score above 0.5. Wrong: ADD above a tenth of the diameter. Named: a finding within
the first 30 frames that is the error or the family that holds it. False: any other finding, at any time.
Late depth is made from a frame's own depth and the true motion. The simulated sequences (flanges, dragon) are
of `kinds.py`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import warp as wp
from honesty_errors import ERRORS, MAIN
from honesty_run import Run, follow
from honesty_table import show
from scenes import ROOT, write_report
from takes import SCENES, SIMULATED, load_take

QUICK_SCENES = SCENES[:4]
QUICK_FRAMES = 45


def run_take(name: str, errors: Sequence[str], frames: int | None, seeds: int) -> list[Run]:
    """All errors that apply to a sequence."""
    wp.config.log_level = wp.LOG_ERROR
    take = load_take(name, frames)
    found = []
    for error in (ERRORS[key] for key in errors):
        if error.applies(take):
            tries = range(seeds if error.seeded else 1)
            found += [follow(take, error.tell(take, seed), error, seed) for seed in tries]
    return found


def run(a: argparse.Namespace) -> Iterator[list[Run]]:
    """The runs of one sequence after the other, a process a sequence if several are asked for."""
    work = partial(run_take, errors=a.errors, frames=a.frames, seeds=a.seeds)
    if a.jobs == 1:
        yield from map(work, a.scenes)
        return
    with ProcessPoolExecutor(a.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, a.scenes)


def read(files: Sequence[Path]) -> list[Run]:
    """Runs of earlier reports."""
    return [Run.read(content) for file in files for content in json.loads(file.read_text())["runs"]]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scenes", nargs="+", choices=(*SCENES, *SIMULATED), help="sequences; default: all")
    p.add_argument("--errors", nargs="+", choices=list(ERRORS), help="default: all")
    p.add_argument("--frames", type=int, help="use at most so many frames of a sequence")
    p.add_argument("--seeds", type=int, help="planes of each cut model; default: 6, quick 3")
    p.add_argument("--jobs", type=int, default=1, help="processes")
    p.add_argument("--detail", action="store_true", help="also a line for every object of every run")
    p.add_argument("--quick", action="store_true", help="scenes 1-4, 45 frames, main errors")
    p.add_argument("--show", type=Path, nargs="+", help="print the table of earlier JSON files, run nothing")
    p.add_argument("--json", type=Path, default=ROOT / "out/honesty.json", help="a row for every frame")
    a = p.parse_args(arguments)
    a.scenes = a.scenes or (QUICK_SCENES if a.quick else (*SCENES, *SIMULATED))
    a.errors = a.errors or (MAIN if a.quick else list(ERRORS))
    a.frames = a.frames or (QUICK_FRAMES if a.quick else None)
    a.seeds = a.seeds or (3 if a.quick else 6)
    return a


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, write."""
    a = parse(arguments)
    wp.config.log_level = wp.LOG_ERROR
    if a.show:
        show(read(a.show), a.detail)
        return
    runs: list[Run] = []
    for name, found in zip(a.scenes, run(a), strict=True):
        runs += found
        write_report(a.json, runs=[asdict(r) for r in runs])  # an interrupted run keeps what is done
        print(f"  {name} done", flush=True)
    write_report(a.json, lines=show(runs, a.detail), runs=[asdict(r) for r in runs])


if __name__ == "__main__":
    main()
