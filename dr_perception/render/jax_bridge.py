"""Optional bridge to JAX: renders as functions with a ``custom_vjp``, called back on the host.

JAX is imported only when a function here is called; install it with the extra ``jax``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dr_perception.render.bridge import Bridge, antialias_bridge, check_shape, render_bridge
from dr_perception.render.renderer import Renderer
from dr_perception.render.scene.images import RenderOptions
from dr_perception.render.scene.maps import ParameterMap
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.scene.scene import Scene

if TYPE_CHECKING:
    import jax


def render_jax(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    arrays: Mapping[str, jax.Array],
    options: RenderOptions | None = None,
    front: ParameterMap | None = None,
) -> dict[str, jax.Array]:
    """Draw a scene with some of its parameters given as JAX arrays, differentiable by ``jax.grad``.

    May be called inside ``jax.jit``: the renderer is called back on the host. First derivatives in reverse
    only, and no ``vmap``: hypotheses and cameras are views of one render.

    Args:
        renderer: The renderer.
        scene: What to draw.
        parameters: Its parameters, with gradients for the names in ``arrays``, whose values replace theirs.
        arrays: Name -> float array of the shape of that parameter array, with vectors last: ``"pose"``
            (hypotheses, instances, 6), ``"vertices"`` (V, 3), ...; or the name of an unknown of ``front``.
        options: What to draw.
        front: What makes some of the parameters from unknowns of its own.

    Returns:
        The images by name, shape (views, height, width) or (views, height, width, n).

    Raises:
        ModuleNotFoundError: When JAX is not installed.
        TypeError: When an argument is of another type.
        ValueError: When there is no array, a parameter has no gradient or an array has the wrong shape.
    """
    _jax()
    bridge = render_bridge(renderer, scene, parameters, arrays, options, front)
    return dict(zip(bridge.shapes, _call(bridge, dict(arrays)), strict=True))


def antialias_jax(
    renderer: Renderer,
    scene: Scene,
    parameters: SceneParameters,
    arrays: Mapping[str, jax.Array],
    image: jax.Array,
    options: RenderOptions | None = None,
    front: ParameterMap | None = None,
) -> jax.Array:
    """Blend an image that was made of samples over the outline: `Renderer.antialias` for JAX.

    Args and errors are those of `render_jax`; ``image`` has shape (views, height, width) or (views, height,
    width, n), and so has what comes back. ``arrays`` may be empty.
    """
    _jax()
    shape = tuple(np.shape(image))
    bridge = antialias_bridge(renderer, scene, parameters, arrays, shape, options, front)
    return _call(bridge, {**arrays, "image": image})[0]


def _jax() -> Any:
    try:
        import jax
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this needs JAX, which is not installed: run `pip install dr_perception[jax]`", name="jax"
        ) from error
    return jax


def _call(bridge: Bridge, arrays: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
    import jax.numpy as jnp

    for name, array in arrays.items():
        if not hasattr(array, "shape") or not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise TypeError(f"array {name!r} must be an array of floats, got {type(array).__name__}")
        check_shape(name, tuple(array.shape), bridge.arrays[name])
    return _function(bridge)(*(jnp.asarray(a, jnp.float32) for a in arrays.values()))


def _function(bridge: Bridge) -> Callable[..., tuple[jax.Array, ...]]:
    """A bridge as a function that JAX differentiates."""
    import jax
    import jax.numpy as jnp

    names, wanted = list(bridge.shapes), bridge.differentiable
    kinds = [jnp.float32 if wanted[n] else jnp.int32 for n in names]
    images = tuple(jax.ShapeDtypeStruct(bridge.shapes[n], k) for n, k in zip(names, kinds, strict=True))

    def draw(*values: Any) -> tuple[np.ndarray, ...]:
        return tuple(image.numpy() for image in bridge.images([np.asarray(v) for v in values]))

    def pull(values: tuple, grads: tuple) -> tuple[np.ndarray, ...]:
        # Whole numbers have gradients of a type of JAX's own, which say nothing.
        pairs = zip(names, grads, strict=True)
        seeds = [np.ascontiguousarray(g, np.float32) if wanted[n] else None for n, g in pairs]
        return tuple(g.numpy() for g in bridge.gradients([np.asarray(v) for v in values], seeds))

    @jax.custom_vjp
    def function(*values: jax.Array) -> tuple[jax.Array, ...]:
        return jax.pure_callback(draw, images, *values)

    def forward(*values: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        return function(*values), values

    def backward(values: tuple[jax.Array, ...], grads: tuple) -> tuple[jax.Array, ...]:
        given = tuple(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in values)
        floats = tuple(
            g if wanted[n] else jnp.zeros((), jnp.float32) for n, g in zip(names, grads, strict=True)
        )
        return jax.pure_callback(pull, given, values, floats)

    function.defvjp(forward, backward)
    return function
