"""Images of the current frame on a device, uploaded only where they are looked at."""

from __future__ import annotations

import numpy as np
import warp as wp

from dr_perception.device.device_array import SharedArray
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.camera_warp import CameraParams, camera_params
from dr_perception.geometry.frame import Frame
from dr_perception.measure.images import Images

Box = tuple[int, int, int, int]
"""Pixels ``x0 <= x < x1``, ``y0 <= y < y1`` as (x0, y0, x1, y1)."""


class FrameBuffers:
    """Colour (H, W) of `wp.vec3ub` and depth (H, W) in metres of one camera. Depth 0 means no measurement.

    The calibration lies on the device (`lens`, one `CameraParams`), so that what was recorded goes on with
    another one: autofocus changes it from frame to frame.

    On CUDA whole images are copied; on the CPU only the boxes are, and what lies outside of them is left over
    from earlier frames until it is cleared.

    Attributes:
        images: Calibration, colour and depth as kernels take them, bound once.
    """

    def __init__(self, camera: Camera, device: wp.DeviceLike = "cpu") -> None:
        """Allocate for the size of a camera's images."""
        self.device = wp.get_device(device)
        self.lens = SharedArray(1, CameraParams, device)
        self._set_camera(camera)
        self.color = SharedArray((camera.height, camera.width), wp.vec3ub, device)
        self.depth = SharedArray((camera.height, camera.width), float, device)
        self.images = Images()
        self.images.lens = self.lens.array
        self.images.color, self.images.depth = self.color.array, self.depth.array
        self.has_color = False
        self.has_depth = False
        self._filled: Box | None = None

    def clear(self) -> None:
        """Take out the pixels of earlier frames: black, and no depth."""
        if self._filled is None:
            return
        x0, y0, x1, y1 = self._filled
        self._filled = None
        for image in (self.color, self.depth):
            image.host[y0:y1, x0:x1] = 0
            image.push()

    def _set_camera(self, camera: Camera) -> None:
        self.camera = camera
        self.lens.array.assign([camera_params(camera)])
        self.lens.pull()

    def fits(self, camera: Camera) -> bool:
        """Whether the images of a camera have the size of these."""
        return (camera.width, camera.height) == (self.camera.width, self.camera.height)

    def take_camera(self, camera: Camera) -> None:
        """Take another calibration over.

        Raises:
            ValueError: If its images are of another size than the buffers.
        """
        if camera is self.camera or camera == self.camera:
            return
        if not self.fits(camera):
            raise ValueError(
                f"the frame is {camera.width} x {camera.height} pixels large, the buffers "
                f"{self.camera.width} x {self.camera.height}"
            )
        self._set_camera(camera)

    def begin(self, frame: Frame) -> None:
        """Announce the frame that boxes are uploaded from, and take its calibration over.

        Raises:
            ValueError: If the frame's images are of another size than the buffers.
        """
        self.take_camera(frame.camera)
        self._frame = frame
        self.has_color = frame.color is not None
        self.has_depth = frame.depth is not None

    def upload(self, box: Box) -> None:
        """Make the pixels of a box of the current frame visible to kernels."""
        if self.device.is_cuda:
            box = (0, 0, self.camera.width, self.camera.height)
        x0, y0, x1, y1 = box
        if self._frame.color is not None:
            self.color.host[y0:y1, x0:x1] = self._frame.color[y0:y1, x0:x1]
        target = self.depth.host[y0:y1, x0:x1]
        if self._frame.depth is None:
            target.fill(0.0)
        else:
            source = self._frame.depth[y0:y1, x0:x1]
            np.multiply(source, np.float32(self._frame.depth_scale_m), out=target, casting="unsafe")
        self.color.push()
        self.depth.push()
        x = self._filled or box
        self._filled = (min(x[0], x0), min(x[1], y0), max(x[2], x1), max(x[3], y1))
