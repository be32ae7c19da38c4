"""Errors that frames share: elimination, evidence and mixtures against dense Gaussians and sampled worlds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dr_perception.estimate.consider import Message, component, eliminate, posterior, response, without_pose
from dr_perception.estimate.mixture import EVERY, ErrorGroup, ErrorModel, Mixture, Plan

T = 5
RNG = np.random.default_rng(7)


def rows(count: int, rng: np.random.Generator):
    """Jacobians of rows by the pose (N, 6) and the parameters (N, T)."""
    return rng.normal(size=(count, 6)), rng.normal(size=(count, T))


def test_eliminating_the_pose_leaves_the_marginal_of_the_parameters() -> None:
    J, K = rows(40, RNG)
    r = RNG.normal(size=40)
    message = without_pose(J.T @ J, J.T @ r, J.T @ K, K.T @ K, K.T @ r)
    joint = np.hstack([J, K])
    covariance = np.linalg.inv(joint.T @ joint)
    np.testing.assert_allclose(np.linalg.inv(message.L), covariance[6:, 6:], rtol=1e-9)
    mean = covariance @ joint.T @ r
    np.testing.assert_allclose(np.linalg.solve(message.L, message.b), mean[6:], rtol=1e-9)


def test_the_response_is_how_a_pose_moves_that_is_fitted_without_the_parameters() -> None:
    J, K = rows(40, RNG)
    theta = RNG.normal(size=T)
    fitted = np.linalg.lstsq(J, K @ theta, rcond=None)[0]
    np.testing.assert_allclose(response(J.T @ J, J.T @ K) @ theta, fitted, rtol=1e-9)


def test_evidence_is_the_probability_of_what_was_measured() -> None:
    K = RNG.normal(size=(12, T))
    sigma = RNG.uniform(0.2, 2.0, T)
    r = K @ (sigma * RNG.normal(size=T)) + RNG.normal(size=12)
    found = component(sigma, Message(K.T @ K, K.T @ r))
    marginal = multivariate_normal(np.zeros(12), np.eye(12) + K @ np.diag(sigma**2) @ K.T)
    noise = multivariate_normal(np.zeros(12), np.eye(12))
    assert found.log_evidence == pytest.approx(marginal.logpdf(r) - noise.logpdf(r), rel=1e-9)
    covariance = np.linalg.inv(K.T @ K + np.diag(sigma**-2.0))
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8)
    np.testing.assert_allclose(found.mean, covariance @ K.T @ r, rtol=1e-8)
    np.testing.assert_allclose(found.second_moment, covariance + np.outer(found.mean, found.mean), rtol=1e-8)


def test_eliminating_parameters_keeps_evidence_and_posterior_of_the_rest() -> None:
    K = RNG.normal(size=(12, T))
    sigma, r = RNG.uniform(0.2, 2.0, T), RNG.normal(size=12)
    message, kept = Message(K.T @ K, K.T @ r), np.array([1, 3])
    whole = component(sigma, message)
    gone = np.array([0, 2, 4])
    found = eliminate(message, kept, sigma[gone])
    part = component(sigma[kept], found.message)
    assert part.log_evidence + found.inner.log_evidence == pytest.approx(whole.log_evidence, rel=1e-9)
    np.testing.assert_allclose(part.mean, whole.mean[kept], rtol=1e-8)
    np.testing.assert_allclose(part.covariance, whole.covariance[np.ix_(kept, kept)], rtol=1e-8)
    np.testing.assert_allclose(found.inner.mean - found.response @ part.mean, whole.mean[gone], rtol=1e-8)


def test_the_posterior_weighs_by_prior_and_evidence() -> None:
    p = posterior([1000.0, 1000.0 + np.log(4.0)], [0.8, 0.2])
    np.testing.assert_allclose(p, [0.5, 0.5])


# Parameters 0 and 1 are a body's own, 2 to 4 the camera's.
MODEL = ErrorModel(
    usual=np.full(T, 0.05),
    gross=np.array([2.0, 2.0, 3.0, 3.0, 3.0]),
    shared=np.array([2, 3, 4]),
    groups=(
        ErrorGroup("size", (0,), 0.1),
        ErrorGroup("shape", (1,), 0.1),
        ErrorGroup("focal", (2,), 0.1),
        ErrorGroup("shift", (3, 4), 0.1),
    ),
    none_weight=0.5,
    all_weight=0.08,
    some_weight=0.02,
)


def world(rng: np.random.Generator, gross: dict[str, tuple[int, ...]], count: int = 30):
    """True parameters and messages of two bodies under one camera; ``gross`` by body or "camera"."""
    camera = MODEL.usual * rng.normal(size=T)
    for k in gross.get("camera", ()):
        camera[k] = MODEL.gross[k] * rng.choice([-1.0, 1.0])
    truth, messages = {}, {}
    for name in ("a", "b"):
        theta = MODEL.usual * rng.normal(size=T)
        for k in gross.get(name, ()):
            theta[k] = MODEL.gross[k]
        theta[2:] = camera[2:]
        K = rng.normal(size=(count, T))
        r = K @ theta + rng.normal(size=count)
        truth[name], messages[name] = theta, Message(K.T @ K, K.T @ r)
    return truth, messages


@pytest.mark.parametrize(
    ("gross", "kind", "body"),
    [
        ({"a": (0,)}, "size", "a"),
        ({"a": (0,), "b": (0,)}, "size", EVERY),
        ({"b": (1,)}, "shape", "b"),
        ({"camera": (3, 4)}, "shift", None),
        ({}, None, None),
    ],
)
def test_the_error_that_is_there_is_the_most_probable(gross, kind, body) -> None:
    hits = 0
    for seed in range(20):
        _, messages = world(np.random.default_rng(seed), gross)
        mixture = Mixture.of(MODEL, messages)
        best = mixture.cases[int(np.argmax(mixture.probabilities))]
        hits += (best.group.kind if best.group else None, best.body, best.everything is None) == (
            kind,
            body,
            True,
        )
    assert hits >= 18


def dense_component(messages: dict[str, Message], sigma: dict[str, np.ndarray]):
    """All parameters at once: those of the bodies, then the camera's."""
    names = list(messages)
    size = 2 * len(names) + 3
    L, b = np.zeros((size, size)), np.zeros(size)
    scales = np.zeros(size)
    for i, name in enumerate(names):
        where = np.array([2 * i, 2 * i + 1, size - 3, size - 2, size - 1])
        L[np.ix_(where, where)] += messages[name].L
        b[where] += messages[name].b
        scales[where] = sigma[name]
    return component(scales, Message(L, b))


