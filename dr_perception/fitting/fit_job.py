"""One fit from a guess: what it works on, and what the images say of its poses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.body.prepared import model_buffers
from dr_perception.device.session import current_session
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import move_origin
from dr_perception.hypothesis.batch import BatchRefiner, BatchSettings, batch_refiner
from dr_perception.hypothesis.judge_kernels import SearchImages
from dr_perception.hypothesis.pool import Judge
from dr_perception.hypothesis.rank import Shares, odds_of
from dr_perception.hypothesis.scene import Region, pixel_labels
from dr_perception.hypothesis.search_config import FitConfig
from dr_perception.hypothesis.tables import SearchModel, search_model
from dr_perception.measure.frame_buffers import Box

_MIN_DEPTH_PIXELS = 12
_MARGIN_PX = 24.0
_HOLD = 0.175
"""Standard deviation of the prior that holds a refinement where it starts, of the reach of a fit."""


@dataclass(frozen=True)
class FitJob:
    """One fit with depth. Poses are of the model's frame, or of its centre where named so."""

    model: ObjectModel
    frame: Frame
    guess: NDArray[np.float64]
    """T_cam_obj (4, 4)."""
    mask: NDArray[np.bool_] | None
    config: FitConfig

    @cached_property
    def device(self) -> wp.Device:
        """Where kernels run."""
        return wp.get_device(self.config.device)

    @cached_property
    def search(self) -> SearchModel:
        """Tables of the model."""
        return search_model(self.model, self.config.body.mesh_error, self.device)

    @cached_property
    def buffers(self) -> ModelBuffers:
        """The model on the device."""
        return model_buffers(self.model, self.config.body.mesh_error, self.device)

    def centred(self, T_cam_obj: NDArray[np.float64]) -> NDArray[np.float64]:
        """Poses (..., 4, 4) of the centre from those of the model's frame."""
        return move_origin(T_cam_obj, self.model.center)

    def uncentred(self, T_cam_center: NDArray[np.float64]) -> NDArray[np.float64]:
        """Poses (..., 4, 4) of the model's frame from those of the centre."""
        return move_origin(T_cam_center, -self.model.center)

    def batch(self, num_problems: int) -> BatchRefiner:
        """A refiner that has the pixels around the guess.

        Raises:
            ValueError: The guess is outside the image, or hardly any depth is measured around it.
        """
        config = self.config
        settings = BatchSettings(
            self.frame.camera, config.refiner, config.stages, num_problems, str(self.device)
        )
        batch = batch_refiner(self.model, settings)
        box = box_around(self.model, batch, self.guess, config)
        batch.load(self.frame, box)
        _check_depth(self.model, batch, box)
        return batch

    @cached_property
    def hold(self) -> NDArray[np.float64]:
        """Information (6, 6) of the prior that holds a refinement where it starts.

        Too weak to matter where the images measure, it keeps still what they do not.
        """
        return np.diag((_HOLD * np.repeat([self.config.reach_m, self.config.reach_rad], 3)) ** -2)

    def judge(self, batch: BatchRefiner) -> Judge:
        """A judge that looks at the refiner's own images and the labels of the mask."""
        search = self.search
        images, judge = current_session().scratch(
            batch, "judge", self.model.symmetries, lambda: _judge_of(search, batch)
        )
        if self.mask is None:
            images.label.zero_()
        else:
            images.label.assign(pixel_labels(Region(self.mask, True), self.mask.shape))
        return judge

    def shares(self, judge: Judge, T_cam_center: NDArray[np.float64]) -> Shares:
        """Features of poses (P, 4, 4) of the centre."""
        tau = self.config.tolerance_m
        shares = odds_of(judge.judge(T_cam_center, tau))
        if self.frame.color is None:
            return shares
        return shares | judge.judge_looks(T_cam_center, tau)

    def reaches(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared distance of poses (P, 4, 4) of the model's frame from the guess, in reaches."""
        config = self.config
        off = poses[:, :3] - self.guess[:3]
        away = off[:, :, :3] @ self.model.center + off[:, :, 3]
        # |R1 - R2|^2 = 4 (1 - cos angle)
        sine = np.sqrt(0.125 * np.sum(off[:, :, :3] ** 2, axis=(1, 2)))
        angle = 2.0 * np.arcsin(np.minimum(sine, 1.0))
        squared: NDArray[np.float64] = (
            np.sum(away**2, axis=1) / config.reach_m**2 + angle**2 / config.reach_rad**2
        )
        return squared

    def log_prior(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log prior (P,) of poses (P, 4, 4) of the model's frame: Gaussian, a reach is two sigma."""
        return -2.0 * self.reaches(poses)

    def log_hold(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log prior (P,) of poses (P, 4, 4) where the guess is believed as a refinement is held."""
        return -0.5 * self.reaches(poses) / _HOLD**2


def _judge_of(search: SearchModel, batch: BatchRefiner) -> tuple[SearchImages, Judge]:
    """A judge of the tables of a model against the images of a refiner, and those images."""
    shape, device = (batch.frame.camera.height, batch.frame.camera.width), batch.frame.device
    images = SearchImages()
    images.seen = batch.frame.images
    images.normal = wp.zeros(shape, dtype=wp.vec3, device=device)
    images.label = wp.zeros(shape, dtype=wp.uint8, device=device)
    return images, Judge(search, images, np.zeros((0, 3)), device)


def box_around(model: ObjectModel, batch: BatchRefiner, T: NDArray[np.float64], config: FitConfig) -> Box:
    """Pixels that the object may cover when a guess (4, 4) is off as far as it may be.

    Raises:
        ValueError: There are none in the image.
    """
    camera = batch.refiner.frame.camera
    z = max(float(T[2, 3]), 0.05)
    box = batch.refiner.image_box(T, config.reach_m * max(camera.fx, camera.fy) / z + _MARGIN_PX)
    if box[2] <= box[0] or box[3] <= box[1]:
        raise ValueError(f"at the guess {model.name!r} lies outside the image: T_cam_obj = {T.tolist()}")
    return box


def _check_depth(model: ObjectModel, batch: BatchRefiner, box: Box) -> None:
    x0, y0, x1, y1 = box
    z = batch.frame.depth.host[y0:y1, x0:x1]
    # Mostly a few rows are enough to know.
    if _count_measured(z[::8]) >= _MIN_DEPTH_PIXELS:
        return
    measured = _count_measured(z)
    if measured < _MIN_DEPTH_PIXELS:
        raise ValueError(
            f"only {measured} pixels with a depth where {model.name!r} should be (columns {x0} to {x1}, "
            f"rows {y0} to {y1})"
        )


def _count_measured(z: NDArray[np.float32]) -> int:
    return int(np.count_nonzero(np.isfinite(z) & (z > 0.0)))
