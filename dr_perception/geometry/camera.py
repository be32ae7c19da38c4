"""The camera: intrinsics and lens distortion, with every check an image meets.

The frame is the optical one (x right, y down, z forward) and integer pixel coordinates are pixel centres, so
the image covers ``[-0.5, width - 0.5] x [-0.5, height - 0.5]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry import distortion as lens

__all__ = ["Camera"]


@dataclass(frozen=True)
class Camera:
    """A calibrated camera. Equal cameras compare and hash equal, so it can key caches.

    Raises:
        ValueError: Non-positive size or focal length, a principal point far outside the image, a wrong number
            of distortion coefficients, or a value that is not finite.
    """

    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    fx: float
    """Focal length along x [px]."""
    fy: float
    """Focal length along y [px]."""
    cx: float
    """Principal point, x [px]; 0 is the centre of the first column."""
    cy: float
    """Principal point, y [px]."""
    distortion: tuple[float, ...] = ()
    """Coefficients in the order of OpenCV and ROS; see `dr_perception.geometry.distortion`."""
    distortion_model: str = "plumb_bob"
    """"plumb_bob", "rational_polynomial" or "equidistant"."""

    def __post_init__(self) -> None:
        """Normalise types and validate."""
        for name in ("width", "height"):
            object.__setattr__(self, name, _positive_integer(getattr(self, name), name))
        for name in ("fx", "fy", "cx", "cy"):
            value = float(getattr(self, name))
            if not np.isfinite(value):
                raise ValueError(f"camera {name} must be finite, got {value}")
            object.__setattr__(self, name, value)
        for name in ("fx", "fy"):
            if getattr(self, name) <= 0.0:
                raise ValueError(
                    f"camera {name} must be a positive focal length in pixels, got {getattr(self, name)}"
                )
        self._check_principal_point()
        coefficients = lens.normalise_coefficients(self.distortion_model, self.distortion)
        object.__setattr__(self, "distortion", coefficients)

    def _check_principal_point(self) -> None:
        # A corner crop may lie up to the image circle away from the axis; further out it is a mistake in the
        # units.
        for name, value, size, focal in (
            ("cx", self.cx, self.width, self.fx),
            ("cy", self.cy, self.height, self.fy),
        ):
            margin = max(size, 2.0 * focal)
            if not -margin <= value <= size + margin:
                raise ValueError(
                    f"camera {name} = {value} px is far outside an image of {self.width}x{self.height} px "
                    f"(width x height) with focal lengths {self.fx:g}, {self.fy:g} px"
                )

    @classmethod
    def from_matrix(
        cls,
        K: ArrayLike,
        width: int,
        height: int,
        distortion: tuple[float, ...] = (),
        distortion_model: str = "plumb_bob",
    ) -> Camera:
        """Camera from a calibration matrix.

        Args:
            K: Calibration matrix [px], shape (3, 3), without skew.
            width: Image width [px].
            height: Image height [px].
            distortion: Coefficients of the lens.
            distortion_model: Its model.

        Raises:
            ValueError: Wrong shape, skew, a last row other than 0 0 1, or what `Camera` refuses.
        """
        K = np.asarray(K, dtype=np.float64)
        if K.shape != (3, 3):
            raise ValueError(f"K must have shape (3, 3), got {K.shape}")
        if abs(K[0, 1]) > 1e-6 * abs(K[0, 0]) or K[1, 0] != 0.0 or not np.allclose(K[2], (0.0, 0.0, 1.0)):
            raise ValueError(f"K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] without skew, got\n{K}")
        return cls(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2], tuple(distortion), distortion_model)

    @classmethod
    def from_camera_info(cls, msg: Any, rectified: bool = False) -> Camera:
        """Camera of a ``sensor_msgs/CameraInfo`` message (any object with its fields).

        Region of interest and binning are honoured, in that order; binned pixels are averages, so their
        centres move by half a pixel. Empty D, and zero D of the polynomial models, mean no distortion.

        Args:
            msg: The message.
            rectified: The images are rectified: use P, and no distortion.

        Raises:
            ValueError: K is zero (uncalibrated), the model is unknown, or what `Camera` refuses.
        """
        from dr_perception.geometry.camera_info import camera_from_info

        return camera_from_info(msg, rectified)

    @property
    def K(self) -> NDArray[np.float64]:
        """Calibration matrix [px], shape (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def has_distortion(self) -> bool:
        """Whether the lens bends straight lines (an equidistant lens does even with zero coefficients)."""
        return self.distortion_model == "equidistant" or any(self.distortion)

    def distort(self, xn: ArrayLike) -> NDArray[np.float64]:
        """Normalised ideal to normalised distorted coordinates, shape (..., 2) to (..., 2)."""
        xn = np.asarray(xn, dtype=np.float64)
        return lens.distort(self.distortion_model, self.distortion, xn) if self.has_distortion else xn.copy()

    def undistort(self, xd: ArrayLike) -> NDArray[np.float64]:
        """Inverse of `distort`, shape (..., 2) to (..., 2); NaN outside the valid field of view."""
        xd = np.asarray(xd, dtype=np.float64)
        return (
            lens.undistort(self.distortion_model, self.distortion, xd) if self.has_distortion else xd.copy()
        )

    def project(self, p_cam: ArrayLike) -> NDArray[np.float64]:
        """Project points to pixels.

        Args:
            p_cam: Points in the camera frame [m], shape (..., 3).

        Returns:
            Pixel coordinates, shape (..., 2), not clipped to the image. NaN for points that are not in front
            of the camera or lie outside the field of view in which the distortion model is one-to-one.
        """
        xn = self._normalised(p_cam)
        return self.distort(xn) * (self.fx, self.fy) + (self.cx, self.cy)

    def _normalised(self, p_cam: ArrayLike) -> NDArray[np.float64]:
        p = np.asarray(p_cam, dtype=np.float64)
        z = np.where(p[..., 2] > 0.0, p[..., 2], np.nan)
        xn = p[..., :2] / z[..., None]
        if self.has_distortion:
            limit = lens.valid_radius(self.distortion_model, self.distortion)
            xn = np.where(np.linalg.norm(xn, axis=-1, keepdims=True) <= limit, xn, np.nan)
        return xn

    def project_jacobian(self, p_cam: ArrayLike) -> NDArray[np.float64]:
        """Derivative of `project` with respect to the point.

        Args:
            p_cam: Points in the camera frame [m], shape (..., 3).

        Returns:
            Jacobians [px/m], shape (..., 2, 3); NaN where `project` is.
        """
        p = np.asarray(p_cam, dtype=np.float64)
        xn = self._normalised(p)
        perspective = np.zeros((*xn.shape[:-1], 2, 3))
        perspective[..., 0, 0] = perspective[..., 1, 1] = 1.0
        perspective[..., 2] = -xn
        perspective /= p[..., 2, None, None]
        if self.has_distortion:
            perspective = lens.distort_jacobian(self.distortion_model, self.distortion, xn) @ perspective
        return perspective * np.array([[self.fx], [self.fy]])

    def unproject(self, uv: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
        """Points in the camera frame from pixels and depths along z.

        Args:
            uv: Pixel coordinates, shape (..., 2).
            depth: Depths along z [m], shape (...).

        Returns:
            Points in the camera frame [m], shape (..., 3); NaN outside the valid field of view.
        """
        xn = self.undistort((np.asarray(uv, dtype=np.float64) - (self.cx, self.cy)) / (self.fx, self.fy))
        z = np.broadcast_to(np.asarray(depth, dtype=np.float64), xn.shape[:-1])[..., None]
        return np.concatenate([xn * z, z], axis=-1)

    def rays(self) -> NDArray[np.float32]:
        """Undistorted normalised coordinates of every pixel centre.

        Returns:
            Read-only table, shape (height, width, 2): the viewing ray of pixel (u, v) is ``(x, y, 1)`` with
            ``x, y = rays()[v, u]``. NaN outside the valid field of view. Cached between equal cameras.
        """
        return _ray_table(self)

    def scaled(self, factor: float) -> Camera:
        """Camera of the image resized by a factor (sizes are rounded, pixel centres move accordingly).

        Raises:
            ValueError: The factor is not positive or leaves no pixel.
        """
        if not (np.isfinite(factor) and factor > 0.0):
            raise ValueError(f"the scale factor must be positive, got {factor}")
        return self.resized(round(self.width * factor), round(self.height * factor))

    def resized(self, width: int, height: int) -> Camera:
        """Camera of the image resized to a given size [px]."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def cropped(self, x0: int, y0: int, width: int, height: int) -> Camera:
        """Camera of the sub-image whose first pixel is (x0, y0); it may reach beyond the image.

        Args:
            x0: First column.
            y0: First row.
            width: Columns of the crop.
            height: Rows of the crop.
        """
        return replace(self, width=width, height=height, cx=self.cx - x0, cy=self.cy - y0)

    def validate_image(self, image: NDArray[Any], what: str = "image") -> None:
        """Check that an image has the size this camera is calibrated for.

        Raises:
            ValueError: It has not; both sizes and the camera are named.
        """
        if image.ndim < 2 or image.shape[:2] != (self.height, self.width):
            size = f"{image.shape[1]}x{image.shape[0]}" if image.ndim >= 2 else f"of shape {image.shape}"
            raise ValueError(
                f"the {what} is {size} but its camera is calibrated for {self.width}x{self.height} "
                f"(width x height): {self}"
            )


def _positive_integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or int(value) != value or int(value) <= 0:
        raise ValueError(f"camera {name} must be a positive whole number of pixels, got {value!r}")
    return int(value)


@lru_cache(maxsize=16)
def _ray_table(camera: Camera) -> NDArray[np.float32]:
    u = (np.arange(camera.width) - camera.cx) / camera.fx
    v = (np.arange(camera.height) - camera.cy) / camera.fy
    table = camera.undistort(np.stack(np.meshgrid(u, v), axis=-1)).astype(np.float32)
    table.flags.writeable = False
    return table
