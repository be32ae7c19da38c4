"""Several instances of one model in view: which poses are different things, and which pixels they explain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.tables import SearchModel


def different_instances(
    model: ObjectModel, estimates: Sequence[PoseEstimate], most: int
) -> list[PoseEstimate]:
    """The most probable estimate of every instance, at most so many, the most probable first."""
    kept: list[PoseEstimate] = []
    for estimate in sorted(estimates, key=lambda one: -one.score):
        if len(kept) == most:
            break
        if all(is_other_instance(model, estimate.T_cam_obj, k.T_cam_obj) for k in kept):
            kept.append(estimate)
    return kept


def is_other_instance(model: ObjectModel, T_a: NDArray[np.float64], T_b: NDArray[np.float64]) -> bool:
    """Whether two poses can be of two rigid things: their centres are too far apart for one."""
    c_a, c_b = (T[:3, :3] @ model.center + T[:3, 3] for T in (T_a, T_b))
    spread = np.linalg.eigvalsh(np.cov((model.mesh.vertices - model.center).T))
    return bool(np.linalg.norm(c_a - c_b) > 1.2 * np.sqrt(max(spread[0], 0.0)) + 0.15 * model.diameter_m)


def explained_pixels(
    search: SearchModel,
    model: ObjectModel,
    depth: NDArray[np.float32],
    camera: Camera,
    T_cam_obj: NDArray[np.float64],
    tolerance_m: float,
) -> NDArray[np.bool_]:
    """Pixels (H, W) whose measured point lies on the surface of the model at one of its poses.

    Args:
        search: Tables of the model, for its distance field.
        model: The model.
        depth: Measured depth [m] (H, W), 0 for none.
        camera: Calibration of the depth.
        T_cam_obj: The poses (P, 4, 4).
        tolerance_m: Distance from the surface up to which a point lies on it.
    """
    y, x = np.nonzero(depth > 0.0)
    z = depth[y, x].astype(np.float64)
    points = np.column_stack([camera.rays()[y, x] * z[:, None], z])
    values, field = search.field.values.numpy(), search.field
    explained = np.zeros(depth.shape, bool)
    for R, t in zip(T_cam_obj[:, :3, :3], T_cam_obj[:, :3, 3], strict=True):
        offset = points - (t + R @ model.center)
        near = np.flatnonzero(np.sum(offset**2, axis=1) < (model.radius_m + tolerance_m) ** 2)
        node = (offset[near] @ R + field.half) * field.cells_per_m
        distance = map_coordinates(values, node.T, order=1, mode="nearest")
        on = near[distance < tolerance_m]
        explained[y[on], x[on]] = True
    return explained
