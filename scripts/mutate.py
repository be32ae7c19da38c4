"""Break single lines of the core and see whether its tests notice.

    python scripts/mutate.py --jobs 2 --only measure/color

Every mutant of `mutants.py` is applied alone, in a temporary copy of the tree, and the tests that should
notice it run there: a test that fails kills the mutant. Not part of ``make test``: a mutant takes 5 to 30 s,
since kernels whose text changed are compiled again. What was found is kept in a file and not done again until
the mutant, its source or its tests change, so that a run can be interrupted. The exit status is 1 if more
than one mutant in twenty survives, 2 if a mutant's text is no longer there or tests fail without a mutant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("dr_perception", "tests", "models", "config", "pyproject.toml", "package.xml")
"""What the tests of the core need."""
KERNELS = Path(os.environ.get("WARP_CACHE_PATH", Path.home() / ".cache" / "warp"))
"""Compiled kernels: copies begin with them, so that only what a mutant touches is compiled again."""
MOST_SURVIVORS = 0.05
TIMEOUT_S = 600.0
KILLED, SURVIVED = "killed", "survived"
PASSED, FAILED, INTERRUPTED, INTERNAL = 0, 1, 2, 3
"""Exit statuses of pytest; a module that cannot be imported any more counts as interrupted."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    verdict: str
    seconds: float
    by: str = ""
    """The first test that failed."""


def line_of(mutant: Mutant, text: str) -> int:
    """Index of the line that a mutant changes.

    Raises:
        ValueError: Its text stands in no line or in several.
    """
    found = [k for k, line in enumerate(text.split("\n")) if mutant.before in line]
    if len(found) != 1:
        where = f"{mutant.file}: {mutant.before!r}"
        raise ValueError(f"{where} stands in {len(found)} lines {[k + 1 for k in found]}, expected one")
    return found[0]


def mutated(mutant: Mutant, text: str) -> str:
    """The text of a file with the mutant's line changed."""
    lines = text.split("\n")
    k = line_of(mutant, text)
    lines[k] = lines[k].replace(mutant.before, mutant.after, 1)
    return "\n".join(lines)


