"""Several samples a pixel: images drawn larger and averaged, with the gradients of the average.

Detail finer than a pixel, as a dense mesh with a colour at every vertex, is point-sampled by one sample a
pixel; so are several outlines that fold into one pixel. Drawn larger, both are resolved, at the price of as
many pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import warp as wp

from dr_perception.device.launcher import Launcher
from dr_perception.render.samples import SAMPLES
from dr_perception.render.scene.images import CHANNEL, Images, Kind, RenderOptions
from dr_perception.render.scene.intrinsics import NUM_INTRINSICS
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.supersampling_kernels import (
    average_depth,
    average_depth_adjoint,
    average_scalar,
    average_vector,
    enlarge_background,
    enlarge_intrinsics,
    middle_index,
    narrow_intrinsics,
    spread_scalar,
    spread_vector,
)

_KERNELS = {wp.float32: (average_scalar, spread_scalar), wp.vec3: (average_vector, spread_vector)}
_MEANS = {name: _KERNELS[is_.dtype] for name, is_ in CHANNEL.items() if is_.kind is Kind.MEAN}
"""Kernels that average images that are means over pixels, and their adjoints."""


@dataclass(frozen=True, eq=False)
class Target:
    """What the images of a chunk are averaged into."""

    factor: int
    """Samples a pixel along each axis."""
    parameters: SceneParameters
    """Parameters in pixels of the averaged images."""
    images: Images
    """Averaged images of the views of the chunk."""


def enlarged_parameters(p: SceneParameters, factor: int) -> SceneParameters:
    """The same parameters for images ``factor`` times as large; only arrays in pixels are not shared."""
    width, height = p.image_size
    device = p.intrinsics.device
    intrinsics = wp.zeros(
        p.intrinsics.shape, dtype=float, device=device, requires_grad="intrinsics" in p.requires_grad
    )
    background = p.background
    if background.shape[1] > 1:
        shape = (background.shape[0], factor * height, factor * width)
        background = wp.zeros(shape, dtype=wp.vec3, device=device)
    return replace(
        p, intrinsics=intrinsics, background=background, image_size=(factor * width, factor * height)
    )


def enlarged_options(options: RenderOptions) -> RenderOptions:
    """Options that draw the samples of a supersampled render."""
    n = options.supersampling or 1
    x0, y0, width, height = options.crop or (0, 0, 0, 0)
    crop = None if options.crop is None else (n * x0, n * y0, n * width, n * height)
    channels = tuple(name for name in options.channels if name not in SAMPLES)
    soft_px = n * options.soft_silhouette_px
    return replace(options, supersampling=1, channels=channels, crop=crop, soft_silhouette_px=soft_px)


def enlarge(launcher: Launcher, target: Target, fine: SceneParameters) -> None:
    """Bring what is in pixels up to date with the parameters asked for."""
    p = target.parameters
    launcher.run(
        "enlarge_intrinsics", enlarge_intrinsics, p.intrinsics.shape,
        [p.intrinsics, target.factor, fine.intrinsics],
    )  # fmt: skip
    if fine.background is not p.background:
        launcher.run(
            "enlarge_background", enlarge_background, fine.background.shape,
            [p.background, target.factor, fine.background],
        )  # fmt: skip


def average(
    launcher: Launcher, target: Target, fine: Images, face_index: wp.array, options: RenderOptions
) -> None:
    """Average the samples of every pixel."""
    n, coarse = target.factor, target.images
    for name, (mean, _) in _MEANS.items():
        _average(launcher, name, mean, getattr(fine, name), n, getattr(coarse, name))
    if coarse.instance is not None:
        arguments = [fine.instance, n, coarse.instance]
        launcher.run("middle_instance", middle_index, coarse.instance.shape, arguments)
    if coarse.depth is not None and options.antialias_depth:
        _average(launcher, "depth", average_scalar, fine.depth, n, coarse.depth)
    elif coarse.depth is not None:
        arguments = [face_index, fine.depth, n, options.far_depth, coarse.depth]
        launcher.run("middle_depth", average_depth, coarse.depth.shape, arguments)


def _average(
    launcher: Launcher, name: str, kernel: wp.Kernel, fine: wp.array | None, n: int, coarse: wp.array | None
) -> None:
    if fine is not None and coarse is not None:
        launcher.run(f"average_{name}", kernel, coarse.shape, [fine, n, coarse])


def spread(
    launcher: Launcher,
    target: Target,
    grads: Images,
    fine: Images,
    face_index: wp.array,
    options: RenderOptions,
) -> Images:
    """Gradients of the samples from those of the averaged images."""
    n = target.factor
    made = {}
    kernels = {name: kernel for name, (_, kernel) in _MEANS.items()} | {"depth": spread_scalar}
    for name, kernel in kernels.items():
        image, g = getattr(fine, name), getattr(grads, name)
        if g is None or image is None:
            continue
        if name == "depth" and not options.antialias_depth:
            arguments = [face_index, g, n, image.grad]
            launcher.run("middle_depth_adjoint", average_depth_adjoint, g.shape, arguments)
        else:
            launcher.run(f"spread_{name}", kernel, image.shape, [g, n, image.grad])
        made[name] = image.grad
    return Images(**made)


def narrow(launcher: Launcher, target: Target, fine: SceneParameters) -> None:
    """Gradients with respect to intrinsics in pixels of the averaged images."""
    if "intrinsics" not in fine.requires_grad:
        return
    asked = target.parameters.intrinsics
    launcher.run(
        "narrow_intrinsics", narrow_intrinsics, (asked.shape[0], NUM_INTRINSICS),
        [fine.intrinsics.grad, target.factor, asked.grad],
    )  # fmt: skip
