"""Cameras from CameraInfo messages, without ROS."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dr_perception.geometry import Camera

K = [600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0]
P = [500.0, 0.0, 310.0, -50.0, 0.0, 505.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def info(**changes: Any) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    fields = {
        "width": 640,
        "height": 480,
        "k": K,
        "p": P,
        "d": [],
        "distortion_model": "plumb_bob",
        "roi": roi,
    }
    return SimpleNamespace(**{**fields, "binning_x": 0, "binning_y": 0, **changes})


def test_plain_message() -> None:
    assert Camera.from_camera_info(info()) == Camera(640, 480, 600.0, 610.0, 320.0, 240.0)


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "", "whatever the driver says"])
@pytest.mark.parametrize("d", [[], [0.0] * 5, [0.0] * 8, np.zeros(5)])
def test_empty_or_zero_coefficients_mean_no_distortion(model: str, d: Any) -> None:
    camera = Camera.from_camera_info(info(distortion_model=model, d=d))
    assert camera.distortion == ()
    assert not camera.has_distortion


def test_zero_coefficients_of_an_equidistant_lens_are_an_ideal_fisheye() -> None:
    camera = Camera.from_camera_info(info(distortion_model="equidistant", d=[0.0] * 4))
    assert camera.has_distortion
    assert camera.project([1.0, 0.0, 1.0])[0] == pytest.approx(320.0 + 600.0 * np.pi / 4)


@pytest.mark.parametrize(
    ("model", "d", "expected"),
    [
        ("plumb_bob", (0.1, 0.2, 0.01, 0.02, 0.3), ("plumb_bob", 5)),
        ("plumb_bob", (0.1, 0.2, 0.01, 0.02, 0.3, 0.0, 0.0, 0.0), ("plumb_bob", 5)),
        ("rational_polynomial", (0.1,) * 8 + (0.0,) * 6, ("rational_polynomial", 8)),
        ("equidistant", (0.1, 0.2, 0.01, 0.02), ("equidistant", 4)),
        ("fisheye", (0.1, 0.2, 0.01, 0.02), ("equidistant", 4)),
    ],
)
def test_models_and_lengths(model: str, d: tuple[float, ...], expected: tuple[str, int]) -> None:
    camera = Camera.from_camera_info(info(distortion_model=model, d=d))
    assert (camera.distortion_model, len(camera.distortion)) == expected


def test_rectified_images_use_p_and_no_distortion() -> None:
    camera = Camera.from_camera_info(info(d=[0.1] * 5), rectified=True)
    assert camera == Camera(640, 480, 500.0, 505.0, 310.0, 230.0)


def test_ros1_field_names() -> None:
    msg = info()
    for name in "kdp":
        setattr(msg, name.upper(), getattr(msg, name))
        delattr(msg, name)
    assert Camera.from_camera_info(msg) == Camera.from_camera_info(info())


def test_region_of_interest_then_binning() -> None:
    roi = SimpleNamespace(x_offset=100, y_offset=50, width=400, height=300)
    full = Camera.from_camera_info(info())
    camera = Camera.from_camera_info(info(roi=roi, binning_x=2, binning_y=2))
    assert (camera.width, camera.height) == (200, 150)
    p = np.array([0.05, -0.03, 1.0])
    # Pixel edges, not centres, keep their ratio: u' + 1/2 = (u - x0 + 1/2) / 2.
    np.testing.assert_allclose(camera.project(p) + 0.5, (full.project(p) - (100, 50) + 0.5) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [0.0] * 9}, "uncalibrated camera: K of the CameraInfo message is all zero"),
        ({"distortion_model": "magic", "d": [0.1] * 5}, "distortion model 'magic'; known are plumb_bob"),
        ({"roi": SimpleNamespace(x_offset=600, y_offset=0, width=100, height=100)}, "reaches outside"),
        ({"width": 0}, "width must be a positive"),
        ({"d": [0.1, 0.1, 0.1]}, "plumb_bob takes 0 or 4 or 5"),
        ({"d": [np.nan] * 5}, "must be finite"),
    ],
)
def test_bad_messages_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Camera.from_camera_info(info(**changes))


def test_unrectified_message_without_p_is_refused_when_rectified_is_asked() -> None:
    with pytest.raises(ValueError, match="P of the CameraInfo message is all zero"):
        Camera.from_camera_info(info(p=[0.0] * 12), rectified=True)
