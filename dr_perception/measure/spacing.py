"""How many rows carry the information of one independent measurement.

Neighbouring pixels share their noise. How much two samples share depends on how far apart they are in the
image, whereas samples are a fixed distance apart in a render that is zoomed to the object: those of a small
or distant object lie within one pixel and say nearly the same, those of a large one are independent.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams
from dr_perception.raster.project import IdealCamera


@wp.func
def rows_per_measurement(shared_px: float, spacing_px: float) -> float:
    """Samples that share the noise of an area (or length) of the image, at least one.

    Args:
        shared_px: Area [px^2] (length [px]) that carries the information of one independent measurement.
        spacing_px: Area (length) of the image for every sample.
    """
    return wp.max(shared_px / spacing_px, 1.0)


@wp.func
def image_scale(camera: CameraParams, rendered: IdealCamera) -> float:
    """Pixels of the image for one of the render."""
    return camera.fx / rendered.fx
