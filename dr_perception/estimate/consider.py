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

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    """Components of a mixture, with a message in each; any leading axes (...) stack several."""

    log_evidence: Array
    """Logarithm (...) of the probability of what was measured, up to what all components share."""
    mean: Array
    """Of the parameters (..., T)."""
    covariance: Array
    """(..., T, T)."""

    @property
    def second_moment(self) -> Array:
        """``E[theta theta^T]`` (..., T, T)."""
        return self.covariance + self.mean[..., :, None] * self.mean[..., None, :]


def component(sigma: Array, message: Message) -> Component:
    """The posteriors of parameters with standard deviations ``sigma`` (..., T) about zero.

    ``log p = b^T C b / 2 - log det(I + S L S) / 2`` with ``S = diag(sigma)``, ``C = S (I + S L S)^-1 S``.
    """
    outer = sigma[..., :, None] * sigma[..., None, :]
    scaled = message.L * outer
    scaled[..., range(sigma.shape[-1]), range(sigma.shape[-1])] += 1.0
    covariance = np.linalg.inv(scaled) * outer
    mean = (covariance @ message.b[..., None])[..., 0]
    return Component(
        0.5 * (mean * message.b).sum(axis=-1) - 0.5 * np.linalg.slogdet(scaled)[1], mean, covariance
    )


@dataclass(frozen=True)
class Elimination:
    """What a message says of the parameters that stay, and of the others given those; stacked over priors."""

    message: Message
    """Of those that stay (..., K)."""
    inner: Component
    """Posterior of the others (..., O) where those that stay are zero."""
    response: Array
    """How the others follow (..., O, K): their mean is ``inner.mean - response @ stay``."""

    def __getitem__(self, rows: NDArray[np.int_]) -> Elimination:
        """Those of some priors, one after the other."""
        inner = Component(
            *(x[rows] for x in (self.inner.log_evidence, self.inner.mean, self.inner.covariance))
        )
        return Elimination(Message(self.message.L[rows], self.message.b[rows]), inner, self.response[rows])


def eliminate(message: Message, kept: NDArray[np.int_], sigma: Array) -> Elimination:
    """What a message says of some parameters when the others are known to standard deviations.

    Args:
        message: Of all (T,).
        kept: Indices of those that stay (K,).
        sigma: Of the others (..., O), about zero, in order.
    """
    gone = np.delete(np.arange(len(message.b)), kept)
    across = message.L[gone[:, None], kept]
    inner = component(sigma, Message(message.L[gone[:, None], gone], message.b[gone]))
    follows = inner.covariance @ across
    L = message.L[kept[:, None], kept] - across.T @ follows
    b = message.b[kept] - inner.mean @ across
    return Elimination(Message(L, b), inner, follows)


def posterior(log_evidence: ArrayLike, prior: ArrayLike) -> Array:
    """Probabilities (C,) of the components of a mixture with prior weights (C,)."""
    log_p = np.log(np.asarray(prior)) + np.asarray(log_evidence)
    p = np.exp(log_p - log_p.max())
    return np.asarray(p / p.sum())
