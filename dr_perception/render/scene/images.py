"""What a render returns, and what can be asked of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.raster.types import DEFAULT_NEAR_M
from dr_perception.render.scene.checks import check_names
from dr_perception.render.shading.texture import linear_to_srgb

CHANNELS = ("depth", "silhouette", "color", "normal", "instance")
"""Images that can be rendered."""


@dataclass(frozen=True)
class RenderOptions:
    """What to draw and how.

    Raises:
        TypeError: Channels that are no collection of names.
        ValueError: Unknown channels or sizes that make no sense.
    """

    channels: tuple[str, ...] = CHANNELS
    """Names out of `CHANNELS`."""
    antialias: bool = True
    """Integrate silhouette, colour and normal over pixels at edges; this gives them boundary gradients.
    False samples pixel centres; derivatives then miss the motion of outlines."""
    antialias_depth: bool = False
    """The same for depth.

    Pixels on outlines then mix near and far depths (with ``far_depth`` for nothing), which is right for a
    loss on differences to an image made alike, and wrong for comparison with a sensor.
    """
    far_depth: float = 0.0
    """Depth [m] of pixels that show nothing; 0 means "no measurement" as in every depth image here."""
    soft_silhouette_px: float = 0.0
    """Width of an additional soft silhouette; 0: none. See `dr_perception.render.outline.soft_silhouette`."""
    crop: tuple[int, int, int, int] | None = None
    """x0, y0, width, height of the part of the image to draw [px]; None: all of it."""
    near: float = DEFAULT_NEAR_M
    """Distance of the near plane [m]."""
    supersampling: int = 1
    """Samples a pixel along each axis; images are drawn so many times as large and averaged.

    One sample a pixel is biased where there is detail finer than a pixel: colours of dense vertices, small
    texels, and outlines that fold several times within a pixel (``benchmarks/gradients.py`` has the figures).
    Without ``antialias_depth`` depth is that of the samples around the centre of the pixel, the instance that
    of the sample nearest to it.
    """

    def __post_init__(self) -> None:
        """Validate."""
        check_names(self.channels, CHANNELS, "channels")
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.crop is not None:
            object.__setattr__(self, "crop", _crop(self.crop))
        tiny = float(np.nextafter(0.0, 1.0))
        self._check_number("near", tiny, "a positive distance in metres")
        self._check_number("far_depth", -np.inf, "a distance in metres")
        self._check_number("soft_silhouette_px", 0.0, "0 or more")
        self._check_number("supersampling", 1.0, "a whole number from 1 on")
        if self.supersampling != int(self.supersampling):
            raise ValueError(f"supersampling must be a whole number from 1 on, got {self.supersampling}")

    def _check_number(self, name: str, least: float, expected: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, Real) or not least <= float(value) < np.inf:
            raise ValueError(f"{name} must be {expected}, got {value!r}")


def _crop(crop: Sequence[int]) -> tuple[int, int, int, int]:
    try:
        x0, y0, width, height = (operator.index(n) for n in crop)
    except (TypeError, ValueError) as error:
        raise ValueError(f"crop must be x0, y0, width, height in whole pixels, got {crop!r}") from error
    if min(x0, y0, width, height) < 0:
        raise ValueError(f"crop must be x0, y0, width, height with none negative, got {crop}")
    return x0, y0, width, height


@dataclass(frozen=True, eq=False)
class Images:
    """Images of V views as Warp arrays (V, H, W); those not asked for are None."""

    depth: wp.array | None = None
    """float, metres along z; ``far_depth`` where nothing is."""
    silhouette: wp.array | None = None
    """float, share of the pixel that is covered by any instance, 0 to 1."""
    color: wp.array | None = None
    """``wp.vec3``, linear RGB."""
    normal: wp.array | None = None
    """``wp.vec3``, shading normal in the camera frame, zero where nothing is.

    Shorter than one in mixed pixels.
    """
    instance: wp.array | None = None
    """int, index of the instance at the pixel's centre, -1 where nothing is."""
    soft_silhouette: wp.array | None = None
    """float, 0 to 1."""

    def numpy(self, view: int = 0) -> dict[str, NDArray]:
        """The images of one view as NumPy arrays by name, shape (H, W) or (H, W, 3)."""
        there = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array.numpy()[view] for name, array in there.items() if array is not None}

    def color_uint8(self, view: int = 0) -> NDArray[np.uint8]:
        """The colour image of one view encoded as 8-bit sRGB, shape (H, W, 3).

        Raises:
            ValueError: Colour was not rendered.
        """
        if self.color is None:
            raise ValueError("colour was not rendered: ask for the channel 'color'")
        return linear_to_srgb(self.color.numpy()[view])


def crop_box(options: RenderOptions, image_size: Sequence[int]) -> tuple[int, int, int, int]:
    """x0, y0, width, height of what is drawn.

    Raises:
        ValueError: The crop leaves the image.
    """
    width, height = (int(n) for n in image_size)
    if options.crop is None:
        return 0, 0, width, height
    x0, y0, w, h = options.crop
    if x0 + w > width or y0 + h > height:
        raise ValueError(f"crop {options.crop} leaves the image of {width}x{height} px")
    return x0, y0, w, h
