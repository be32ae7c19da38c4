"""The comparison harness: where it is, and which trackers run in it.

Needs the harness (``../shared/bench``), and ``small_gicp`` and Open3D for its adapters. M3T is not run here:
its rows are those that the harness's README reports.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from scenes import SHARED

OURS = "harness_adapter:DrPerception"
PEERS = {"sgicp_gicp_crop": "small_gicp", "o3d_p2l_crop": "open3d"}
HARNESS = SHARED / "bench"


def harness(scenes: Path) -> tuple[ModuleType, ModuleType]:
    """The harness's modules ``bopio`` and ``tracker_api``, set to a folder of scenes.

    Raises:
        FileNotFoundError: The harness is not there.
    """
    if not (HARNESS / "tracker_api.py").is_file():
        raise FileNotFoundError(f"no comparison harness at {HARNESS} (set DR_PERCEPTION_SHARED)")
    os.environ["BENCH"] = str(scenes.resolve().parent)
    for folder in (HARNESS, Path(__file__).resolve().parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return importlib.import_module("bopio"), importlib.import_module("tracker_api")


def trackers() -> list[str]:
    """This project and the peers whose packages are installed, by their names in the harness."""
    found = [OURS]
    for peer, module in PEERS.items():
        if importlib.util.find_spec(module):
            found.append(peer)
        else:
            print(f"{peer} is left out: the package {module} is not installed")
    return found


def reported(pattern: str, columns: int) -> list[list[str]]:
    """Cells of the rows of so many columns in the harness's README whose first cell starts like this."""
    rows = []
    for text in (HARNESS / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
        if len(cells) == columns and cells[0].startswith(pattern):
            rows.append(cells)
    return rows
