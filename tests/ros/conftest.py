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
DOMAINS = itertools.count(os.getpid())


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A ROS graph on the loopback interface with a domain of its own."""
    from graph import Graph

    made = Graph(10 + next(DOMAINS) % 90, tmp_path_factory.mktemp("ros"))
    yield made
    made.close()
