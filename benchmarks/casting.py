"""Depth of a model at a pose, by Open3D's ray casting: independent of this project's rasteriser."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel


def cast_depth(
    model: ObjectModel,
    T_cam_obj: NDArray[np.float64],
    camera: Camera,
    chosen: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Depth along z [m] of the model where the rays of pixels meet it, infinite where they do not.

    Args:
        model: The model.
        T_cam_obj: Its pose (4, 4).
        camera: The camera.
        chosen: Pixels (H, W) whose rays are cast; None: all.

    Returns:
        Depths (N,), in the order of the rows of the chosen pixels.
    """
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    vertices = (model.mesh.vertices @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]).astype(np.float32)
    scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(model.mesh.faces.astype(np.uint32)))
    rays = camera.rays().reshape(-1, 2) if chosen is None else camera.rays()[chosen]
    zeros, ones = np.zeros((len(rays), 3)), np.ones(len(rays))
    lines = np.column_stack([zeros, rays, ones]).astype(np.float32)
    return np.asarray(scene.cast_rays(o3d.core.Tensor(lines))["t_hit"].numpy(), np.float64)
