"""Images from files: colour as RGB, depth and masks with the type in which they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_color", "read_depth"]


def read_color(path: Path) -> NDArray[np.uint8]:
    """Read a colour or grey picture.

    Returns:
        Shape (H, W, 3), uint8 RGB.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It cannot be decoded.
    """
    import cv2

    pixels = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_depth(path: Path) -> NDArray[Any]:
    """Read a picture of one channel as it is: a 16-bit PNG, an 8-bit mask, a float TIFF, or a ``.npy`` array.

    Returns:
        Shape (H, W); uint8, uint16 or float32.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It cannot be decoded or has more than one channel.
    """
    import cv2

    if path.suffix == ".npy":
        pixels = _load_array(path)
    else:
        pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2:
        raise ValueError(f"image file {path} has shape {pixels.shape}, expected one channel")
    return pixels


def _decode(path: Path, flags: int) -> NDArray[Any]:
    import cv2

    if not path.is_file():
        raise FileNotFoundError(f"image file {path} does not exist")
    data = np.fromfile(path, np.uint8)
    try:
        pixels = cv2.imdecode(data, flags) if data.size else None
    except cv2.error as error:
        raise ValueError(f"image file {path} cannot be decoded: {error.err}") from error
    if pixels is None:
        raise ValueError(f"image file {path} ({data.size} bytes) cannot be decoded")
    return pixels


def _load_array(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"image file {path} does not exist")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"image file {path} is no valid .npy array: {error}") from error
