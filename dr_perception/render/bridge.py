"""What a render is to another framework: a function of some arrays, and its adjoint.

Values are copied in, so that the framework may free or change its own, and the adjoint draws again at the
values that it is given: any number of calls of one scene may be alive, and go back in any order, or twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import warp as wp

from dr_perception.render.renderer import Renderer
from dr_perception.render.scene.checks import check_type
from dr_perception.render.scene.images import CHANNEL, RenderOptions, crop_box, image_types
from dr_perception.render.scene.maps import ParameterMap, check_map, shape_of
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.scene.scene import Scene

Shape = tuple[int, ...]


class Bridge:
    """A function from values of arrays to images.

    Attributes:
        arrays: What values are given for, in their order.
        shapes: Names and shapes of the images, with the numbers of a pixel last.
        differentiable: Which of them have gradients.
    """

    def __init__(
        self,
        draw: Callable[[], dict[str, wp.array]],
        arrays: dict[str, wp.array],
        shapes: dict[str, Shape],
        parameters: SceneParameters,
        front: ParameterMap | None = None,
    ) -> None:
        """Remember what is drawn."""
        self.arrays, self.shapes = arrays, shapes
        self._draw, self._parameters, self._front = draw, parameters, front
        self.differentiable = {n: n not in CHANNEL or CHANNEL[n].differentiable for n in shapes}

    def images(self, values: Sequence[Any]) -> list[wp.array]:
        """Images at some values (NumPy or Warp arrays), in the order of `shapes`."""
        return self._run(values)[1]

    def gradients(self, values: Sequence[Any], g_images: Sequence[Any]) -> list[wp.array]:
        """Gradients of the arrays, given those of the images (None: zero); new arrays."""
        for array in self.arrays.values():
            array.grad.zero_()
        self._parameters.zero_grad()
        tape, images = self._run(values)
        seeds = {i: _as_warp(g, i) for i, g in zip(images, g_images, strict=True) if g is not None}
        tape.backward(grads=seeds)
        found = [wp.clone(array.grad, requires_grad=False) for array in self.arrays.values()]
        tape.zero()
        return found

    def _run(self, values: Sequence[Any]) -> tuple[wp.Tape, list[wp.array]]:
        for array, value in zip(self.arrays.values(), values, strict=True):
            array.assign(value)
        with wp.Tape() as tape:
            if self._front is not None:
                self._front.fill(self._parameters)
            made = self._draw()
        return tape, [made[name] for name in self.shapes]


def _as_warp(values: Any, like: wp.array) -> wp.array:
    if isinstance(values, wp.array):
        return values
    return wp.array(values, dtype=like.dtype, device=like.device)


def render_bridge(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    names: Mapping[str, Any],
    options: RenderOptions | None,
    front: ParameterMap | None,
) -> Bridge:
    """A render as a function of the parameters, or unknowns in front of them, with some names.

    Raises:
        TypeError: An argument is of another type.
        ValueError: There are no names, or one of something that has no gradient.
    """
    options = options or RenderOptions()
    arrays = _given(renderer, scene, parameters, names, front)
    types = image_types(options, parameters, _size(parameters, options))
    shapes = {n: (*shape, *getattr(dtype, "_shape_", ())) for n, (dtype, shape) in types.items()}
    draw = partial(renderer.render, scene, parameters, options)
    return Bridge(lambda: draw().arrays(), arrays, shapes, parameters, front)


def antialias_bridge(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    names: Mapping[str, Any],
    image_shape: Shape,
    options: RenderOptions | None,
    front: ParameterMap | None,
) -> Bridge:
    """`Renderer.antialias` as a function of an image, the last of the arrays, and of parameters.

    Raises:
        TypeError, ValueError: As `render_bridge`, or the image has another shape.
    """
    options = options or RenderOptions()
    arrays = _given(renderer, scene, parameters, names, front) if names else {}
    size = _size(parameters, options)
    if len(image_shape) not in (3, 4) or image_shape[:3] != size:
        raise ValueError(f"image must have shape {size} or {(*size, 'n')}, got {image_shape}")
    image = wp.zeros(image_shape, dtype=wp.float32, device=renderer.device, requires_grad=True)
    draw = partial(renderer.antialias, scene, parameters, image, options)
    arrays = {**arrays, "image": image}
    return Bridge(lambda: {"image": draw()}, arrays, {"image": image_shape}, parameters, front)


def _size(parameters: SceneParameters, options: RenderOptions) -> tuple[int, int, int]:
    _, _, width, height = crop_box(options, parameters.image_size)
    return parameters.num_views, height, width


def _given(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    names: Mapping[str, Any],
    front: ParameterMap | None,
) -> dict[str, wp.array]:
    check_type(renderer, Renderer, "renderer")
    check_type(scene, Scene, "scene")
    check_type(parameters, SceneParameters, "parameters")
    known = {name: getattr(parameters, name) for name in parameters.requires_grad}
    if front is not None:
        check_map(front, parameters)
        known = {**front.theta, **{n: a for n, a in known.items() if n not in front.fills}}
    if not isinstance(names, Mapping) or not names:
        got = "none" if isinstance(names, Mapping) else type(names).__name__
        raise ValueError(f"tensors must map at least one name out of {sorted(known)} to a tensor, got {got}")
    for name in names:
        if name not in known:
            raise ValueError(
                f"parameter {name!r} was not asked for gradients, expected one of {sorted(known)}"
            )
    return {name: known[name] for name in names}


def check_shape(name: str, shape: Shape, array: wp.array) -> None:
    """Whether a tensor has the shape of the array that it is for.

    Raises:
        ValueError: It has another one.
    """
    if shape != shape_of(array):
        raise ValueError(f"tensor {name!r}: expected shape {shape_of(array)}, got {shape}")
