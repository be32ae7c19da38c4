"""How many samples a pixel are enough: by what is asked for, and how large things are on the images.

One sample a pixel draws outlines right, but takes shading from the centres of pixels and of pieces of
outline. Where a part is few pixels large that is what the derivatives by materials and lights consist of.
Their errors fall with the square of the number of samples across the part, whatever its kind
(``benchmarks/README.md``), so that a number of samples across is asked for:

| derivatives of | by | samples across |
|---|---|---|
| colour | materials, lights, colours of vertices, texels | 72 a part (about 1 %) |
| colour | colours of vertices, texels | 8 an edge of a face, a texel, the thickness of a part (about 1 %) |
| colour, normals | what moves things | 48 a part |
| silhouettes, antialiased depth | what moves things | 20 a part |
| all of these | what moves things | 3 the thickness of a part |

Numbers are odd, so that a sample lies in the centre of every pixel, which depth and instances are those of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.render.scene.images import RenderOptions
from dr_perception.render.scene.topology import SceneTopology

MATERIALS_AND_LIGHTS = frozenset(
    {
        "albedo",
        "roughness",
        "metallic",
        "specular",
        "ambient",
        "light_directions",
        "light_colors",
        "harmonics",
    }
)
PATTERNS = frozenset({"vertex_colors", "texels"})
SHADED_ACROSS, MOVED_ACROSS, OUTLINED_ACROSS = 72.0, 48.0, 20.0
"""Samples across a part: colour by materials, colour by motion, coverage and depth by motion."""
THICKNESS_ACROSS, DETAIL_ACROSS = 3.0, 8.0
"""Samples across the thickness of a part; across edges of faces and texels."""
MOST_SAMPLES = 31
"""Per axis, which draw a part of six pixels 186 samples large."""
DETAIL_SAMPLES, DETAIL_PART = 7.0, 192.0
"""Detail is drawn with no more than the first a pixel, unless a part is not larger then than the second."""
_LEAST_PX = 3.0
"""Parts smaller than this are left out of account."""


@dataclass(frozen=True)
class Extent:
    """How large things are on the images: the least of all parts and views that show them [px].

    Infinite where there is nothing.
    """

    diameter_px: float = np.inf
    thickness_px: float = np.inf
    """As `MeshSize` has it."""
    edge_px: float = np.inf
    texel_px: float = np.inf


def extent_of(
    topology: SceneTopology,
    cameras: Sequence[Camera],
    T_world_cam: NDArray[np.float64],
    T_world_obj: NDArray[np.float64],
) -> Extent:
    """Measure a scene on its images.

    Args:
        topology: Its topology.
        cameras: C cameras.
        T_world_cam: Their poses, shape (C, 4, 4).
        T_world_obj: Poses of the I instances in H hypotheses, shape (H, I, 4, 4).
    """
    least = np.full(4, np.inf)
    for camera, T in zip(cameras, T_world_cam, strict=True):
        T_cam_obj = np.linalg.inv(T) @ T_world_obj
        for i, k in enumerate(topology.mesh_of_instance):
            size = topology.sizes[k]
            center = T_cam_obj[:, i, :3, :3] @ size.center + T_cam_obj[:, i, :3, 3]
            scale = _pixels_per_metre(camera, center, 0.5 * size.diameter_m)
            if scale.size:
                lengths = (size.diameter_m, size.thickness_m, size.edge_m, size.texel_m)
                least = np.minimum(least, scale.min() * np.array(lengths))
    return Extent(*least.tolist())


def _pixels_per_metre(camera: Camera, center: NDArray[np.float64], radius_m: float) -> NDArray[np.float64]:
    """Scale at spheres (H, 3) that lie before the camera, are seen in its image, and large enough."""
    z = np.maximum(center[:, 2], radius_m)
    focal = min(camera.fx, camera.fy)
    scale = focal / z
    reach = radius_m * scale
    u = camera.fx * center[:, 0] / z + camera.cx
    v = camera.fy * center[:, 1] / z + camera.cy
    seen = (center[:, 2] > -radius_m) & (2.0 * reach >= _LEAST_PX)
    seen &= (u + reach > 0) & (u - reach < camera.width) & (v + reach > 0) & (v - reach < camera.height)
    return scale[seen]


def samples_for(extent: Extent, requires_grad: frozenset[str], options: RenderOptions) -> int:
    """Samples a pixel along each axis for the derivatives that are asked for.

    Args:
        extent: Of the scene on the images.
        requires_grad: Parameters whose derivatives are asked for.
        options: What is drawn.

    Returns:
        1 to `MOST_SAMPLES`, odd.
    """
    wanted = 1.0
    color = options.antialias and "color" in options.channels
    shaded = color or (options.antialias and "normal" in options.channels)
    outlined = options.antialias and "silhouette" in options.channels
    outlined |= options.antialias_depth and "depth" in options.channels
    if color and requires_grad & (MATERIALS_AND_LIGHTS | PATTERNS):
        wanted = max(wanted, SHADED_ACROSS / extent.diameter_px)
    if color and "vertex_colors" in requires_grad:
        wanted = max(wanted, _for_detail(min(extent.edge_px, extent.thickness_px), extent))
    if color and "texels" in requires_grad:
        wanted = max(wanted, _for_detail(min(extent.texel_px, extent.thickness_px), extent))
    if requires_grad - MATERIALS_AND_LIGHTS - PATTERNS:
        if shaded:
            wanted = max(wanted, MOVED_ACROSS / extent.diameter_px)
        if outlined:
            wanted = max(wanted, OUTLINED_ACROSS / extent.diameter_px)
        if shaded or outlined:
            wanted = max(wanted, THICKNESS_ACROSS / extent.thickness_px)
    wanted = min(wanted, MOST_SAMPLES)
    return 1 + 2 * int(np.ceil((wanted - 1.0) / 2.0 - 1e-9))


def _for_detail(size_px: float, extent: Extent) -> float:
    """Samples a pixel for detail of a size."""
    return min(DETAIL_ACROSS / size_px, max(DETAIL_SAMPLES, DETAIL_PART / extent.diameter_px))
