"""A depth image in the wrong unit is named, and what hides objects for a moment is not."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.geometry import Camera, Frame
from dr_perception.tracking.depth_unit import DepthUnit

CAMERA = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)
DISTANCES_M = [0.7, 0.9]


def room(scale: float = 1.0, hand_share: float = 0.0) -> Frame:
    """Depths of 0.6 to 1.5 m, read in a unit off by ``scale``; a hand at 0.1 m before a part."""
    depth = np.linspace(0.6, 1.5, CAMERA.width * CAMERA.height).reshape(CAMERA.height, CAMERA.width)
    depth[:, : round(hand_share * CAMERA.width)] = 0.1
    return Frame(color=None, depth=depth.astype(np.float32), camera=CAMERA, depth_scale_m=scale)


def watched(*frames: Frame, distances=DISTANCES_M) -> DepthUnit:
    unit = DepthUnit()
    for frame in frames:
        unit.look(frame, distances)
    return unit


@pytest.mark.parametrize("power", [-3, -2, -1, 1])
def test_a_wrong_unit_is_named_with_its_factor(power: int) -> None:
    (finding,) = watched(*[room(10.0**power)] * 3).findings
    assert (finding.subject, finding.kind) == ("depth", "unit")
    assert finding.value == pytest.approx(10.0**power)
    assert f"depth_scale_m = {10.0**power:g}" in finding.text
    assert ("beyond" in finding.text) == (power > 0)


def test_what_may_be_right_is_not_named() -> None:
    assert watched(*[room()] * 5).findings == ()
    assert watched(*[room(2.0)] * 5).findings == ()
    assert watched(*[room(hand_share=0.9)] * 5).findings == (), "a tenth of the image lies where objects are"
    assert watched(room(0.1), room(0.1)).findings == (), "a hand before the lens"
    assert watched(room(0.1), room(0.1), room(), room(0.1)).findings == ()
    assert watched(*[room(0.1)] * 5, distances=[]).findings == (), "an object was seen"
    nothing = Frame(color=None, depth=np.zeros((48, 64), np.float32), camera=CAMERA)
    assert watched(*[nothing] * 5).findings == ()


def test_it_is_taken_back_when_an_object_is_seen() -> None:
    unit = watched(*[room(0.1)] * 4)
    assert unit.findings
    unit.look(room(), [])
    assert unit.findings == ()
