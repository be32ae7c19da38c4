"""First guesses of a search: views from all around at a place, points that vote, or a Gaussian belief."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import exp_so3, retract
from dr_perception.hypothesis.pairs import pair_model, vote_poses
from dr_perception.hypothesis.scene import SearchScene
from dr_perception.hypothesis.tables import SearchModel, look_along

_PLACES = 96
_FEWEST_POINTS = 8
IN_PLANE_STEPS = 24
"""Turns about the viewing ray: 15 degrees apart."""
_PLACE_CANDIDATES = 4000
_PLACE_SPACING = 1.0
"""Of the radius of what is seen of a model."""
_PLACE_REACH = 1.0
_PLACE_VIEWS = 4
"""Every so-many-th view is tried at a place, 25 degrees apart, and in turns of 30 degrees."""
_PLACE_TURNS = 12
_SHIFTS = ((0.0, 0.0), (0.22, 0.0), (-0.22, 0.0), (0.0, 0.22), (0.0, -0.22))


def from_views(
    search: SearchModel, center: NDArray[np.float64], spread_m: NDArray[np.float64] | float, diameter_m: float
) -> NDArray[np.float64]:
    """Poses of the centre frame whose visible side has its middle at a point (3,), seen from all around.

    A part that is hidden moves the middle of what is seen, so the middle is also shifted sideways by
    ``spread_m`` times fixed steps.
    """
    T = _all_around(search, center, 1, IN_PLANE_STEPS)
    to_ray = look_along(-(center / np.linalg.norm(center))[None])[0].T
    shifted = np.tile(T, (len(_SHIFTS), 1, 1, 1))
    shifted[..., :3, 3] += (np.array([(*xy, 0.0) for xy in _SHIFTS]) @ to_ray.T * diameter_m * spread_m)[
        :, None
    ]
    return shifted.reshape(-1, 4, 4)


def _all_around(
    search: SearchModel, middle: NDArray[np.float64], every: int, turns: int
) -> NDArray[np.float64]:
    """Poses (K, 4, 4) of the centre frame whose visible side has its middle at a point (3,).

    Of every ``every``-th view, in ``turns`` turns about the viewing ray.
    """
    ray = middle / np.linalg.norm(middle)
    to_ray = look_along(-ray[None])[0].T
    angle = np.arange(turns) * (2.0 * np.pi / turns)
    spin = exp_so3(angle[:, None] * np.array([0.0, 0.0, 1.0]))
    R = np.einsum("ij,ajk,vkl->vail", to_ray, spin, look_along(search.directions[::every])).reshape(-1, 3, 3)
    T = np.tile(np.eye(4), (len(R), 1, 1))
    T[:, :3, :3] = R
    T[:, :3, 3] = middle - np.einsum("nij,nj->ni", R, np.repeat(search.middles[::every], turns, axis=0))
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
    one: without them 33 instead of 6 of 144 searches with a belief of 3 to 10 cm and 17 to 57 degrees were
    wrong in the scenes of `benchmarks/fit.py search`.
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
    middle = np.einsum("kij,kj->ki", T[:, :3, :3], search.middles[view]) + T[:, :3, 3]
    nearest = np.argmin(np.linalg.norm(middle[:, None] - places, axis=2), axis=1)
    out = T.copy()
    out[:, :3, 3] += places[nearest] - middle
    return out


def from_places(
    search: SearchModel, scene: SearchScene, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Poses (K, 4, 4) of the centre frame at every place of a frame, and the number of each one's place (K,).

    Places lie close enough together that one is near the middle of the visible side of whatever part of the
    frame is the object, however little of it is seen among other things; tables and walls have none.
    """
    p = scene.points[scene.usable].astype(np.float64)
    if len(p) < _FEWEST_POINTS:
        return np.zeros((0, 4, 4)), np.zeros(0, np.int64)
    size = float(np.median(np.linalg.norm(search.points[:, 0], axis=1)))
    some = p[rng.choice(len(p), min(_PLACE_CANDIDATES, len(p)), replace=False)]
    apart = some[spread_out(some, _PLACE_SPACING * size)]
    near = (np.linalg.norm(apart[:, None] - p, axis=2) < _PLACE_REACH * size).astype(np.float64)
    places = near @ p / near.sum(axis=1, keepdims=True)
    T = np.concatenate([_all_around(search, place, _PLACE_VIEWS, _PLACE_TURNS) for place in places])
    return T, np.repeat(np.arange(len(places)), len(T) // len(places))


def spread_out(points: NDArray[np.float64], distance_m: float) -> NDArray[np.int64]:
    """Indices of points (N, 3) that are no nearer to each other than a distance, near all others."""
    left = np.ones(len(points), bool)
    kept = []
    for i in range(len(points)):
        if left[i]:
            kept.append(i)
            left &= np.linalg.norm(points - points[i], axis=1) > distance_m
    return np.array(kept, np.int64)


def from_ball(
    T_cam_obj: NDArray[np.float64], reach_m: float, reach_rad: float, count: int
) -> NDArray[np.float64]:
    """Poses (count, 4, 4) spread over a ball of translations times a ball of rotations, the middle first."""
    shifts, turns = _motions(reach_m, reach_rad, count)
    T = np.zeros((len(shifts), 4, 4))
    T[:, :3, :3] = (turns @ T_cam_obj[:3, :3]).reshape(-1, 3, 3)
    T[:, :3, 3] = T_cam_obj[:3, 3] + shifts
    T[:, 3, 3] = 1.0
    return T


@lru_cache(maxsize=8)
def _motions(reach_m: float, reach_rad: float, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shifts (count, 3) and the rows of the rotations (3 count, 3) of `from_ball`."""
    balls = _unit_balls(count)
    shifts, turns = reach_m * balls[:, :3], exp_so3(reach_rad * balls[:, 3:]).reshape(-1, 3)
    for table in (shifts, turns):
        table.flags.writeable = False
    return shifts, turns


@lru_cache(maxsize=8)
def _unit_balls(count: int) -> NDArray[np.float64]:
    """Tangent vectors (count, 6) in the product of two unit balls, the first zero (Sobol 1967)."""
    from scipy.stats import qmc

    cube = qmc.Sobol(6, scramble=False).random_base2(int(np.ceil(np.log2(5 * count)))) * 2.0 - 1.0
    inside = (np.linalg.norm(cube[:, :3], axis=1) < 1.0) & (np.linalg.norm(cube[:, 3:], axis=1) < 1.0)
    xi = cube[inside][:count]
    xi[0] = 0.0
    xi.flags.writeable = False
    return xi
