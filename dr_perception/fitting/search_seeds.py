"""First guesses of a search: views from all around at a place, points that vote, or a Gaussian belief."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.fitting.search_model import SearchModel, look_along
from dr_perception.fitting.search_ppf import pair_model, vote_poses
from dr_perception.fitting.search_scene import SearchScene
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import exp_so3, retract

_PLACES = 96
_FEWEST_POINTS = 8
IN_PLANE_STEPS = 24
"""Turns about the viewing ray: 15 degrees apart."""
_SHIFTS = ((0.0, 0.0), (0.22, 0.0), (-0.22, 0.0), (0.0, 0.22), (0.0, -0.22))


def from_views(
    search: SearchModel, center: NDArray[np.float64], spread_m: NDArray[np.float64] | float, diameter_m: float
) -> NDArray[np.float64]:
    """Poses of the centre frame whose visible side has its middle at a point (3,), seen from all around.

    A part that is hidden moves the middle of what is seen, so the middle is also shifted sideways by
    ``spread_m`` times fixed steps.
    """
    ray = center / np.linalg.norm(center)
    to_ray = look_along(-ray[None])[0].T
    angle = np.arange(IN_PLANE_STEPS) * (2.0 * np.pi / IN_PLANE_STEPS)
    spin = exp_so3(angle[:, None] * np.array([0.0, 0.0, 1.0]))
    R = np.einsum("ij,ajk,vkl->vail", to_ray, spin, look_along(search.directions)).reshape(-1, 3, 3)
    middle = np.array(
        [search.points[v, :c].mean(axis=0) if c else np.zeros(3) for v, c in enumerate(search.counts)]
    )
    moved = np.einsum("nij,nj->ni", R, np.repeat(middle, IN_PLANE_STEPS, axis=0))
    shifts = [to_ray @ np.array([x, y, 0.0]) * diameter_m * spread_m for x, y in _SHIFTS]
    T = np.tile(np.eye(4), (len(_SHIFTS) * len(R), 1, 1))
    T[:, :3, :3] = np.tile(R, (len(_SHIFTS), 1, 1))
    T[:, :3, 3] = np.concatenate([center + shift - moved for shift in shifts])
    return T


def from_votes(
    model: ObjectModel,
    scene: SearchScene,
    camera: Camera,
    references: int,
    device: wp.Device,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Poses of the centre frame that pairs of scene points vote for, the best voted first."""
    cells = np.argwhere(scene.usable)[:, ::-1].astype(np.int32)
    if len(cells) < 3:
        return np.zeros((0, 4, 4))
    chosen = cells[rng.permutation(len(cells))[:references]]
    pairs = pair_model(model, device)
    T, votes = vote_poses(
        pairs, scene.points, scene.normals, scene.usable, chosen, camera.fx / scene.stride, device
    )
    return T[np.argsort(-votes, kind="stable")]


def from_belief(
    T_cam_obj: NDArray[np.float64], covariance: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Poses (count, 4, 4) from a Gaussian about a pose (4, 4) with a covariance (6, 6), the mean first."""
    values, vectors = np.linalg.eigh(covariance)
    xi = rng.normal(size=(count, 6)) * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    xi[0] = 0.0
    return retract(np.broadcast_to(T_cam_obj, (count, 4, 4)), xi)


def snapped(
    search: SearchModel, scene: SearchScene, T: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Poses (K, 4, 4) of the centre frame shifted so that their visible side lies on something measured.

    Each goes to the nearest of some places where there is about a model's worth of surface that is no table
    or wall. That takes the three dimensions of place out of the chance that a drawn pose is near the right
    one.
    """
    p = scene.points[scene.usable].astype(np.float64)
    if len(p) < _FEWEST_POINTS:
        return T[:0]
    size = 2.0 * float(np.median(np.linalg.norm(search.points[0, : search.counts[0]], axis=1)))
    some = p[rng.choice(len(p), min(_PLACES, len(p)), replace=False)]
    near = (np.linalg.norm(some[:, None] - p, axis=2) < 0.5 * size).astype(np.float64)
    places = near @ p / near.sum(axis=1, keepdims=True)
    eyes = -np.einsum("kji,kj->ki", T[:, :3, :3], T[:, :3, 3])
    view = np.argmax(eyes @ search.directions.T, axis=1)
    shown = np.array(
        [search.points[v, :c].mean(axis=0) if c else np.zeros(3) for v, c in enumerate(search.counts)]
    )
    middle = np.einsum("kij,kj->ki", T[:, :3, :3], shown[view]) + T[:, :3, 3]
    nearest = np.argmin(np.linalg.norm(middle[:, None] - places, axis=2), axis=1)
    out = T.copy()
    out[:, :3, 3] += places[nearest] - middle
    return out


def from_ball(
    T_cam_obj: NDArray[np.float64], reach_m: float, reach_rad: float, count: int
) -> NDArray[np.float64]:
    """Poses (count, 4, 4) spread over a ball of translations times a ball of rotations, the middle first."""
    xi = _unit_balls(count) * np.repeat([reach_m, reach_rad], 3)
    return retract(np.broadcast_to(T_cam_obj, (len(xi), 4, 4)), xi)


@lru_cache(maxsize=8)
def _unit_balls(count: int) -> NDArray[np.float64]:
    """Tangent vectors (count, 6) in the product of two unit balls, the first zero (Sobol 1967)."""
    from scipy.stats import qmc

    cube = qmc.Sobol(6, scramble=False).random_base2(int(np.ceil(np.log2(5 * count)))) * 2.0 - 1.0
    inside = (np.linalg.norm(cube[:, :3], axis=1) < 1.0) & (np.linalg.norm(cube[:, 3:], axis=1) < 1.0)
    xi = cube[inside][:count]
    xi[0] = 0.0
    return xi