def digest(mutant: Mutant) -> str:
    """Changes with whatever may change a mutant's verdict directly: itself, its source and its tests."""
    parts = [mutant.before, mutant.after]
    parts += [(ROOT / name).read_text(encoding="utf-8") for name in (mutant.file, *mutant.tests)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Copies:
    """Copies of the tree, each used by one job at a time, with caches of compiled kernels of their own."""

    def __init__(self, count: int, folder: Path) -> None:
        """Copy the tree ``count`` times."""
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for k in range(count):
            copy = folder / f"tree{k}"
            copy.mkdir()
            for name in COPIED:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy2(source, copy / name)
            if KERNELS.is_dir():
                # Modules that another process is compiling come and go under names of their own.
                half_made = shutil.ignore_patterns("*_p*_t*")
                shutil.copytree(KERNELS, copy / "kernels", ignore=half_made)
            self._free.put(copy)

    @contextmanager
    def one(self) -> Iterator[Path]:
        """A copy that nobody else uses."""
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit status of pytest and the first test that failed."""
    shared = os.environ.get("DR_PERCEPTION_SHARED", str(ROOT.parent / "shared"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WARP_CACHE_PATH": str(copy / "kernels"),
        "DR_PERCEPTION_SHARED": shared,
    }
    options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"no end within {TIMEOUT_S:.0f} s"
    marks = ("FAILED ", "ERROR ")
    first = next((line for line in done.stdout.splitlines() if line.startswith(marks)), "")
    if done.returncode < 0:
        return FAILED, f"ended by signal {-done.returncode}"
    if done.returncode not in (PASSED, FAILED, INTERRUPTED, INTERNAL):
        raise RuntimeError(f"pytest {' '.join(tests)} did not run:\n{done.stdout}{done.stderr}")
    return done.returncode, first.split(" - ")[0].removeprefix("FAILED ")


def try_mutant(mutant: Mutant, copies: Copies) -> Outcome:
    """Break the line in a copy, run the tests that should notice, and restore the copy."""
    with copies.one() as copy:
        path = copy / mutant.file
        text = path.read_text(encoding="utf-8")
        start = time.monotonic()
        path.write_text(mutated(mutant, text), encoding="utf-8")
        try:
            status, by = run_tests(copy, mutant.tests)
        finally:
            path.write_text(text, encoding="utf-8")
        return Outcome(SURVIVED if status == PASSED else KILLED, round(time.monotonic() - start, 1), by)


def without_mutant(mutants: Sequence[Mutant], copies: Copies, pool: ThreadPoolExecutor) -> list[str]:
    """Test files that fail although nothing is broken; the copies' caches hold what they compiled then."""

    def fails(test: str) -> bool:
        with copies.one() as copy:
            return run_tests(copy, [test])[0] != PASSED

    tests = sorted({test for mutant in mutants for test in mutant.tests})
    return [test for test, failed in zip(tests, pool.map(fails, tests), strict=True) if failed]


def not_applicable(mutants: Sequence[Mutant]) -> list[str]:
    """Sentences about mutants whose text is not there, or which change nothing."""
    said = []
    for mutant in mutants:
        try:
            text = (ROOT / mutant.file).read_text(encoding="utf-8")
            if mutated(mutant, text) == text:
                said.append(f"{mutant.name}: changes nothing")
            for test in mutant.tests:
                if not (ROOT / test).is_file():
                    said.append(f"{mutant.name}: {test} does not exist")
        except (ValueError, OSError) as error:
            said.append(str(error))
    return said


class Results:
    """Verdicts by mutant, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run left."""
        self._path = path
        self.known: dict[str, dict[str, object]] = {}
        if path.is_file():
            self.known = json.loads(path.read_text(encoding="utf-8"))

    def verdict(self, mutant: Mutant) -> str | None:
        """What is known of a mutant as it is now."""
        found = self.known.get(mutant.name)
        return None if found is None or found["digest"] != digest(mutant) else str(found["verdict"])

    def keep(self, mutant: Mutant, as_it_was: str, outcome: Outcome) -> None:
        """Write a verdict down, with the digest that the mutant had when the tree was copied."""
        self.known[mutant.name] = {"digest": as_it_was, **outcome.__dict__}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.known, indent=1), encoding="utf-8")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at a time")
    parser.add_argument("--only", default="", help="those whose file, text or test holds this")
    parser.add_argument("--result", type=Path, default=ROOT / "out" / "mutants.json", help="file of verdicts")
    parser.add_argument("--list", action="store_true", help="only check that every mutant still applies")
    parser.add_argument("--trust", action="store_true", help="do not run the tests without a mutant first")
    return parser.parse_args()


def main() -> int:
    """Try the mutants that were asked for and say which survived."""
    asked = arguments()
    mutants = [m for m in MUTANTS if asked.only in f"{m.name} {' '.join(m.tests)}"]
    if said := not_applicable(mutants):
        print("not applicable:", *said, sep="\n  ")
        return 2
    print(f"{len(mutants)} mutants apply")
    if asked.list:
        return 0
    results = Results(asked.result)
    left = [mutant for mutant in mutants if results.verdict(mutant) is None]
    digests = {mutant.name: digest(mutant) for mutant in left}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as pool:
        copies = Copies(asked.jobs, Path(folder))
        if not asked.trust and (failing := without_mutant(left, copies, pool)):
            print("these fail without a mutant:", *failing, sep="\n  ")
            return 2
        work = {pool.submit(try_mutant, mutant, copies): mutant for mutant in left}
        for done in as_completed(work):
            mutant, outcome = work[done], done.result()
            results.keep(mutant, digests[mutant.name], outcome)
            print(f"{outcome.verdict:8} {outcome.seconds:5.1f} s  {mutant.name}  {outcome.by}", flush=True)
    verdicts = {mutant.name: results.verdict(mutant) for mutant in mutants}
    counts = Counter(verdicts.values())
    survivors = [name for name, verdict in verdicts.items() if verdict == SURVIVED]
    print(f"{counts[KILLED]} of {len(mutants)} killed, {len(survivors)} survived", *survivors, sep="\n  ")
    return int(len(survivors) > MOST_SURVIVORS * len(mutants))


if __name__ == "__main__":
    sys.exit(main())
