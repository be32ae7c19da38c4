"""Fit one model to one frame."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.session import current_session
from dr_perception.fitting.fit_depth import DepthFit
from dr_perception.fitting.fit_job import FitJob, box_around
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform
from dr_perception.hypothesis.batch import BatchSettings, Refined, batch_refiner
from dr_perception.hypothesis.region import check_mask, check_size
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import search_poses
from dr_perception.hypothesis.search_config import FitConfig
from dr_perception.hypothesis.start_check import check_in_view
from dr_perception.measure.config import StageConfig

_LINE_SHARE = 0.7


def fit_pose(
    model: ObjectModel,
    frame: Frame,
    T_cam_obj: NDArray[np.float64] | None = None,
    mask: NDArray[np.bool_] | None = None,
    config: FitConfig | None = None,
) -> PoseEstimate:
    """Find the pose of a model in a frame, from a guess or without.

    Around a guess many poses are judged by depth and outlines, the best is aligned and refined with colours
    learned where the depth put it, so that a guess some centimetres and tens of degrees off does not spoil
    what is learned. Where the images then disagree, poses along what that one leaves open and a few other
    starts are refined as well.
    What is prepared for a model (a few seconds) is kept as long as its mesh lives. Fits in several threads
    give what they give alone, each in its thread's current `dr_perception.device.session.Session`.

    Args:
        model: The object.
        frame: The images; colour or depth may be missing.
        T_cam_obj: Guess (4, 4); None searches the mask, or the whole frame.
        mask: Pixels that show the object (H, W).
        config: Settings.

    Returns:
        The best pose, its covariance, and the probability that it is right.

    Raises:
        TypeError: The mask is no boolean array.
        ValueError: The mask is empty or of another size, there is no depth where the object should be, the
            model is too large or too small for what is seen, the guess is no rigid transform, not in view
            or too far away to be seen, or nothing looks like the model.
    """
    config = config or FitConfig()
    if mask is not None:
        mask = check_mask(frame, mask)
        check_size(model, frame, mask)
    if T_cam_obj is None:
        found = search_poses(model, frame, mask=mask, config=config.search, device=config.device)
        if not found:
            raise ValueError(f"nothing in the frame looks like {model.name!r}")
        return found[0]
    T = check_transform(T_cam_obj, "T_cam_obj")
    check_in_view(model, frame.camera, T, "at the guess")
    with current_session():
        if frame.depth is None:
            return _fit_color(model, frame, T, config)
        return DepthFit(FitJob(model, frame, T, mask, config)).run()


def _fit_color(model: ObjectModel, frame: Frame, T: NDArray[np.float64], config: FitConfig) -> PoseEstimate:
    """Outlines alone, wide to narrow, with colours learned at the guess and once more on the way.

    Outlines leave the distance nearly open, so the guess is kept as a weak prior.
    """
    stages = _stages_in_reach(model, frame, T, config)
    device = str(wp.get_device(config.device))
    batch = batch_refiner(model, BatchSettings(frame.camera, config.refiner, stages, 1, device))
    batch.load(frame, box_around(model, batch, T, config))
    belief = np.diag([4.0 / config.reach_m**2] * 3 + [4.0 / config.reach_rad**2] * 3)
    batch.refiner.set_prior(T[None], belief)
    batch.start(T[None])
    for stage in batch.stages:
        batch.learn_colors()
        batch.refiner.refine([stage])
    refined = Refined(batch.refiner.result(), batch.iterations, 1)
    return refined.estimate(0)


def _stages_in_reach(
    model: ObjectModel, frame: Frame, T: NDArray[np.float64], config: FitConfig
) -> tuple[StageConfig, ...]:
    """Stages whose lines are not longer than the object is wide: longer ones meet its other side."""
    z = float((T[:3, :3] @ model.center + T[:3, 3])[2])
    limit = _LINE_SHARE * model.radius_m * frame.camera.fx / z / config.sensor.contour.reach_px
    kept = tuple(s for s in config.color_stages if s.lines != "region" or s.line_step_px <= max(limit, 1.0))
    return tuple(s.model_copy(update={"render": True}) for s in kept)
