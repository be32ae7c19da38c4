"""Errors that all frames share, estimated as far as the images say: which of them, how large, how uncertain.

Rows linear in a pose ``xi`` and parameters ``theta`` give sums across both. Every frame has a pose of its
own, which is eliminated; what is left of the frames adds up to an information matrix and a score of the
parameters alone (Schmidt 1966; Woodbury and Junkins 2010; the Schur complement of bundle adjustment, Triggs
et al. 2000).

How large such errors are is not one Gaussian: mostly they are as small as calibrations and models usually
allow, and now and then one of them is gross. So the prior is a mixture, every component of which lets one
group of parameters be gross and keeps the others usual (spike and slab; Mitchell and Beauchamp 1988). Its
posterior says which error is there, its probability and its value; what the images cannot tell apart keeps
its share of the probability. A pose that was fitted without the parameters is off by ``A theta``, and
``A E[theta theta^T] A^T`` is what that adds to its covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Message:
    """What rows say of parameters, all else eliminated: ``-theta^T L theta / 2 + b^T theta``."""

    L: Array
    """Information (T, T)."""
    b: Array
    """Score (T,)."""

    def __add__(self, other: Message) -> Message:
        """What both say, where their errors are independent."""
        return Message(self.L + other.L, self.b + other.b)

    def times(self, share: float) -> Message:
        """The same with a share of its weight."""
        return Message(share * self.L, share * self.b)

    @staticmethod
    def nothing(size: int) -> Message:
        """What is said before anything was measured."""
        return Message(np.zeros((size, size)), np.zeros(size))


def response(H: Array, H_xt: Array) -> Array:
    """How a pose fitted without the parameters is off (6, T): ``A`` of ``xi = A theta``.

    Args:
        H: Information of the pose (6, 6), with whatever prior it was fitted with.
        H_xt: Sums across (6, T).
    """
    return np.asarray(np.linalg.solve(H, H_xt), dtype=np.float64)


def without_pose(H: Array, g: Array, H_xt: Array, H_tt: Array, g_t: Array) -> Message:
    """Eliminate the pose, with information ``H`` (6, 6) and gradient ``g`` (6,), from sums across."""
    A = response(H, H_xt)
    return Message(H_tt - H_xt.T @ A, g_t - A.T @ g)


@dataclass(frozen=True)
class Component:
    """One component of a mixture, with a message in it."""

    log_evidence: float
    """Logarithm of the probability of what was measured, up to what all components share."""
    mean: Array
    """Of the parameters (T,)."""
    covariance: Array
    """(T, T)."""

    @property
    def second_moment(self) -> Array:
        """``E[theta theta^T]`` (T, T)."""
        return self.covariance + np.outer(self.mean, self.mean)


def component(sigma: Array, message: Message) -> Component:
    """The posterior of parameters with standard deviations ``sigma`` (T,) about zero.

    ``log p = b^T C b / 2 - log det(I + S L S) / 2`` with ``S = diag(sigma)``, ``C = S (I + S L S)^-1 S``.
    """
    scaled = np.eye(len(sigma)) + message.L * np.outer(sigma, sigma)
    covariance = np.linalg.inv(scaled) * np.outer(sigma, sigma)
    mean = covariance @ message.b
    _, log_det = np.linalg.slogdet(scaled)
    return Component(0.5 * float(message.b @ mean) - 0.5 * float(log_det), mean, covariance)


def eliminate(message: Message, kept: NDArray[np.int_], sigma: Array) -> tuple[Message, float]:
    """What a message says of some parameters when the others are known to standard deviations.

    Args:
        message: Of all (T,).
        kept: Indices of those that stay (K,).
        sigma: Of all (T,), about zero.

    Returns:
        The message of those that stay, and the log evidence that elimination brings.
    """
    gone = np.setdiff1d(np.arange(len(sigma)), kept)
    inner = component(sigma[gone], Message(message.L[np.ix_(gone, gone)], message.b[gone]))
    across = message.L[np.ix_(kept, gone)]
    L = message.L[np.ix_(kept, kept)] - across @ inner.covariance @ across.T
    b = message.b[kept] - across @ inner.mean
    return Message(L, b), inner.log_evidence


def posterior(log_evidence: Sequence[float], prior: Sequence[float]) -> Array:
    """Probabilities (C,) of the components of a mixture with prior weights (C,)."""
    log_p = np.log(np.asarray(prior)) + np.asarray(log_evidence)
    p = np.exp(log_p - log_p.max())
    return np.asarray(p / p.sum())
