"""Which poses of a model are another pose, and which no image could tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import invert, move_origin
from dr_perception.geometry.symmetry import Symmetries
from dr_perception.hypothesis.tables import TWIN_DISTANCE, SearchModel

_POINTS = 1000
_OTHER = 0.1
"""Root mean square displacement of the surface, of the diameter, beyond which a pose is another: what counts
as right is within it."""
_COLOR = 20.0 / 255.0
"""Mean difference of colours that an image tells: two standard deviations of its noise and the model's
errors. Turned over, plain models of five real sets (foam brick, wood block) differ by 0.04 to 0.08, those
with labels by 0.12 and more."""


@dataclass(frozen=True)
class Lookalikes:
    """What decides whether two poses of a model differ."""

    search: SearchModel
    center: NDArray[np.float64]
    """Of the model, in its frame [m] (3,)."""
    diameter_m: float
    symmetries: Symmetries
    points: NDArray[np.float64]
    """On the surface, in the centre's frame [m] (N, 3)."""
    colors: NDArray[np.float64]
    """Of these points, 0 to 1 (N, 3); none without colours (0, 3)."""

    @classmethod
    def of(cls, model: ObjectModel, search: SearchModel) -> Lookalikes:
        """From the tables of a model."""
        # Those of the views: colours are of these, and what nobody ever saw tells no two poses apart.
        views = search.views
        points = views.points.numpy()
        seen = np.arange(points.shape[1]) < views.count.numpy()[:, None]
        chosen = np.random.default_rng(0).permutation(int(seen.sum()))[:_POINTS]
        points = points[seen][chosen].astype(np.float64)
        colors = np.zeros((0, 3))
        if search.has_colors:
            colors = views.colors.numpy()[seen][chosen].astype(np.float64)
        return cls(search, model.center, model.diameter_m, model.symmetries, points, colors)

    def differ(self, T_a: NDArray[np.float64], T_b: NDArray[np.float64]) -> bool:
        """Whether poses (4, 4) of the model's frame are two that images can tell apart.

        Found from the motion between them: declared symmetries and twins are not all that look alike.
        """
        both = np.stack([T_a, self.symmetries.closest(T_a, T_b)])
        T_a, T_b = move_origin(both, self.center)
        motion = invert(T_a) @ T_b
        moved = self.points @ motion[:3, :3].T + motion[:3, 3]
        if np.sqrt(np.mean(np.sum((moved - self.points) ** 2, axis=1))) <= _OTHER * self.diameter_m:
            return False
        field = self.search.field
        node = (moved + field.half) * field.cells_per_m
        away = map_coordinates(field.values.numpy(), node.T, order=1, mode="nearest")
        if np.percentile(away, 90.0) > TWIN_DISTANCE * self.diameter_m:
            return True
        if len(self.colors) == 0:
            return False
        nearest = cKDTree(self.points).query(moved)[1]
        return bool(np.sqrt(np.mean((self.colors[nearest] - self.colors) ** 2)) > _COLOR)
