"""Files that are installed beside the package: parameters, the DDS profile, the demo recording."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["share_file"]

PACKAGE = "dr_perception"


def share_file(relative: str) -> Path:
    """Find a file of the package's share folder.

    Looks into the source tree (an editable installation), the prefixes of a ROS workspace, and the Python
    prefix.

    Args:
        relative: Path inside the share folder, for example ``config/tracker.yaml``.

    Raises:
        FileNotFoundError: It is in none of them; the message names the places.
    """
    places = [Path(__file__).resolve().parent.parent.parent]
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    places += [Path(prefix) / "share" / PACKAGE for prefix in (*prefixes, sys.prefix)]
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise FileNotFoundError(f"{relative} is in none of {', '.join(map(str, places))}")
