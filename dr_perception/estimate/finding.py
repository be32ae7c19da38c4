"""What an estimate notices beside its pose: of a model, a calibration or a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something significant about the inputs, named instead of passed over."""

    subject: str
    """What it is about: an object's name, ``"camera"``, ``"depth"``, ``"stamps"``."""
    kind: str
    """Which fault, as one word or a few: the same word for the same fault."""
    value: float
    """Its size, in the unit that `text` states."""
    sigma: float
    """Standard deviation of the value; 0 for what is counted."""
    text: str
    """One sentence for a reader."""
