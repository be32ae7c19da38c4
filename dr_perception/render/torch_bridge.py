"""Optional bridge to PyTorch: a render as an ``autograd.Function`` over the Warp path.

PyTorch is imported only when `render_torch` is called; install it with the extra ``torch``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import warp as wp

from dr_perception.render.renderer import Renderer
from dr_perception.render.scene.checks import check_type
from dr_perception.render.scene.images import RenderOptions
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.scene.scene import Scene

if TYPE_CHECKING:
    import torch

_IMAGES = ("depth", "silhouette", "color", "normal", "soft_silhouette")


def render_torch(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    tensors: Mapping[str, torch.Tensor],
    options: RenderOptions | None = None,
) -> dict[str, torch.Tensor]:
    """Draw a scene with some of its parameters given as tensors, differentiable by PyTorch.

    The values of ``tensors`` replace those of ``parameters`` on its device (they are copied, so that PyTorch
    may free or change its own). The backward pass is that of `Renderer.render`; several renders of one scene
    may be alive at once because the values are restored before going back.

    Args:
        renderer: The renderer.
        scene: What to draw.
        parameters: Its parameters, with gradients for the names in ``tensors``.
        tensors: Name -> float32 tensor of the shape of that parameter array, with vectors last: ``"pose"``
            (hypotheses, instances, 6), ``"vertices"`` (V, 3), ``"intrinsics"`` (cameras, 12), ...
        options: What to draw.

    Returns:
        The float images by name, shape (views, height, width) or (views, height, width, 3), on the device of
        the tensors.

    Raises:
        ModuleNotFoundError: When PyTorch is not installed.
        TypeError: When an argument is of another type.
        ValueError: When there is no tensor, a parameter has no gradient or a tensor has the wrong shape.
    """
    check_type(renderer, Renderer, "renderer")
    check_type(scene, Scene, "scene")
    check_type(parameters, SceneParameters, "parameters")
    if not isinstance(tensors, Mapping) or not tensors:
        got = "none" if isinstance(tensors, Mapping) else type(tensors).__name__
        known = sorted(parameters.requires_grad)
        raise ValueError(f"tensors must map at least one name out of {known} to a tensor, got {got}")
    for name, tensor in tensors.items():
        if name not in parameters.requires_grad:
            known = sorted(parameters.requires_grad)
            raise ValueError(f"parameter {name!r} was not asked for gradients, expected one of {known}")
        if not hasattr(tensor, "detach"):
            raise TypeError(f"tensor {name!r} must be a torch.Tensor, got {type(tensor).__name__}")
        expected = _shape(getattr(parameters, name))
        if tuple(tensor.shape) != expected:
            raise ValueError(f"tensor {name!r}: expected shape {expected}, got {tuple(tensor.shape)}")
    names = tuple(tensors)
    call = _Call(renderer, scene, parameters, names, options or RenderOptions())
    found = _function().apply(call, *tensors.values())
    return dict(zip(call.images, found, strict=True))


class _Call:
    """One render: what its backward pass needs besides the tensors."""

    def __init__(
        self,
        renderer: Renderer,
        scene: Scene,
        parameters: SceneParameters,
        names: tuple[str, ...],
        options: RenderOptions,
    ) -> None:
        self.renderer, self.scene, self.parameters = renderer, scene, parameters
        self.names, self.options = names, options
        self.images: tuple[str, ...] = ()

    def draw(self, tensors: tuple[torch.Tensor, ...]) -> tuple[wp.Tape, dict[str, wp.array]]:
        """Copy the tensors in and draw on a tape."""
        for name, tensor in zip(self.names, tensors, strict=True):
            array = getattr(self.parameters, name)
            wp.copy(array, wp.from_torch(tensor.detach().contiguous().float(), dtype=array.dtype))
        with wp.Tape() as tape:
            images = self.renderer.render(self.scene, self.parameters, self.options)
        made = {name: getattr(images, name) for name in _IMAGES if getattr(images, name) is not None}
        self.images = tuple(made)
        return tape, made


def _shape(array: wp.array) -> tuple[int, ...]:
    return (*array.shape, *getattr(array.dtype, "_shape_", ()))


@functools.cache
def _function() -> Any:
    """The autograd function, made on first use so that importing this module does not import PyTorch."""
    import torch

    class Render(torch.autograd.Function):
        """Forward: draw. Backward: draw again at the saved tensors and go back through the tape."""

        @staticmethod
        def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            _, images = call.draw(tensors)
            ctx.call = call
            ctx.save_for_backward(*tensors)
            return tuple(wp.to_torch(image).detach().to(tensors[0].device) for image in images.values())

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
            call: _Call = ctx.call
            call.parameters.zero_grad()
            tape, images = call.draw(ctx.saved_tensors)
            seeds = {}
            for image, grad in zip(images.values(), grads, strict=True):
                if grad is not None:
                    seeds[image] = wp.from_torch(grad.contiguous().float(), dtype=image.dtype)
            tape.backward(grads=seeds)
            out = [wp.to_torch(getattr(call.parameters, name).grad).clone() for name in call.names]
            tape.zero()
            return (None, *(g.to(t.device) for g, t in zip(out, ctx.saved_tensors, strict=True)))

    return Render
