"""Arrays from and to the bytes of ROS images: raw, JPEG/PNG and compressedDepth, without ROS.

Colour is always ``(H, W, 3)`` uint8 RGB, depth is ``(H, W)`` uint16 with a scale to metres, or float32
metres. A depth of 0 means "no measurement"; NaN, infinite and negative values are turned into 0. Bytes that
already have the wanted layout are wrapped, not copied: the array then lives as long as the message's buffer.

Sources: REP 118 (16UC1 is millimetres, 32FC1 metres), sensor_msgs/Image (``step``, ``is_bigendian``), and the
wire format of compressed_depth_image_transport (12-byte header, inverse-depth quantisation of 32FC1).
"""

from __future__ import annotations

import functools
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COLOR_ENCODINGS",
    "DEPTH_ENCODINGS",
    "DepthImage",
    "decode_color",
    "decode_compressed_color",
    "decode_compressed_depth",
    "decode_depth",
    "encode_compressed_depth",
    "encode_jpeg",
    "encode_png",
]

COLOR_ENCODINGS: dict[str, tuple[int, str | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, "COLOR_BGR2RGB"),
    "rgba8": (4, "COLOR_RGBA2RGB"),
    "bgra8": (4, "COLOR_BGRA2RGB"),
    "mono8": (1, "COLOR_GRAY2RGB"),
    "8UC1": (1, "COLOR_GRAY2RGB"),
    "yuv422": (2, "COLOR_YUV2RGB_UYVY"),
    "uyvy": (2, "COLOR_YUV2RGB_UYVY"),
    "yuv422_yuy2": (2, "COLOR_YUV2RGB_YUY2"),
    "yuyv": (2, "COLOR_YUV2RGB_YUY2"),
}
"""Bytes per pixel and the name of OpenCV's conversion to RGB, for each raw colour encoding that is read."""

DEPTH_ENCODINGS: dict[str, tuple[type[np.generic], float]] = {
    "16UC1": (np.uint16, 0.001),
    "mono16": (np.uint16, 0.001),
    "32FC1": (np.float32, 1.0),
}
"""Element type and metres per unit (REP 118) of each raw depth encoding that is read."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH_HEADER = struct.Struct("<iff")
"""Header of compressedDepth: format (0 = inverse depth), and the quantisation parameters A and B."""


class DepthImage(NamedTuple):
    """Depth pixels and the number of metres that one unit of them means."""

    values: NDArray[Any]
    """Shape (H, W), uint16 or float32; 0 means "no measurement"."""
    scale_m: float
    """Metres per unit."""


def decode_color(
    data: Any, encoding: str, width: int, height: int, step: int = 0, big_endian: bool = False
) -> NDArray[np.uint8]:
    """Turn the bytes of a raw colour image into RGB.

    Args:
        data: Any buffer of bytes (``bytes``, ``array.array("B")``, uint8 array).
        encoding: One of `COLOR_ENCODINGS`.
        width: Width in pixels.
        height: Height in pixels.
        step: Bytes from one row to the next; 0 means that rows are not padded.
        big_endian: Ignored: all colour encodings that are read have 8-bit elements.

    Returns:
        Shape (H, W, 3), uint8 RGB. For unpadded ``rgb8`` a view of `data`.

    Raises:
        ValueError: The encoding is not known, or the size, step and number of bytes do not fit together.
    """
    if encoding not in COLOR_ENCODINGS:
        raise ValueError(_unknown_encoding(encoding, "colour", COLOR_ENCODINGS, DEPTH_ENCODINGS))
    channels, conversion = COLOR_ENCODINGS[encoding]
    pixels = _wrap(data, np.dtype(np.uint8), channels, width, height, step, encoding)
    if conversion is None:
        return np.ascontiguousarray(pixels)
    import cv2

    converted = cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, conversion))
    return np.asarray(converted, dtype=np.uint8)


def decode_depth(
    data: Any, encoding: str, width: int, height: int, step: int = 0, big_endian: bool = False
) -> DepthImage:
    """Turn the bytes of a raw depth image into an array of its own type.

    Args:
        data: Any buffer of bytes.
        encoding: One of `DEPTH_ENCODINGS`.
        width: Width in pixels.
        height: Height in pixels.
        step: Bytes from one row to the next; 0 means that rows are not padded.
        big_endian: Whether elements are stored with the high byte first.

    Returns:
        The pixels (shape (H, W), uint16 or float32, finite and not negative) and their scale to metres. A
        view of `data` where nothing had to be changed.

    Raises:
        ValueError: The encoding is not known, or the size, step and number of bytes do not fit together.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise ValueError(_unknown_encoding(encoding, "depth", DEPTH_ENCODINGS, COLOR_ENCODINGS))
    kind, scale_m = DEPTH_ENCODINGS[encoding]
    dtype = np.dtype(kind)
    stored = _wrap(data, dtype.newbyteorder(">" if big_endian else "<"), 1, width, height, step, encoding)
    values = np.ascontiguousarray(stored, dtype=dtype)
    return DepthImage(_without_invalid(values), scale_m)


