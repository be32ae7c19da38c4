"""Random problems for the graph: a moving camera, a rig, an arm, a window of frames; and plain references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dr_perception.estimate.blocks import Values
from dr_perception.estimate.chain import Chain, FixedLink, JointLink, PoseLink
from dr_perception.estimate.factors import (
    Belief,
    LinearFactors,
    NuisanceFactors,
    PoseFactors,
    Quadratic,
)
from dr_perception.geometry.se3 import (
    exp_so3,
    invert,
    local,
    make_transform,
    perturb,
    random_rotation,
    retract,
)

SIGMA = np.repeat([3e-4, 4e-3], 3)


@dataclass(frozen=True)
class Problem:
    """Blocks somewhere near the solution, factors, and the true values."""

    start: Values
    factors: tuple
    truth: Values


def random_information(rng, n: int, r: int = 6) -> np.ndarray:
    """Regular matrices (n, r, r) of about the size of `SIGMA`, no direction like the other."""
    A = rng.normal(size=(n, r, r)) + 2.0 * np.eye(r)
    scale = 1.0 / np.resize(SIGMA, r)
    return scale[:, None] * (A @ A.swapaxes(1, 2)) / 6.0 * scale


def random_pose(rng) -> np.ndarray:
    return make_transform(random_rotation(rng), rng.uniform(-0.3, 0.3, 3) + np.array([0.0, 0.0, 0.7]))


def noisy(T: np.ndarray, rng, scale: float = 1.0) -> np.ndarray:
    return np.stack([retract(t, scale * SIGMA * rng.normal(size=6)) for t in T])


def started(truth: Values, rng, metres: float = 0.01, rad: float = 0.05) -> Values:
    T = np.stack([perturb(t, metres, rad, rng) for t in truth.T])
    return Values(truth.layout, T, truth.x + 0.05 * rng.normal(size=len(truth.x)))


def prior(values: Values, names, sigma: float, rng) -> Belief:
    poses = {name: retract(values.pose(name), sigma * rng.normal(size=6)) for name in names}
    return Belief.of_poses(poses, random_information(rng, 1, 6 * len(names))[0] * (3e-4 / sigma) ** 2)


def moving_camera(rng, objects: int = 3, outlier_chi2: float = np.inf) -> Problem:
    """One camera before objects that are known a little."""
    names = tuple(f"object {k}" for k in range(objects))
    truth = Values.of(
        {"camera": perturb(np.eye(4), 0.1, 0.2, rng), **{name: random_pose(rng) for name in names}}
    )
    chain = Chain((PoseLink(("camera",), inverse=True), PoseLink(names)))
    T = noisy(invert(truth.T[0]) @ truth.T[1:], rng)
    seen = PoseFactors(chain, T, Quadratic(random_information(rng, objects), outlier_chi2=outlier_chi2))
    factors = (seen, prior(truth, ["camera"], 3e-3, rng), prior(truth, names, 1e-3, rng))
    return Problem(started(truth, rng), factors, truth)


def rig(rng, cameras: int = 3, objects: int = 4) -> Problem:
    """A rig that moves in the world, with extrinsics known to millimetres, before objects at rest."""
    seen_by = [(f"camera {c}", f"object {k}") for c in range(cameras) for k in range(objects)]
    first, second = (tuple(pair[i] for pair in seen_by) for i in (0, 1))
    poses = {"rig": perturb(np.eye(4), 0.1, 0.2, rng)}
    poses |= {f"camera {c}": perturb(np.eye(4), 0.2, 0.3, rng) for c in range(cameras)}
    truth = Values.of({**poses, **{f"object {k}": random_pose(rng) for k in range(objects)}})
    chain = Chain((PoseLink(first, inverse=True), PoseLink(("rig",), inverse=True), PoseLink(second)))
    T = noisy(chain.evaluate(truth, chain.columns(truth.layout))[0], rng)
    factors = (
        PoseFactors(chain, T, Quadratic(random_information(rng, len(T)))),
        prior(truth, [f"camera {c}" for c in range(cameras)], 2e-3, rng),
        prior(truth, [f"object {k}" for k in range(objects)], 2e-3, rng),
    )
    return Problem(started(truth, rng), factors, truth)


def arm(rng) -> Problem:
    """Three links on two joints, each link measured by a camera, one encoder with a bias."""
    truth = Values.of({"base": random_pose(rng)}, {"elbow": 0.7, "slide": 0.1, "bias": 0.02})
    mount, tip = (make_transform(exp_so3(rng.normal(size=3)), rng.uniform(-0.2, 0.2, 3)) for _ in range(2))
    links = (
        PoseLink(("base",)),
        FixedLink(mount[None]),
        JointLink(("elbow",), (0.0, 0.6, 0.8)),
        FixedLink(tip[None]),
        JointLink(("slide",), (1.0, 0.0, 0.0), "prismatic"),
    )
    factors = []
    for end in (1, 3, 5):
        chain = Chain(links[:end])
        T = noisy(chain.evaluate(truth, chain.columns(truth.layout))[0], rng)
        factors.append(PoseFactors(chain, T, Quadratic(random_information(rng, 1))))
    encoder = LinearFactors(
        (("elbow", "bias"),), (1.0, 1.0), np.array([[0.72]]), Quadratic(np.full((1, 1, 1), 1e6))
    )
    return Problem(started(truth, rng), (*factors, encoder, Belief.of_vector("bias", [0.0], 0.05)), truth)


def window(rng, frames: int = 5) -> Problem:
    """Poses of one object in successive frames, its motion between them, and a shift that all share."""
    names = tuple(f"pose {i}" for i in range(frames))
    truth = Values.of(
        {name: perturb(np.eye(4), 0.02 * i, 0.1 * i, rng) for i, name in enumerate(names)},
        {"shift": [0.3, -0.2]},
    )
    H, g = random_information(rng, frames, 8), 20.0 * rng.normal(size=(frames, 8))
    evidence = NuisanceFactors(
        Chain((PoseLink(names),)),
        noisy(truth.T, rng),
        ("shift",) * frames,
        np.tile([0.3, -0.2], (frames, 1)),
        Quadratic.of_evidence(H, g),
    )
    motion = Chain((PoseLink(names[:-1], inverse=True), PoseLink(names[1:])))
    T = noisy(invert(truth.T[:-1]) @ truth.T[1:], rng, 5.0)
    moved = PoseFactors(motion, T, Quadratic(random_information(rng, frames - 1) / 25.0))
    return Problem(started(truth, rng), (evidence, moved, Belief.of_vector("shift", [0.0, 0.0], 1.0)), truth)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "moving camera": moving_camera,
    "rig": rig,
    "arm": arm,
    "window": window,
}


def stepped(values: Values, step: np.ndarray) -> Values:
    """Values moved along a step by the geometry's own `retract`."""
    n = 6 * len(values.T)
    T = [retract(T, xi) for T, xi in zip(values.T, step[:n].reshape(-1, 6), strict=True)]
    return Values(values.layout, np.array(T).reshape(-1, 4, 4), values.x + step[n:])


