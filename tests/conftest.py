"""What all tests share: where the reference data lies, scenes, and settings of the property tests."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cases"))  # scenes that tests of several rooms share

# What tests prepare serves later ones of the same run, other processes too; the user's own stays as it is.
_prepared = tempfile.TemporaryDirectory(prefix="dr_perception_tests_")
os.environ["DR_PERCEPTION_CACHE"] = _prepared.name

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the reference data, which is not part of the repository; the test is skipped without it."""
    path = Path(os.environ.get("DR_PERCEPTION_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"reference data not found at {path} (set DR_PERCEPTION_SHARED)")
    return path


Job = Callable[[], object]


def in_threads(*jobs: Job) -> list[object]:
    """Run jobs in threads of their own and return what they return; raises the first exception of any."""
    outcomes: list[object] = [None] * len(jobs)
    errors: list[BaseException] = []

    def run(k: int) -> None:
        try:
            outcomes[k] = jobs[k]()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(len(jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return outcomes


@pytest.fixture
def beside() -> Iterator[Callable[..., list[object]]]:
    """`in_threads`, with threads that take turns far more often than they usually do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield in_threads
    sys.setswitchinterval(before)


@pytest.fixture
def alike(beside: Callable[..., list[object]]) -> Callable[..., None]:
    """Checks that jobs give in two threads, bit for bit, what each gave alone.

    ``alike(a, b, rounds=20)``: every job runs alone, then so often in a thread, beside the other.
    """

    def check(*jobs: Callable[[], bytes], rounds: int = 20) -> None:
        alone = [job() for job in jobs]

        def differing(k: int) -> int:
            return sum(jobs[k]() != alone[k] for _ in range(rounds))

        wrong = beside(*((lambda k=k: differing(k)) for k in range(len(jobs))))
        assert wrong == [0] * len(jobs), f"of {rounds} rounds each, so many give other bits: {wrong}"

    return check
