"""Factors: what is known of the blocks, in groups of one kind that are evaluated as arrays.

A factor is a quadratic ``e^T H e / 2 - g^T e`` of an error ``e`` of some blocks. `Factors` give the error and
its derivative, the graph does the rest. Evidence of a body in a camera, a measured pose and a motion between
two poses differ in their chain alone (`PoseFactors`); beliefs over any blocks are `Belief`s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.blocks import Indices, Layout, Values
from dr_perception.estimate.chain import Chain, Mask
from dr_perception.estimate.elimination import unit_scale
from dr_perception.estimate.tangent import log_jacobian, tangents

Array = NDArray[np.float64]

_ROUNDING = 1.0e-6
"""Share of the information that is rounding: evidence is summed in single precision, 2^-24 a sample."""


@dataclass(frozen=True)
class Quadratic:
    """Quadratics of n errors with r components: ``e^T H e / 2 - g^T e``, and how far they are believed."""

    H: Array
    """Information (n, r, r)."""
    g: Array | None = None
    """Pull at zero error (n, r); None: the least cost is at zero error."""
    outlier_chi2: float = np.inf
    """Squared normalised error beyond which a factor gets the weight limit / chi^2.

    It is the redescending influence of the t-distribution; infinity for a Gaussian.
    """
    least: Array | None = field(default=None, repr=False)
    """``g^T H^+ g`` (n,): what makes chi^2 zero at the least cost; None with no pull, or no limit."""

    def __post_init__(self) -> None:
        """Refuse a limit on a chi^2 that would not be zero at the least cost.

        Raises:
            ValueError: If there is a pull and a limit, but no ``least``.
        """
        if self.g is not None and self.least is None and self.outlier_chi2 < np.inf:
            raise ValueError(f"a pull with outlier_chi2={self.outlier_chi2} needs Quadratic.of_evidence")

    @classmethod
    def of_evidence(cls, H: Array, g: Array, outlier_chi2: float = np.inf) -> Quadratic:
        """Of normal equations ``H`` (n, r, r), ``g`` (n, r), at whose solution chi^2 is zero.

        Directions in which they say nothing, to their rounding, do not count.
        """
        scale = unit_scale(H.diagonal(axis1=-2, axis2=-1))
        values, vectors = np.linalg.eigh(scale[:, :, None] * H * scale[:, None, :])
        known = values > _ROUNDING * values[:, -1:]
        pull = ((scale * g)[:, None, :] @ vectors)[:, 0]
        least = np.divide(pull**2, values, out=np.zeros_like(pull), where=known)
        return cls(H, g, outlier_chi2, least.sum(-1))

    def pulled(self, e: Array) -> tuple[Array, Array]:
        """Gradient (n, r) by the errors (n, r), and chi^2 (n,)."""
        He = (self.H @ e[..., None])[..., 0]
        if self.g is None:
            return He, (e * He).sum(-1)
        chi2 = (e * (He - 2.0 * self.g)).sum(-1)
        return He - self.g, chi2 if self.least is None else chi2 + self.least

    def select(self, mask: Mask) -> Quadratic:
        """Those of some factors."""
        return replace(
            self,
            H=self.H[mask],
            g=None if self.g is None else self.g[mask],
            least=None if self.least is None else self.least[mask],
        )


class Factors(Protocol):
    """A group of n factors on m unknowns each, with errors of r components."""

    @property
    def quadratic(self) -> Quadratic:
        """What the errors cost."""

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (n, m) of every factor."""

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Errors (n, r) and their derivatives (n, r, m) by those unknowns."""

    def select(self, mask: Mask) -> Factors:
        """Some of the factors."""


@dataclass(frozen=True)
class PoseFactors:
    """Poses that a chain of blocks should have: evidence, measurements, odometry, motion, kinematics.

    The error is the tangent from the given pose to that of the chain, along the axes of the chain's parent:
    the camera's for a body in a camera.
    """

    chain: Chain
    T: Array
    """Measured poses, or those at which evidence was linearised (n, 4, 4)."""
    quadratic: Quadratic
    """Of (v, w)."""

    def columns(self, layout: Layout) -> Indices:
        """Unknowns of the chain (n, m)."""
        return self.chain.columns(layout)

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Errors (n, 6), derivatives (n, 6, m)."""
        T, A = self.chain.evaluate(values, columns)
        e = tangents(self.T, T)
        A[:, 3:] = log_jacobian(e[:, 3:]) @ A[:, 3:]
        return e, A

    def select(self, mask: Mask) -> PoseFactors:
        """Some of the factors."""
        return PoseFactors(self.chain.select(mask), self.T[mask], self.quadratic.select(mask))


