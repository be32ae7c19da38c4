"""The images of one frame as kernels take them."""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams


@wp.struct
class Images:
    """Colour (H, W), depth (H, W) [m], 0 where nothing was measured, and the calibration (1,) of both.

    `dr_perception.measure.frame_buffers.FrameBuffers` owns them and puts every frame into the same memory.
    """

    lens: wp.array[CameraParams]
    color: wp.array2d[wp.vec3ub]
    depth: wp.array2d[float]
