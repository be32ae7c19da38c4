"""Where a fit from a guess may start: around the guess, and along what a refined pose leaves open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting.fit_job import FitJob
from dr_perception.geometry.se3 import local
from dr_perception.hypothesis.alternatives import slides
from dr_perception.hypothesis.pool import Judge, best, thin_out
from dr_perception.hypothesis.rank import promise, rank, shares_of
from dr_perception.hypothesis.seeds import from_ball

_NEAR = 0.35
"""Radius of a ball of starts, in reaches, that is filled more densely: a guess is more often a little off.

Without it 17 instead of 7 of 534 fits in real frames were wrong, and 7 instead of 2 of 267 with a mask
(`benchmarks/real.py`, parts of 10 and 20 mm, three seeds); in simulated frames 6 instead of 11 of 2,400.
"""
_PROMISING = 0.9
"""Share of depths that agree with an aligned guess from which on it is refined before others are looked for.

It saves time alone. Fits to 2,400 simulated guesses are as often right if none or all are called promising
(11, 11 and 10 wrong), but take 4.4 instead of 2.9 ms from 10 mm and 5 degrees off if none are, 8.6 instead of
4.9 ms from 50 mm and 30 degrees if all are (`benchmarks/fit.py refine`, medians of processor time).
"""
_APART = 0.06
"""Starts within this distance, of the diameter, and `_APART_RAD` lead to the same end."""
_APART_RAD = np.radians(8.0)
_TOO_FAR = 2.0
"""Squared distance from the guess, in reaches, from which on it speaks against a start.

A corner of the ball of starts. What depth leaves open may turn beyond while a start is aligned: without this
15 instead of 11 of 2,400 simulated fits were wrong.
"""


def is_promising(job: FitJob, judge: Judge) -> bool:
    """Whether most of the object agrees with the depth once the guess is aligned to it."""
    tau = job.config.tolerance_m
    T = judge.align(job.centred(job.guess)[None], 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    return bool(shares_of(judge.judge(T, tau, edges=0))["agree"][0] > _PROMISING)


def starts_around_guess(job: FitJob, judge: Judge) -> NDArray[np.float64]:
    """A few poses (P, 4, 4) near the guess that agree best with the depth once aligned to it."""
    config = job.config
    tau = config.tolerance_m
    centred = job.centred(job.guess)
    near = from_ball(centred, _NEAR * config.reach_m, _NEAR * config.reach_rad, config.starts // 3)
    ball = np.concatenate([near, from_ball(centred, config.reach_m, config.reach_rad, config.starts)])
    values = promise(shares_of(judge.judge(ball, 3.0 * tau, samples=32, edges=16)))
    pool = ball[np.append(0, best(values, config.aligned))]
    pool = judge.align(pool, 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    values = promise(shares_of(judge.judge(pool, tau)))
    values -= np.maximum(job.reaches(job.uncentred(pool)) - _TOO_FAR, 0.0)
    apart_m = _APART * job.model.diameter_m
    return job.uncentred(pool[thin_out(pool, values, config.finalists - 1, apart_m, _APART_RAD)])


def slid(
    job: FitJob, judge: Judge, T: NDArray[np.float64], information: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The best pose (4, 4) some way along the motion that a refined pose (4, 4) knows least about.

    Returns:
        None if the images prefer the pose itself.
    """
    tau = job.config.tolerance_m
    poses = slides(job.centred(T), information, job.model.diameter_m, job.config.reach_m)
    poses = judge.align(poses, 2.0 * tau, tau, steps=4, samples=96)
    chosen = job.uncentred(poses[np.argmax(rank(job.shares(judge, poses)))])
    moved = local(job.centred(T), job.centred(chosen))
    is_near = np.linalg.norm(moved[:3]) < _APART * job.model.diameter_m
    return None if is_near and np.linalg.norm(moved[3:]) < _APART_RAD else chosen
