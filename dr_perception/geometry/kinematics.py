"""Kinematic trees: links joined by joints, from joint values to the poses of all links and their derivatives.

The conventions of URDF: a joint's frame lies at ``T_parent_joint`` in its parent link, its child link moves
along or about ``axis`` of that frame, and the child's frame is the joint's frame after the motion.
Orientations are matrices throughout, so that nothing is singular anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.se3 import check_transform, exp_so3

__all__ = ["Joint", "KinematicTree"]

Array = NDArray[np.float64]
Kind = Literal["fixed", "revolute", "continuous", "prismatic"]
_KINDS = ("fixed", "revolute", "continuous", "prismatic")


@dataclass(frozen=True, eq=False)
class Joint:
    """One joint between two links.

    Raises:
        ValueError: An unknown kind, an axis of no length, limits that are reversed or no numbers, a transform
            that is not rigid, or a joint that copies itself.
    """

    name: str
    kind: Kind
    parent: str
    """Link that it is attached to."""
    child: str
    """Link that it moves."""
    T_parent_joint: ArrayLike = field(default_factory=lambda: np.eye(4))
    """Its frame in the parent link, shape (4, 4)."""
    axis: ArrayLike = (1.0, 0.0, 0.0)
    """Direction in its own frame, shape (3,); of any length."""
    lower: float = -np.inf
    """Smallest value [rad or m]."""
    upper: float = np.inf
    """Largest value [rad or m]."""
    mimic: str | None = None
    """The joint whose value it copies, as ``multiplier * value + offset``."""
    multiplier: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Validate, and make the axis a unit vector."""
        what = f"joint {self.name!r}"
        if self.kind not in _KINDS:
            raise ValueError(f"{what} must be one of {list(_KINDS)}, got {self.kind!r}")
        axis = np.asarray(self.axis, dtype=np.float64)
        if axis.shape != (3,) or not np.isfinite(axis).all() or np.linalg.norm(axis) < 1e-9:
            raise ValueError(f"{what}: its axis must be three numbers, not all 0, got {self.axis!r}")
        if not self.lower <= self.upper:
            raise ValueError(f"{what}: its limits must be in order, got {self.lower} to {self.upper}")
        if not np.isfinite([self.multiplier, self.offset]).all():
            raise ValueError(
                f"{what}: multiplier and offset must be finite, got {self.multiplier}, {self.offset}"
            )
        if self.mimic == self.name:
            raise ValueError(f"{what} must not copy itself")
        T = check_transform(self.T_parent_joint, f"T_parent_joint of {what}")
        object.__setattr__(self, "axis", axis / np.linalg.norm(axis))
        object.__setattr__(self, "T_parent_joint", T)

    @property
    def frame(self) -> Array:
        """`T_parent_joint` as an array (4, 4)."""
        return np.asarray(self.T_parent_joint, dtype=np.float64)

    @property
    def direction(self) -> Array:
        """`axis` as a unit vector (3,)."""
        return np.asarray(self.axis, dtype=np.float64)


