"""Frames: one clear sentence for each way an image can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dr_perception.geometry import Camera, Frame

CAMERA = Camera(8, 6, 10.0, 10.0, 3.5, 2.5)
COLOR = np.zeros((6, 8, 3), np.uint8)
DEPTH = np.ones((6, 8), np.float32)


def test_images_are_kept_as_they_are() -> None:
    frame = Frame(COLOR, DEPTH, CAMERA)
    assert frame.color is COLOR
    assert frame.depth is DEPTH


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"color": None, "depth": None}, ValueError, "needs a colour image, a depth image or both"),
        (
            {"color": COLOR[:3]},
            ValueError,
            r"the colour image is 8x3 but its camera is calibrated for 8x6 .*fx=10",
        ),
        ({"depth": DEPTH[:, :4]}, ValueError, "the depth image is 4x6 but its camera is calibrated for 8x6"),
        ({"color": COLOR.astype(np.float32)}, TypeError, "colour image must be uint8, got float32"),
        (
            {"color": COLOR[..., 0]},
            ValueError,
            r"colour image must have shape \(height, width, 3\), got \(6, 8\)",
        ),
        ({"color": np.zeros((6, 8, 4), np.uint8)}, ValueError, r"must have 3 channels \(RGB\), got 4"),
        ({"color": [[0]]}, TypeError, "colour image must be a NumPy array, got list"),
        (
            {"depth": DEPTH.astype(np.int32)},
            TypeError,
            "depth image must be float32 or float64 or uint16, got int32",
        ),
        (
            {"depth": DEPTH[..., None]},
            ValueError,
            r"depth image must have shape \(height, width\), got \(6, 8, 1\)",
        ),
        (
            {"depth": DEPTH.astype(np.uint16)},
            ValueError,
            "uint16 depth image needs depth_scale_m, e.g. 0.001",
        ),
        (
            {"depth": np.full(DEPTH.shape, 750.0)},
            ValueError,
            r"median of 750 m \(float64 times depth_scale_m = 1\.0\): are its values millimetres\?",
        ),
        (
            {"depth": np.full(DEPTH.shape, 750, np.uint16), "depth_scale_m": 1.0 + 1e-9},
            ValueError,
            "median of 750 m",
        ),
        (
            {"color": np.ma.masked_less(COLOR, 250)},
            TypeError,
            "the colour image has masked pixels, but a colour cannot be missing",
        ),
        ({"depth_scale_m": 0.0}, ValueError, "depth_scale_m must be a positive number of metres, got 0.0"),
        ({"masks": {"mug": DEPTH[:2] > 0}}, ValueError, "the mask of 'mug' is 8x2 but its camera"),
        ({"masks": {"mug": DEPTH}}, TypeError, "the mask of 'mug' must be bool, got float32"),
        ({"stamp_ns": 1.5}, TypeError, "stamp_ns must be a whole number of nanoseconds, got 1.5"),
        ({"T_world_cam": np.eye(3)}, ValueError, "T_world_cam must have shape"),
        ({"camera": CAMERA.K}, TypeError, "camera must be a Camera, got ndarray"),
    ],
)
def test_bad_frames_are_refused_in_one_sentence(
    fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Frame(**{"color": COLOR, "depth": DEPTH, "camera": CAMERA, **fields})
    assert "\n" not in str(caught.value)


def test_one_image_is_enough() -> None:
    assert Frame(COLOR, None, CAMERA).depth is None
    assert Frame(None, DEPTH, CAMERA, masks={"mug": DEPTH > 0}).color is None


def test_uint16_depth_becomes_metres() -> None:
    raw = np.full((6, 8), 1234, np.uint16)
    raw[0, 0] = 0
    depth = Frame(None, raw, CAMERA, depth_scale_m=0.0005).depth_m()
    assert depth.dtype == np.float32
    assert depth[0, 0] == 0.0
    assert depth[1, 1] == pytest.approx(0.617)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_measurement_becomes_zero(dtype: type) -> None:
    raw = np.full((6, 8), 0.75, dtype)
    raw[0, :5] = np.nan, np.inf, -np.inf, -1.0, 0.0
    depth = Frame(None, raw, CAMERA).depth_m()
    np.testing.assert_array_equal(depth[0, :5], 0.0)
    np.testing.assert_array_equal(depth[1:], 0.75)
    assert np.isnan(raw[0, 0])


def test_masked_arrays_are_honoured() -> None:
    """What a masked array hides is no measurement, and no part of a mask."""
    hidden = np.zeros((6, 8), bool)
    hidden[:2] = True
    depth = np.ma.array(np.full((6, 8), 0.75, np.float32), mask=hidden)
    frame = Frame(
        np.ma.array(COLOR), depth, CAMERA, masks={"mug": np.ma.array(np.ones((6, 8), bool), mask=hidden)}
    )
    assert type(frame.color) is type(frame.depth) is np.ndarray
    np.testing.assert_array_equal(frame.depth > 0, ~hidden)
    np.testing.assert_array_equal(frame.depth_m(), np.where(hidden, 0.0, 0.75))
    np.testing.assert_array_equal(frame.masks["mug"], ~hidden)


def test_millimetres_may_be_floats_if_that_is_said() -> None:
    assert Frame(None, np.full((6, 8), 750.0), CAMERA, depth_scale_m=1e-3).depth_m()[0, 0] == pytest.approx(
        0.75
    )


def test_a_frame_without_any_measurement_is_valid() -> None:
    assert not Frame(None, np.zeros((6, 8), np.float32), CAMERA).depth_m().any()


def test_colour_frame_has_no_metres() -> None:
    with pytest.raises(ValueError, match="no depth image"):
        Frame(COLOR, None, CAMERA).depth_m()
