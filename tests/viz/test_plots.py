"""Plots are inline SVG in the colours of the page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dr_perception.tracking.result import Status
from dr_perception.viz import plots
from dr_perception.viz.palette import STATE_COLORS, hex_color

X = np.arange(20)
SEEN, HIDDEN, LOST = Status.TRACKING, Status.OCCLUDED, Status.LOST


def timeline(status, errors=None) -> str:
    errors = np.ones(20) if errors is None else errors
    return plots.error_over_time(X, errors, status, limit=10.0, color=0, label="ADD [mm]")


@pytest.mark.parametrize(
    "svg",
    [
        pytest.param(lambda: timeline([SEEN] * 20), id="timeline"),
        pytest.param(
            lambda: plots.recall_curves({"a": (X, X / 20), "b": (X, X / 25)}, label="x"), id="recall"
        ),
        pytest.param(lambda: plots.error_histograms({"a": X, "b": [np.inf]}, label="x"), id="histogram"),
        pytest.param(lambda: plots.timing_plot(X, X + 1.0), id="timing"),
        pytest.param(lambda: plots.nees_over_time({"a": (X, X + 1.0)}, bounds=(1, 14), dof=6), id="nees"),
        pytest.param(lambda: plots.reliability_diagram([0.2, 0.9], [0.1, 1.0], [5, 50]), id="reliability"),
    ],
)
def test_every_plot_is_one_svg_of_fluid_width(svg):
    text = svg()
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg") and "width" not in root.attrib and "viewBox" in root.attrib
    assert "currentColor" in text and plots.INK not in text
    assert svg() == text


def test_bands_mark_what_was_not_tracked():
    occluded, lost = hex_color(STATE_COLORS[HIDDEN]), hex_color(STATE_COLORS[LOST])
    assert occluded not in timeline([SEEN] * 20)
    text = timeline([SEEN] * 5 + [HIDDEN] * 3 + [SEEN] * 4 + [LOST] * 2 + [None] * 2 + [SEEN] * 4)
    assert text.count(f"fill: {occluded}") == 1
    assert text.count(f"fill: {lost}") == 1  # lost and missing make one band


def test_the_limit_shows_only_when_it_is_near():
    lost = hex_color(STATE_COLORS[LOST])
    assert lost not in timeline([SEEN] * 20)
    assert lost in timeline([SEEN] * 20, np.linspace(0, 9, 20))


def test_no_pose_at_all_is_still_a_plot():
    assert "<svg" in timeline([None] * 20, np.full(20, np.inf))
