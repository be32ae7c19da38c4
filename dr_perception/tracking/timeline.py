"""What the stamps of a stream mean: how much time passed, and whether it can be believed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from dr_perception.estimate.finding import Finding
from dr_perception.tracking.config import MotionConfig

_LEAST_PERIOD_NS = 1_000_000
"""No depth camera delivers more than a thousand frames a second."""
_ENOUGH = 3
"""Implausible periods in a row that are the stream's and no slip; as many plausible ones end it."""
_UNITS = ((1_000, "microseconds"), (1_000_000, "milliseconds"), (1_000_000_000, "whole seconds or frames"))
_PLAUSIBLE_NS = (5_000_000, 2_000_000_000)
"""Periods of a camera between which a unit is recognised: 200 Hz to half a hertz."""


@dataclass(frozen=True)
class Step:
    """From the last frame that showed something to this one."""

    dt_s: float
    """Time to predict over; nominal periods where stamps do not tell."""
    jumped: bool
    """Whether time went back or far ahead: nothing is known of the motion in between."""


class Timeline:
    """Follows the stamps of one stream."""

    def __init__(self, config: MotionConfig) -> None:
        """Nothing was seen yet."""
        self._config = config
        self.forget()

    def forget(self) -> None:
        """Let the next frame be the first."""
        self._last_ns: int | None = None
        self._waited_s = 0.0
        self._odd = self._plain = 0
        self._periods: deque[int] = deque(maxlen=8)
        self._standing: Finding | None = None
        self._jump: Finding | None = None

    def begin(self, stamp_ns: int) -> None:
        """Objects are started in a frame: the time since then counts."""
        self._last_ns, self._waited_s = stamp_ns, 0.0

    def step(self, stamp_ns: int) -> Step:
        """Take in a frame; `hold` is to be called if it turns out to show nothing."""
        period_ns = 0 if self._last_ns is None else stamp_ns - self._last_ns
        is_first, self._last_ns = self._last_ns is None, stamp_ns
        if not is_first:
            self._judge(period_ns)
        period_s = 1e-9 * period_ns
        if 0 <= period_ns < _LEAST_PERIOD_NS:
            period_s = self._config.nominal_period_s
        waited_s = self._waited_s + period_s
        self._waited_s = 0.0
        longest_s = max(self._config.longest_gap_s, 3.0 * self._config.nominal_period_s)
        jumped = period_s < 0.0 or waited_s > longest_s
        self._jump = self._name_jump(period_s, waited_s) if jumped else None
        return Step(self._config.nominal_period_s if jumped else waited_s, jumped)

    def hold(self, step: Step) -> None:
        """The frame of the last step showed nothing: the next one is predicted from the frame before."""
        self._waited_s = step.dt_s

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the stamps, as of the newest frame."""
        return tuple(one for one in (self._standing, self._jump) if one is not None)

    def _judge(self, period_ns: int) -> None:
        """Count implausible periods; negative ones are jumps and say nothing of the others."""
        if period_ns < 0:
            return
        self._periods.append(period_ns)
        odd = period_ns < _LEAST_PERIOD_NS
        self._odd, self._plain = (self._odd + 1, 0) if odd else (0, self._plain + 1)
        if self._plain >= _ENOUGH:
            self._standing = None
        elif self._odd >= _ENOUGH and self._standing is None:
            self._standing = self._name_unit()

    def _name_unit(self) -> Finding:
        nominal_ms = 1e3 * self._config.nominal_period_s
        used = f"{nominal_ms:.1f} ms from frame to frame are taken instead"
        period_ns = median(self._periods)
        if not any(self._periods):
            text = f"the stamps do not change; {used}"
            return Finding("stamps", "constant", 0.0, 0.0, text)
        low, high = _PLAUSIBLE_NS
        unit = next((name for factor, name in _UNITS if low <= factor * period_ns <= high), "")
        guess = f" (do they count {unit} instead of nanoseconds?)" if unit else ""
        text = f"the stamps are {period_ns:.0f} ns apart, which no camera's are{guess}; {used}"
        return Finding("stamps", "unit", 1e-9 * period_ns, 0.0, text)

    @staticmethod
    def _name_jump(period_s: float, waited_s: float) -> Finding:
        way = f"back by {-period_s:.3g} s" if period_s < 0.0 else f"ahead by {waited_s:.3g} s"
        value = period_s if period_s < 0.0 else waited_s
        text = f"time went {way}: objects are looked for at their last poses, and taken to rest"
        return Finding("stamps", "jump", value, 0.0, text)
