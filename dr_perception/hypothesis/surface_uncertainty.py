"""What a covariance means for the surface of an object."""

from __future__ import annotations

import math

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.geometry.mesh_measure import surface_spread
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.posterior import (
    BOTH,
    DEPTH_ONLY,
    DEPTH_SHARE,
    LINE_SHARE,
    LOOKS,
    OUTLINE_ONLY,
    PALETTE,
    Posterior,
    Weights,
)

_RIGHT_SHARE = 0.1


class SurfaceUncertainty:
    """Turns covariances about a model's centre into the expected displacement of its surface.

    A turn about an axis of continuous symmetry displaces nothing that can be told apart and does not count.

    Attributes:
        spread: Second moments (3, 3) of the surface about the centre, see `surface_spread`.
        keep: Matrix (3, 3) that takes turns about axes of symmetry out.
        radius_m: Root mean square distance of the surface from the centre.
        limit_m: Displacement up to which a pose counts as right.
    """

    def __init__(self, model: ObjectModel) -> None:
        """Measure the surface about the centre of the bounding sphere."""
        self.spread = surface_spread(model.mesh, model.center)
        self.keep = np.eye(3)
        for symmetry in model.symmetries.continuous:
            axis = np.asarray(symmetry.axis, dtype=np.float64)
            axis = axis / np.linalg.norm(axis)
            self.keep = self.keep @ (np.eye(3) - np.outer(axis, axis))
        self.radius_m = math.sqrt(0.5 * np.trace(self.spread))
        self.limit_m = _RIGHT_SHARE * model.diameter_m

    def displacement_m(self, R_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
        """Root mean square displacement [m] of the surface under a covariance (6, 6) along camera axes."""
        return math.sqrt(max(np.sum(self._weights(R_cam_obj) * covariance), 0.0))

    def displacements_m(
        self, R_cam_obj: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Those (C,) under motions (C, 6) and under covariances (C, 6, 6), along the camera's axes."""
        W = self._weights(R_cam_obj)
        known = np.sum((mean @ W) * mean, axis=1)
        open_ = np.sum(W * covariance, axis=(1, 2))
        return np.sqrt(np.maximum(known, 0.0)), np.sqrt(np.maximum(open_, 0.0))

    def _weights(self, R_cam_obj: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean squared displacement of the surface as a quadratic form (6, 6) of a small motion."""
        W = np.eye(6)
        kept = self.keep @ R_cam_obj.T
        W[3:, 3:] = kept.T @ self.spread @ kept
        return W


def posterior_of(model: ObjectModel, max_lines: int) -> Posterior:
    """What the judging kernels know of a model.

    Args:
        model: The model.
        max_lines: Room for contour samples.
    """
    surface = SurfaceUncertainty(model)
    posterior = Posterior()
    posterior.center = wp.vec3d(*model.center)
    posterior.spread = wp.mat33d(*surface.spread.ravel())
    posterior.keep = wp.mat33d(*surface.keep.ravel())
    posterior.limit_m = surface.limit_m
    posterior.max_lines = max_lines
    posterior.both, posterior.depth_only = Weights(*BOTH), Weights(*DEPTH_ONLY)
    posterior.outline_only = Weights(*OUTLINE_ONLY)
    return posterior


def features_of(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features (5,) that the weights of the posterior belong to, from the figures (K,) of a pose.

    For those who fit the weights.
    """

    def odds(share: float) -> float:
        return math.log(share / (1.0 - share)) if share >= 0.0 else 0.0

    depth = odds(figures[int(DEPTH_SHARE)])
    looks, palette = figures[int(LOOKS)], figures[int(PALETTE)]
    return np.array([depth, odds(figures[int(LINE_SHARE)]), looks, min(depth, 0.0), palette])
