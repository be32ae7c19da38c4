"""Which error is there: a mixture over bodies and the camera that sees them.

Every body has parameters of its own, all share those of the camera, so that information is an arrow: bodies
are eliminated into messages about the camera, and the camera's into messages about a body, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.consider import (
    Array,
    Component,
    Elimination,
    Message,
    component,
    eliminate,
    posterior,
)

EVERY = "*"
"""Stands for all bodies together, which may come from one wrong source."""


@dataclass(frozen=True)
class ErrorGroup:
    """Parameters that are gross together."""

    kind: str
    """What a finding of it is called."""
    parameters: tuple[int, ...]
    """Their indices."""
    weight: float
    """Prior weight beside the other groups."""


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """The prior of parameters: usual ones, gross ones, and which go together."""

    usual: Array
    """Standard deviations (T,)."""
    gross: Array
    """(T,)."""
    shared: NDArray[np.int_]
    """Indices of the camera's parameters; the others are a body's own."""
    groups: tuple[ErrorGroup, ...]
    none_weight: float
    """Prior weight of nothing being gross."""
    all_weight: float
    """Prior weight of everything being gross at once."""
    some_weight: float = 0.0
    """Prior weight of everything being somewhat worse than usual, as of cheap sensors and scanned models."""

    @property
    def moderate(self) -> Array:
        """Standard deviations (T,) half way between usual and gross ones, as ratios go."""
        return np.sqrt(self.usual * self.gross)

    def sigma(self, group: ErrorGroup | None) -> Array:
        """Standard deviations (T,) with one group gross; none of them if None."""
        sigma = self.usual.copy()
        if group is not None:
            chosen = list(group.parameters)
            sigma[chosen] = self.gross[chosen]
        return sigma

    def second_moment(self) -> Array:
        """``E[theta theta^T]`` (T, T) before anything was measured."""
        weights = [self.none_weight, *(group.weight for group in self.groups)]
        weights += [self.some_weight, self.all_weight]
        sigmas = [self.usual, *(self.sigma(group) for group in self.groups), self.moderate, self.gross]
        variances = np.average([sigma**2 for sigma in sigmas], axis=0, weights=weights)
        return np.diag(variances)

    def is_shared(self, group: ErrorGroup) -> bool:
        """Whether a group is the camera's."""
        return bool(np.isin(group.parameters, self.shared).all())

    @cached_property
    def own(self) -> NDArray[np.int_]:
        """Indices of the parameters of a body."""
        return np.delete(np.arange(len(self.usual)), self.shared)

    @cached_property
    def priors(self) -> Array:
        """Standard deviations (V, T) that occur: usual ones, each group gross, moderate ones, gross ones."""
        gross = [self.sigma(group) for group in self.groups]
        return np.stack([self.usual, *gross, self.moderate, self.gross])

    @cached_property
    def _alone(self) -> Plan:
        return Plan(self, [""])

    def eliminate(self, message: Message) -> Elimination:
        """What rows of a body say of the camera under every prior (V,) of the body's own parameters."""
        return eliminate(message, self.shared, self.priors[:, self.own])

    def of_one(self, message: Message) -> Weighted:
        """What is known of all parameters by what the rows of a single body say of them."""
        return Mixture(self._alone, [self.eliminate(message)]).of_body("")


@dataclass(frozen=True, eq=False)
class Case:
    """One component of the mixture over all bodies."""

    group: ErrorGroup | None
    """What is gross; None where nothing is, or everything is off."""
    body: str | None
    """Whose, None for the camera's, `EVERY` for all bodies'."""
    everything: Array | None
    """Standard deviations (T,) of all parameters where everything is off."""
    weight: float
    """Its prior."""


def cases_of(model: ErrorModel, bodies: Sequence[str]) -> list[Case]:
    """All components: nothing gross, each group of the camera, of a body and of all bodies, everything.

    Everything somewhat comes before everything grossly, which is last.
    """
    cases = [Case(None, None, None, model.none_weight)]
    for group in model.groups:
        every = [EVERY] if len(bodies) > 1 else []
        owners: Sequence[str | None] = [None] if model.is_shared(group) else [*bodies, *every]
        cases += [Case(group, owner, None, group.weight / len(owners)) for owner in owners]
    if model.some_weight > 0.0:
        cases.append(Case(None, None, model.moderate, model.some_weight))
    return [*cases, Case(None, None, model.gross, model.all_weight)]


