"""Bytes of ROS images to arrays and back."""

from __future__ import annotations

import array
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dr_perception.data import image_codec as codec

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 7))
SEEDS = st.integers(0, 2**32 - 1)


def random_color(seed: int, width: int, height: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def random_depth(seed: int, width: int, height: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, (height, width), dtype=np.uint16)


def padded(rows: NDArray[np.generic], padding: int) -> tuple[bytes, int]:
    """Bytes of an image with `padding` bytes after each row, and its step."""
    flat = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    wide = np.pad(flat, ((0, 0), (0, padding)), constant_values=0xAB)
    return wide.tobytes(), wide.shape[1]


@given(SEEDS, SIZES, st.integers(0, 5), st.sampled_from(["rgb8", "bgr8", "rgba8", "bgra8"]))
def test_color_encodings_give_rgb_whatever_the_padding(
    seed: int, size: tuple[int, int], padding: int, encoding: str
) -> None:
    width, height = size
    rgb = random_color(seed, width, height)
    stored = rgb[..., ::-1] if encoding.startswith("bgr") else rgb
    if encoding.endswith("a8"):
        stored = np.concatenate([stored, random_color(seed + 1, width, height, 1)], axis=2)
    data, step = padded(stored, padding)
    assert np.array_equal(codec.decode_color(data, encoding, width, height, step), rgb)


@given(SEEDS, SIZES, st.integers(0, 5), st.sampled_from(["mono8", "8UC1"]))
def test_grey_becomes_three_equal_channels(
    seed: int, size: tuple[int, int], padding: int, encoding: str
) -> None:
    grey = random_color(seed, *size, 1)
    data, step = padded(grey, padding)
    assert np.array_equal(codec.decode_color(data, encoding, *size, step), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", (1, 0)), ("yuv422_yuy2", (0, 1))])
def test_yuv422_grey_levels(encoding: str, order: tuple[int, int]) -> None:
    luma_chroma = np.array([[[235, 128], [16, 128]]], np.uint8)  # white and black of BT.601, no colour
    data = np.ascontiguousarray(luma_chroma[..., list(order)]).tobytes()
    assert codec.decode_color(data, encoding, 2, 1).tolist() == [[[255] * 3, [0] * 3]]


@given(SEEDS, SIZES, st.integers(0, 5), st.booleans(), st.sampled_from(["16UC1", "mono16"]))
def test_uint16_depth_is_kept_exactly(
    seed: int, size: tuple[int, int], padding: int, big_endian: bool, encoding: str
) -> None:
    depth = random_depth(seed, *size)
    data, step = padded(depth.astype(">u2" if big_endian else "<u2"), padding)
    decoded = codec.decode_depth(data, encoding, *size, step, big_endian)
    assert decoded.values.dtype == np.uint16
    assert np.array_equal(decoded.values, depth)
    assert decoded.scale_m == 0.001


FLOATS = st.lists(st.floats(width=32), min_size=1, max_size=12)


@given(FLOATS, st.booleans())
def test_float_depth_keeps_measurements_and_zeroes_the_rest(values: list[float], big_endian: bool) -> None:
    stored = np.array([values], dtype=">f4" if big_endian else "<f4")
    decoded = codec.decode_depth(stored.tobytes(), "32FC1", len(values), 1, big_endian=big_endian)
    assert decoded.values.dtype == np.float32
    assert decoded.scale_m == 1.0
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(stored) & (stored >= 0)
    assert np.array_equal(decoded.values, np.where(valid, stored, 0))


def test_all_nan_depth_means_no_measurement_anywhere() -> None:
    data = np.full((3, 4), np.nan, np.float32).tobytes()
    assert not codec.decode_depth(data, "32FC1", 4, 3).values.any()


@pytest.mark.parametrize(
    "container", [bytes, bytearray, lambda b: array.array("B", b), lambda b: np.frombuffer(b, np.uint8)]
)
def test_wanted_layout_is_wrapped_not_copied(container) -> None:  # type: ignore[no-untyped-def]
    color, depth = container(random_color(0, 4, 3).tobytes()), container(random_depth(0, 4, 3).tobytes())
    assert np.shares_memory(codec.decode_color(color, "rgb8", 4, 3), np.frombuffer(color, np.uint8))
    assert np.shares_memory(codec.decode_depth(depth, "16UC1", 4, 3).values, np.frombuffer(depth, np.uint8))


def test_last_row_may_lack_its_padding() -> None:
    rgb = random_color(3, 4, 3)
    data, step = padded(rgb, 2)
    assert np.array_equal(codec.decode_color(data[:-2], "rgb8", 4, 3, step), rgb)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: codec.decode_color(b"", "bayer_rggb8", 4, 3), "'bayer_rggb8' is not supported"),
        (lambda: codec.decode_color(b"", "16UC1", 4, 3), "'16UC1' belongs to the other image"),
        (lambda: codec.decode_depth(b"", "rgb8", 4, 3), "'rgb8' belongs to the other image"),
        (lambda: codec.decode_depth(b"", "64FC1", 4, 3), "'64FC1' is not supported"),
        (lambda: codec.decode_color(bytes(35), "rgb8", 4, 3), "35 bytes, too few for 4x3 rgb8"),
        (lambda: codec.decode_color(bytes(99), "rgb8", 4, 3, step=11), "step 11 is too small for 4 pixels"),
        (lambda: codec.decode_depth(b"", "16UC1", 0, 3), "must be positive, got 0x3"),
        (lambda: codec.decode_compressed_color(b"", "jpeg"), "0 bytes"),
        (lambda: codec.decode_compressed_color(b"no picture", "jpeg"), "'jpeg', 10 bytes"),
        (
            lambda: codec.decode_compressed_depth(bytes(40), "16UC1; compressedDepth"),
            "no PNG after its 12-byte",
        ),
        (lambda: codec.decode_compressed_depth(b"", "16UC1; compressedDepth rvl"), "publish it as png"),
        (
            lambda: codec.decode_compressed_depth(codec.encode_png(random_color(0, 4, 3)), "16UC1"),
            "one channel",
        ),
        (
            lambda: codec.decode_compressed_depth(codec.encode_png(random_depth(0, 4, 3)), "64FC1; png"),
            "'64FC1'",
        ),
    ],
)
def test_what_cannot_be_decoded_is_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("encode", [codec.encode_jpeg, codec.encode_png])
def test_truncated_picture_is_refused_rather_than_filled_with_grey(encode) -> None:  # type: ignore[no-untyped-def]
    data = encode(random_color(1, 64, 48))
    with pytest.raises(ValueError, match="is truncated"):
        codec.decode_compressed_color(data[: len(data) * 3 // 4])


@given(SEEDS, SIZES)
def test_png_colour_round_trip_is_lossless(seed: int, size: tuple[int, int]) -> None:
    rgb = random_color(seed, *size)
    assert np.array_equal(codec.decode_compressed_color(codec.encode_png(rgb), "png"), rgb)


def test_jpeg_colour_round_trip_keeps_the_channel_order() -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[..., 0] = 200
    decoded = codec.decode_compressed_color(codec.encode_jpeg(rgb, 95), "jpeg")
    assert np.abs(decoded.astype(int) - rgb).max() < 8


@given(SEEDS, SIZES)
def test_compressed_uint16_depth_is_lossless(seed: int, size: tuple[int, int]) -> None:
    depth = random_depth(seed, *size)
    data, format = codec.encode_compressed_depth(depth)
    decoded = codec.decode_compressed_depth(data, format)
    assert np.array_equal(decoded.values, depth)
    assert decoded.scale_m == 0.001


@given(st.lists(st.floats(0.0, 12.0, width=32), min_size=1, max_size=20))
def test_compressed_float_depth_is_within_half_a_quantisation_step(values: list[float]) -> None:
    depth = np.array([values], np.float32)
    data, format = codec.encode_compressed_depth(depth)
    decoded = codec.decode_compressed_depth(data, format).values
    storable = (depth > 0.153) & (depth <= 10.0)
    assert not decoded[(depth < 0.1515) | (depth > 10.0)].any()
    step = depth.astype(np.float64) ** 2 / 10100.0  # derivative of depth = A / (q - B) with A = 100 * 101
    assert np.all(np.abs(decoded - depth)[storable] <= 0.51 * step[storable] + 1e-6)


def test_float_depth_without_measurement_survives_compression() -> None:
    depth = np.array([[np.nan, np.inf, -1.0, 0.0, 1.0]], np.float32)
    data, format = codec.encode_compressed_depth(depth)
    assert codec.decode_compressed_depth(data, format).values[0].tolist() == pytest.approx(
        [0, 0, 0, 0, 1], abs=1e-4
    )


def test_compressed_depth_follows_the_wire_format_of_the_ros_transport() -> None:
    """Written out by hand: header <iff> with A and B, then a PNG of q = A / z + B; q = 0: nothing."""
    quant_a, quant_b = 10100.0, -1009.0
    q = np.array([[0, 9091, 4041]], np.uint16)
    png = cv2.imencode(".png", q)[1].tobytes()
    data = struct.pack("<iff", 0, quant_a, quant_b) + png
    expected = [0.0, quant_a / (9091 - quant_b), quant_a / (4041 - quant_b)]
    for format in ("32FC1; compressedDepth", "32FC1; compressedDepth png", ""):
        decoded = codec.decode_compressed_depth(data, format)
        assert decoded.values[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_16_bit_png_without_header_is_millimetres() -> None:
    depth = random_depth(5, 4, 3)
    decoded = codec.decode_compressed_depth(codec.encode_png(depth), "16UC1; png compressed")
    assert np.array_equal(decoded.values, depth)
    assert decoded.scale_m == 0.001


def test_float_depth_without_quantisation_in_its_header_is_refused() -> None:
    data = struct.pack("<iff", 0, 0.0, 0.0) + codec.encode_png(random_depth(5, 4, 3))
    with pytest.raises(ValueError, match="no valid quantisation"):
        codec.decode_compressed_depth(data, "32FC1; compressedDepth")


def test_only_uint16_and_float32_depth_can_be_encoded() -> None:
    with pytest.raises(TypeError, match="uint16 or float32, got float64"):
        codec.encode_compressed_depth(np.zeros((2, 2)))
