"""Colours of objects and states, the same in pictures, plots and the report.

The categorical colours are those of Okabe and Ito (2008), which stay apart for colour-blind readers.
"""

from __future__ import annotations

from dr_perception.tracking.result import Status

__all__ = ["OBJECT_COLORS", "STATE_COLORS", "hex_color", "object_color"]

RGB = tuple[int, int, int]

OBJECT_COLORS: tuple[RGB, ...] = (
    (0, 158, 255),
    (240, 120, 0),
    (0, 178, 125),
    (214, 92, 173),
    (230, 190, 20),
    (120, 110, 240),
    (90, 190, 60),
    (225, 70, 70),
)

STATE_COLORS: dict[Status, RGB] = {
    Status.TRACKING: (46, 160, 90),
    Status.OCCLUDED: (220, 150, 20),
    Status.LOST: (215, 50, 60),
}


def object_color(index: int) -> RGB:
    """RGB colour of the n-th object; repeats after eight."""
    return OBJECT_COLORS[index % len(OBJECT_COLORS)]


def hex_color(rgb: RGB) -> str:
    """``#rrggbb`` of an RGB colour."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
