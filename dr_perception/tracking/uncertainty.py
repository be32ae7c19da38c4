"""What a covariance means for the surface of an object."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh_measure import sample_surface
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import hat

_SAMPLES = 1000
_RIGHT_SHARE = 0.1
_DIRECTION_ERROR_RAD = 0.026
"""Standard deviation of the normals of meshes and outlines, about a degree and a half.

Facets, and what was simplified away.
"""


def _positive_part(information: NDArray[np.float64], radius_m: float) -> NDArray[np.float64]:
    """Nearest positive semidefinite matrix; turns are in radii, so that its eigenvalues compare."""
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        scale = np.repeat([1.0, 1.0 / radius_m], 3)
        outer = np.outer(scale, scale)
        values, vectors = np.linalg.eigh(information * outer)
        return (vectors * np.maximum(values, 0.0)) @ vectors.T / outer
    return information


class SurfaceUncertainty:
    """Turns covariances about a model's centre into the expected displacement of its surface.

    A turn about an axis of continuous symmetry displaces nothing that can be told apart and does not count.
    """

    def __init__(self, model: ObjectModel) -> None:
        """Measure the second moments of the surface about the centre of the bounding sphere."""
        points = sample_surface(model.mesh, _SAMPLES, np.random.default_rng(0))[0] - model.center
        moment = points.T @ points / len(points)
        self._spread = np.trace(moment) * np.eye(3) - moment
        self._keep = np.eye(3)
        for symmetry in model.symmetries.continuous:
            axis = np.asarray(symmetry.axis, dtype=np.float64)
            axis = axis / np.linalg.norm(axis)
            self._keep = self._keep @ (np.eye(3) - np.outer(axis, axis))
        self._radius_m = math.sqrt(np.trace(moment))
        self._limit_m = _RIGHT_SHARE * model.diameter_m

    def credible(
        self, R_cam_obj: NDArray[np.float64], information: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Take out of an information matrix (6, 6) what errors of the model alone would put in.

        With directions uncertain by a small angle, ``sum w J^T J`` exceeds its value without errors by ``sum
        w Cov(J)`` on average (errors in variables; Fuller 1987, section 2.2), so that even a turn that
        nothing fixes seems to be measured.
        """
        excess = _DIRECTION_ERROR_RAD**2 * np.trace(information[:3, :3])
        less = information.copy()
        less[3:, 3:] -= excess * (R_cam_obj @ self._spread @ R_cam_obj.T)
        return _positive_part(less, self._radius_m)

    def displacement_m(self, R_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
        """Root mean square displacement [m] of the surface under a covariance (6, 6) along camera axes."""
        turning = R_cam_obj.T @ covariance[3:, 3:] @ R_cam_obj
        turning = self._keep @ turning @ self._keep.T
        return math.sqrt(max(np.trace(covariance[:3, :3]) + np.sum(turning * self._spread), 0.0))

    def probability_right(self, R_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
        """Probability that the displacement stays below a tenth of the diameter, if it is Gaussian."""
        sigma = self.displacement_m(R_cam_obj, covariance)
        return math.erf(self._limit_m / (math.sqrt(2.0) * max(sigma, 1.0e-9)))


def covariance_about(point_cam: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (6, 6) of a pose with the origin moved by ``point_cam`` (3,) [m], along camera axes."""
    # The new origin moves by v + w x point.
    J = np.eye(6)
    J[:3, 3:] = -hat(point_cam)
    return J @ covariance @ J.T