def sigmas(case, names):
    """Standard deviations (T,) of every body and the camera in a case; the camera's with the last gross."""
    if case.everything is not None:
        return dict.fromkeys(names, case.everything)
    sigma = {name: MODEL.sigma(None) for name in names}
    if case.group is not None:
        for name in names if case.body in (None, EVERY) else [case.body]:
            sigma[name] = MODEL.sigma(case.group)
    return sigma


def test_every_case_weighs_as_one_dense_problem_does() -> None:
    _, messages = world(np.random.default_rng(3), {"a": (0,)})
    mixture = Mixture.of(MODEL, messages)
    for case, evidence in zip(mixture.cases, mixture.log_evidence, strict=True):
        dense = dense_component(messages, sigmas(case, list(messages)))
        assert evidence == pytest.approx(dense.log_evidence, rel=1e-9)


def test_the_second_moment_is_true_to_the_errors() -> None:
    """Over worlds drawn from the prior, normalised squared errors average one a parameter."""
    rng = np.random.default_rng(11)
    names = ["none", "size", "shape", "focal", "shift", "all"]
    weights = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    total = []
    for _ in range(400):
        drawn = rng.choice(names, p=weights)
        gross = {
            "none": {}, "size": {"a": (0,)}, "shape": {"a": (1,)}, "focal": {"camera": (2,)},
            "shift": {"camera": (3, 4)}, "all": {"a": (0, 1), "b": (0, 1), "camera": (2, 3, 4)},
        }[drawn]  # fmt: skip
        truth, messages = world(rng, gross, count=12)
        moment = Mixture.of(MODEL, messages).of_body("a").second_moment
        total.append(truth["a"] @ np.linalg.solve(moment, truth["a"]) / T)
    assert 0.3 < np.mean(total) < 1.5


def test_an_error_is_as_probable_beforehand_for_any_number_of_bodies() -> None:
    for names in (["a"], ["a", "b"], ["a", "b", "c"]):
        plan = Plan(MODEL, names)
        for group in MODEL.groups:
            total = sum(case.weight for case in plan.cases if case.group is group)
            assert total == pytest.approx(group.weight)


def test_before_anything_is_measured_the_prior_speaks() -> None:
    nothing = {"a": Message.nothing(T)}
    np.testing.assert_allclose(
        Mixture.of(MODEL, nothing).of_body("a").second_moment, MODEL.second_moment(), rtol=1e-9
    )
    np.testing.assert_allclose(Mixture.of(MODEL, nothing).of_body("a").mean, 0.0)


def test_every_case_knows_a_body_as_one_dense_problem_does() -> None:
    _, messages = world(np.random.default_rng(5), {"b": (1,)})
    mixture = Mixture.of(MODEL, messages)
    names = list(messages)
    mean, moment = np.zeros(T), np.zeros((T, T))
    for case, p in zip(mixture.cases, mixture.probabilities, strict=True):
        dense = dense_component(messages, sigmas(case, names))
        for i, name in enumerate(names):
            where = [2 * i, 2 * i + 1, 4, 5, 6]
            found = mixture.component(case, name)
            np.testing.assert_allclose(found.mean, dense.mean[where], rtol=1e-6, atol=1e-9)
            expected = dense.covariance[np.ix_(where, where)]
            np.testing.assert_allclose(found.covariance, expected, rtol=1e-6, atol=1e-9)
        mean += p * dense.mean[[2, 3, 4, 5, 6]]
        moment += p * dense.second_moment[np.ix_([2, 3, 4, 5, 6], [2, 3, 4, 5, 6])]
    found = mixture.of_body("b")
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(found.second_moment, moment, rtol=1e-6, atol=1e-9)
