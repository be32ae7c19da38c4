"""The ray caster behind the scene description of the raster renderer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import check_transform, invert
from dr_perception.rays.caster import Background, Lighting, RayCaster
from dr_perception.rays.casting import CastOptions, cast
from dr_perception.render.scene.images import Images
from dr_perception.render.scene.parameters import make_parameters
from dr_perception.render.scene.scene import Scene
from dr_perception.render.scene.topology import SceneTopology


def ray_caster(
    scene: Scene, T_world_cam: ArrayLike | None = None, *, shadows: bool = True, device: str | None = None
) -> tuple[RayCaster, np.ndarray]:
    """A ray caster of a scene seen from one camera pose.

    What it leaves out: textures, speculars and harmonic lights (surfaces are Lambertian with their vertex
    colours times the albedo), and background images. An instance whose creases are all smoothed is shaded
    smooth only when every instance is; else faces are flat.

    Args:
        scene: The scene, with at least one instance.
        T_world_cam: Pose of the camera; the scene frame is the camera frame when None.
        shadows: Whether instances block directional light.
        device: Warp device.

    Returns:
        The caster, and T_cam_inst of shape (instances, 4, 4).

    Raises:
        ValueError: When the scene is empty, its background is an image, or it has harmonic light.
    """
    if not scene.instances:
        raise ValueError("ray_caster: the scene has no instances")
    if np.shape(scene.background) != (3,):
        raise ValueError(
            f"ray_caster: expected one background colour, got shape {np.shape(scene.background)}"
        )
    if scene.lights.harmonics is not None:
        raise ValueError("ray_caster: harmonic light is not supported")
    T_cam_world = invert(np.eye(4) if T_world_cam is None else check_transform(T_world_cam, "T_world_cam"))
    directions = np.asarray(scene.lights.directions, dtype=np.float64).reshape(-1, 3) @ T_cam_world[:3, :3].T
    ambient = _rgb(scene.lights.ambient)
    caster = RayCaster(
        [item.mesh for item in scene.instances],
        smooth=all(item.material.crease_angle_rad >= np.pi for item in scene.instances),
        lighting=Lighting(ambient, directions, scene.lights.colors, shadows),
        background=Background(color=_rgb(scene.background)),
        albedo=np.array([_rgb(item.material.albedo) for item in scene.instances]),
        device=device,
    )
    return caster, np.stack([T_cam_world @ np.asarray(item.T_world_obj) for item in scene.instances])


def _rgb(values: ArrayLike) -> tuple[float, float, float]:
    red, green, blue = np.asarray(values, dtype=np.float64).tolist()
    return red, green, blue


def render_rays(
    scene: Scene,
    camera: Camera,
    T_world_cam: ArrayLike | None = None,
    *,
    samples: int = 16,
    pattern: str = "grid",
    shadows: bool = True,
    device: str | None = None,
) -> Images:
    """Draw a scene by casting rays, as `casting.cast` does.

    Args:
        scene: What to draw.
        camera: The camera.
        T_world_cam: Its pose.
        samples: Rays per pixel.
        pattern: One of `patterns.PIXEL_PATTERNS`.
        shadows: Whether instances block directional light.
        device: Warp device.
    """
    topology = SceneTopology.of(scene.instances)
    parameters = make_parameters(scene, topology, camera, T_world_cam, device=device)
    return cast(parameters, CastOptions(samples, pattern, shadows=shadows))
