"""Extrinsics of a rig of cameras, and the joint estimate of one moment with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.chain import FixedLink, Link, PoseLink
from dr_perception.estimate.elimination import inverse
from dr_perception.estimate.factors import Belief
from dr_perception.estimate.graph import Graph, Solution
from dr_perception.estimate.marginal import belief
from dr_perception.estimate.tangent import block_diagonal
from dr_perception.geometry.se3 import invert
from dr_perception.tracking.config import CameraConfig
from dr_perception.tracking.sightings import camera_block, object_block, sightings

Array = NDArray[np.float64]

_EXACT = 1.0e-7
"""Metres and radians: stands for a sigma of 0 beside one that is not."""


@dataclass(frozen=True)
class Fused:
    """Poses of K objects from the images of C cameras."""

    solution: Solution
    T_rig_obj: Array
    """Shape (K, 4, 4)."""
    object_covariance: Array
    """Shape (K, 6, 6), along the rig's axes."""
    T_cam_obj: Array
    """Shape (C, K, 4, 4)."""
    covariance: Array
    """Of those, shape (C, K, 6, 6), along the cameras' axes."""
    information: Array
    """Of what each camera measured, shape (C, K, 6, 6), along its axes."""
    chi2: Array
    """By how much that disagrees, shape (C, K)."""


class Rig:
    """Poses of cameras in their rig: known, or estimated with a prior beside the first one's.

    Attributes:
        T_rig_cam: Poses (C, 4, 4).
    """

    def __init__(self, T_rig_cam: Mapping[str, Array], sigma_m: float, sigma_rad: float) -> None:
        """Take poses (4, 4) by camera, exact if both sigmas are 0; the first is exact in any case."""
        self.T_rig_cam = np.stack([*T_rig_cam.values()])
        estimated = max(sigma_m, sigma_rad) > 0.0
        names = [camera_block(name) for name in T_rig_cam]
        self._known = 1 if estimated else len(names)
        self._blocks = names[self._known :]
        sigma = np.maximum(np.repeat([sigma_m, sigma_rad], 3), _EXACT)
        information = np.tile(np.diag(sigma**-2.0), (len(self._blocks), 1, 1))
        poses = dict(zip(self._blocks, self.T_rig_cam[self._known :], strict=True))
        self._belief = Belief.of_poses(poses, block_diagonal(information))

    @property
    def covariance(self) -> Array:
        """Of the extrinsics (C, 6, 6), along the axes of the rig; zero where they are known."""
        out = np.zeros((len(self.T_rig_cam), 6, 6))
        E = len(self._blocks)
        joint = inverse(self._belief.quadratic.H[0]).reshape(E, 6, E, 6)
        out[self._known :] = joint[np.arange(E), :, np.arange(E)]
        return out

    def fuse(
        self,
        names: Sequence[str],
        predicted: tuple[Array, Array],
        measured: tuple[Array, Array],
        settings: CameraConfig,
    ) -> Fused:
        """Most probable poses of objects and extrinsics.

        Args:
            names: Objects, K.
            predicted: Poses (K, 4, 4) in the rig and covariances (K, 6, 6).
            measured: Poses (C, K, 4, 4) in the cameras and information (C, K, 6, 6), 0 where there is none.
            settings: Says from where on a measurement disagrees.
        """
        T, information = measured
        blocks = [object_block(name) for name in names]
        objects = Belief.of_poses(
            dict(zip(blocks, predicted[0], strict=True)), block_diagonal(inverse(predicted[1]))
        )
        prior = Belief.independent([self._belief, objects])
        groups = [
            sightings(link, [*names] * len(T[part]), _flat(T[part]), _flat(information[part]), settings)
            for link, part in self._links(len(names))
        ]
        solution = Graph(prior.mean.layout, [*groups, prior]).solve(prior.mean)
        poses, covariances = zip(*(solution.poses_of(group.chain) for group in groups), strict=True)
        joint = solution.covariance(blocks).reshape(len(names), 6, len(names), 6)
        return Fused(
            solution=solution,
            T_rig_obj=np.stack([solution.values.pose(block) for block in blocks]),
            object_covariance=joint[np.arange(len(names)), :, np.arange(len(names))],
            T_cam_obj=np.concatenate(poses).reshape(T.shape),
            covariance=np.concatenate(covariances).reshape(information.shape),
            information=information,
            chi2=np.concatenate(solution.chi2[: len(groups)]).reshape(T.shape[:2]),
        )

    def _links(self, K: int) -> list[tuple[Link, slice]]:
        """Links from the rig to the known and to the estimated cameras, each K times, and which they are."""
        T_cam_rig = invert(self.T_rig_cam[: self._known])
        links: list[tuple[Link, slice]] = [(FixedLink(np.repeat(T_cam_rig, K, axis=0)), slice(self._known))]
        if self._blocks:
            repeated = tuple(block for block in self._blocks for _ in range(K))
            links.append((PoseLink(repeated, inverse=True), slice(self._known, None)))
        return links

    def learn(self, solution: Solution) -> None:
        """Take over what a frame said of the extrinsics."""
        if self._blocks:
            self._belief = belief(solution.graph, solution.linearised, self._blocks)
            self.T_rig_cam = np.concatenate([self.T_rig_cam[: self._known], self._belief.mean.T])


def _flat(a: Array) -> Array:
    """Arrays by camera and object (C, K, i, j) in a row (C K, i, j)."""
    return a.reshape(-1, *a.shape[2:])