def chain_pose(chain: Chain, values: Values, i: int) -> np.ndarray:
    """The i-th pose of a chain, link by link from the blocks' names."""
    T = np.eye(4)
    for link in chain.links:
        if isinstance(link, FixedLink):
            T = T @ link.T[min(i, len(link.T) - 1)]
            continue
        name = link.names[min(i, len(link.names) - 1)]
        if isinstance(link, PoseLink):
            T = T @ (invert(values.pose(name)) if link.inverse else values.pose(name))
        elif link.kind == "revolute":
            T = T @ make_transform(exp_so3(values.vector(name)[0] * np.array(link.axis)), np.zeros(3))
        else:
            T = T @ make_transform(np.eye(3), values.vector(name)[0] * np.array(link.axis))
    return T


def errors(group, values: Values) -> np.ndarray:
    """Errors (n, r) of a group, one factor after the other."""
    if isinstance(group, Belief):
        mean = group.mean
        parts = [local(mean.pose(name), values.pose(name)) for name in mean.layout.poses]
        parts += [values.vector(name) - mean.vector(name) for name in mean.layout.vectors]
        return np.concatenate(parts)[None]
    if isinstance(group, LinearFactors):
        return np.stack(
            [
                sum(c * values.vector(n) for c, n in zip(group.coefficients, names, strict=True)) - target
                for names, target in zip(group.names, group.target, strict=True)
            ]
        )
    e = np.stack([local(T, chain_pose(group.chain, values, i)) for i, T in enumerate(group.T)])
    if isinstance(group, NuisanceFactors):
        shifts = np.stack([values.vector(name) for name in group.names]) - group.x
        e = np.concatenate([e, shifts], axis=1)
    return e


def residuals(factors, values: Values) -> np.ndarray:
    """A vector whose squares sum to the robust objective, in its plainest form."""
    out = []
    for group in factors:
        q = group.quadratic
        for i, e in enumerate(errors(group, values)):
            pull = np.zeros(len(e)) if q.g is None else q.g[i]
            r = np.linalg.cholesky(q.H[i]).T @ (e - np.linalg.solve(q.H[i], pull))
            chi2 = r @ r
            if chi2 > q.outlier_chi2:
                r = r * np.sqrt(q.outlier_chi2 * (1.0 + np.log(chi2 / q.outlier_chi2)) / chi2)
            out.append(r)
    return np.concatenate(out)
