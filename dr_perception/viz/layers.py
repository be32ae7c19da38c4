"""Which object is seen at each pixel and how its surface is turned: the only call of viz that renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import transform_points

__all__ = ["Layers", "render_layers"]


@dataclass(frozen=True)
class Layers:
    """Images of the models; objects hide each other."""

    instance: NDArray[np.int32]
    """(H, W) index of the object in the order of the poses, -1 = background."""
    depth: NDArray[np.float32]
    """(H, W) depth [m], 0 = background."""
    facing: NDArray[np.float32]
    """(H, W) cosine between the surface normal and the direction to the camera, 0..1."""


def render_layers(
    models: Mapping[str, ObjectModel], poses: Mapping[str, NDArray[np.float64]], camera: Camera
) -> Layers:
    """Render models at their poses.

    Args:
        models: Models by name.
        poses: (4, 4) ``T_cam_obj`` by name; the order numbers the objects.
        camera: Camera of the images, with its lens distortion.

    Returns:
        The images, empty where nothing is in view.

    Raises:
        KeyError: A pose has no model.
    """
    import open3d as o3d

    shape = (camera.height, camera.width)
    layers = Layers(np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    for name, T_cam_obj in poses.items():
        mesh = models[name].mesh
        vertices = transform_points(T_cam_obj, mesh.vertices).astype(np.float32)
        scene.add_triangles(vertices, np.ascontiguousarray(mesh.faces, dtype=np.uint32))
    window = _window(models, poses, camera)
    if window is None:
        return layers
    rays = camera.rays()[window]
    directions = np.concatenate([rays, np.ones((*rays.shape[:2], 1), np.float32)], axis=2)
    hit = scene.cast_rays(np.concatenate([np.zeros_like(directions), directions], axis=2), nthreads=1)
    depth, geometry = hit["t_hit"].numpy(), hit["geometry_ids"].numpy()
    seen = np.isfinite(depth)
    layers.depth[window] = np.where(seen, depth, 0.0)
    layers.instance[window] = np.where(seen, geometry, -1).astype(np.int32)
    cosine = np.abs((hit["primitive_normals"].numpy() * directions).sum(axis=2))
    layers.facing[window] = np.where(seen, cosine / np.linalg.norm(directions, axis=2), 0.0)
    return layers


def _window(
    models: Mapping[str, ObjectModel], poses: Mapping[str, NDArray[np.float64]], camera: Camera
) -> tuple[slice, slice] | None:
    """Rows and columns that hold the projections of all bounding spheres; None when they miss the image."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for name, T_cam_obj in poses.items():
        model = models[name]
        centre = transform_points(T_cam_obj, model.center)
        if centre[2] <= -model.radius_m:
            continue
        if centre[2] <= 2.0 * model.radius_m or camera.has_distortion:
            return slice(0, camera.height), slice(0, camera.width)
        u, v = centre[:2] / centre[2] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
        reach = 1.3 * model.radius_m * np.array([camera.fx, camera.fy]) / (centre[2] - model.radius_m)
        low, high = np.minimum(low, (u, v) - reach), np.maximum(high, (u, v) + reach)
    x0, y0 = np.clip(np.floor(np.where(np.isfinite(low), low, 0)), 0, (camera.width, camera.height)).astype(
        int
    )
    x1, y1 = np.clip(
        np.ceil(np.where(np.isfinite(high), high, 0)) + 1, 0, (camera.width, camera.height)
    ).astype(int)
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None
