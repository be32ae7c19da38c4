"""An image of the user's own, blended over the outline of a scene: what `Renderer.antialias` launches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import warp as wp

from dr_perception.render.bundles import seen, surfaces
from dr_perception.render.outline import blend_image, overflow
from dr_perception.render.scene.checks import check_type
from dr_perception.render.scene.images import RenderOptions
from dr_perception.render.shading.inputs import Pulled

if TYPE_CHECKING:
    from dr_perception.render.backward import Gradients
    from dr_perception.render.pipeline import Chunk


@dataclass(frozen=True, eq=False)
class Blended:
    """An image of samples at pixel centres and what it becomes, with any numbers a pixel."""

    sampled: wp.array
    """float, or vectors of them, (views, rows, columns), or float (views, rows, columns, n)."""
    image: wp.array
    """Of the same type and shape."""

    def views(self, first: int, count: int) -> Blended:
        """Those of some of the views."""
        return Blended(self.sampled[first : first + count], self.image[first : first + count])


def blended_options(options: RenderOptions) -> RenderOptions:
    """Options that find the outline for an image that was drawn with others.

    Raises:
        ValueError: They average several samples a pixel.
    """
    if options.supersampling not in (None, 1):
        raise ValueError(
            "antialias blends samples at the centres of pixels: it needs supersampling=1, "
            f"got {options.supersampling}"
        )
    return replace(
        options,
        channels=(),
        antialias=True,
        antialias_depth=False,
        soft_silhouette_px=0.0,
        supersampling=1,
    )


def check_sampled(image: wp.array, shape: tuple[int, int, int], device: wp.Device) -> None:
    """Whether an image can be blended.

    Raises:
        TypeError: It is no array.
        ValueError: Its numbers, shape or device are others.
    """
    check_type(image, wp.array, "the image to be blended")
    scalar = getattr(image.dtype, "_wp_scalar_type_", image.dtype)
    matrix = len(getattr(image.dtype, "_shape_", ())) > 1
    if scalar is not wp.float32 or matrix or (image.ndim == 4 and image.dtype is not wp.float32):
        raise ValueError(f"the image to be blended must hold float32 or vectors of them, got {image.dtype}")
    if image.ndim not in (3, 4) or image.shape[:3] != shape:
        raise ValueError(
            f"the image to be blended must have shape {shape} or {(*shape, 'n')}, got {image.shape}"
        )
    if image.device != device:
        raise ValueError(f"the image to be blended is on {image.device}, the renderer on {device}")
    if not image.is_contiguous:
        raise ValueError("the image to be blended must be contiguous: pass image.contiguous()")


def blend(c: Chunk, blended: Blended) -> None:
    """Blend the image of a chunk, whose pieces were found."""
    sampled, image = numbers(blended.sampled), numbers(blended.image)
    c.launcher.run("copy_image", blend_image.copy_image, c.size, [sampled, image])
    c.launcher.run_list("blend_image", blend_image.blend_image, c.room, [*_inputs(c), sampled, image])
    if c.launcher.capturing:
        arguments = [c.work.candidate_count, c.work.piece_count, c.work.room(True), image]
        c.launcher.run("spoil_numbers", overflow.spoil_numbers, c.size, arguments)


def pull_blended(c: Chunk, blended: Blended, g: Gradients) -> None:
    """Add the gradient of the blended image to that of the samples, and what moves the outline."""
    w = c.work
    sampled, g_image = numbers(blended.sampled), numbers(blended.image.grad)
    g_sampled = None if blended.sampled.grad is None else numbers(blended.sampled.grad)
    if g_sampled is not None:
        c.launcher.run("add_image", blend_image.add_image, c.size, [g_image, g_sampled])
    image = w.bundle("blended image", blend_image.BlendedNumbers, [sampled, g_image, g_sampled])
    pulled = w.bundle("pulled", Pulled, [None, g.cam, g.intrinsics])
    c.launcher.run_list(
        "blend_image_adjoint", blend_image.blend_image_adjoint, c.room,
        [w.pieces, w.piece_count, w.candidates, surfaces(c), seen(c), image, pulled],
    )  # fmt: skip


def _inputs(c: Chunk) -> list[wp.array]:
    w = c.work
    return [w.pieces, w.piece_count, w.candidates, w.face_index, c.arrays.face_instance]


def numbers(image: wp.array) -> wp.array:
    """The same memory as floats, (views, rows, columns, n)."""
    if image.ndim == 4:
        return image
    width = getattr(image.dtype, "_length_", 1)
    shape = (*image.shape, width)
    found = wp.array(
        ptr=image.ptr, dtype=wp.float32, shape=shape, device=image.device, capacity=image.capacity
    )
    found._ref = image  # keeps the memory
    return found