def decode_compressed_color(data: Any, format: str = "") -> NDArray[np.uint8]:
    """Decode a JPEG or PNG colour (or grey) picture.

    Args:
        data: Any buffer of bytes.
        format: The message's ``format`` field, only used to name the picture in errors.

    Returns:
        Shape (H, W, 3), uint8 RGB. An EXIF orientation is ignored, since intrinsics belong to the stored
        pixels.

    Raises:
        ValueError: The bytes are no picture that OpenCV can decode.
    """
    import cv2

    pixels = _imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, format, "colour")
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"compressed colour image (format {format!r}) has {pixels.dtype} pixels, expected uint8"
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_compressed_depth(data: Any, format: str = "") -> DepthImage:
    """Decode a compressedDepth picture (PNG behind a 12-byte header), or a 16-bit PNG without the header.

    A 32FC1 image is stored as ``q = A / depth + B`` in 16 bits; its depth is ``A / (q - B)``, and q = 0 means
    "no measurement".

    Args:
        data: Any buffer of bytes.
        format: The message's ``format`` field, for example ``"16UC1; compressedDepth png"``. Empty: 32FC1 if
            the header carries quantisation parameters, otherwise 16UC1.

    Returns:
        The pixels (shape (H, W), uint16 for 16UC1, float32 for 32FC1) and their scale to metres.

    Raises:
        ValueError: The format is not supported (RVL, other encodings), or the bytes are damaged.
    """
    encoding = format.split(";")[0].strip()
    if "rvl" in format.lower():
        raise ValueError(f"compressed depth format {format!r} is not supported: publish it as png")
    raw = np.frombuffer(data, np.uint8)
    quant_a, quant_b, picture = _split_depth_header(raw, format)
    if encoding not in DEPTH_ENCODINGS:
        if encoding not in ("", "png"):
            raise ValueError(_unknown_encoding(encoding, "compressed depth", DEPTH_ENCODINGS, {}))
        encoding = "32FC1" if quant_a > 0.0 else "16UC1"
    import cv2

    pixels = _imdecode(picture, cv2.IMREAD_UNCHANGED, format, "depth")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(
            f"compressed depth (format {format!r}) holds {pixels.dtype} pixels of shape {pixels.shape}, "
            "expected one channel of uint16"
        )
    if encoding != "32FC1":
        return DepthImage(pixels, DEPTH_ENCODINGS[encoding][1])
    return DepthImage(_dequantise(pixels, quant_a, quant_b), 1.0)


