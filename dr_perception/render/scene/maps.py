"""Unknowns of the user's own in front of the renderer: functions ``theta -> parameters of a scene``.

A lens that all views share, the angles of a robot, a spline, a simulation or a network is not a parameter of
a scene: it makes some. Whatever does so is a `ParameterMap`. Its kernels run on the same tape as the render,
before it, so that gradients of images come back to its unknowns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from dr_perception.device.tape import active_tape
from dr_perception.render.scene import map_kernels as kernels
from dr_perception.render.scene.checks import check_vector
from dr_perception.render.scene.intrinsics import NUM_INTRINSICS
from dr_perception.render.scene.parameters import SceneParameters

__all__ = ["Maps", "ParameterMap", "TiedIntrinsics", "check_map", "fill_camera_poses", "fill_poses"]


@runtime_checkable
class ParameterMap(Protocol):
    """What makes parameters of a scene from unknowns of its own.

    Attributes:
        theta: Unknowns by name, arrays of floats that require gradients. Names are the user's, but not those
            of `DIFFERENTIABLE`.
        fills: Names out of `DIFFERENTIABLE` that `fill` writes; the parameters must be made with gradients
            for them.
    """

    theta: Mapping[str, wp.array]
    fills: Collection[str]

    def fill(self, parameters: SceneParameters) -> None:
        """Write the parameters that ``theta`` makes, with launches that the active tape records.

        Arrays are written to, not replaced. Kernels of the user's own need no more than
        ``wp.launch(kernel, n, [theta], [parameters.vertices])``; poses go through `fill_poses`.
        """


class Maps:
    """Several maps as one.

    Raises:
        ValueError: Two of them have an unknown of one name, or fill the same parameters.
    """

    def __init__(self, *maps: ParameterMap) -> None:
        """Join maps that fill different parameters."""
        self._maps = maps
        self.theta: dict[str, wp.array] = {}
        self.fills: set[str] = set()
        for one in maps:
            if twice := sorted(self.theta.keys() & one.theta.keys()):
                raise ValueError(f"unknowns of different maps need different names, got {twice} twice")
            if twice := sorted(self.fills & set(one.fills)):
                raise ValueError(f"only one map may fill {twice}, got several")
            self.theta |= one.theta
            self.fills |= set(one.fills)

    def fill(self, parameters: SceneParameters) -> None:
        """Write what each of them makes."""
        for one in self._maps:
            one.fill(parameters)


class TiedIntrinsics:
    """One lens for all cameras: the unknown ``"lens"``, fx, fy, cx, cy [px] and eight coefficients (12,).

    Args:
        lens: Its first values (12,), as a row of ``parameters.intrinsics``.
        device: Where it lies.

    Raises:
        ValueError: Not twelve finite numbers.
    """

    fills = ("intrinsics",)

    def __init__(self, lens: ArrayLike, device: wp.DeviceLike = None) -> None:
        values = check_vector(lens, (NUM_INTRINSICS,), "a lens")
        self.theta = {"lens": wp.array(values, dtype=wp.float32, device=device, requires_grad=True)}

    def fill(self, parameters: SceneParameters) -> None:
        """Give every camera the lens."""
        out = parameters.intrinsics
        wp.launch(kernels.tie_rows, out.shape, [self.theta["lens"]], [out], device=out.device)


def fill_poses(parameters: SceneParameters, R_world_obj: wp.array, t_world_obj: wp.array) -> None:
    """Place the instances: the last step of a map that makes poses.

    Args:
        parameters: Made with gradients for ``"pose"``.
        R_world_obj: Orientations, ``wp.mat33`` (hypotheses, instances), with gradients.
        t_world_obj: Positions [m], ``wp.vec3`` of the same shape, with gradients.

    The gradient of the tangent (v, w) at the pose comes back as the gradients ``v`` of the position and
    ``hat(w) R / 2`` of the orientation: of all matrices, the smallest one that says the same of every turn.

    Raises:
        ValueError: Arrays of another shape, or parameters without gradients for poses.
    """
    targets = parameters.R_world_obj, parameters.t_world_obj
    _fill(parameters, "pose", targets, (R_world_obj, t_world_obj))


def fill_camera_poses(parameters: SceneParameters, R_world_cam: wp.array, t_world_cam: wp.array) -> None:
    """The same for the cameras: ``wp.mat33`` and ``wp.vec3`` of shape (cameras,)."""
    targets = parameters.R_world_cam, parameters.t_world_cam
    _fill(parameters, "camera_pose", targets, (R_world_cam, t_world_cam))


def _fill(
    parameters: SceneParameters,
    name: str,
    targets: tuple[wp.array, wp.array],
    given: tuple[wp.array, wp.array],
) -> None:
    for target, array, what in zip(targets, given, ("orientations", "positions"), strict=True):
        if array.shape != target.shape or array.dtype != target.dtype:
            raise ValueError(
                f"{what} of {name!r} must be {target.dtype.__name__} of shape {target.shape}, "
                f"got {array.dtype.__name__} of {array.shape}"
            )
    if name not in parameters.requires_grad:
        raise ValueError(f"the parameters must be made with requires_grad for {name!r}")
    (R, t), tangent = given, getattr(parameters, name)
    sizes = (R.size,)
    flat = [a.flatten() for a in (*targets, tangent)]
    wp.launch(kernels.place, sizes, [R.flatten(), t.flatten()], flat, device=R.device, record_tape=False)
    tape = active_tape()
    if tape is None:
        return

    def pull() -> None:
        if R.grad is None or t.grad is None:
            return
        arrays = [tangent.grad.flatten(), R.flatten()], [R.grad.flatten(), t.grad.flatten()]
        wp.launch(kernels.pull_tangents, sizes, *arrays, device=R.device, record_tape=False)

    tape.record_func(pull, [tangent, R, t])


def check_map(front: ParameterMap, parameters: SceneParameters) -> None:
    """Refuse a map that does not fit the parameters that it is to fill.

    Raises:
        TypeError: It is no map, or an unknown is no array.
        ValueError: An unknown has no gradient or a parameter's name, or what is filled has no gradient.
    """
    if not isinstance(front, ParameterMap):
        raise TypeError(
            f"front must have theta, fills and fill (see ParameterMap), got {type(front).__name__}"
        )
    for name, array in front.theta.items():
        if not isinstance(array, wp.array):
            raise TypeError(f"unknown {name!r} must be a wp.array, got {type(array).__name__}")
        if not array.requires_grad:
            raise ValueError(f"unknown {name!r} must be made with requires_grad=True")
        if hasattr(parameters, name):
            raise ValueError(
                f"unknown {name!r} has the name of a parameter of scenes, which it must not have"
            )
    if missing := sorted(set(front.fills) - parameters.requires_grad):
        raise ValueError(
            f"front fills {missing}, but the parameters were made with gradients for "
            f"{sorted(parameters.requires_grad)} only: add them to requires_grad"
        )


def shape_of(array: wp.array) -> tuple[int, ...]:
    """Shape of an array with the shape of its elements after it."""
    return (*array.shape, *getattr(array.dtype, "_shape_", ()))


def assign(array: wp.array, values: ArrayLike, what: str) -> None:
    """Write finite numbers into an array of floats.

    Raises:
        ValueError: Another shape.
    """
    given = np.ascontiguousarray(values, dtype=np.float32)
    if given.shape != shape_of(array):
        raise ValueError(f"{what} must have shape {shape_of(array)}, got {given.shape}")
    array.assign(given)
