"""Several instances of one model in view: which poses are different things, and which pixels they explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.lookalikes import Lookalikes
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.tables import SearchModel

AT_ONE_PLACE = 0.64
"""What the log odds of two poses at one place are of the difference of their values.

Fitted to choose the right one of the refined poses of 148 searches in six real sets (conditional logit); with
one set left out 0.56 to 0.81. What is wrong with a model is wrong at both.
"""


@dataclass(frozen=True)
class Ranked:
    """An estimate, and what it is compared by with others in the same frame."""

    value: float
    """Its log posterior but for a constant, beside poses of the same instance."""
    value_of_place: float
    """The same beside poses at other places."""
    estimate: PoseEstimate


def answers(model: ObjectModel, looks: Lookalikes, found: Sequence[Ranked], most: int) -> list[PoseEstimate]:
    """The best of every instance, at most so many, the preferred place first.

    Each is as probable as what else was found makes it. No more than ``most`` are there, so that an answer
    and what stands at a place left out cannot both be, nor can it and another pose at its own place, unless
    they look alike. The score of an answer, for which these were not thought of, is shared with them in the
    ratio of their likelihoods. A wrong answer has mostly another nearly as good beside it. Of 59 searches in
    whole frames of six real sets and 24 of simulated scenes the likelihood of right and wrong is the largest
    with differences between places as they are, or with half of them where the sensor of many equal cups is
    left out.
    """
    places = _by_place(model, found)
    left_out = np.array([place[0].value_of_place for place in places[most:]])
    answered = []
    for first, *others in places[:most]:
        turned = AT_ONE_PLACE * (_different(looks, first, others) - first.value)
        rivals = _odds(left_out - first.value_of_place) + _odds(turned)
        answered.append(replace(first.estimate, score=first.estimate.score / (1.0 + rivals)))
    return answered


def _odds(differences: NDArray[np.float64]) -> float:
    """Sum of the odds that differences (N,) of log likelihoods stand for."""
    return float(np.exp(np.minimum(differences, 50.0)).sum())


def _different(looks: Lookalikes, first: Ranked, others: Sequence[Ranked]) -> NDArray[np.float64]:
    """Values (N,) of those that differ from the first and from each other; the best of each pose."""
    kept = [first]
    for one in others:
        if all(looks.differ(one.estimate.T_cam_obj, other.estimate.T_cam_obj) for other in kept):
            kept.append(one)
    return np.array([one.value for one in kept[1:]])


def _by_place(model: ObjectModel, found: Sequence[Ranked]) -> list[list[Ranked]]:
    """What was found at every place, the best first; the preferred place first.

    Neither order is that of their probabilities. A mug with its handle out of sight agrees as well as the
    right pose does, which explains the handle besides; and the little that is seen of a pose that is mostly
    hidden may all agree.
    """
    apart_m = _apart(model)
    places: list[list[Ranked]] = []
    centers: list[NDArray[np.float64]] = []
    for one in sorted(found, key=lambda one: -one.value):
        T = one.estimate.T_cam_obj
        center = T[:3, :3] @ model.center + T[:3, 3]
        near = [k for k, other in enumerate(centers) if np.linalg.norm(center - other) <= apart_m]
        if near:
            places[near[0]].append(one)
        else:
            places.append([one])
            centers.append(center)
    return sorted(places, key=lambda place: -place[0].value_of_place)


def is_other_instance(model: ObjectModel, T_a: NDArray[np.float64], T_b: NDArray[np.float64]) -> bool:
    """Whether two poses can be of two rigid things: their centres are too far apart for one."""
    c_a, c_b = (T[:3, :3] @ model.center + T[:3, 3] for T in (T_a, T_b))
    return bool(np.linalg.norm(c_a - c_b) > _apart(model))


def _apart(model: ObjectModel) -> float:
    """Distance [m] beyond which the centres of two poses are too far apart for one rigid thing."""
    spread = np.linalg.eigvalsh(np.cov((model.mesh.vertices - model.center).T))
    return float(1.2 * np.sqrt(max(spread[0], 0.0)) + 0.15 * model.diameter_m)


def explained_pixels(
    search: SearchModel,
    model: ObjectModel,
    depth: NDArray[np.float32],
    camera: Camera,
    T_cam_obj: NDArray[np.float64],
    tolerance_m: float,
) -> NDArray[np.bool_]:
    """Pixels (H, W) whose measured point lies on the surface of the model at one of its poses.

    Args:
        search: Tables of the model, for its distance field.
        model: The model.
        depth: Measured depth [m] (H, W), 0 for none.
        camera: Calibration of the depth.
        T_cam_obj: The poses (P, 4, 4).
        tolerance_m: Distance from the surface up to which a point lies on it.
    """
    y, x = np.nonzero(depth > 0.0)
    z = depth[y, x].astype(np.float64)
    points = np.column_stack([camera.rays()[y, x] * z[:, None], z])
    values, field = search.field.values.numpy(), search.field
    explained = np.zeros(depth.shape, bool)
    for R, t in zip(T_cam_obj[:, :3, :3], T_cam_obj[:, :3, 3], strict=True):
        offset = points - (t + R @ model.center)
        near = np.flatnonzero(np.sum(offset**2, axis=1) < (model.radius_m + tolerance_m) ** 2)
        node = (offset[near] @ R + field.half) * field.cells_per_m
        distance = map_coordinates(values, node.T, order=1, mode="nearest")
        on = near[distance < tolerance_m]
        explained[y[on], x[on]] = True
    return explained
