"""Lets the tests of the graph import the problems that they share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
