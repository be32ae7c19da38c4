"""Fit one model to one frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.device.session import current_session
from dr_perception.fitting.fit_color import fit_color
from dr_perception.fitting.fit_depth import DepthFit
from dr_perception.fitting.fit_job import FitJob
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform
from dr_perception.hypothesis.region import Where, check_mask, check_size
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import search_poses
from dr_perception.hypothesis.search_config import FitConfig
from dr_perception.hypothesis.start_check import check_in_view


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
        found = search_poses(model, frame, Where(mask=mask), config=config.search, device=config.device)
        if not found:
            raise ValueError(f"nothing in the frame looks like {model.name!r}")
        return found[0]
    T = check_transform(T_cam_obj, "T_cam_obj")
    check_in_view(model, frame.camera, T, "at the guess")
    with current_session():
        job = FitJob(model, frame, T, mask, config)
        return fit_color(job) if frame.depth is None else DepthFit(job).run()
