"""Warp structs and constants that the kernels of the renderer share."""

import warp as wp

SUBPIXEL_BITS = 8
"""Screen coordinates are snapped to 1/256 pixel before coverage is decided: it is watertight."""

DEFAULT_NEAR_M = 0.01
"""Distance of the near plane in metres: what is nearer is clipped away."""

EMPTY_KEY = 0xFFFFFFFFFFFFFFFF
"""Z-buffer key of a pixel that no face covers; every real key is smaller."""


@wp.struct
class Viewport:
    """The rectangle of the image that a view renders.

    Pixels ``x0 <= x < x0 + width``, ``y0 <= y < y0 + height``.
    """

    x0: int
    y0: int
    width: int
    height: int


def viewport(x0: int, y0: int, width: int, height: int) -> Viewport:
    """Return a `Viewport` struct with the given corner and size in pixels."""
    v = Viewport()
    v.x0, v.y0, v.width, v.height = int(x0), int(y0), int(width), int(height)
    return v
