"""Trajectories in front of the renderer: knots of a spline to the poses of cameras or of an object."""

from __future__ import annotations

from typing import Literal

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from dr_perception.geometry.se3 import check_transform, retract
from dr_perception.geometry.splines import basis, spline_poses, spline_spans
from dr_perception.geometry.splines_warp import pose_on_spline, vec6
from dr_perception.render.scene.maps import fill_camera_poses, fill_poses
from dr_perception.render.scene.parameters import SceneParameters

__all__ = ["SplineMap"]


class SplineMap:
    """A `ParameterMap` from the knots of a cumulative cubic B-spline to poses at given times.

    Its unknown is ``"knots"``, tangents (v, w) about the first knots, zero at first (K,) of 6. One pose a
    camera makes a moving camera; one a hypothesis a moving object, the only instance of its scene.

    Args:
        knots: First poses of the knots (K, 4, 4), K at least 4; neighbours differ by less than half a turn.
        stamps: Time of each camera or hypothesis (N,).
        start: Where the spline begins, see `spline_spans`.
        period: Time from knot to knot.
        moves: Whether it is the ``"camera"`` (T_world_cam) or the ``"object"`` (T_world_obj) that moves.
        device: Where it lies.

    Raises:
        ValueError: Fewer than four knots, poses that are not rigid, stamps outside of the spline, or another
            word for what moves.
    """

    def __init__(
        self,
        knots: ArrayLike,
        stamps: ArrayLike,
        start: float = 0.0,
        period: float = 1.0,
        moves: Literal["camera", "object"] = "camera",
        device: wp.DeviceLike = None,
    ) -> None:
        T = np.asarray(knots, dtype=np.float64)
        if T.ndim != 3 or T.shape[1:] != (4, 4):
            raise ValueError(f"knots must have shape (K, 4, 4), got {T.shape}")
        if moves not in ("camera", "object"):
            raise ValueError(f"moves must be 'camera' or 'object', got {moves!r}")
        self._T = np.array([check_transform(one, f"knots[{k}]") for k, one in enumerate(T)])
        self._stamps, self._start, self._period = np.atleast_1d(np.asarray(stamps, float)), start, period
        span, u = spline_spans(self._stamps, len(T), start, period)
        self.fills = ("camera_pose",) if moves == "camera" else ("pose",)
        self.device = wp.get_device(device)

        def upload(values: ArrayLike, kind: type, dtype: object) -> wp.array:
            return wp.array(np.ascontiguousarray(values, kind), dtype=dtype, device=self.device)

        self._base = upload(T[:, :3, :3], np.float32, wp.mat33), upload(T[:, :3, 3], np.float32, wp.vec3)
        self._spans = upload(span, np.int32, wp.int32), upload(basis(u)[0], np.float32, wp.vec4)
        shape = (len(u),) if moves == "camera" else (len(u), 1)
        self._R = wp.zeros(shape, dtype=wp.mat33, device=self.device, requires_grad=True)
        self._t = wp.zeros(shape, dtype=wp.vec3, device=self.device, requires_grad=True)
        self.theta = {"knots": wp.zeros(len(T), dtype=vec6, device=self.device, requires_grad=True)}

    def fill(self, parameters: SceneParameters) -> None:
        """Place the cameras, or the object in every hypothesis."""
        for array in (self._R, self._t):
            array.grad.zero_()
        inputs = [self.theta["knots"], *self._base, *self._spans]
        outputs = [self._R.flatten(), self._t.flatten()]
        wp.launch(pose_on_spline, self._R.size, inputs, outputs, device=self.device)
        place = fill_camera_poses if self.fills == ("camera_pose",) else fill_poses
        place(parameters, self._R, self._t)

    @property
    def knots(self) -> np.ndarray:
        """Poses of the knots (K, 4, 4) as they are now."""
        return retract(self._T, self.theta["knots"].numpy().astype(np.float64))

    def poses(self, stamps: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Poses (N, 4, 4) and velocities (N, 6) at times, those of the map if None; see `spline_poses`."""
        when = self._stamps if stamps is None else stamps
        return spline_poses(self.knots, when, self._start, self._period)
