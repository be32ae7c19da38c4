"""A search whose result is as fresh as the newest frame.

A search takes longer than a frame, and what moves a metre a second is a third of a metre away when it is
done. So what it found is followed through the frames that arrived meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import local, retract
from dr_perception.hypothesis.batch import BatchRefiner, BatchSettings, batch_refiner
from dr_perception.hypothesis.region import Prior, Where
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import prepare_search, provide_search, search_poses
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.measure.config import StageConfig
from dr_perception.tracking.namesakes import others_than

_STAGES = (
    StageConfig(lines="region", line_step_px=4.0, depth_sigma_m=0.015, steps=2),
    StageConfig(lines="region", line_step_px=2.0, depth_sigma_m=0.006, steps=2),
    StageConfig(lines="region", steps=2),
    StageConfig(lines="step", steps=2),
)
"""From one frame to the next."""
_MARGIN_PX = 60.0


@dataclass(frozen=True)
class Pursuer:
    """Settings of searches and what is made for them beforehand."""

    search: SearchConfig
    candidates: int
    device: wp.DeviceLike

    def prepare(self, model: ObjectModel, camera: Camera) -> None:
        """Make what a search cannot make soon; on a GPU everything that is kept of a model.

        A GPU's captures would take in what the tracker launches meanwhile, so nothing may be captured later.
        """
        if wp.get_device(self.device).is_cuda:
            prepare_search(model, camera, self.search, self.device)
            self.refiner(model, camera)
        else:
            provide_search(model, self.search, self.device)

    def refiner(self, model: ObjectModel, camera: Camera) -> BatchRefiner:
        """Buffers that follow the candidates."""
        device = str(wp.get_device(self.device))
        settings = BatchSettings(camera, self.search.refiner, _STAGES, self.candidates, device)
        return batch_refiner(model, settings, kind="pursue")


class Pursuit:
    """One search and what became of the poses that it found.

    `begin` and then `follow` for every later frame are called one after the other, in one session.

    Attributes:
        poses: What was found, in the newest frame, with the probabilities that the search gave.
    """

    def __init__(
        self, pursuer: Pursuer, model: ObjectModel, taken: Sequence[NDArray[np.float64]] = ()
    ) -> None:
        """Nothing is found yet; at poses (4, 4) that are ``taken`` there are others that look the same."""
        self._pursuer = pursuer
        self._model = model
        self._taken = taken
        self.poses: list[PoseEstimate] = []

    def begin(self, frame: Frame, prior: Prior | None) -> None:
        """Search a frame, near a prior pose or, with None, anywhere."""
        p, camera = self._pursuer, frame.camera
        count = p.candidates + len(self._taken)
        found = search_poses(self._model, frame, Where(prior=prior), count, p.search, p.device)
        self.poses = others_than(self._model, found, self._taken)[: p.candidates]
        if not self.poses:
            return
        batch = self._batch = p.refiner(self._model, camera)
        batch.load(frame, (0, 0, camera.width, camera.height))
        batch.start(self._T)
        batch.learn_colors()
        self._velocity = np.zeros((len(self.poses), 6))

    @property
    def _T(self) -> NDArray[np.float64]:
        return np.stack([one.T_cam_obj for one in self.poses])

    def follow(self, frame: Frame) -> None:
        """Move on to the next frame, at constant velocity."""
        if not self.poses:
            return
        batch, before = self._batch, self._T
        expected = retract(before, self._velocity)
        batch.frame.begin(frame)
        for pose in expected:
            batch.frame.upload(batch.refiner.image_box(pose, _MARGIN_PX))
        batch.start(expected)
        batch.refiner.refine(batch.stages)
        now = batch.refiner.result().T_cam_obj[: len(before)]
        self._velocity = local(before, now)
        self.poses = [replace(one, T_cam_obj=T) for one, T in zip(self.poses, now, strict=True)]