def encode_jpeg(color: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode an RGB image, shape (H, W, 3) uint8, as JPEG of the given quality (1 to 100)."""
    import cv2

    return _imencode(".jpg", cv2.cvtColor(color, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: NDArray[Any], level: int = 6) -> bytes:
    """Encode RGB (H, W, 3) uint8, or one channel (H, W) uint8 or uint16, losslessly as PNG (level 0 to 9)."""
    import cv2

    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return _imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, level])


def encode_compressed_depth(
    depth: NDArray[Any], depth_max_m: float = 10.0, quantization: float = 100.0, level: int = 6
) -> tuple[bytes, str]:
    """Encode depth as the payload and ``format`` field of a compressedDepth message.

    uint16 depth is stored losslessly. float32 metres are quantised in inverse depth: with the defaults the
    step is about 0.1 mm at 1 m and 0.4 mm at 2 m, and what is nearer than 0.152 m or beyond `depth_max_m` is
    stored as "no measurement".

    Args:
        depth: Shape (H, W), uint16 (any unit) or float32 metres.
        depth_max_m: Largest depth that can be stored, only for float32.
        quantization: Depth at which one 16-bit step is one unit of the transport's formula, only for float32.
        level: PNG compression level, 0 to 9.

    Returns:
        The bytes, and the ``format`` string.

    Raises:
        TypeError: The element type is neither uint16 nor float32.
    """
    if depth.dtype == np.uint16:
        return _DEPTH_HEADER.pack(0, 0.0, 0.0) + _encode_png16(depth, level), "16UC1; compressedDepth png"
    if depth.dtype != np.float32:
        raise TypeError(f"compressed depth must be uint16 or float32, got {depth.dtype}")
    quant_a = quantization * (quantization + 1.0)
    quant_b = 1.0 - quant_a / depth_max_m
    # The header holds float32: quantise with the numbers that the reader will see.
    quant_a, quant_b = float(np.float32(quant_a)), float(np.float32(quant_b))
    payload = _encode_png16(_quantise(depth, depth_max_m, quant_a, quant_b), level)
    return _DEPTH_HEADER.pack(0, quant_a, quant_b) + payload, "32FC1; compressedDepth png"


def _wrap(
    data: Any, dtype: np.dtype[Any], channels: int, width: int, height: int, step: int, encoding: str
) -> NDArray[Any]:
    """View a buffer as (H, W) or (H, W, channels) with rows `step` bytes apart."""
    row_bytes = width * channels * dtype.itemsize
    step = step or row_bytes
    if width <= 0 or height <= 0:
        raise ValueError(f"image size must be positive, got {width}x{height}")
    if step < row_bytes:
        raise ValueError(f"step {step} is too small for {width} pixels of {encoding} ({row_bytes} bytes)")
    needed = (height - 1) * step + row_bytes
    raw = np.frombuffer(data, np.uint8)
    if raw.size < needed:
        raise ValueError(
            f"image data has {raw.size} bytes, too few for {width}x{height} {encoding} with step {step} "
            f"({needed} bytes)"
        )
    shape = (height, width) if channels == 1 else (height, width, channels)
    strides = (step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, raw.data, strides=strides)


def _without_invalid(values: NDArray[Any]) -> NDArray[Any]:
    """Replace NaN, infinite and negative depths by 0, copying only if there are any."""
    if values.dtype != np.float32:
        return values
    # The bits of a float32 that is finite and not negative are below those of infinity: one comparison does
    # it.
    valid = values.view(np.uint32) < np.uint32(0x7F800000)
    return values if valid.all() else np.where(valid, values, np.float32(0.0))


def _split_depth_header(raw: NDArray[np.uint8], format: str) -> tuple[float, float, NDArray[np.uint8]]:
    """Return the parameters A and B (0 without a header) and the bytes of the PNG."""
    if raw[:8].tobytes() == _PNG_SIGNATURE:
        return 0.0, 0.0, raw
    if raw[_DEPTH_HEADER.size : _DEPTH_HEADER.size + 8].tobytes() != _PNG_SIGNATURE:
        raise ValueError(
            f"compressed depth (format {format!r}, {raw.size} bytes) holds no PNG after its 12-byte header"
        )
    _, quant_a, quant_b = _DEPTH_HEADER.unpack_from(raw.data)
    return quant_a, quant_b, raw[_DEPTH_HEADER.size :]


def _quantise(
    depth: NDArray[np.float32], depth_max_m: float, quant_a: float, quant_b: float
) -> NDArray[np.uint16]:
    """Inverse-depth quantisation q = A / depth + B, with 0 for what cannot be stored."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(quant_a / depth.astype(np.float64) + quant_b)
        valid = (depth > 0.0) & (depth <= depth_max_m) & (steps >= 1.0) & (steps <= 65535.0)
    return np.where(valid, steps, 0.0).astype(np.uint16)


def _dequantise(pixels: NDArray[np.uint16], quant_a: float, quant_b: float) -> NDArray[np.float32]:
    """Invert `_quantise`: depth = A / (q - B) in metres."""
    if not quant_a > 0.0 or not np.isfinite(quant_b):
        raise ValueError(
            f"compressed 32FC1 depth has no valid quantisation in its header: A = {quant_a}, B = {quant_b}"
        )
    return _inverse_depth_table(quant_a, quant_b)[pixels]


@functools.lru_cache(maxsize=4)
def _inverse_depth_table(quant_a: float, quant_b: float) -> NDArray[np.float32]:
    """Depth in metres of every 16-bit step; a table costs less than a division per pixel."""
    steps = np.arange(65536, dtype=np.float64) - quant_b
    with np.errstate(divide="ignore"):
        table = np.where(steps > 0.0, quant_a / steps, 0.0).astype(np.float32)
    table[0] = 0.0
    return _without_invalid(table)


def _imdecode(data: Any, flags: int, format: str, what: str) -> NDArray[Any]:
    """Decode a picture file in memory, or say which one could not be decoded."""
    import cv2

    raw = np.frombuffer(data, np.uint8)
    name = f"compressed {what} image (format {format!r}, {raw.size} bytes)"
    if _is_truncated(raw):
        raise ValueError(f"{name} is truncated")
    try:
        pixels = cv2.imdecode(raw, flags) if raw.size else None
    except cv2.error as error:
        raise ValueError(f"{name} cannot be decoded: {error.err}") from error
    if pixels is None:
        raise ValueError(f"{name} cannot be decoded")
    return pixels


def _is_truncated(raw: NDArray[np.uint8]) -> bool:
    """Whether a JPEG or PNG lacks its end mark; OpenCV would silently fill the missing rows with grey."""
    tail = raw[-4096:].tobytes()
    if raw[:2].tobytes() == b"\xff\xd8":
        return b"\xff\xd9" not in tail
    return raw[:8].tobytes() == _PNG_SIGNATURE and b"IEND" not in tail


def _encode_png16(depth: NDArray[np.uint16], level: int) -> bytes:
    """PNG of depth; without PNG's row filters, which make noisy depth a tenth larger."""
    import cv2

    options = [cv2.IMWRITE_PNG_COMPRESSION, level]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # since OpenCV 4.11
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    return _imencode(".png", depth, options)


def _imencode(suffix: str, image: NDArray[Any], options: list[int]) -> bytes:
    """Encode an image in OpenCV's channel order."""
    import cv2

    done, encoded = cv2.imencode(suffix, image, options)
    if not done:
        raise ValueError(f"cannot encode {image.dtype} image of shape {image.shape} as {suffix}")
    return encoded.tobytes()


def _unknown_encoding(encoding: str, what: str, known: dict[str, Any], other: dict[str, Any]) -> str:
    """Sentence for an encoding that is not read as `what`."""
    hint = f"; {encoding!r} belongs to the other image" if encoding in other else ""
    return f"{what} encoding {encoding!r} is not supported (supported: {', '.join(known)}){hint}"
