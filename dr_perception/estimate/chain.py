"""Chains: poses that follow from blocks, with their derivatives, evaluated for many factors at once.

A chain multiplies links, ``T = T_1 T_2 ...``: a pose block or its inverse, a known transform, a joint. If the
part so far has the tangent ``(v, w)`` along the axes of the chain's parent and the origin ``t``, a link that
takes the origin to ``t'`` turns it into ``(v - hat(t' - t) w, w)`` and adds its own tangent, turned by the
rotation so far. This is ``A`` of the project's evidence: an object in the camera is a chain of one link, an
object seen by a moving camera ``inverse(T_world_cam) T_world_obj``, a rig and an arm have more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.blocks import Indices, Layout, Values
from dr_perception.estimate.tangent import cross_matrix
from dr_perception.geometry.se3 import exp_so3, make_transform

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_IDENTITY = np.eye(6)[None]


class Link(Protocol):
    """One transform of a chain, for n factors; with n = 1 it is shared by all factors of the chain."""

    @property
    def width(self) -> int:
        """Unknowns k that a factor's transform depends on."""

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (n, k) that it depends on."""

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Transforms (n, 4, 4) and their tangents' derivatives (n or 1, 6, k) by those unknowns."""

    def select(self, mask: Mask) -> Link:
        """The link for some of its factors."""


@dataclass(frozen=True)
class PoseLink:
    """Pose blocks, or their inverses."""

    names: tuple[str, ...]
    inverse: bool = False
    width: ClassVar[int] = 6

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (n, 6)."""
        return layout.columns(self.names)

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Poses (n, 4, 4), derivatives (n or 1, 6, 6)."""
        T = values.poses_at(columns[: len(self.names)])
        return _inverse(T) if self.inverse else (T, _IDENTITY)

    def select(self, mask: Mask) -> PoseLink:
        """The link for some of its factors."""
        return PoseLink(_chosen(self.names, mask), self.inverse)


@dataclass(frozen=True)
class FixedLink:
    """Known transforms (n, 4, 4), such as calibrated extrinsics or the place of a joint in its link."""

    T: Array
    width: ClassVar[int] = 0

    def columns(self, layout: Layout) -> Indices:
        """None: (n, 0)."""
        return np.zeros((len(self.T), 0), dtype=np.intp)

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """The transforms and no derivatives."""
        return self.T, np.zeros((1, 6, 0))

    def select(self, mask: Mask) -> FixedLink:
        """The link for some of its factors."""
        return FixedLink(self.T[mask] if len(self.T) > 1 else self.T)


@dataclass(frozen=True)
class JointLink:
    """Turns about, or shifts along, an axis through the origin, by vector blocks of length 1."""

    names: tuple[str, ...]
    axis: tuple[float, float, float]
    """Unit vector in the frame before the joint."""
    kind: Literal["revolute", "prismatic"] = "revolute"
    width: ClassVar[int] = 1

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (n, 1)."""
        return layout.columns(self.names)

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Transforms (n, 4, 4), derivatives (1, 6, 1)."""
        along = values.vectors_at(columns[: len(self.names)]) * np.asarray(self.axis)
        D = np.zeros((1, 6, 1))
        if self.kind == "revolute":
            D[0, 3:, 0] = self.axis
            return make_transform(exp_so3(along), np.zeros(3)), D
        D[0, :3, 0] = self.axis
        return make_transform(np.eye(3), along), D

    def select(self, mask: Mask) -> JointLink:
        """The link for some of its factors."""
        return JointLink(_chosen(self.names, mask), self.axis, self.kind)


@dataclass(frozen=True)
class Chain:
    """Products of links, one for each of n factors."""

    links: tuple[Link, ...]

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (n, m) of all links, in their order."""
        parts = [link.columns(layout) for link in self.links]
        n = max(len(part) for part in parts)
        shared = [part if len(part) == n else np.repeat(part, n, axis=0) for part in parts]
        return np.concatenate(shared, axis=1)

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Poses (n, 4, 4) and derivatives (n, 6, m) of their tangents by the unknowns (n, m)."""
        n, m = columns.shape
        T: Array | None = None
        A = np.zeros((n, 6, m))
        first = 0
        for link in self.links:
            k = link.width
            own, D = link.evaluate(values, columns[:, first : first + k])
            if T is None:
                T = own
                A[:, :, :k] = D
            else:
                before, T = T, T @ own
                _carry(A[:, :, :first], T[:, :3, 3] - before[:, :3, 3])
                turned = before[:, None, :3, :3] @ D.reshape(len(D), 2, 3, k)
                A[:, :, first : first + k] = turned.reshape(len(turned), 6, k)
            first += k
        assert T is not None
        return (T if len(T) == n else np.repeat(T, n, axis=0)), A

    def select(self, mask: Mask) -> Chain:
        """The chain for some of its factors."""
        return Chain(tuple(link.select(mask) for link in self.links))


def _chosen(names: Sequence[str], mask: Mask) -> tuple[str, ...]:
    if len(names) == 1:
        return tuple(names)
    return tuple(name for name, take in zip(names, mask, strict=True) if take)


def _carry(A: Array, lever: Array) -> None:
    """Move the origin of tangents, the columns of A (n, 6, m), by levers (n, 3), in place."""
    A[:, :3] -= cross_matrix(lever) @ A[:, 3:]


def _inverse(T: Array) -> tuple[Array, Array]:
    """Inverses of poses (n, 4, 4) and the derivatives (n, 6, 6) of their tangents."""
    R = T[:, :3, :3].swapaxes(-1, -2)
    t = T[:, :3, 3]
    out = T.copy()
    out[:, :3, :3] = R
    out[:, :3, 3] = -(R @ t[:, :, None])[..., 0]
    D = np.zeros((len(T), 6, 6))
    D[:, :3, :3] = D[:, 3:, 3:] = -R
    D[:, :3, 3:] = R @ cross_matrix(-t)
    return out, D
