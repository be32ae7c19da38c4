"""A batch of renders as kernels take them."""

import warp as wp

from dr_perception.raster.project import IdealCamera
from dr_perception.raster.types import Viewport


@wp.struct
class Renders:
    """Z-buffers ``keys`` (V, H, W), see `dr_perception.raster.zbuffer`, with the camera of each (V,).

    ``viewports`` (V,) are the rectangles of the cameras' images that they show.
    """

    cameras: wp.array[IdealCamera]
    viewports: wp.array[Viewport]
    keys: wp.array3d[wp.uint64]
