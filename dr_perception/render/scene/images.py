"""What a render returns, and what can be asked of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.raster.types import DEFAULT_NEAR_M
from dr_perception.render.scene.checks import check_names
from dr_perception.render.shading.texture import linear_to_srgb

if TYPE_CHECKING:
    from dr_perception.render.scene.parameters import SceneParameters


class Kind(Enum):
    """What the value of a pixel stands for."""

    MEAN = "mean"
    """The integral over the pixel: blended at outlines, averaged over samples."""
    DEPTH = "depth"
    """That at the pixel's centre, or with ``antialias_depth`` the integral."""
    SAMPLE = "sample"
    """That of the surface seen at the pixel's centre alone, never mixed with another; zero without one.

    With several samples a pixel it is the sample nearest to the centre.
    """


@dataclass(frozen=True)
class Channel:
    """One kind of image. A new one is a field of `Images`, and for samples a kernel in `render.samples`."""

    dtype: Any
    """Type of a pixel; None: as many floats as the vertices have attributes."""
    kind: Kind
    ordinary: bool
    """Whether it is drawn if no channels are named."""

    @property
    def differentiable(self) -> bool:
        """Whether it can have a gradient."""
        return self.dtype is not wp.int32


def _is(dtype: Any, kind: Kind, ordinary: bool = False) -> dict[str, Channel]:
    return {"channel": Channel(dtype, kind, ordinary)}


@dataclass(frozen=True, eq=False)
class Images:
    """Images of V views as Warp arrays (V, H, W); those not asked for are None."""

    depth: wp.array | None = field(default=None, metadata=_is(wp.float32, Kind.DEPTH, ordinary=True))
    """float, metres along z; ``far_depth`` where nothing is."""
    silhouette: wp.array | None = field(default=None, metadata=_is(wp.float32, Kind.MEAN, ordinary=True))
    """float, share of the pixel that is covered by any instance, 0 to 1."""
    color: wp.array | None = field(default=None, metadata=_is(wp.vec3, Kind.MEAN, ordinary=True))
    """``wp.vec3``, linear RGB."""
    normal: wp.array | None = field(default=None, metadata=_is(wp.vec3, Kind.MEAN, ordinary=True))
    """``wp.vec3``, shading normal in the camera frame, zero where nothing is.

    Shorter than one in mixed pixels.
    """
    instance: wp.array | None = field(default=None, metadata=_is(wp.int32, Kind.SAMPLE, ordinary=True))
    """int, index of the instance at the pixel's centre, -1 where nothing is."""
    soft_silhouette: wp.array | None = field(default=None, metadata=_is(wp.float32, Kind.MEAN))
    """float, 0 to 1; asked for by its width."""
    position: wp.array | None = field(default=None, metadata=_is(wp.vec3, Kind.SAMPLE))
    """``wp.vec3``, the surface point at the pixel's centre in the camera frame [m]; its z is the depth."""
    uv: wp.array | None = field(default=None, metadata=_is(wp.vec2, Kind.SAMPLE))
    """``wp.vec2``, texture coordinates there, v up; zero for meshes without."""
    barycentric: wp.array | None = field(default=None, metadata=_is(wp.vec3, Kind.SAMPLE))
    """``wp.vec3``, weights of the three corners of the mesh's ``face`` there, right in perspective."""
    face: wp.array | None = field(default=None, metadata=_is(wp.int32, Kind.SAMPLE))
    """int, row in the ``faces`` of the mesh of ``instance``, -1 where nothing is."""
    attributes: wp.array | None = field(default=None, metadata=_is(None, Kind.SAMPLE))
    """float (V, H, W, n), `Mesh.vertex_attributes` interpolated."""
    supersampling: int = 1
    """Samples a pixel along each axis that they are made of."""

    def arrays(self) -> dict[str, wp.array]:
        """The images that there are, by name."""
        return {name: array for name, array in vars(self).items() if isinstance(array, wp.array)}

    def numpy(self, view: int = 0) -> dict[str, NDArray]:
        """The images of one view as NumPy arrays by name, shape (H, W) or (H, W, 3)."""
        return {name: array.numpy()[view] for name, array in self.arrays().items()}

    def color_uint8(self, view: int = 0) -> NDArray[np.uint8]:
        """The colour image of one view encoded as 8-bit sRGB, shape (H, W, 3).

        Raises:
            ValueError: Colour was not rendered.
        """
        if self.color is None:
            raise ValueError("colour was not rendered: ask for the channel 'color'")
        return linear_to_srgb(self.color.numpy()[view])


CHANNEL: dict[str, Channel] = {
    f.name: f.metadata["channel"] for f in fields(Images) if "channel" in f.metadata
}
"""All kinds of images by name."""
CHANNELS = tuple(name for name in CHANNEL if name != "soft_silhouette")
"""Images that can be asked for by name."""
_ORDINARY = tuple(name for name in CHANNELS if CHANNEL[name].ordinary)


@dataclass(frozen=True)
class RenderOptions:
    """What to draw and how.

    Raises:
        TypeError: Channels that are no collection of names.
        ValueError: Unknown channels or sizes that make no sense.
    """

    channels: tuple[str, ...] = _ORDINARY
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
    supersampling: int | None = None
    """Samples a pixel along each axis; images are drawn so many times as large and averaged.

    None: as many as the derivatives that are asked for need (`dr_perception.render.scene.sampling`), as far
    as they fit the memory budget of the renderer; one without derivatives. `Images.supersampling` says how
    many. One sample a pixel is biased where there is detail finer than a pixel: colours of dense vertices,
    small texels, small curved parts, and outlines that fold several times within a pixel
    (``benchmarks/gradients.py`` has the figures).
    Without ``antialias_depth`` depth is that of the samples around the centre of the pixel; what is never
    mixed, as instance and face, is that of the sample nearest to it.
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
        if self.supersampling is None:
            return
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


def image_types(
    options: RenderOptions, parameters: SceneParameters, shape: tuple[int, int, int]
) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Images that are drawn, with the types of their pixels and their shapes.

    Raises:
        ValueError: Attributes are asked for, and no mesh has any.
    """
    width = parameters.attributes.shape[1]
    if "attributes" in options.channels and width == 0:
        raise ValueError("the channel 'attributes' needs a mesh with vertex_attributes, got none")
    soft = ("soft_silhouette",) if options.soft_silhouette_px > 0.0 else ()
    found: dict[str, tuple[Any, tuple[int, ...]]] = {}
    for name in (*options.channels, *soft):
        dtype = CHANNEL[name].dtype
        found[name] = (dtype, shape) if dtype is not None else (wp.float32, (*shape, width))
    return found


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
