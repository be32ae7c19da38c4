"""Symmetries of an object: the motions that leave its looks unchanged, as BOP files state them.

A symmetry S is a transform in the object frame: pose ``T`` and pose ``T @ S`` look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.se3 import check_transform, exp_so3, hat, invert, make_transform

__all__ = ["ContinuousSymmetry", "Symmetries"]

_MM = 1e-3


@dataclass(frozen=True, eq=False)
class ContinuousSymmetry:
    """An axis about which the object may turn by any angle."""

    axis: NDArray[np.float64]
    """Unit direction in the object frame, shape (3,); normalised on construction."""
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """A point on the axis in the object frame [m], shape (3,)."""

    def __post_init__(self) -> None:
        """Validate and normalise."""
        for name in ("axis", "offset"):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (3,) or not np.all(np.isfinite(value)):
                raise ValueError(
                    f"{name} of a continuous symmetry must be 3 finite numbers, got {value.tolist()}"
                )
            object.__setattr__(self, name, value)
        norm = float(np.linalg.norm(self.axis))
        if norm < 1e-9:
            raise ValueError("the axis of a continuous symmetry must not be zero")
        object.__setattr__(self, "axis", self.axis / norm)

    def turn(self, angle_rad: ArrayLike) -> NDArray[np.float64]:
        """Turn about the axis.

        Args:
            angle_rad: Angles [rad], shape (...).

        Returns:
            Transforms in the object frame, shape (..., 4, 4).
        """
        R = exp_so3(np.asarray(angle_rad, dtype=np.float64)[..., None] * self.axis)
        return make_transform(R, self.offset - R @ self.offset)


@dataclass(frozen=True, eq=False)
class Symmetries:
    """Discrete and continuous symmetries of one object; the identity is always implied."""

    discrete: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4, 4)))
    """Transforms in the object frame [m], shape (N, 4, 4). The list is taken as it is, not completed to a
    group."""
    continuous: tuple[ContinuousSymmetry, ...] = ()
    """Axes of revolution."""

    def __post_init__(self) -> None:
        """Validate."""
        discrete = np.asarray(self.discrete, dtype=np.float64)
        if discrete.ndim != 3 or discrete.shape[1:] != (4, 4):
            raise ValueError(f"discrete symmetries must have shape (N, 4, 4), got {discrete.shape}")
        checked = [check_transform(S, f"discrete symmetry {i}") for i, S in enumerate(discrete)]
        object.__setattr__(self, "discrete", np.array(checked).reshape(-1, 4, 4))
        object.__setattr__(self, "continuous", tuple(self.continuous))

    @classmethod
    def none(cls) -> Symmetries:
        """An object without symmetry."""
        return cls()

    @classmethod
    def from_models_info(cls, entry: Mapping[str, Any]) -> Symmetries:
        """Symmetries of one entry of a BOP ``models_info.json``, millimetres to metres.

        Args:
            entry: The entry of the object; ``symmetries_discrete`` (lists of 16 numbers, row by row) and
                ``symmetries_continuous`` (``axis``, ``offset``) are read, both optional.

        Raises:
            ValueError: A list has another length or is no rigid transform.
        """
        discrete = []
        for i, values in enumerate(entry.get("symmetries_discrete", ())):
            if np.size(values) != 16:
                raise ValueError(f"symmetries_discrete[{i}] must be 16 numbers, got {np.size(values)}")
            S = np.array(values, dtype=np.float64).reshape(4, 4)
            S[:3, 3] *= _MM
            discrete.append(S)
        axes = tuple(
            ContinuousSymmetry(
                np.asarray(s["axis"], dtype=np.float64), _MM * np.asarray(s.get("offset", (0, 0, 0)))
            )
            for s in entry.get("symmetries_continuous", ())
        )
        return cls(np.array(discrete).reshape(-1, 4, 4), axes)

    @property
    def is_symmetric(self) -> bool:
        """Whether there is any symmetry beside the identity."""
        return len(self.discrete) > 0 or len(self.continuous) > 0

    def _discrete_with_identity(self) -> NDArray[np.float64]:
        return np.concatenate([np.eye(4)[None], self.discrete])

    def transforms(self, max_step_m_over_diameter: float = 0.01) -> NDArray[np.float64]:
        """The finite set over which BOP takes the minimum of an error.

        Each axis is cut into ``ceil(pi / step)`` turns, so that a point half a diameter away moves by at most
        `step` diameters between neighbours, and each turn follows each discrete symmetry (Hodan et al. 2020,
        "BOP Challenge 2020 on 6D object localization", section 2.2). Turns about different axes are not
        combined with each other.

        Args:
            max_step_m_over_diameter: The step [m of motion per m of diameter].

        Returns:
            Transforms in the object frame, the identity first, shape (S, 4, 4).

        Raises:
            ValueError: The step is not positive.
        """
        if not max_step_m_over_diameter > 0.0:
            raise ValueError(f"the step between symmetries must be positive, got {max_step_m_over_diameter}")
        discrete = self._discrete_with_identity()
        if not self.continuous:
            return discrete
        count = int(np.ceil(np.pi / max_step_m_over_diameter))
        angles = 2.0 * np.pi / count * np.arange(count)
        turns = np.concatenate(
            [axis.turn(angles if i == 0 else angles[1:]) for i, axis in enumerate(self.continuous)]
        )
        return (turns[None] @ discrete[:, None]).reshape(-1, 4, 4)

    def closest(self, T_est: ArrayLike, T_ref: ArrayLike) -> NDArray[np.float64]:
        """The pose that looks like the reference and is nearest in rotation to the estimate.

        Exact for an axis: the angle that maximises ``tr(R_est^T R_ref S(angle))`` has a closed form. Two axes
        that are not parallel make a sphere, which takes any rotation about the point where they meet.
        Rotation alone decides, since the symmetries of a bounded object are told apart by their rotations.

        Args:
            T_est: Estimated pose, shape (4, 4).
            T_ref: Reference pose in the same parent frame, shape (4, 4).

        Returns:
            ``T_ref @ S`` for the best S, shape (4, 4).
        """
        T_est, T_ref = np.asarray(T_est, dtype=np.float64), np.asarray(T_ref, dtype=np.float64)
        relative = (invert(T_ref) @ T_est)[:3, :3]  # the rotation S should have
        candidates = [self._discrete_with_identity()]
        candidates += [_best_turns(axis, relative, candidates[0]) for axis in self.continuous]
        center = self._sphere_center()
        if center is not None:
            candidates.append(make_transform(relative, center - relative @ center)[None])
        S = np.concatenate(candidates)
        return T_ref @ S[np.argmax(np.einsum("sij,ij->s", S[:, :3, :3], relative))]

    def _sphere_center(self) -> NDArray[np.float64] | None:
        """Point nearest to the first two axes that are not parallel, None if all are."""
        for other in self.continuous[1:]:
            first = self.continuous[0]
            if np.linalg.norm(np.cross(first.axis, other.axis)) > 1e-3:
                P, Q = hat(first.axis), hat(other.axis)
                A, b = np.concatenate([P, Q]), np.concatenate([P @ first.offset, Q @ other.offset])
                return np.linalg.lstsq(A, b, rcond=None)[0]
        return None


def _best_turns(
    axis: ContinuousSymmetry, relative: NDArray[np.float64], discrete: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each discrete D the turn C that brings ``C @ D`` closest to a rotation, as ``C @ D``."""
    A = discrete[:, :3, :3] @ relative.T
    along = np.einsum("i,sij,j->s", axis.axis, A, axis.axis)
    angle = np.arctan2(np.einsum("sij,ji->s", A, hat(axis.axis)), np.trace(A, axis1=1, axis2=2) - along)
    return axis.turn(angle) @ discrete
