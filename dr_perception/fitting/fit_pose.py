"""Fit one model to one frame."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.fitting.config import StageConfig
from dr_perception.fitting.result import PoseEstimate
from dr_perception.fitting.search import search_poses
from dr_perception.fitting.search_config import FitConfig
from dr_perception.fitting.search_kernels import SearchImages
from dr_perception.fitting.search_model import SearchModel, model_buffers, search_model
from dr_perception.fitting.search_pool import Judge, best, thin_out
from dr_perception.fitting.search_rank import (
    Shares,
    probability,
    probability_of_outlines,
    promise,
    rank,
    shares_of,
    summarise,
)
from dr_perception.fitting.search_refine import BatchRefiner, Refined, batch_refiner
from dr_perception.fitting.search_region import check_mask, check_size
from dr_perception.fitting.search_scene import Region, pixel_labels
from dr_perception.fitting.search_seeds import from_ball
from dr_perception.fitting.search_spin import spin_by_color
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform, invert, make_transform
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries
from dr_perception.render.model_buffers import ModelBuffers
from dr_perception.residuals.frame_buffers import Box

_MIN_DEPTH_PIXELS = 12
_MARGIN_PX = 24.0
_SAME_M = 0.002
_SAME_RAD = 0.03
_BELIEF = 4.0
"""What a distance from the guess of one reach counts, in units of `rank`."""
_NEAR = 0.35
_PROMISING = 0.45
_MOST_BEYOND = 0.015
_FEWEST_INLIERS = 0.99
_LINE_SHARE = 0.7
_GUESS_BONUS = 0.1
_MOST_ROUNDS = 5
_SETTLED = 1.0
"""Squared step, in standard deviations of all directions together, after which a pose is settled."""

_judges: weakref.WeakKeyDictionary[BatchRefiner, tuple[SearchImages, Judge]] = weakref.WeakKeyDictionary()


def fit_pose(
    model: ObjectModel,
    frame: Frame,
    T_cam_obj: NDArray[np.float64] | None = None,
    mask: NDArray[np.bool_] | None = None,
    config: FitConfig | None = None,
) -> PoseEstimate:
    """Find the pose of a model in a frame, from a guess or without.

    Around a guess many poses are judged by depth and outlines, the best are aligned, and a few are refined
    as one batch with colours
    learned where the depth put them, so that a guess some centimetres and tens of degrees off does not spoil
    what is learned.
    What is prepared for a model (a few seconds) is kept as long as the model lives.

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
        model is too large or too
            small for what is seen, the guess is no rigid transform in front of the camera, or nothing looks
            like the model.
    """
    config = config or FitConfig()
    if mask is not None:
        check_mask(frame, mask)
        check_size(model, frame, mask)
    if T_cam_obj is None:
        found = search_poses(model, frame, mask=mask, config=config.search, device=config.device)
        if not found:
            raise ValueError(f"nothing in the frame looks like {model.name!r}")
        return found[0]
    T = check_transform(T_cam_obj, "T_cam_obj")
    _check_in_front(model, T)
    return (
        _fit_depth(_Job(model, frame, T, mask, config))
        if frame.depth is not None
        else _fit_color(model, frame, T, config)
    )


def _check_in_front(model: ObjectModel, T: NDArray[np.float64]) -> None:
    z = float((T[:3, :3] @ model.center + T[:3, 3])[2])
    if z <= model.radius_m:
        raise ValueError(
            f"at the guess {model.name!r} reaches behind the camera: its centre is {z:.3f} m in front of "
            f"it, its radius is"
            f" {model.radius_m:.3f} m; is the mesh in the wrong unit?"
        )


def _fit_color(model: ObjectModel, frame: Frame, T: NDArray[np.float64], config: FitConfig) -> PoseEstimate:
    """Outlines alone, wide to narrow, with colours learned at the guess and once more on the way.

    Outlines leave the distance nearly open, so the guess is kept as a weak prior.
    """
    device = wp.get_device(config.device)
    stages = _stages_in_reach(model, frame, T, config)
    batch = batch_refiner(model, frame.camera, config.refiner, stages, 1, device)
    box = _box(batch, T, config)
    batch.load(frame, box)
    belief = np.diag([4.0 / config.reach_m**2] * 3 + [4.0 / config.reach_rad**2] * 3)
    batch.refiner.set_prior(T[None], belief)
    batch.start(T[None])
    for stage in batch.stages:
        batch.learn_colors()
        batch.refiner.refine([stage])
    refined = Refined(model, batch.refiner.result(), batch.iterations, 1)
    return refined.estimate(0, float(probability_of_outlines(refined.shares())[0]))


def _stages_in_reach(
    model: ObjectModel, frame: Frame, T: NDArray[np.float64], config: FitConfig
) -> tuple[StageConfig, ...]:
    """Stages whose lines are not longer than the object is wide: longer ones meet its other side."""
    z = float((T[:3, :3] @ model.center + T[:3, 3])[2])
    limit = _LINE_SHARE * model.radius_m * frame.camera.fx / z / config.refiner.contour.reach_px
    kept = tuple(s for s in config.color_stages if s.lines != "region" or s.line_step_px <= max(limit, 1.0))
    return tuple(s.model_copy(update={"render": True}) for s in kept)


@dataclass(frozen=True)
class _Job:
    """One fit with depth."""

    model: ObjectModel
    frame: Frame
    T: NDArray[np.float64]
    """The guess."""
    mask: NDArray[np.bool_] | None
    config: FitConfig

    @property
    def search(self) -> SearchModel:
        """Tables of the model."""
        return search_model(self.model, self.config.refiner.sampling.mesh_error, self.device)

    @property
    def buffers(self) -> ModelBuffers:
        """The model on the device."""
        return model_buffers(self.model, self.config.refiner.sampling.mesh_error, self.device)

    @property
    def device(self) -> wp.Device:
        """Where kernels run."""
        return wp.get_device(self.config.device)

    def batch(self, num_problems: int) -> BatchRefiner:
        """A refiner that has the pixels around the guess."""
        config = self.config
        batch = batch_refiner(
            self.model, self.frame.camera, config.refiner, config.stages, num_problems, self.device
        )
        box = _box(batch, self.T, config)
        batch.load(self.frame, box)
        _check_depth(self.model, batch, box)
        return batch


@dataclass(frozen=True)
class _Tried:
    """A refined start."""

    refined: Refined
    score: float
    """Probability that it is right."""
    rank: float
    """How well the images agree."""
    away: float
    """What it loses by its distance from the guess."""
    is_enough: bool
    """Whether it is most probably right and leaves next to no depth unexplained."""

    @property
    def T_cam_obj(self) -> NDArray[np.float64]:
        """The pose (4, 4)."""
        return self.refined.T_cam_obj[0]

    @property
    def estimate(self) -> PoseEstimate:
        """What is reported if it is the best."""
        return self.refined.estimate(0, self.score)


def _fit_depth(job: _Job) -> PoseEstimate:
    """Refine the guess, then the most promising pose around it, then a few more.

    Ends as soon as the images agree.
    """
    batch = job.batch(1)
    judge = _judge(job, batch)
    guess, tried = job.T, []
    if _is_promising(job, judge):
        tried.append(_refined_one(job, batch, judge, guess))
        guess = tried[0].T_cam_obj
        if tried[0].is_enough and _nearest_twin(job, judge, guess) is None:
            return tried[0].estimate
    starts = _starts(job, judge)
    tried.append(_refined_one(job, batch, judge, starts[0]))
    most = _best_tried(tried)
    twin = _nearest_twin(job, judge, most.T_cam_obj)
    if most.is_enough and twin is None:
        return most.estimate
    others = starts[1:]
    if twin is not None:
        others = np.concatenate([others[:-1], twin[None]])
    if len(tried) == 1:
        others = np.concatenate([others, guess[None]])
    return _best_tried([*tried, *_refined_several(job, batch, judge, others)]).estimate


def _best_tried(tried: list[_Tried]) -> _Tried:
    """The one that agrees best with the images and is not far from the guess."""
    return max(tried, key=lambda one: one.rank - one.away)


def _nearest_twin(job: _Job, judge: Judge, T: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Pose (4, 4) that looks nearly as a pose does by its shape and is nearer to the guess, if any.

    None either if the depth contradicts it.
    """
    if job.search.axis is not None or len(job.search.twins) == 0:
        return None
    shift = _shift(job.model)
    twins = T @ shift @ job.search.twins
    away = _distance_from_guess(job, twins @ invert(shift))
    nearest = int(np.argmin(away))
    if away[nearest] >= _distance_from_guess(job, T[None])[0]:
        return None
    tau = job.config.tolerance_m
    twin = judge.align(twins[[nearest]], 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    if shares_of(judge.judge(twin, tau))["beyond"][0] > _MOST_BEYOND:
        return None
    return np.asarray(twin[0] @ invert(shift))


def _is_promising(job: _Job, judge: Judge) -> bool:
    """Whether most of the object agrees with the depth once the guess is aligned to it."""
    tau = job.config.tolerance_m
    T = judge.align((job.T @ _shift(job.model))[None], 4.0 * tau, 1.5 * tau, steps=6, samples=64)
    return bool(shares_of(judge.judge(T, tau, edges=0))["agree"][0] > _PROMISING)


def _shift(model: ObjectModel) -> NDArray[np.float64]:
    """The centre frame in the model's (4, 4)."""
    return make_transform(np.eye(3), model.center)


def _refined_one(job: _Job, batch: BatchRefiner, judge: Judge, T: NDArray[np.float64]) -> _Tried:
    """What comes of one start (4, 4)."""
    refined = _turned_by_color(job, batch, _refined(job, batch, T[None]), np.zeros(1, np.int64))
    return _judged(job, judge, _polished(job, batch, refined.T_cam_obj))


def _judged(job: _Job, judge: Judge, refined: Refined) -> _Tried:
    """What a refined pose is worth."""
    shares = _shares(job, judge, refined, np.zeros(1, np.int64))
    score = float(probability(shares)[0])
    away = float(_distance_from_guess(job, refined.T_cam_obj)[0])
    explained = shares["beyond"][0] < _MOST_BEYOND and shares["depth_inliers"][0] > _FEWEST_INLIERS
    # Without a pattern there is no more to know than that depth agrees everywhere.
    sure = score >= job.config.enough or not job.buffers.has_texture
    return _Tried(refined, score, float(rank(shares)[0]), away, bool(explained and sure))


def _refined_several(job: _Job, one: BatchRefiner, judge: Judge, starts: NDArray[np.float64]) -> list[_Tried]:
    """What comes of some starts (P, 4, 4) in one batch; of those that end alike only the best.

    ``one`` polishes them one by one.
    """
    if len(starts) == 0:
        return []
    batch = job.batch(len(starts))
    refined = _refined(job, batch, starts)
    different = thin_out(refined.T_cam_obj, rank(refined.shares()), len(starts), _SAME_M, _SAME_RAD)
    refined = _turned_by_color(job, batch, refined, different)
    return [_judged(job, judge, _polished(job, one, refined.T_cam_obj[[i]])) for i in different]


def _polished(job: _Job, batch: BatchRefiner, T: NDArray[np.float64]) -> Refined:
    """Repeat the last stage from a pose (1, 4, 4) until it moves less than the images leave open.

    Each round pairs and measures afresh, since lines and pairs are those of the pose before.
    """
    _start(job, batch, T)
    for _ in range(_MOST_ROUNDS):
        batch.refine_last()
        refinement = batch.refiner.result()
        step = _step(job, T[0], refinement.T_cam_obj[0])
        if step @ refinement.information[0] @ step < _SETTLED:
            break
        T = refinement.T_cam_obj
    return Refined(job.model, refinement, batch.iterations, 1)


def _step(job: _Job, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Small motion (6,) of the model's centre from one pose (4, 4) to another, along the camera's axes."""
    turned = after[:3, :3] @ before[:3, :3].T
    moved = after[:3, 3] - before[:3, 3] + (after[:3, :3] - before[:3, :3]) @ job.model.center
    return np.array([*moved, *(0.5 * (turned[[2, 0, 1], [1, 2, 0]] - turned[[1, 2, 0], [2, 0, 1]]))])


def _start(job: _Job, batch: BatchRefiner, T: NDArray[np.float64]) -> None:
    """Set poses (P, 4, 4), each held to itself by a Gaussian of two standard deviations a near reach.

    That is too weak to matter where the images measure, and keeps still what they do not.
    """
    diagonal = 4.0 / (_NEAR * np.repeat([job.config.reach_m, job.config.reach_rad], 3)) ** 2
    all_poses = T[np.minimum(np.arange(batch.num_problems), len(T) - 1)]
    batch.refiner.set_prior(all_poses, np.diag(diagonal))
    batch.refiner.set_poses(all_poses)


def _refined(job: _Job, batch: BatchRefiner, starts: NDArray[np.float64]) -> Refined:
    """Refine poses (P, 4, 4), depth first, then with colours learned there."""
    _start(job, batch, starts)
    batch.refiner.refine(batch.stages[:1])
    batch.refiner.histograms.learn(1.0)
    batch.refiner.refine(batch.stages[1:-1])
    batch.forget_view()
    batch.refine_last()
    return _turned_back(job, Refined(job.model, batch.refiner.result(), batch.iterations, len(starts)))


def _turned_back(job: _Job, refined: Refined) -> Refined:
    """Give bodies of revolution the turn of the guess: depth and outlines do not know a better one."""
    axis = job.search.axis
    if axis is None:
        return refined
    free = Symmetries(continuous=(ContinuousSymmetry(axis[0], axis[1] + job.model.center),))
    for i, pose in enumerate(refined.T_cam_obj):
        refined = refined.turned(i, free.closest(job.T, pose))
    return refined


def _turned_by_color(job: _Job, batch: BatchRefiner, refined: Refined, chosen: NDArray[np.int64]) -> Refined:
    """Give some bodies of revolution the turn that their label shows."""
    label, image = job.search.label, job.frame.color
    if label is None or image is None:
        return refined
    shift = _shift(job.model)
    depth, tau, sigma = batch.frame.depth.host, job.config.tolerance_m, 0.5 * job.config.reach_rad
    for i in chosen:
        pose = refined.T_cam_obj[i] @ shift
        pose = spin_by_color(label, job.frame.camera, image, depth, pose, tau, sigma)
        refined = refined.turned(int(i), pose @ invert(shift))
    return refined


def _distance_from_guess(job: _Job, poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """What poses (P, 4, 4) lose by their distance from the guess.

    A weak belief that settles what the images leave open.
    """
    model, config, T = job.model, job.config, job.T
    off = poses[:, :3] - T[:3]
    away = off[:, :, :3] @ model.center + off[:, :, 3]
    # |R1 - R2|^2 = 4 (1 - cos angle)
    sine = np.sqrt(0.125 * np.sum(off[:, :, :3] ** 2, axis=(1, 2)))
    angle = 2.0 * np.arcsin(np.minimum(sine, 1.0))
    squared = np.sum(away**2, axis=1) / config.reach_m**2 + angle**2 / config.reach_rad**2
    return _BELIEF * squared


def _box(batch: BatchRefiner, T: NDArray[np.float64], config: FitConfig) -> Box:
    """Pixels that the object may cover when the guess is off as far as it may be."""
    camera = batch.refiner.frame.camera
    z = max(float(T[2, 3]), 0.05)
    box = batch.refiner.image_box(T, config.reach_m * max(camera.fx, camera.fy) / z + _MARGIN_PX)
    if box[2] <= box[0] or box[3] <= box[1]:
        raise ValueError(
            f"at the guess {batch.refiner.model.name!r} lies outside the image: T_cam_obj = {T.tolist()}"
        )
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


def _judge(job: _Job, batch: BatchRefiner) -> Judge:
    """A judge that looks at the refiner's own images and the labels of a mask."""
    if batch not in _judges:
        shape = (batch.frame.camera.height, batch.frame.camera.width)
        images = SearchImages()
        images.camera = batch.frame.params
        images.depth = batch.frame.depth.array
        images.color = batch.frame.color.array
        images.normal = wp.zeros(shape, dtype=wp.vec3, device=batch.frame.device)
        images.label = wp.zeros(shape, dtype=wp.uint8, device=batch.frame.device)
        _judges[batch] = images, Judge(job.search, images, np.zeros((0, 3)), job.device)
    images, judge = _judges[batch]
    if job.mask is None:
        images.label.zero_()
    else:
        images.label.assign(pixel_labels(Region(job.mask, True), job.mask.shape))
    return judge


def _starts(job: _Job, judge: Judge) -> NDArray[np.float64]:
    """A few poses near the guess that agree best with the depth once aligned to it."""
    model, config = job.model, job.config
    centred = job.T @ _shift(model)
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
    away = _distance_from_guess(job, pool @ invert(_shift(model))) / _BELIEF
    values -= np.maximum(away - 2.0, 0.0)
    pool = pool[thin_out(pool, values, config.finalists - 1, 0.06 * model.diameter_m, np.radians(8.0))]
    pool[:, :3, 3] -= pool[:, :3, :3] @ model.center
    return pool


def _shares(job: _Job, judge: Judge, refined: Refined, chosen: NDArray[np.int64]) -> Shares:
    """Features of some of the refined poses."""
    T = refined.T_cam_obj[chosen]
    T[:, :3, 3] += T[:, :3, :3] @ job.model.center
    shares = summarise(judge.judge(T, job.config.tolerance_m))
    shares |= {name: share[chosen] for name, share in refined.shares().items()}
    return shares | judge.judge_colors(T, job.config.tolerance_m) if job.frame.color is not None else shares
