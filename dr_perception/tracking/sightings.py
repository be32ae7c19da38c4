"""What the images of one moment say of the poses of objects in cameras, as factors of a graph.

Poses here are those of the objects' centres: what is known about the centre hardly mixes turn and place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.chain import Chain, Link, PoseLink
from dr_perception.estimate.factors import PoseFactors, Quadratic
from dr_perception.geometry.se3 import move_origin
from dr_perception.tracking.config import CameraConfig
from dr_perception.tracking.object_track import ObjectTrack

Array = NDArray[np.float64]


def object_block(name: str) -> str:
    """Name of the block of an object's pose."""
    return f"object {name}"


def camera_block(name: str) -> str:
    """Name of the block of a camera's pose."""
    return f"camera {name}"


def with_floor(information: Array, sigma_m: float, sigma_rad: float) -> Array:
    """Information (..., 6, 6) of a measurement to which an independent error is added.

    ``(H^-1 + F)^-1`` without inverting H.
    """
    F_inverse = np.diag(np.repeat([sigma_m, sigma_rad], 3) ** -2.0)
    return information - information @ np.linalg.solve(information + F_inverse, information)


def measure(
    tracks: Mapping[str, ObjectTrack], names: Sequence[str], expected: Array, settings: CameraConfig
) -> tuple[Array, Array]:
    """What the images of one camera alone say, as far as they are trusted.

    Args:
        tracks: Objects of the camera by name.
        names: Those that are asked for, K.
        expected: Poses (K, 4, 4) to stand where nothing was measured.
        settings: Errors that noise does not explain.

    Returns:
        Poses (K, 4, 4) of the centres in the camera, information (K, 6, 6), zero for what was not measured.
    """
    T, information = expected.copy(), np.zeros((len(names), 6, 6))
    for i, name in enumerate(names):
        track = tracks.get(name)
        if track is not None and track.measured_information is not None and track.T_cam_obj is not None:
            T[i] = move_origin(track.T_cam_obj, track.model.center)
            information[i] = track.score * track.measured_information
    return T, with_floor(information, settings.object_sigma_m, settings.object_sigma_rad)


def sightings(
    T_cam_frame: Link, names: Sequence[str], T: Array, information: Array, settings: CameraConfig
) -> PoseFactors:
    """Factors of n measured poses of objects in cameras.

    Args:
        T_cam_frame: From the frame in which objects are estimated to the camera, shared or for each of n.
        names: Objects, n.
        T: Measured ``T_cam_obj`` (n, 4, 4).
        information: Along the camera's axes (n, 6, 6).
        settings: Says from where on a measurement disagrees.
    """
    chain = Chain((T_cam_frame, PoseLink(tuple(object_block(name) for name in names))))
    return PoseFactors(chain, T, Quadratic(information, outlier_chi2=settings.outlier_chi2))
