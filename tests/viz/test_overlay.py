"""Overlays show the object where it is and leave the rest of the picture alone."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.evaluation.records import PoseRecord
from dr_perception.geometry.camera import Camera
from dr_perception.tracking.result import Status
from dr_perception.viz.layers import render_layers
from dr_perception.viz.overlay import draw_overlay
from dr_perception.viz.palette import STATE_COLORS, object_color


@pytest.fixture
def image() -> np.ndarray:
    return np.full((120, 160, 3), 128, np.uint8)


def test_layers_are_the_projection_of_the_box(model, T_cam_box, camera):
    layers = render_layers({"box": model}, {"box": T_cam_box}, camera)
    # The front face is at 0.45 m: half a side of 0.05 m spans 150 * 0.05 / 0.45 = 16.67 pixels.
    rows, columns = np.nonzero(layers.instance == 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (43, 76, 63, 96)
    assert layers.depth[60, 80] == pytest.approx(0.45, abs=1e-5)
    assert layers.depth[0, 0] == 0.0 and layers.instance[0, 0] == -1
    assert layers.facing[60, 80] == pytest.approx(1.0, abs=1e-3)


def test_the_nearer_object_hides_the_farther(model, T_cam_box, camera):
    behind = T_cam_box.copy()
    behind[2, 3] = 0.8
    layers = render_layers({"a": model, "b": model}, {"a": behind, "b": T_cam_box}, camera)
    assert layers.instance[60, 80] == 1
    assert (layers.instance == 0).sum() == 0


def test_outside_of_the_object_the_image_is_unchanged(image, model, T_cam_box, camera):
    picture = draw_overlay(image, {"box": model}, {"box": T_cam_box}, camera, names=False)
    changed = np.argwhere((picture != image).any(axis=2))
    assert changed.min(axis=0).tolist() >= [35, 55] and changed.max(axis=0).tolist() <= [84, 104]
    assert (image == 128).all()
    tint = picture[50, 70].astype(int) - 128
    assert np.sign(tint[2]) > 0 > np.sign(tint[0])  # the first object is blue
    assert object_color(0)[2] > object_color(0)[0]


def test_the_state_shows(image, model, T_cam_box, camera):
    def drawn(status: Status) -> np.ndarray:
        states = {"box": PoseRecord(0, "box", T_cam_box, status=status, score=0.4)}
        return draw_overlay(image, {"box": model}, {"box": T_cam_box}, camera, states)

    lost = drawn(Status.LOST)
    assert (lost[66, 72] == 128).all()  # outline only
    assert (lost == STATE_COLORS[Status.LOST]).all(axis=2).sum() > 100  # the label
    assert (drawn(Status.OCCLUDED) == STATE_COLORS[Status.OCCLUDED]).all(axis=2).sum() > 100


def test_objects_without_a_pose_or_out_of_view_are_left_out(image, model, T_cam_box, camera):
    behind, aside = T_cam_box.copy(), T_cam_box.copy()
    behind[2, 3], aside[0, 3] = -0.5, 5.0
    for T in (None, np.full((4, 4), np.nan), behind, aside):
        np.testing.assert_array_equal(draw_overlay(image, {"box": model}, {"box": T}, camera), image)


def test_a_lens_bends_the_overlay(model, T_cam_box):
    lens = Camera(160, 120, 150.0, 150.0, 79.5, 59.5, distortion=(-0.3, 0.0, 0.0, 0.0))
    T = T_cam_box.copy()
    T[:3, 3] = [0.12, 0.08, 0.5]
    instance = render_layers({"box": model}, {"box": T}, lens).instance
    u, v = np.rint(lens.project(T[:3, 3] - [0, 0, 0.05])).astype(int)
    assert instance[v, u] == 0


def test_mistakes_are_named(image, model, T_cam_box, camera):
    with pytest.raises(ValueError, match=r"\(120, 160, 3\) uint8, got \(60, 160, 3\)"):
        draw_overlay(image[:60], {"box": model}, {"box": T_cam_box}, camera)
    with pytest.raises(ValueError, match="float64"):
        draw_overlay(image.astype(float), {"box": model}, {"box": T_cam_box}, camera)
    with pytest.raises(ValueError, match=r"no model for the poses of \['cup'\]"):
        draw_overlay(image, {"box": model}, {"cup": T_cam_box}, camera)
