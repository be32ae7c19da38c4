"""A graph per test module. Modules that need ROS skip themselves with ``pytest.importorskip``."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from graph import Graph

sys.path.insert(0, str(Path(__file__).resolve().parent))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Those of tests that run at the same time differ: workers are children of one process and take turns.
DOMAINS = itertools.count((os.getppid() if WORKERS > 1 else os.getpid()) * WORKERS + WORKER, WORKERS)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A ROS graph on the loopback interface with a domain of its own."""
    from graph import Graph

    made = Graph(10 + next(DOMAINS) % 90, tmp_path_factory.mktemp("ros"))
    yield made
    made.close()
