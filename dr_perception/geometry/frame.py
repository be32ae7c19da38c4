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

_DEPTH_TYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint16))


@dataclass(frozen=True, eq=False)
class Frame:
    """Images of one stamp; none is copied or converted.

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
