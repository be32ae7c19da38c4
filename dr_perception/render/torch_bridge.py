"""Optional bridge to PyTorch: renders as an ``autograd.Function`` over the Warp path.

PyTorch is imported only when a function here is called; install it with the extra ``torch``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import warp as wp

from dr_perception.render.bridge import Bridge, antialias_bridge, check_shape, render_bridge
from dr_perception.render.renderer import Renderer
from dr_perception.render.scene.images import RenderOptions
from dr_perception.render.scene.maps import ParameterMap
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.scene.scene import Scene

if TYPE_CHECKING:
    import torch


def render_torch(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    tensors: Mapping[str, torch.Tensor],
    options: RenderOptions | None = None,
    front: ParameterMap | None = None,
) -> dict[str, torch.Tensor]:
    """Draw a scene with some of its parameters given as tensors, differentiable by PyTorch.

    The values of ``tensors`` replace those of ``parameters`` on its device (they are copied, so that PyTorch
    may free or change its own). The backward pass is that of `Renderer.render`; several renders of one scene
    may be alive at once, and go back twice, because the values are restored before going back.
    ``torch.compile`` leaves the call as it is.

    Args:
        renderer: The renderer.
        scene: What to draw.
        parameters: Its parameters, with gradients for the names in ``tensors``.
        tensors: Name -> tensor of floats of the shape of that parameter array, with vectors last: ``"pose"``
            (hypotheses, instances, 6), ``"vertices"`` (V, 3), ``"intrinsics"`` (cameras, 12), ...; or the
            name of an unknown of ``front``. All on one device.
        options: What to draw.
        front: What makes some of the parameters from unknowns of its own.

    Returns:
        The images by name, shape (views, height, width) or (views, height, width, n), on the device of the
        tensors.

    Raises:
        ModuleNotFoundError: When PyTorch is not installed.
        TypeError: When an argument is of another type.
        ValueError: When there is no tensor, a parameter has no gradient or a tensor has the wrong shape or
            device.
    """
    _require_torch(lambda: _render(renderer, scene, parameters, tensors, options, front))
    return _apart(_render)(renderer, scene, parameters, tensors, options, front)


def antialias_torch(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    tensors: Mapping[str, torch.Tensor],
    image: torch.Tensor,
    options: RenderOptions | None = None,
    front: ParameterMap | None = None,
) -> torch.Tensor:
    """Blend an image that a network made of samples over the outline: `Renderer.antialias` for tensors.

    Args:
        renderer: The renderer.
        scene: The scene whose outline is found.
        parameters: Its parameters, with gradients for the names in ``tensors``.
        tensors: As for `render_torch`, those that the samples were drawn with; may be empty.
        image: Any numbers at the centres of pixels, shape (views, height, width) or (views, height, width,
            n).
        options: Crop and near plane of the image.
        front: As for `render_torch`.

    Returns:
        The blended image, of the same shape.

    Raises:
        ModuleNotFoundError, TypeError, ValueError: As `render_torch`, or the image has another shape.
    """
    _require_torch(lambda: _antialias(renderer, scene, parameters, tensors, image, options, front))
    return _apart(_antialias)(renderer, scene, parameters, tensors, image, options, front)


def _render(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    tensors: Mapping[str, torch.Tensor],
    options: RenderOptions | None,
    front: ParameterMap | None,
) -> dict[str, torch.Tensor]:
    bridge = render_bridge(renderer, scene, parameters, tensors, options, front)
    return dict(zip(bridge.shapes, _apply(bridge, dict(tensors)), strict=True))


def _antialias(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    tensors: Mapping[str, torch.Tensor],
    image: torch.Tensor,
    options: RenderOptions | None,
    front: ParameterMap | None,
) -> torch.Tensor:
    _check_tensor("image", image)
    shape = tuple(image.shape)
    bridge = antialias_bridge(renderer, scene, parameters, tensors, shape, options, front)
    return _apply(bridge, {**tensors, "image": image})[0]


def _apply(bridge: Bridge, tensors: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    first = next(iter(tensors))
    for name, tensor in tensors.items():
        _check_tensor(name, tensor)
        check_shape(name, tuple(tensor.shape), bridge.arrays[name])
        if tensor.device != tensors[first].device:
            raise ValueError(
                f"tensors must be on one device, got {first!r} on {tensors[first].device} and {name!r} on "
                f"{tensor.device}"
            )
    return _function().apply(bridge, *tensors.values())


def _check_tensor(name: str, tensor: torch.Tensor) -> None:
    if not hasattr(tensor, "detach"):
        raise TypeError(f"tensor {name!r} must be a torch.Tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise TypeError(f"tensor {name!r} must hold floats, got {tensor.dtype}")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"tensor {name!r} must be on a CPU or CUDA device, got {tensor.device}")


def _require_torch(call: Callable[[], object]) -> None:
    """Say that PyTorch is missing, after what else is wrong with a call."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        with contextlib.suppress(ModuleNotFoundError):
            call()
        raise ModuleNotFoundError(
            "this needs PyTorch, which is not installed: run `pip install dr_perception[torch]`", name="torch"
        ) from error


@functools.cache
def _apart(function: Any) -> Any:
    """A function that ``torch.compile`` calls without looking into it."""
    import torch

    return torch.compiler.disable(function)


def _as_numbers(tensor: torch.Tensor, like: wp.array) -> wp.array:
    return wp.from_torch(tensor.detach().float().contiguous(), dtype=like.dtype)


@functools.cache
def _function() -> Any:
    """The autograd function, made on first use so that importing this module does not import PyTorch."""
    import torch

    class Render(torch.autograd.Function):
        """Forward: draw. Backward: draw again at the saved tensors and go back through the tape."""

        @staticmethod
        def forward(ctx: Any, bridge: Bridge, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            ctx.bridge = bridge
            ctx.save_for_backward(*tensors)
            drawn = bridge.images(_numbers(bridge, tensors))
            images = [wp.to_torch(image).detach().to(tensors[0].device) for image in drawn]
            pairs = zip(images, bridge.differentiable.values(), strict=True)
            ctx.mark_non_differentiable(*(image for image, wanted in pairs if not wanted))
            ctx.set_materialize_grads(False)
            return tuple(images)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
            bridge: Bridge = ctx.bridge
            tensors = ctx.saved_tensors
            seeds = [None if g is None else g.detach().float().cpu().contiguous().numpy() for g in grads]
            found = bridge.gradients(_numbers(bridge, tensors), seeds)
            pairs = zip(found, tensors, strict=True)
            return None, *(wp.to_torch(g).to(device=t.device, dtype=t.dtype) for g, t in pairs)

    return Render


def _numbers(bridge: Bridge, tensors: tuple[torch.Tensor, ...]) -> list[wp.array]:
    return [_as_numbers(t, a) for t, a in zip(tensors, bridge.arrays.values(), strict=True)]