@dataclass(frozen=True)
class NuisanceFactors:
    """Evidence of poses and of nuisances together, such as a scale of the model or a shift of the depth.

    Each factor's quadratic is over (v, w) of its chain, then the change of its nuisance.
    """

    chain: Chain
    T: Array
    """Where the evidence was linearised (n, 4, 4)."""
    names: tuple[str, ...]
    """Vector block of every factor, of length k."""
    x: Array
    """Its value there (n, k)."""
    quadratic: Quadratic

    def columns(self, layout: Layout) -> Indices:
        """Unknowns of the chain, then of the nuisance (n, m + k)."""
        return np.concatenate([self.chain.columns(layout), layout.columns(self.names)], axis=1)

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Errors (n, 6 + k), derivatives (n, 6 + k, m + k)."""
        k = self.x.shape[1]
        poses = PoseFactors(self.chain, self.T, self.quadratic)
        e, A = poses.evaluate(values, columns[:, :-k])
        J = np.zeros((len(e), 6 + k, A.shape[2] + k))
        J[:, :6, :-k] = A
        J[:, 6:, -k:] = np.eye(k)
        return np.concatenate([e, values.vectors_at(columns[:, -k:]) - self.x], axis=1), J

    def select(self, mask: Mask) -> NuisanceFactors:
        """Some of the factors."""
        names = tuple(name for name, take in zip(self.names, mask, strict=True) if take)
        chain = self.chain.select(mask)
        return NuisanceFactors(chain, self.T[mask], names, self.x[mask], self.quadratic.select(mask))


@dataclass(frozen=True)
class LinearFactors:
    """Sums of multiples of vector blocks of one length: encoders with a bias, smoothness, ties of joints."""

    names: tuple[tuple[str, ...], ...]
    """The L blocks of every factor."""
    coefficients: tuple[float, ...]
    """L numbers, the same for all factors of the group."""
    target: Array
    """What the sums should be (n, k)."""
    quadratic: Quadratic

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (n, L k)."""
        return np.stack([layout.columns(names).reshape(-1) for names in self.names])

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Errors (n, k), derivatives (n, k, L k)."""
        n, k = self.target.shape
        J = np.kron(np.asarray(self.coefficients), np.eye(k))
        e = values.vectors_at(columns) @ J.T - self.target
        return e, np.broadcast_to(J, (n, *J.shape))

    def select(self, mask: Mask) -> LinearFactors:
        """Some of the factors."""
        names = tuple(names for names, take in zip(self.names, mask, strict=True) if take)
        return LinearFactors(names, self.coefficients, self.target[mask], self.quadratic.select(mask))


@dataclass(frozen=True)
class Belief:
    """One factor on any blocks together: a prior, or what marginalisation left of a part of the graph."""

    mean: Values
    """Where the quadratic was set up, the blocks it is about."""
    quadratic: Quadratic
    """Of the difference of all blocks in the order of the mean's layout (1, m, m)."""

    @classmethod
    def of_pose(cls, name: str, T: Array, information: Array) -> Belief:
        """Prior of one pose (4, 4) with information (6, 6) along its parent's axes."""
        return cls(Values.of({name: T}), Quadratic(information[None]))

    @classmethod
    def of_poses(cls, poses: Mapping[str, Array], information: Array) -> Belief:
        """Prior of several poses (4, 4) with their joint information (6 N, 6 N)."""
        return cls(Values.of(poses), Quadratic(information[None]))

    @classmethod
    def of_vector(cls, name: str, x: Sequence[float], sigma: float) -> Belief:
        """Prior of one vector, each component with a standard deviation."""
        return cls(Values.of({}, {name: x}), Quadratic(np.eye(len(x))[None] / sigma**2))

    @classmethod
    def independent(cls, beliefs: Sequence[Belief]) -> Belief:
        """Beliefs about different poses as one."""
        sizes = [belief.mean.layout.size for belief in beliefs]
        ends = np.cumsum([0, *sizes])
        H, g = np.zeros((1, ends[-1], ends[-1])), np.zeros((1, ends[-1]))
        for belief, first, last in zip(beliefs, ends[:-1], ends[1:], strict=True):
            H[:, first:last, first:last] = belief.quadratic.H
            if belief.quadratic.g is not None:
                g[:, first:last] = belief.quadratic.g
        layout = Layout(name for belief in beliefs for name in belief.mean.layout.poses)
        T = np.concatenate([belief.mean.T for belief in beliefs])
        return cls(Values(layout, T, np.zeros(0)), Quadratic(H, g))

    def about(self, values: Values) -> Belief:
        """The same belief set up at other values of its blocks, to first order in how far they are away."""
        H = self.quadratic.H
        g = -(H @ values.difference(self.mean))
        return Belief(values, Quadratic(H, g if self.quadratic.g is None else g + self.quadratic.g))

    def columns(self, layout: Layout) -> Indices:
        """Unknowns (1, m)."""
        return layout.span(self.mean.layout.names)[None]

    def evaluate(self, values: Values, columns: Indices) -> tuple[Array, Array]:
        """Errors (1, m), derivatives (1, m, m)."""
        if values is self.mean:
            return np.zeros((1, columns.shape[1])), np.eye(columns.shape[1])[None]
        n = 6 * len(self.mean.T)
        xi = tangents(self.mean.T, values.T[columns[0, :n:6] // 6])
        e = xi.reshape(1, -1)
        if len(self.mean.x):
            e = np.concatenate([e, values.vectors_at(columns[:, n:]) - self.mean.x], axis=1)
        J = np.zeros((1, *self.quadratic.H.shape[1:]))
        J[0].reshape(-1)[:: J.shape[1] + 1] = 1.0
        turns = np.arange(n).reshape(-1, 6)[:, 3:]
        J[0, turns[:, :, None], turns[:, None, :]] = log_jacobian(xi[:, 3:])
        return e, J

    def select(self, mask: Mask) -> Belief:
        """The factor itself: a belief is one."""
        return self
