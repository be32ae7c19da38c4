"""Overlay videos that browsers play without plug-ins: animated WebP (default), GIF, or VP8 in WebM.

An animated WebP encodes in a few milliseconds a frame, needs nothing but Pillow and shows wherever a
picture does. WebM can be paused and searched; the OpenCV wheels bring its encoder, but none for H.264, and
MPEG-4 part 2, which they have, is not played by browsers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["VIDEO_SUFFIXES", "write_video"]

VIDEO_SUFFIXES = (".webp", ".gif", ".webm")
WEBP_OPTIONS = {"quality": 72, "method": 2}

Image = NDArray[np.uint8]


def write_video(path: str | Path, frames: Iterable[Image], fps: float = 30.0) -> Path:
    """Write pictures as a video; animated pictures repeat for ever.

    Args:
        path: Where to write; the suffix decides the format, see `VIDEO_SUFFIXES`.
        frames: (H, W, 3) uint8 RGB pictures of one size.
        fps: Frames per second; GIF players show at most 50.

    Returns:
        The path.

    Raises:
        ValueError: There are no frames, their sizes differ, the rate is not positive, or the suffix is
        another.
        RuntimeError: This OpenCV cannot encode WebM.
    """
    path = Path(path)
    if path.suffix not in VIDEO_SUFFIXES:
        raise ValueError(f"a video is one of {', '.join(VIDEO_SUFFIXES)}, got {path.name!r}")
    if not fps > 0:
        raise ValueError(f"the frame rate must be positive, got {fps}")
    pictures = _same_size(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"no frames for the video {path.name}")
    if path.suffix == ".webm":
        _write_webm(path, first, pictures, fps)
    else:
        _write_animation(path, first, pictures, fps)
    return path


def _write_animation(path: Path, first: Image, rest: Iterable[Image], fps: float) -> None:
    from PIL import Image as Pictures

    options: dict[str, Any] = dict(WEBP_OPTIONS) if path.suffix == ".webp" else {}
    Pictures.fromarray(first).save(
        path,
        save_all=True,
        append_images=(Pictures.fromarray(frame) for frame in rest),
        duration=max(round(1000.0 / fps), 1),
        loop=0,
        **options,
    )


def _write_webm(path: Path, first: Image, rest: Iterable[Image], fps: float) -> None:
    import cv2

    size = (first.shape[1] // 2 * 2, first.shape[0] // 2 * 2)  # the encoder halves the chroma
    fourcc = cv2.VideoWriter.fourcc(*"VP80")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size)
    if not writer.isOpened():
        raise RuntimeError(f"this OpenCV cannot encode {path.name}; write a .webp instead")
    try:
        for frame in (first, *rest):
            writer.write(np.ascontiguousarray(frame[: size[1], : size[0], ::-1]))
    finally:
        writer.release()


def _same_size(frames: Iterable[Image]) -> Iterator[Image]:
    shape: tuple[int, ...] | None = None
    for frame in frames:
        shape = frame.shape if shape is None else shape
        if frame.shape != shape or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(
                f"all frames must be (H, W, 3) uint8 of one size, got {frame.shape} {frame.dtype}"
            )
        yield frame
