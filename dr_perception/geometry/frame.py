"""One moment of one camera: colour, depth and calibration, validated once on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import check_transform

__all__ = ["Frame"]

_FARTHEST_M = 100.0
"""Median depth that no depth camera measures."""
_GRID = 20
"""Pixels along the shorter side that are looked at for it."""
_DEPTH_TYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint16))


@dataclass(frozen=True, eq=False)
class Frame:
    """Images of one stamp; none is copied or converted, save masked arrays, whose masked depths become 0.

    A depth of 0, NaN or infinity means "no measurement".

    Raises:
        ValueError: Neither image is there, a shape disagrees with the camera, or a value is out of its range.
        TypeError: An image is no array, or has another data type than promised.
    """

    color: NDArray[np.uint8] | None
    """RGB (not BGR), shape (H, W, 3)."""
    depth: NDArray[Any] | None
    """Depth along z, shape (H, W): float metres, or uint16 in units of `depth_scale_m`."""
    camera: Camera
    """Calibration that holds for both images."""
    stamp_ns: int = 0
    """Time of the images [ns]."""
    depth_scale_m: float = 1.0
    """Metres of one unit of `depth`; 0.001 for the usual uint16 millimetres."""
    T_world_cam: NDArray[np.float64] | None = None
    """Pose of the camera if known, shape (4, 4)."""
    masks: Mapping[str, NDArray[np.bool_]] | None = None
    """Visible masks of objects by name, each of shape (H, W)."""
    frame_id: str = ""
    """Name of the camera frame."""

    def __post_init__(self) -> None:
        """Validate against the camera."""
        if not isinstance(self.camera, Camera):
            raise TypeError(f"camera must be a Camera, got {type(self.camera).__name__}")
        if self.color is None and self.depth is None:
            raise ValueError("a frame needs a colour image, a depth image or both; both are None")
        self._fill_masked()
        self._check_color()
        self._check_depth()
        for name, mask in (self.masks or {}).items():
            what = f"mask of {name!r}"
            _require(mask, what, 2, (np.dtype(np.bool_),))
            self.camera.validate_image(mask, what)
        if isinstance(self.stamp_ns, bool) or not isinstance(self.stamp_ns, int | np.integer):
            raise TypeError(f"stamp_ns must be a whole number of nanoseconds, got {self.stamp_ns!r}")
        if self.T_world_cam is not None:
            object.__setattr__(self, "T_world_cam", check_transform(self.T_world_cam, "T_world_cam"))

    def _fill_masked(self) -> None:
        """Masked depths are no measurements, masked pixels of masks show something else."""
        if isinstance(self.color, np.ma.MaskedArray):
            if np.ma.is_masked(self.color):
                raise TypeError("the colour image has masked pixels, but a colour cannot be missing")
            object.__setattr__(self, "color", self.color.data)
        if isinstance(self.depth, np.ma.MaskedArray):
            object.__setattr__(self, "depth", self.depth.filled(0))
        masks = self.masks or {}
        if any(isinstance(mask, np.ma.MaskedArray) for mask in masks.values()):
            object.__setattr__(self, "masks", {name: without_masked(mask) for name, mask in masks.items()})

    def _check_color(self) -> None:
        if self.color is None:
            return
        _require(self.color, "colour image", 3, (np.dtype(np.uint8),))
        if self.color.shape[2] != 3:
            raise ValueError(f"the colour image must have 3 channels (RGB), got {self.color.shape[2]}")
        self.camera.validate_image(self.color, "colour image")

    def _check_depth(self) -> None:
        if not (np.isfinite(self.depth_scale_m) and self.depth_scale_m > 0.0):
            raise ValueError(f"depth_scale_m must be a positive number of metres, got {self.depth_scale_m}")
        if self.depth is None:
            return
        _require(self.depth, "depth image", 2, _DEPTH_TYPES)
        self.camera.validate_image(self.depth, "depth image")
        if self.depth.dtype == np.uint16 and self.depth_scale_m == 1.0:
            raise ValueError("a uint16 depth image needs depth_scale_m, e.g. 0.001 for millimetres; got 1.0")
        self._check_unit_of_depth()

    def _check_unit_of_depth(self) -> None:
        """Millimetres that are taken for metres put a room hundreds of metres away."""
        assert self.depth is not None
        step = max(min(self.depth.shape) // _GRID, 1)
        seen = self.depth[step // 2 :: step, step // 2 :: step]
        seen = seen[(seen > 0) & np.isfinite(seen)]
        if len(seen) == 0:
            return
        median_m = float(np.median(seen)) * self.depth_scale_m
        if median_m > _FARTHEST_M:
            raise ValueError(
                f"the depth image has a median of {median_m:.4g} m ({self.depth.dtype} times depth_scale_m = "
                f"{self.depth_scale_m}): are its values millimetres? Then depth_scale_m is 0.001"
            )

    def depth_m(self) -> NDArray[np.float32]:
        """Depth as float32 metres with 0 where there is no measurement.

        Converts the whole image at every call; per-frame code converts only the crops it reads.

        Returns:
            A new array, shape (H, W).

        Raises:
            ValueError: The frame has no depth image.
        """
        if self.depth is None:
            raise ValueError("this frame has no depth image")
        depth = np.multiply(self.depth, self.depth_scale_m, dtype=np.float32, casting="unsafe")
        depth[~(np.isfinite(depth) & (depth > 0.0))] = 0.0
        return depth


def without_masked(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of pixels (H, W) as a plain array, False where a masked array hides it."""
    return mask.filled(False) if isinstance(mask, np.ma.MaskedArray) else mask


def _require(image: Any, what: str, ndim: int, dtypes: tuple[np.dtype[Any], ...]) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the {what} must be a NumPy array, got {type(image).__name__}")
    if image.dtype not in dtypes:
        raise TypeError(
            f"the {what} must be {' or '.join(str(dtype) for dtype in dtypes)}, got {image.dtype}"
        )
    if image.ndim != ndim:
        shape = "(height, width, 3)" if ndim == 3 else "(height, width)"
        raise ValueError(f"the {what} must have shape {shape}, got {image.shape}")
