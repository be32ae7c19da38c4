"""What is known of the world poses of objects, from frame to frame.

For objects at rest it is a product of two beliefs. Anchors, which the first frame gave, fix where the world
is and never fade. What later frames said about the objects relative to each other is forgotten exponentially,
so that it stays bounded. Objects that move have one belief.

Neither part is counted in the other: the pull of the anchors on the estimate stays out of what was learned.
With it in, anchors gain weight from frame to frame, as if the first frame knew better than thirty later ones.
In simulations true to the model (three objects, 60 frames, 30 runs) the places of two objects to each other
were 0.24 mm off without and 0.69 mm with it where the start was measured, 0.23 and 0.15 mm where it was
exact; the camera's path was the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.blocks import Values
from dr_perception.estimate.elimination import inverse
from dr_perception.estimate.factors import Belief, Quadratic
from dr_perception.estimate.graph import Solution
from dr_perception.estimate.marginal import belief, without
from dr_perception.estimate.tangent import block_diagonal
from dr_perception.tracking.sightings import object_block

Array = NDArray[np.float64]

_NOTHING = Belief(Values.of({}), Quadratic(np.zeros((1, 0, 0)), np.zeros((1, 0))))


class WorldBelief:
    """Beliefs about the poses of objects."""

    def __init__(self, static: bool, memory_frames: float) -> None:
        """Nothing is known yet.

        Args:
            static: Whether the objects rest.
            memory_frames: Frames that are remembered of those at rest.
        """
        self._static = static
        self._forgetting = 1.0 - 1.0 / memory_frames
        self._names: list[str] = []
        self._learned = self._anchors = _NOTHING

    @property
    def names(self) -> tuple[str, ...]:
        """Objects, in the order of their poses."""
        return tuple(self._names)

    @property
    def poses(self) -> Array:
        """Newest world poses (K, 4, 4)."""
        return self._learned.mean.T

    def begin(self, name: str, T: Array, information: Array) -> None:
        """Know of an object a pose (4, 4) with information (6, 6) alone; it is the last one then."""
        self.drop(name)
        block = object_block(name)
        known, unknown = (Belief.of_pose(block, T, H) for H in (information, np.zeros((6, 6))))
        self._names.append(name)
        self._anchors = Belief.independent([self._anchors, known if self._static else unknown])
        self._learned = Belief.independent([self._learned, unknown if self._static else known])

    def drop(self, name: str) -> None:
        """Forget an object, not what it told about others."""
        if name in self._names:
            self._names.remove(name)
            gone = [object_block(name)]
            self._learned, self._anchors = without(self._learned, gone), without(self._anchors, gone)

    def prior(self) -> Belief:
        """All that is known, set up at the newest poses."""
        fixed, learned = self._anchors.about(self._learned.mean).quadratic, self._learned.quadratic
        assert fixed.g is not None and learned.g is not None
        return Belief(self._learned.mean, Quadratic(fixed.H + learned.H, fixed.g + learned.g))

    def predict(self, poses: Array, spread: Array) -> None:
        """Objects move on to poses (K, 4, 4); their covariance grows by ``spread`` (K, 6, 6)."""
        covariance = inverse(self._learned.quadratic.H[0]) + block_diagonal(spread)
        H = inverse(covariance)[None]
        mean = Values(self._learned.mean.layout, poses, np.zeros(0))
        self._learned = Belief(mean, Quadratic(H, np.zeros(H.shape[:2])))

    def learn(self, solution: Solution) -> None:
        """Take up a frame from its graph, whose first group of factors holds what was measured."""
        blocks = self._learned.mean.layout.names
        linearised = solution.linearised
        if not self._static:
            self._learned = belief(solution.graph, linearised, blocks)
            return
        fresh = belief(solution.graph, linearised, blocks, groups=[0])
        old, new = self._learned.about(fresh.mean).quadratic, fresh.quadratic
        assert old.g is not None and new.g is not None
        f = self._forgetting
        self._learned = Belief(fresh.mean, Quadratic(f * old.H + new.H, f * old.g + new.g))
