"""Optional bridge to PyTorch: a render as an ``autograd.Function`` over the Warp path.

PyTorch is imported only when `render_torch` is called; install it with the extra ``torch``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import warp as wp

from dr_perception.render.renderer import Renderer
from dr_perception.render.scene.checks import check_type
from dr_perception.render.scene.images import Images, RenderOptions
from dr_perception.render.scene.maps import ParameterMap, check_map, shape_of
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
    front: ParameterMap | None = None,
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
            (hypotheses, instances, 6), ``"vertices"`` (V, 3), ``"intrinsics"`` (cameras, 12), ...; or the
            name of an unknown of ``front``.
        options: What to draw.
        front: What makes some of the parameters from unknowns of its own.

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
    arrays = _arrays(parameters, front)
    if not isinstance(tensors, Mapping) or not tensors:
        got = "none" if isinstance(tensors, Mapping) else type(tensors).__name__
        known = sorted(arrays)
        raise ValueError(f"tensors must map at least one name out of {known} to a tensor, got {got}")
    for name, tensor in tensors.items():
        if name not in arrays:
            known = sorted(arrays)
            raise ValueError(f"parameter {name!r} was not asked for gradients, expected one of {known}")
        if not hasattr(tensor, "detach"):
            raise TypeError(f"tensor {name!r} must be a torch.Tensor, got {type(tensor).__name__}")
        expected = shape_of(arrays[name])
        if tuple(tensor.shape) != expected:
            raise ValueError(f"tensor {name!r}: expected shape {expected}, got {tuple(tensor.shape)}")
    call = _Call(
        partial(renderer.render, scene, parameters, options or RenderOptions()),
        {name: arrays[name] for name in tensors},
        parameters,
        front,
    )
    found = _function().apply(call, *tensors.values())
    return dict(zip(call.images, found, strict=True))


class _Call:
    """One render: what its backward pass needs besides the tensors."""

    def __init__(
        self,
        render: Callable[[], Images],
        arrays: dict[str, wp.array],
        parameters: SceneParameters,
        front: ParameterMap | None,
    ) -> None:
        self.arrays, self.parameters, self.front = arrays, parameters, front
        self._render = render
        self.images: tuple[str, ...] = ()

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.parameters.zero_grad()
        for array in self.arrays.values():
            array.grad.zero_()

    def draw(self, tensors: tuple[torch.Tensor, ...]) -> tuple[wp.Tape, dict[str, wp.array]]:
        """Copy the tensors in and draw on a tape."""
        for array, tensor in zip(self.arrays.values(), tensors, strict=True):
            wp.copy(array, wp.from_torch(tensor.detach().contiguous().float(), dtype=array.dtype))
        with wp.Tape() as tape:
            if self.front is not None:
                self.front.fill(self.parameters)
            images = self._render()
        made = {name: getattr(images, name) for name in _IMAGES if getattr(images, name) is not None}
        self.images = tuple(made)
        return tape, made


def _arrays(parameters: SceneParameters, front: ParameterMap | None) -> dict[str, wp.array]:
    """What tensors may be given for, by name."""
    if front is None:
        return {name: getattr(parameters, name) for name in parameters.requires_grad}
    check_map(front, parameters)
    own = parameters.requires_grad - set(front.fills)
    return {**front.theta, **{name: getattr(parameters, name) for name in own}}


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
            call.zero_grad()
            tape, images = call.draw(ctx.saved_tensors)
            seeds = {}
            for image, grad in zip(images.values(), grads, strict=True):
                if grad is not None:
                    seeds[image] = wp.from_torch(grad.contiguous().float(), dtype=image.dtype)
            tape.backward(grads=seeds)
            out = [wp.to_torch(array.grad).clone() for array in call.arrays.values()]
            tape.zero()
            return (None, *(g.to(t.device) for g, t in zip(out, ctx.saved_tensors, strict=True)))

    return Render
