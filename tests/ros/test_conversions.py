"""Messages to arrays and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS 2 is not installed (extra `ros`, or a sourced installation)")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import make_transform, random_rotation
from dr_perception.ros import conversions

RNG = np.random.default_rng(3)
COLOR = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
HEADER = Header(stamp=conversions.time_message(12_345_678_901), frame_id="camera")


def raw(array: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    """An image message as a driver may send it."""
    rows = array.reshape(array.shape[0], -1)
    stored = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<"))
    lines = np.ascontiguousarray(stored).view(np.uint8).reshape(array.shape[0], -1)
    padded = np.pad(lines, ((0, 0), (0, padding)), constant_values=255)
    message = Image(
        header=HEADER, height=array.shape[0], width=array.shape[1], encoding=encoding, step=padded.shape[1]
    )
    message.is_bigendian = int(big_endian)
    message.data.frombytes(padded.tobytes())
    return message


def with_alpha(color: np.ndarray) -> np.ndarray:
    return np.dstack([color, np.full(color.shape[:2], 9, np.uint8)])


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("rgb8", COLOR),
        ("bgr8", COLOR[:, :, ::-1]),
        ("rgba8", with_alpha(COLOR)),
        ("bgra8", with_alpha(COLOR[:, :, ::-1])),
    ],
)
def test_colour_encodings_become_rgb(encoding: str, stored: np.ndarray, padding: int) -> None:
    assert np.array_equal(conversions.color_array(raw(stored, encoding, padding)), COLOR)


def test_grey_becomes_three_equal_channels() -> None:
    expected = np.repeat(COLOR[:, :, :1], 3, axis=2)
    assert np.array_equal(conversions.color_array(raw(COLOR[:, :, 0], "mono8", 2)), expected)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "dtype", "scale"), [("16UC1", "uint16", 0.001), ("32FC1", "float32", 1.0)]
)
def test_depth_encodings(encoding: str, dtype: str, scale: float, padding: int, big_endian: bool) -> None:
    depth = RNG.integers(1, 5000, (6, 9)).astype(dtype)
    found = conversions.depth_array(raw(depth, encoding, padding, big_endian))
    assert found.values.dtype == depth.dtype
    assert np.array_equal(found.values, depth)
    assert found.scale_m == scale


def test_depth_that_is_no_number_is_no_measurement() -> None:
    depth = np.array([[1.0, np.nan], [np.inf, -2.0]], np.float32)
    assert conversions.depth_array(raw(depth, "32FC1")).values.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_an_unpadded_rgb_image_is_not_copied() -> None:
    message = raw(COLOR, "rgb8")
    view = conversions.color_array(message)
    message.data[0] = (message.data[0] + 1) % 256
    assert view[0, 0, 0] == message.data[0]


@pytest.mark.parametrize("convert", [conversions.color_array, conversions.depth_array])
def test_an_unknown_encoding_is_named(convert: object) -> None:
    with pytest.raises(ValueError, match="bayer_grbg8"):
        convert(raw(COLOR[:, :, 0], "bayer_grbg8"))


@pytest.mark.parametrize(
    "array",
    [COLOR, COLOR[:, ::-1], COLOR[:, :, 0], COLOR[:, :, 0].astype(np.uint16), np.zeros((3, 4), np.float32)],
)
def test_image_messages_hold_the_bytes_of_the_array(array: np.ndarray) -> None:
    message = conversions.image_message(HEADER, array)
    assert message.header == HEADER
    assert np.array_equal(np.frombuffer(message.data, array.dtype).reshape(array.shape), array)


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8)])
def test_an_array_without_an_encoding_is_refused(array: np.ndarray) -> None:
    with pytest.raises(TypeError, match="no image encoding"):
        conversions.image_message(HEADER, array)


def test_compressed_images_round_trip() -> None:
    png = conversions.compressed_color_message(HEADER, COLOR, "png")
    assert np.array_equal(conversions.color_array(png), COLOR)
    smooth = np.full((32, 32, 3), (200, 120, 40), np.uint8)
    jpeg = conversions.compressed_color_message(HEADER, smooth)
    assert np.abs(conversions.color_array(jpeg).astype(int) - smooth).max() <= 4
    depth = RNG.integers(0, 65536, (8, 6), dtype=np.uint16)
    assert np.array_equal(
        conversions.depth_array(conversions.compressed_depth_message(HEADER, depth)).values, depth
    )


def test_camera_info_round_trips() -> None:
    camera = Camera(640, 480, 601.5, 602.5, 318.25, 241.75, (0.1, -0.2, 0.001, 0.002, 0.03))
    assert Camera.from_camera_info(conversions.camera_info_message(HEADER, camera)) == camera


@given(st.integers(min_value=0, max_value=2**31 * 10**9 - 1))
def test_stamps_are_exact_to_the_nanosecond(stamp: int) -> None:
    assert conversions.stamp_ns(Image(header=Header(stamp=conversions.time_message(stamp)))) == stamp


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_poses_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    T = make_transform(random_rotation(rng), rng.normal(size=3))
    np.testing.assert_allclose(conversions.transform_from_pose(conversions.pose_message(T)), T, atol=1e-12)


@pytest.mark.parametrize(("w", "named"), [(2.0, "length 2"), (np.nan, "not finite"), (0.0, "length 0")])
def test_a_pose_that_is_no_pose_is_refused(w: float, named: str) -> None:
    pose = conversions.pose_message(np.eye(4))
    pose.orientation.w = w
    with pytest.raises(ValueError, match=named):
        conversions.transform_from_pose(pose)
