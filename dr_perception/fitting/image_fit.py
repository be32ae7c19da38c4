"""What a first-order optimiser minimises: losses of rendered images over any parameters of a scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.estimate.first_order import Block, Values
from dr_perception.losses.objective import Objective, weighted_sum
from dr_perception.render.renderer import Renderer
from dr_perception.render.scene.checks import check_type
from dr_perception.render.scene.images import Images, RenderOptions
from dr_perception.render.scene.maps import ParameterMap, check_map, shape_of
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.scene.scene import Scene

#: A cost of the parameters themselves: a scalar on the device, differentiable through the tape.
Regularizer = Callable[[SceneParameters], wp.array]

_BASES = {"pose": ("R_world_obj", "t_world_obj"), "camera_pose": ("R_world_cam", "t_world_cam")}


def _options(objective: Objective, options: RenderOptions | None) -> RenderOptions:
    """What to draw for an objective: what it looks at, unless that is said."""
    looked_at = {term.image for term in objective.terms.values()}
    if options is None:
        if "soft_silhouette" in looked_at:
            raise ValueError(
                "the objective looks at the soft silhouette: pass options with soft_silhouette_px, its width"
            )
        return RenderOptions(channels=tuple(sorted(looked_at)))
    check_type(options, RenderOptions, "options of an ImageFit")
    drawn = {*options.channels, *(["soft_silhouette"] if options.soft_silhouette_px > 0.0 else [])}
    if missing := sorted(looked_at - drawn):
        raise ValueError(f"the objective looks at {missing}, but options draw only {sorted(drawn)}")
    return options


def _checked(
    regularizers: Mapping[str, tuple[Regularizer, float]] | None,
) -> dict[str, tuple[Regularizer, float]]:
    found = dict(regularizers or {})
    for name, entry in found.items():
        if not isinstance(entry, tuple) or len(entry) != 2 or not callable(entry[0]):
            raise TypeError(f"regularizer {name!r} must be a cost and its weight, got {entry!r}")
        if not np.isfinite(entry[1]):
            raise ValueError(f"the weight of regularizer {name!r} must be finite, got {entry[1]}")
    return found


class ImageFit:
    """Value and gradients of an objective over images, for `first_order.adam` and `first_order.lbfgs`.

    Blocks are named like the arrays of `SceneParameters`. ``"pose"`` holds transforms (hypotheses, instances,
    4, 4) and ``"camera_pose"`` (cameras, 4, 4), whose gradients are tangents (v, w); all others hold the
    array itself. With a ``front`` its unknowns are blocks as well, in place of the parameters that it fills.
    Buffers are allocated once and reused by every evaluation.

    Args:
        renderer: Renderer to use.
        scene: What is drawn.
        parameters: Of the scene at its first values, as `Renderer.parameters` makes them, with the blocks to
            differentiate as those that require gradients. The fit writes to them.
        objective: The losses.
        references: Images to compare with, by name; see `Objective`.
        options: What to draw; only what the objective looks at need be drawn.
        regularizers: Name -> (cost, weight), reported like the terms of the objective.
        front: What makes some of the parameters from unknowns of its own.

    Raises:
        TypeError: An argument is of another type.
        ValueError: No parameter has a gradient, the objective looks at an image that is not drawn, or the
            front does not fit the parameters.
    """

    def __init__(
        self,
        renderer: Renderer,
        scene: Scene,
        parameters: SceneParameters,
        objective: Objective,
        references: Any,
        *,
        options: RenderOptions | None = None,
        regularizers: Mapping[str, tuple[Regularizer, float]] | None = None,
        front: ParameterMap | None = None,
    ) -> None:
        for name, value, kind in (
            ("renderer", renderer, Renderer),
            ("scene", scene, Scene),
            ("parameters", parameters, SceneParameters),
            ("objective", objective, Objective),
        ):
            check_type(value, kind, f"{name} of an ImageFit")
        if not parameters.requires_grad:
            raise ValueError(
                "ImageFit needs parameters made with requires_grad, got none that have a gradient"
            )
        if front is not None:
            check_map(front, parameters)
        self.renderer, self.parameters, self.front = renderer, parameters, front
        self._theta: Mapping[str, wp.array] = {} if front is None else front.theta
        filled = () if front is None else front.fills
        self.names = sorted({*self._theta, *(parameters.requires_grad - set(filled))})
        self.options = _options(objective, options)
        self._scene, self._objective, self.references = scene, objective, references
        self._regularizers = _checked(regularizers)
        self._images: Images | None = None
        self.report: dict[str, float] = {}

    def block(
        self, name: str, scale: ArrayLike = 1.0, low: ArrayLike = -np.inf, high: ArrayLike = np.inf
    ) -> Block:
        """A block that starts at the present values of one group of parameters, or of one unknown."""
        if name not in self.names:
            raise ValueError(f"{name!r} is not optimised, expected one of {self.names}")
        if name in _BASES:
            return Block(self._transforms(name), scale, pose=True)
        return Block(self._array(name).numpy().astype(np.float64), scale, low, high)

    def __call__(self, values: Values) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """Value and gradients at ``values``; blocks that are left out keep what they had.

        Raises:
            ValueError: A block that is not optimised, or is of another shape; or positions, poses or
                intrinsics that are not finite.
        """
        self.assign(values)
        self.parameters.zero_grad()
        for array in self._theta.values():
            array.grad.zero_()
        tape = wp.Tape()
        with tape:
            images = self.draw()
            data = self._objective(images, self.references)
            costs = {name: cost(self.parameters) for name, (cost, _) in self._regularizers.items()}
            weights = [weight for _, weight in self._regularizers.values()]
            total = weighted_sum([data.total, *costs.values()], [1.0, *weights])
        tape.backward(loss=total)
        gradients = {name: self._array(name).grad.numpy().astype(np.float64) for name in self.names}
        tape.zero()
        loss = float(total.numpy()[0])
        extra = {
            name: weight * float(costs[name].numpy()[0]) for name, (_, weight) in self._regularizers.items()
        }
        self.report = {**data.report(), **extra, "total": loss}
        return loss, gradients

    def assign(self, values: Values) -> None:
        """Write values of some of the blocks; the others keep what they had.

        Raises:
            ValueError: A block that is not optimised, or is of another shape.
        """
        for name, value in values.items():
            if name not in self.names:
                raise ValueError(f"block {name!r} is not optimised, expected names out of {self.names}")
            self._assign(name, np.asarray(value))

    def draw(self) -> Images:
        """Draw with what was assigned, into images of the fit's own; on the active tape, if there is one."""
        if self.front is not None:
            self.front.fill(self.parameters)
        self._images = self.renderer.render(self._scene, self.parameters, self.options, out=self._images)
        return self._images

    def _array(self, name: str) -> wp.array:
        found = self._theta.get(name)
        return getattr(self.parameters, name) if found is None else found

    def _assign(self, name: str, value: NDArray[np.float64]) -> None:
        expected = self._shape(name)
        if value.shape != expected:
            raise ValueError(f"block {name!r} must have shape {expected}, got {value.shape}")
        if name in _BASES:
            R, t = (getattr(self.parameters, field) for field in _BASES[name])
            R.assign(np.ascontiguousarray(value[..., :3, :3], dtype=np.float32))
            t.assign(np.ascontiguousarray(value[..., :3, 3], dtype=np.float32))
            return
        self._array(name).assign(np.ascontiguousarray(value, dtype=np.float32))

    def _shape(self, name: str) -> tuple[int, ...]:
        if name in _BASES:
            return (*getattr(self.parameters, _BASES[name][1]).shape, 4, 4)
        return shape_of(self._array(name))

    def _transforms(self, name: str) -> NDArray[np.float64]:
        R, t = (getattr(self.parameters, field).numpy() for field in _BASES[name])
        T = np.zeros((*t.shape[:-1], 4, 4))
        T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t, 1.0
        return T
