"""Visible surface discrepancy (VSD) of rendered and measured depth images.

Reference: Hodan et al., "BOP Challenge 2020 on 6D object localization", ECCVW 2020, section 2.2, with the
visibility masks of the BOP toolkit since 2019 (a pixel without measurement counts as visible).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera

__all__ = ["VSD_DELTA_M", "VSD_TAUS", "distance_image", "vsd"]

VSD_DELTA_M = 0.015
"""Tolerance of the visibility test [m], as of the BOP Challenge."""

VSD_TAUS = tuple(0.05 * k for k in range(1, 11))
"""Misalignment tolerances as fractions of the object's diameter, as of the BOP Challenge."""

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]


def distance_image(depth: Image, camera: Camera) -> NDArray[np.float64]:
    """Distance from the camera centre of every pixel [m] from its depth along z [m]; 0 stays 0."""
    rays = camera.rays().astype(np.float64)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0.0) * np.sqrt(1.0 + (rays**2).sum(axis=2))


def vsd(
    depth_est: Image,
    depth_ref: Image,
    depth_measured: Image,
    camera: Camera,
    diameter: float,
    *,
    delta: float = VSD_DELTA_M,
    taus: Sequence[float] = VSD_TAUS,
) -> NDArray[np.float64]:
    """Share of the visible surface that is not where it should be.

    Args:
        depth_est: (H, W) depth of the model rendered at the estimated pose [m], 0 = background.
        depth_ref: (H, W) depth of the model rendered at the reference pose [m].
        depth_measured: (H, W) measured depth [m], 0 or not finite = no measurement.
        camera: Camera of all three images.
        diameter: Diameter of the model [m].
        delta: How far behind the measured surface a pixel still counts as visible [m].
        taus: Misalignment tolerances as fractions of the diameter.

    Returns:
        (len(taus),) errors in [0, 1]; 1 where neither pose shows any surface.

    Raises:
        ValueError: The three images differ in shape or do not fit the camera.
    """
    shape = (camera.height, camera.width)
    for name, image in (("estimated", depth_est), ("reference", depth_ref), ("measured", depth_measured)):
        if image.shape != shape:
            raise ValueError(f"{name} depth has shape {image.shape}, the camera has {shape}")
    d_est, d_ref, d_measured = (
        distance_image(depth, camera) for depth in (depth_est, depth_ref, depth_measured)
    )
    visible_ref = _visible(d_ref, d_measured, delta)
    visible_est = _visible(d_est, d_measured, delta) | (visible_ref & (d_est > 0))
    union = int((visible_ref | visible_est).sum())
    if union == 0:
        return np.ones(len(taus))
    both = visible_ref & visible_est
    offset = np.abs(d_est[both] - d_ref[both]) / diameter
    only_one = union - int(both.sum())
    return np.array([(int((offset >= tau).sum()) + only_one) / union for tau in taus])


def _visible(model: Image, measured: Image, delta: float) -> Mask:
    return np.asarray((model > 0) & ((measured == 0) | (model - measured <= delta)))