class Plan:
    """The components over some bodies: all that does not depend on what was measured.

    Attributes:
        names: Of the bodies.
        cases: The components.
        of_body: Row of `ErrorModel.priors` (B, C) that a body's own parameters have in a case.
        of_camera: That of the camera's (C,).
        weights: Priors (C,).
    """

    def __init__(self, model: ErrorModel, names: Sequence[str]) -> None:
        """Lay out the cases of the bodies ``names``."""
        self.model, self.names = model, tuple(names)
        self.cases = cases_of(model, self.names)
        self.weights = np.array([case.weight for case in self.cases])
        self.of_body = np.array([[self._prior(case, name) for case in self.cases] for name in self.names])
        self.of_camera = np.array([self._prior(case, case.body) for case in self.cases])

    def _prior(self, case: Case, body: str | None) -> int:
        """Row of the prior that a body has in a case."""
        if case.everything is not None:
            return len(self.model.priors) - (1 if case is self.cases[-1] else 2)
        if case.group is None or case.body not in (None, EVERY, body):
            return 0
        return 1 + self.model.groups.index(case.group)


def second_moment(probabilities: Array, mean: Array, covariance: Array) -> Array:
    """``E[x x^T]`` (N, N) of a mixture of Gaussians with means (C, N) and covariances (C, N, N)."""
    spread = np.tensordot(probabilities, covariance, 1)
    return np.asarray(spread + (probabilities[:, None] * mean).T @ mean)


@dataclass(frozen=True)
class Weighted:
    """Components with their probabilities."""

    probabilities: Array
    """(C,)."""
    components: Component
    """Stacked (C, ...)."""

    def without(self, known: Array) -> Weighted:
        """What is left of the parameters beside known ones (T,)."""
        return Weighted(self.probabilities, replace(self.components, mean=self.components.mean - known))

    @property
    def mean(self) -> Array:
        """``E[theta]`` (T,)."""
        return self.probabilities @ self.components.mean

    @property
    def second_moment(self) -> Array:
        """``E[theta theta^T]`` (T, T)."""
        return second_moment(self.probabilities, self.components.mean, self.components.covariance)


class Mixture:
    """The posterior over which error is there.

    Attributes:
        cases: The components.
        probabilities: Of each (C,).
        log_evidence: Logarithm (C,) of how probable each makes what was measured, up to what all share.
    """

    def __init__(self, plan: Plan, bodies: Sequence[Elimination]) -> None:
        """Weigh every case.

        Args:
            plan: The cases.
            bodies: What the rows of each of its bodies say, by `ErrorModel.eliminate`.
        """
        self._plan, self._bodies = plan, bodies
        model = plan.model
        said = [body[rows] for body, rows in zip(bodies, plan.of_body, strict=True)]
        total = Message(sum(one.message.L for one in said), sum(one.message.b for one in said))  # type: ignore[arg-type]
        self._camera = component(model.priors[:, model.shared][plan.of_camera], total)
        self.cases = plan.cases
        self.log_evidence = self._camera.log_evidence + sum(one.inner.log_evidence for one in said)
        self.probabilities = posterior(self.log_evidence, plan.weights)

    @staticmethod
    def of(model: ErrorModel, messages: Mapping[str, Message]) -> Mixture:
        """From what the rows of every body say of its parameters and the camera's (T,)."""
        return Mixture(Plan(model, list(messages)), [model.eliminate(m) for m in messages.values()])

    def components(self, body: str) -> Component:
        """Posteriors of a body's parameters and the camera's (C, T), of all cases.

        Of a body's own given the camera's ``c``, ``N(mean - K c, covariance)``, and of the camera's.
        """
        model, k = self._plan.model, self._plan.names.index(body)
        said, camera = self._bodies[k][self._plan.of_body[k]], self._camera
        mean = np.empty((len(self.cases), len(model.usual)))
        covariance = np.empty((*mean.shape, mean.shape[1]))
        own, shared = model.own, model.shared
        mean[:, shared] = camera.mean
        mean[:, own] = said.inner.mean - (said.response @ camera.mean[..., None])[..., 0]
        across = said.response @ camera.covariance
        covariance[:, shared[:, None], shared] = camera.covariance
        covariance[:, own[:, None], shared] = -across
        covariance[:, shared[:, None], own] = -across.mT
        covariance[:, own[:, None], own] = said.inner.covariance + across @ said.response.mT
        return Component(self.log_evidence, mean, covariance)

    def component(self, case: Case, body: str) -> Component:
        """Posterior of a body's parameters and the camera's (T,) in a case."""
        k, found = self.cases.index(case), self.components(body)
        return Component(found.log_evidence[k], found.mean[k], found.covariance[k])

    def of_body(self, body: str) -> Weighted:
        """What is known of a body's parameters and the camera's over all cases."""
        return Weighted(self.probabilities, self.components(body))
