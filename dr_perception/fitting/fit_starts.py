"""Where a fit from a guess may start: around the guess, along what a pose leaves open, at its twins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting.fit_job import FitJob
from dr_perception.geometry.se3 import local, retract
from dr_perception.hypothesis.pool import Judge, best, thin_out
from dr_perception.hypothesis.rank import promise, rank, shares_of
from dr_perception.hypothesis.seeds import from_ball

MOST_BEYOND = 0.015
"""Share of depths measured behind a pose's surface up to which nothing contradicts the pose."""
_NEAR = 0.35
_PROMISING = 0.9
_GUESS_BONUS = 0.1
_APART = 0.06
"""Starts within this distance, of the diameter, and `_APART_RAD` lead to the same end."""
_APART_RAD = np.radians(8.0)
_SLIDES = 8
_SLIDE = 0.8
"""Farthest slide, of the reach of a fit."""


def is_promising(job: FitJob, judge: Judge) -> bool:
    """Whether most of the object agrees with the depth once the guess is aligned to it."""
    tau = job.config.tolerance_m
    T = judge.align(job.centred(job.guess)[None], 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    return bool(shares_of(judge.judge(T, tau, edges=0))["agree"][0] > _PROMISING)


def starts_around_guess(job: FitJob, judge: Judge) -> NDArray[np.float64]:
    """A few poses (P, 4, 4) near the guess that agree best with the depth once aligned to it."""
    config = job.config
    centred = job.centred(job.guess)
    tau = config.tolerance_m
    # A guess is more often a little off than far off: a smaller ball is filled more densely.
    near = from_ball(centred, _NEAR * config.reach_m, _NEAR * config.reach_rad, config.starts // 3)
    ball = np.concatenate([near, from_ball(centred, config.reach_m, config.reach_rad, config.starts)])
    values = promise(shares_of(judge.judge(ball, 3.0 * tau, samples=32, edges=16)))
    pool = ball[np.append(0, best(values, config.aligned))]
    pool = judge.align(pool, 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    values = promise(shares_of(judge.judge(pool, tau)))
    values[0] += _GUESS_BONUS
    # What depth leaves open may have turned far beyond the reach.
    values -= np.maximum(job.reaches(job.uncentred(pool)) - 2.0, 0.0)
    apart_m = _APART * job.model.diameter_m
    return job.uncentred(pool[thin_out(pool, values, config.finalists - 1, apart_m, _APART_RAD)])


def slid(
    job: FitJob, judge: Judge, T: NDArray[np.float64], information: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The best pose (4, 4) some way along the motion that a refined pose (4, 4) knows least about.

    A mug whose handle is at the wrong place lies on its measured surface like the right one, and only a turn
    about its axis leads from one to the other: such a valley is the direction of least ``information``
    (6, 6), followed as one motion. Turns count by how far they move the surface.

    Returns:
        None if the images prefer the pose itself.
    """
    scale = np.repeat([1.0, 2.0 / job.model.diameter_m], 3)
    valley = np.linalg.eigh(information * np.outer(scale, scale))[1][:, 0] * scale
    way = _SLIDE * job.config.reach_m * np.linspace(-1.0, 1.0, 2 * _SLIDES + 1)
    tau = job.config.tolerance_m
    poses = judge.align(retract(job.centred(T), way[:, None] * valley), 2.0 * tau, tau, steps=4, samples=96)
    chosen = job.uncentred(poses[np.argmax(rank(job.shares(judge, poses)))])
    moved = local(job.centred(T), job.centred(chosen))
    is_near = np.linalg.norm(moved[:3]) < _APART * job.model.diameter_m
    return None if is_near and np.linalg.norm(moved[3:]) < _APART_RAD else chosen


def nearest_twin(job: FitJob, judge: Judge, T: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Pose (4, 4) that looks nearly as a pose does by its shape and is nearer to the guess, if any.

    None either if the depth contradicts it.
    """
    if job.search.axis is not None or len(job.search.twins) == 0:
        return None
    twins = job.centred(T) @ job.search.twins
    away = job.reaches(job.uncentred(twins))
    nearest = int(np.argmin(away))
    if away[nearest] >= job.reaches(T[None])[0]:
        return None
    tau = job.config.tolerance_m
    twin = judge.align(twins[[nearest]], 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    if shares_of(judge.judge(twin, tau))["beyond"][0] > MOST_BEYOND:
        return None
    return job.uncentred(twin[0])
