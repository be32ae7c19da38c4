"""Plots as inline SVG that follow the colours of the page they stand in (light or dark).

Every function takes plain arrays in the units of the axis labels and returns one ``<svg>`` element.
Matplotlib draws without any display; text and lines that have no meaning of their own take the text colour
of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dr_perception.tracking.result import Status
from dr_perception.viz.palette import STATE_COLORS, hex_color, object_color

__all__ = [
    "error_histograms",
    "error_over_time",
    "nees_over_time",
    "recall_curves",
    "reliability_diagram",
    "timing_plot",
]

INK = "#010203"  # stands for the text colour of the page until the SVG is written
WIDE, HALF = (8.0, 2.3), (3.7, 2.7)

Series = Mapping[str, tuple[ArrayLike, ArrayLike]]


def error_over_time(
    frames: ArrayLike,
    errors: ArrayLike,
    status: Sequence[Status | None],
    *,
    limit: float,
    color: int,
    label: str,
) -> str:
    """Error of one object over the frames, with bands where it was occluded or lost.

    Args:
        frames: (F,) frame numbers.
        errors: (F,) errors; not finite = no pose.
        status: (F,) reported status; None = no pose, shown as lost.
        limit: Threshold to draw when the errors come near it.
        color: Number of the object's colour.
        label: Label of the error axis.
    """
    figure, (axes,) = _figure(WIDE)
    x, y = np.asarray(frames, dtype=float), np.asarray(errors, dtype=float)
    shown = np.where(np.isfinite(y), y, np.nan)
    top = 1.15 * float(np.nanmax(shown)) if np.isfinite(shown).any() else limit
    for begin, end, state in _bands(x, status):
        axes.axvspan(begin, end, color=hex_color(STATE_COLORS[state]), alpha=0.22, lw=0)
    axes.plot(x, shown, color=hex_color(object_color(color)), lw=1.7)
    if top > 0.6 * limit:
        axes.axhline(limit, color=hex_color(STATE_COLORS[Status.LOST]), lw=1.0, ls=(0, (4, 3)))
        top = max(top, 1.1 * limit)
    axes.set(
        xlim=(x.min(), max(x.max(), x.min() + 1)), ylim=(0.0, max(top, 1e-6)), xlabel="frame", ylabel=label
    )
    return _svg(figure)


def recall_curves(curves: Series, *, label: str) -> str:
    """Share of frames below a threshold, over the threshold; one curve an object."""
    figure, (axes,) = _figure(HALF)
    largest = 0.0
    for k, (name, (thresholds, shares)) in enumerate(curves.items()):
        axes.plot(
            thresholds, 100.0 * np.asarray(shares), color=hex_color(object_color(k)), lw=1.8, label=name
        )
        largest = max(largest, float(np.max(thresholds)))
    axes.set(xlim=(0, largest), ylim=(0, 102), xlabel=label, ylabel="frames below [%]")
    _legend(axes, len(curves), "lower right")
    return _svg(figure)


def error_histograms(errors: Mapping[str, ArrayLike], *, label: str) -> str:
    """Distribution of the errors of each object over common bins; the last bin holds all that is beyond."""
    figure, (axes,) = _figure(HALF)
    finite = {name: _finite(values) for name, values in errors.items()}
    every = np.concatenate(list(finite.values()))
    top = min(float(every.max()), 1.6 * float(np.percentile(every, 95))) if every.size else 1.0
    bins = np.linspace(0.0, max(top, 1e-9), 31)
    for k, (name, values) in enumerate(finite.items()):
        color = hex_color(object_color(k))
        clipped = np.minimum(values, bins[-1])
        axes.hist(clipped, bins, histtype="stepfilled", color=color, alpha=0.18, lw=0)
        axes.hist(clipped, bins, histtype="step", color=color, lw=1.5, label=name)
    axes.set(xlim=(0, bins[-1]), xlabel=label, ylabel="frames")
    _legend(axes, len(finite), "upper right")
    return _svg(figure)


def timing_plot(frames: ArrayLike, track_ms: ArrayLike) -> str:
    """Time of each call of the tracker; dashed: median and 95th percentile."""
    figure, (axes,) = _figure(WIDE)
    x, y = np.asarray(frames, dtype=float), np.asarray(track_ms, dtype=float)
    axes.fill_between(x, y, color=hex_color(object_color(0)), alpha=0.15, lw=0)
    axes.plot(x, y, color=hex_color(object_color(0)), lw=1.3)
    high = float(np.percentile(y, 95))
    for value in (float(np.median(y)), high):
        axes.axhline(value, color=INK, lw=0.9, ls=(0, (4, 3)), alpha=0.8)
    top = max(1.25 * high, 1.1 * min(float(y.max()), 3.0 * high))
    axes.set(
        xlim=(x.min(), max(x.max(), x.min() + 1)), ylim=(0.0, top), xlabel="frame", ylabel="track() [ms]"
    )
    return _svg(figure)


def nees_over_time(series: Series, *, bounds: tuple[float, float], dof: int) -> str:
    """Normalised error squared of each object over the frames with the 95 % band of a true covariance."""
    figure, (axes,) = _figure(WIDE)
    axes.axhspan(*bounds, color=hex_color(STATE_COLORS[Status.TRACKING]), alpha=0.18, lw=0)
    axes.axhline(dof, color=hex_color(STATE_COLORS[Status.TRACKING]), lw=1.0, ls=(0, (4, 3)))
    for k, (name, (frames, values)) in enumerate(series.items()):
        positive = np.asarray(values, dtype=float)
        positive = np.where(np.isfinite(positive) & (positive > 0), positive, np.nan)
        axes.plot(frames, positive, color=hex_color(object_color(k)), lw=1.3, label=name)
    axes.set_yscale("log")
    axes.set(xlabel="frame", ylabel="NEES")
    axes.margins(x=0)
    _legend(axes, len(series), "upper right")
    return _svg(figure)


def reliability_diagram(predicted: ArrayLike, observed: ArrayLike, count: ArrayLike) -> str:
    """Share of right poses over the reported score; on the diagonal the score is a probability."""
    figure, (axes,) = _figure(HALF)
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.7)
    weight = np.asarray(count, dtype=float)
    axes.plot(predicted, observed, color=hex_color(object_color(0)), lw=1.2)
    axes.scatter(
        predicted, observed, s=20 + 180 * weight / weight.max(), color=hex_color(object_color(0)), alpha=0.8
    )
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.06, 1.06), xlabel="reported score", ylabel="share of right poses")
    return _svg(figure)


def _bands(x: np.ndarray, status: Sequence[Status | None]) -> list[tuple[float, float, Status]]:
    """Runs of frames that were not tracked, half a frame wider on either side."""
    bands: list[tuple[float, float, Status]] = []
    step = 0.5 * float(np.median(np.diff(x))) if len(x) > 1 else 0.5
    for position, value in zip(x, status, strict=True):
        state = Status.LOST if value is None else value
        if state is Status.TRACKING:
            continue
        if bands and bands[-1][2] is state and bands[-1][1] >= position - 1.5 * step:
            bands[-1] = (bands[-1][0], position + step, state)
        else:
            bands.append((position - step, position + step, state))
    return bands


def _finite(values: ArrayLike) -> np.ndarray:
    numbers = np.asarray(values, dtype=float)
    return numbers[np.isfinite(numbers)]


def _figure(size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """Figure with one pair of axes in the style of the report."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.grid(True, color=INK, alpha=0.12, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set(color=INK, alpha=0.5, linewidth=0.8)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.xaxis.label.set(color=INK, size=9.5)
    axes.yaxis.label.set(color=INK, size=9.5)
    return figure, [axes]


def _legend(axes: Any, entries: int, place: str) -> None:
    if entries > 1:
        axes.legend(loc=place, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.3)


def _svg(figure: Any) -> str:
    """The figure as one inline SVG element of fluid width; the same figure gives the same text."""
    import matplotlib as mpl

    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "dr_perception", "font.family": "sans-serif"}
    ):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*;", "font-family: inherit;", text)
    return text.replace("<svg", '<svg role="img"', 1)
