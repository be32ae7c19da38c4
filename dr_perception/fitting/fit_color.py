"""A fit from a guess to a frame without depth: outlines and pattern alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.mixture import second_moment
from dr_perception.fitting.fit_job import FitJob, box_around
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import local
from dr_perception.hypothesis.batch import BatchSettings, Refined, batch_refiner, settle
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search_config import FitConfig
from dr_perception.measure.config import StageConfig

_LINE_SHARE = 0.7


def fit_color(job: FitJob) -> PoseEstimate:
    """The most probable of what a guess is refined to, from near to far.

    Where an outline's colours are those of what lies beside it, all of it is found shifted alike, and an
    object seems nearer or farther: from guesses 5 mm off, fits to 18 real objects that searched 50 pixels to
    either side ended 18 mm off in the median, those that looked one pixel far 5 mm. So a fit goes no farther
    than the images make worth while, with the guess believed as a refinement with depth is held
    (`FitJob.hold`).

    Its covariance is that of all of them, each as probable as the images and the guess make it: an outline is
    found in clutter wherever it is looked for, so that every start is confirmed by its own lines. That of the
    best alone claims turns to 0.3 degrees that are off by 2 to 3, as they were at the guess: in frames of six
    real sensors from 5 mm and 3 degrees off, normalised errors were 4.6 a degree of freedom where the
    reference is ground truth (median of 13), with the others 1.0.
    """
    found = refined_by_color(job.model, job.frame, job.guess, job.config)
    values = np.array([one.log_odds[0] + job.log_hold(one.T_cam_obj)[0] for one in found])
    estimates = [one.estimate(0) for one in found]
    best = estimates[int(np.argmax(values))]
    weights = np.exp(values - values.max())
    return replace(best, covariance=spread_about(best, estimates, weights / weights.sum()))


def spread_about(
    best: PoseEstimate, estimates: list[PoseEstimate], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Second moment (6, 6) about one estimate of a mixture with weights (N,) that add up to 1."""
    away = np.stack([local(best.T_cam_obj, one.T_cam_obj) for one in estimates])
    return second_moment(weights, away, np.stack([one.covariance for one in estimates]))


def refined_by_color(
    model: ObjectModel, frame: Frame, T_cam_obj: NDArray[np.float64], config: FitConfig
) -> list[Refined]:
    """What a guess (4, 4) is refined to by stages that search far, less far, and hardly at all.

    The colours of object and background are learned at the guess and again before every stage.
    """
    job = FitJob(model, frame, T_cam_obj, None, config)
    found = []
    for stages in _tails(_stages_in_reach(job)):
        settings = BatchSettings(frame.camera, config.refiner, stages, 1, str(job.device))
        batch = batch_refiner(model, settings)
        batch.load(frame, box_around(model, batch, T_cam_obj, config))
        batch.refiner.set_prior(T_cam_obj[None], job.hold)
        batch.start(T_cam_obj[None])
        for stage in batch.stages:
            batch.learn_colors()
            batch.refiner.refine([stage])
        found.append(batch.refined(settle(batch, 1), 1))
    return found


def _stages_in_reach(job: FitJob) -> tuple[StageConfig, ...]:
    """Stages whose lines are not longer than the object is wide: longer ones meet its other side."""
    config, z = job.config, float(job.centred(job.guess)[2, 3])
    pixels = job.model.radius_m * job.frame.camera.fx / z
    limit = max(_LINE_SHARE * pixels / config.sensor.contour.reach_px, 1.0)
    kept = tuple(s for s in config.color_stages if s.lines != "region" or s.line_step_px <= limit)
    return tuple(s.model_copy(update={"render": True}) for s in kept)


def _tails(stages: tuple[StageConfig, ...]) -> list[tuple[StageConfig, ...]]:
    """All stages, those from the last search by region on, and those without any."""
    first = next(k for k, stage in enumerate(stages) if stage.lines == "step")
    return [stages[k:] for k in sorted({0, max(first - 1, 0), first})]
