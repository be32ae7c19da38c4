"""The kinds of rows that a frame is compared by, in the order in which evidence holds them."""

import warp as wp

MODALITIES = ("depth", "outline", "color")
"""Names; a new modality is one more here and its term in `dr_perception.measure.terms.TERMS`."""

DEPTH = wp.constant(0)
OUTLINE = wp.constant(1)
COLOR = wp.constant(2)
