"""Which error is there: a mixture over bodies and the camera that sees them.

Every body has parameters of its own, all share those of the camera, so that information is an arrow: bodies
are eliminated into messages about the camera, and the camera's into messages about a body, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.consider import Array, Component, Message, component, eliminate, posterior

_NEGLIGIBLE = 1.0e-4
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


class Mixture:
    """The posterior over which error is there.

    Attributes:
        cases: The components.
        probabilities: Of each.
        log_evidence: Logarithm of how probable each makes what was measured, up to what all share.
    """

    def __init__(self, model: ErrorModel, messages: Mapping[str, Message]) -> None:
        """Weigh every case by what the rows of each body say of its parameters and the camera's (T,)."""
        self._model, self._messages = model, messages
        self._components: dict[tuple[int, str], Component] = {}
        usual = model.sigma(None)
        self._plain = {name: eliminate(m, model.shared, usual) for name, m in messages.items()}
        self._total = self._sum(self._plain)
        self.cases = cases_of(model, list(messages))
        self.log_evidence = [self._evidence(case) for case in self.cases]
        self.probabilities = posterior(self.log_evidence, [case.weight for case in self.cases])

    def _sum(self, said: Mapping[str, tuple[Message, float]]) -> tuple[Message, float]:
        total, log_evidence = Message.nothing(len(self._model.shared)), 0.0
        for message, evidence in said.values():
            total, log_evidence = total + message, log_evidence + evidence
        return total, log_evidence

    def _sigma(self, case: Case, body: str) -> Array:
        if case.everything is not None:
            return case.everything
        return self._model.sigma(case.group if case.body in (None, EVERY, body) else None)

    def _of_camera(self, case: Case) -> tuple[Message, float]:
        """What all bodies together say of the camera in a case, and the log evidence of eliminating them."""
        if case.everything is not None or case.body == EVERY:
            sigma, shared = self._sigma(case, EVERY), self._model.shared
            return self._sum({name: eliminate(m, shared, sigma) for name, m in self._messages.items()})
        if case.body is None:
            return self._total
        before, evidence = self._plain[case.body]
        sigma = self._model.sigma(case.group)
        now, new_evidence = eliminate(self._messages[case.body], self._model.shared, sigma)
        total, sum_of_evidence = self._total
        return total + now + before.times(-1.0), sum_of_evidence - evidence + new_evidence

    def _evidence(self, case: Case) -> float:
        message, log_evidence = self._of_camera(case)
        sigma = self._sigma(case, case.body or next(iter(self._messages)))[self._model.shared]
        return component(sigma, message).log_evidence + log_evidence

    def component(self, case: Case, body: str) -> Component:
        """Posterior of a body's parameters and the camera's (T,) in a case."""
        key = (id(case), body)
        if key not in self._components:
            self._components[key] = self._component(case, body)
        return self._components[key]

    def _component(self, case: Case, body: str) -> Component:
        shared, sigma = self._model.shared, self._sigma(case, body)
        if len(self._messages) == 1:
            return component(sigma, self._messages[body])
        own, _ = eliminate(self._messages[body], shared, sigma)
        others = self._of_camera(case)[0] + own.times(-1.0)
        message = Message.nothing(len(sigma))
        message.L[np.ix_(shared, shared)] = others.L
        message.b[shared] = others.b
        return component(sigma, self._messages[body] + message)

    def _over_cases(self, body: str, value: Callable[[Component], Array]) -> Array:
        """Mean of something of a body's posterior over all cases."""
        mean: Array = sum(
            probability * value(self.component(case, body))
            for case, probability in zip(self.cases, self.probabilities, strict=True)
            if probability > _NEGLIGIBLE
        )  # type: ignore[assignment]
        return mean

    def mean(self, body: str) -> Array:
        """``E[theta]`` (T,) of a body's parameters over all cases."""
        return self._over_cases(body, lambda found: found.mean)

    def second_moment(self, body: str) -> Array:
        """``E[theta theta^T]`` (T, T) of a body's parameters over all cases."""
        return self._over_cases(body, lambda found: found.second_moment)


def second_moment_of_one(model: ErrorModel, message: Message) -> Array:
    """`Mixture.second_moment` of the only body, all cases in a few array operations."""
    cases = cases_of(model, [""])
    sigma = np.stack([model.sigma(c.group) if c.everything is None else c.everything for c in cases])
    outer = sigma[:, :, None] * sigma[:, None, :]
    scaled = np.eye(sigma.shape[1]) + message.L * outer
    covariance = np.linalg.inv(scaled) * outer
    mean = covariance @ message.b
    log_evidence = 0.5 * mean @ message.b - 0.5 * np.linalg.slogdet(scaled)[1]
    p = posterior(log_evidence, [case.weight for case in cases])
    moments = covariance + mean[:, :, None] * mean[:, None, :]
    return np.asarray(np.tensordot(p, moments, axes=1))