class KinematicTree:
    """Links and joints in an order in which every link comes after its parent.

    Attributes:
        links: Names of the links, the root first.
        joints: The joint that leads to each link but the root, in the order of ``links[1:]``.
        names: Names of the joints that have a value of their own, in the order in which they were given: the
            order of joint vectors and of columns of Jacobians.
        parents: Index of each link's parent, -1 for the root (L,).
        values_of: Index of the joint value that moves each link, -1 where none does (L,).
    """

    def __init__(self, joints: Sequence[Joint], root: str | None = None) -> None:
        """Order the links.

        Args:
            joints: Of one tree.
            root: Its only link, where there are no joints.

        Raises:
            ValueError: A link with two parents, a loop, several roots, names that stand twice, or a joint
                that copies none that has a value.
        """
        _check_names(joints)
        self.links = _ordered(joints, root)
        leading = {joint.child: joint for joint in joints}
        self.joints = tuple(leading[link] for link in self.links[1:])
        self.names = tuple(j.name for j in joints if j.kind != "fixed" and j.mimic is None)
        place = {link: k for k, link in enumerate(self.links)}
        self.parents = np.array([-1, *(place[j.parent] for j in self.joints)], dtype=np.int64)
        self.values_of = np.array([-1, *(self._source(j) for j in self.joints)], dtype=np.int64)

    def _source(self, joint: Joint) -> int:
        if joint.kind == "fixed":
            return -1
        name = joint.mimic or joint.name
        if name not in self.names:
            known = list(self.names)
            raise ValueError(
                f"joint {joint.name!r} copies {name!r}, which must be one of those with a value: {known}"
            )
        return self.names.index(name)

    @cached_property
    def _of_name(self) -> dict[str, Joint]:
        return {joint.name: joint for joint in self.joints}

    @property
    def limits(self) -> Array:
        """Smallest and largest value of each joint (n, 2) [rad or m]; infinite for continuous ones."""
        found = [self._of_name[name] for name in self.names]
        inf = (-np.inf, np.inf)
        pairs = [inf if j.kind == "continuous" else (j.lower, j.upper) for j in found]
        return np.array(pairs, dtype=np.float64).reshape(-1, 2)

    def vector(self, joints: Mapping[str, float]) -> Array:
        """Joint values (n,) from values by name.

        Raises:
            ValueError: A joint is missing or unknown, or a value is not finite.
        """
        if unknown := sorted(joints.keys() - set(self.names)):
            raise ValueError(f"unknown joints {unknown}; those with a value are {list(self.names)}")
        if missing := [name for name in self.names if name not in joints]:
            raise ValueError(f"joints {missing} have no value")
        values = np.array([joints[name] for name in self.names], dtype=np.float64)
        if bad := [name for name, x in zip(self.names, values, strict=True) if not np.isfinite(x)]:
            raise ValueError(f"values of joints must be finite, got {[joints[b] for b in bad]} for {bad}")
        return values

    def link_poses(self, q: ArrayLike, T_base: ArrayLike | None = None) -> Array:
        """Poses (..., L, 4, 4) of all links at joint values (..., n), the root at ``T_base`` (..., 4, 4)."""
        q = self._checked(q)
        base = np.eye(4) if T_base is None else np.asarray(T_base, dtype=np.float64)
        shape = np.broadcast_shapes(q.shape[:-1], base.shape[:-2])
        T = np.empty((*shape, len(self.links), 4, 4))
        T[..., 0, :, :] = base
        for k, joint in enumerate(self.joints, start=1):
            T[..., k, :, :] = T[..., self.parents[k], :, :] @ joint.frame @ self._motion(joint, k, q)
        return T

    def _motion(self, joint: Joint, link: int, q: Array) -> Array:
        """Motion (..., 4, 4) of a child link in its joint's frame."""
        T = np.broadcast_to(np.eye(4), (*q.shape[:-1], 4, 4)).copy()
        if joint.kind == "fixed":
            return T
        gain, offset = self.follows(link)
        value = gain * q[..., self.values_of[link], None] + offset
        if joint.kind == "prismatic":
            T[..., :3, 3] = value * joint.direction
        else:
            T[..., :3, :3] = exp_so3(value * joint.direction)
        return T

    def follows(self, link: int) -> tuple[float, float]:
        """Gain and offset with which the joint to a link follows the value that moves it."""
        joint = self.joints[link - 1]
        return (1.0, 0.0) if joint.mimic is None else (joint.multiplier, joint.offset)

    def jacobian(self, q: ArrayLike, T_base: ArrayLike | None = None) -> Array:
        """How the links move: tangents (v, w) of the links per unknown (..., L, 6, 6 + n).

        The unknowns are the tangent (v, w) of the base and the joint values; all tangents are along the axes
        of the frame that ``T_base`` leads to, each about the origin of its own link (DESIGN, section 2).
        """
        T = self.link_poses(q, T_base)
        origins = T[..., :3, 3]
        J = np.zeros((*T.shape[:-2], 6, 6 + len(self.names)))
        arms = origins - origins[..., :1, :]
        J[..., range(6), range(6)] = 1.0
        J[..., 0, 4], J[..., 0, 5] = arms[..., 2], -arms[..., 1]
        J[..., 1, 3], J[..., 1, 5] = -arms[..., 2], arms[..., 0]
        J[..., 2, 3], J[..., 2, 4] = arms[..., 1], -arms[..., 0]
        for k, joint in enumerate(self.joints, start=1):
            if joint.kind == "fixed":
                continue
            column = 6 + self.values_of[k]
            frame = T[..., self.parents[k], :, :] @ joint.frame
            axis = self.follows(k)[0] * (frame[..., :3, :3] @ joint.direction)
            moved = self.descendants[k]
            if joint.kind == "prismatic":
                J[..., moved, :3, column] += axis[..., None, :]
                continue
            arm = origins[..., moved, :] - frame[..., None, :3, 3]
            J[..., moved, :3, column] += np.cross(axis[..., None, :], arm)
            J[..., moved, 3:, column] += axis[..., None, :]
        return J

    @cached_property
    def descendants(self) -> tuple[NDArray[np.int64], ...]:
        """For each link those that move with it, itself included."""
        below: list[list[int]] = [[k] for k in range(len(self.links))]
        for k in range(len(self.links) - 1, 0, -1):
            below[self.parents[k]] += below[k]
        return tuple(np.array(sorted(found), dtype=np.int64) for found in below)

    def _checked(self, q: ArrayLike) -> Array:
        q = np.asarray(q, dtype=np.float64)
        if q.ndim == 0 or q.shape[-1] != len(self.names):
            raise ValueError(f"joint values must have shape (..., {len(self.names)}), got {q.shape}")
        return q


def _check_names(joints: Sequence[Joint]) -> None:
    names = [joint.name for joint in joints]
    children = [joint.child for joint in joints]
    for what, found in (("joints", names), ("children of joints", children)):
        if twice := sorted({name for name in found if found.count(name) > 1}):
            raise ValueError(f"{what} must have names of their own, got {twice} more than once")


def _ordered(joints: Sequence[Joint], root: str | None) -> tuple[str, ...]:
    """Links, each after its parent."""
    children = {joint.child for joint in joints}
    roots = list(dict.fromkeys(joint.parent for joint in joints if joint.parent not in children))
    if not joints:
        roots = [root] if root is not None else []
    if len(roots) != 1:
        what = "a loop of joints has none" if not roots else f"got {roots}"
        raise ValueError(f"a kinematic tree must have one root link; {what}")
    links = [roots[0]]
    for link in links:
        links += [joint.child for joint in joints if joint.parent == link]
    if left := sorted(children - set(links)):
        raise ValueError(f"links {left} must hang on the root {roots[0]!r}; they are in a loop of joints")
    return tuple(links)
