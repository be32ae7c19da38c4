"""Whether a frame brings news: cameras hang, drivers repeat frames, and images go black."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.finding import Finding
from dr_perception.geometry.frame import Frame

_PARTS, _RUN = 4, 16
"""Parts of an image along either side, and how many neighbouring pixels are compared in each.

Neighbours, since those lie in one line of the cache: 144 pixels spread over two images took 37 us to fetch.
"""
_FLAT_LEVELS = 8
"""Grey levels up to which pixels of an image without light differ by noise."""
_HOT_SHARE = 1e-4
"""Pixels that are hot, whatever the light."""


@dataclass(frozen=True)
class Look:
    """What a frame is good for."""

    frame: Frame
    """The frame without an image that shows nothing."""
    nothing: str
    """Why it brings no news, as half a sentence; empty if it does."""


class Novelty:
    """Compares each frame with the last one, at some pixels of every part."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.forget()

    def forget(self) -> None:
        """Let the next frame be the first."""
        self._last: weakref.ref[Frame] | None = None
        self._grids: tuple[NDArray[Any] | None, NDArray[Any] | None] = (None, None)
        self._alive: bool | None = None
        self.findings: tuple[Finding, ...] = ()
        self._repeats = 0

    def look(self, frame: Frame) -> Look:
        """Take in a frame."""
        color, depth = self._grid(frame.color), self._grid(frame.depth)
        same = self._is_repeated(frame, color, depth)
        self._last, self._grids = weakref.ref(frame), (color, depth)
        has_color = color is not None and not self._is_flat(frame, color)
        has_depth = depth is not None and (
            bool(np.count_nonzero(depth > 0)) or bool(np.any(np.asarray(frame.depth) > 0))
        )
        repeated = same and (has_color or has_depth)
        self._repeats = self._repeats + 1 if repeated else 0
        self.findings = self._found(frame, has_color, has_depth)
        if not (has_color or has_depth):
            return Look(frame, "the images show nothing: no depth, and one colour all over")
        if repeated:
            return Look(frame, "the images are those of the frame before, to the last bit")
        if frame.color is not None and not has_color and has_depth:
            frame = replace(frame, color=None)
        return Look(frame, "")

    def _found(self, frame: Frame, has_color: bool, has_depth: bool) -> tuple[Finding, ...]:
        found = []
        for name, image, shows in (("color", frame.color, has_color), ("depth", frame.depth, has_depth)):
            if image is not None and not shows:
                found.append(Finding(name, "blank", 0.0, 0.0, f"the {name} image shows nothing"))
        if self._repeats:
            text = f"{self._repeats} frames in a row repeat the images of the one before: the camera hangs"
            found.append(Finding("frames", "frozen", float(self._repeats), 0.0, text))
        return tuple(found)

    @staticmethod
    def _grid(image: NDArray[Any] | None) -> NDArray[Any] | None:
        """Pixels (rows, columns, `_RUN`, ...) of every part of an image."""
        if image is None:
            return None
        rows, columns = (max(n // _PARTS, 1) for n in image.shape[:2])
        lines = image[rows // 2 :: rows][:_PARTS]
        whole = lines[:, : columns * min(_PARTS, image.shape[1])]
        runs = whole.reshape(len(lines), -1, columns, *image.shape[2:])
        start = max(columns - _RUN, 0) // 2
        return runs[:, :, start : start + _RUN].copy()

    def _is_repeated(self, frame: Frame, color: NDArray[Any] | None, depth: NDArray[Any] | None) -> bool:
        """Whether the same images come again in a stream that has noise.

        Without noise, in a simulation, images stay the same when nothing moves. Whoever tracks one frame
        again means it.
        """
        last = None if self._last is None else self._last()
        pairs = list(zip((color, depth), self._grids, strict=True))
        if self._last is None or any((a is None) != (b is None) for a, b in pairs) or last is frame:
            return False
        there = [(a, b) for a, b in pairs if a is not None and b is not None]
        if any(a.shape != b.shape for a, b in there):
            return False
        changes = [changed for changed in (_changes(a, b) for a, b in there) if np.count_nonzero(changed)]
        if changes:
            self._alive = self._alive is not False and any(map(_is_all_over, changes))
            return False
        return self._alive is True

    @staticmethod
    def _is_flat(frame: Frame, grid: NDArray[Any]) -> bool:
        few = grid[:, :, 0, 0].tobytes()
        if max(few) - min(few) > _FLAT_LEVELS:
            return False
        red = grid[..., 0]
        if int(red.max()) - int(red.min()) > _FLAT_LEVELS:
            return False
        image = np.asarray(frame.color, dtype=np.int16)
        off = np.abs(image - np.median(image, axis=(0, 1))).max(axis=2) > _FLAT_LEVELS
        return bool(off.mean() < _HOT_SHARE)


def _changes(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Values that differ in any bit, so that NaN is no difference from NaN."""
    if a.dtype.kind == "f":
        bits = f"u{a.dtype.itemsize}"
        a, b = a.view(bits), b.astype(a.dtype, copy=False).view(bits)
    different: NDArray[np.bool_] = a != b
    return different


def _is_all_over(changed: NDArray[np.bool_]) -> bool:
    """Whether pixels changed in half of the parts of an image: by noise, not by one thing that moves."""
    if 2 * int(np.count_nonzero(changed)) > changed.size:
        return True  # more than half of them lie in more than half of the parts
    parts = changed.reshape(*changed.shape[:2], -1).any(axis=2)
    return 2 * int(np.count_nonzero(parts)) >= parts.size
