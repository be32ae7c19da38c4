"""Poses of a model in a frame with nothing to start from: no training, no detector.

Many poses are seeded (views from all around; votes of point pairs), judged by a few points each, pruned,
aligned to the measured surface, judged again by depth, outline, mask, free space and colour, thinned out,
refined as one batch, and told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.device.session import current_session
from dr_perception.device.threads import WARP_LOCK
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import move_origin
from dr_perception.hypothesis import judge_kernels, looks_kernels, pair_kernels
from dr_perception.hypothesis.alternatives import twins
from dr_perception.hypothesis.batch import BatchSettings, Refined, batch_refiner, refine_batch
from dr_perception.hypothesis.instances import Ranked, answers, explained_pixels
from dr_perception.hypothesis.lookalikes import Lookalikes
from dr_perception.hypothesis.pairs import pair_model, provide_pair_model
from dr_perception.hypothesis.pool import Judge, best, best_by_group, thin_out
from dr_perception.hypothesis.posterior import COVERED, IN_FRAME, SHARPNESS
from dr_perception.hypothesis.rank import SEED_WEIGHTS, Shares, odds_of, rank
from dr_perception.hypothesis.region import Prior, Where, check_region, region_of
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.scene import Region, SearchScene, prepare_scene
from dr_perception.hypothesis.search_config import SearchConfig
from dr_perception.hypothesis.seeds import from_belief, from_places, from_views, from_votes, snapped
from dr_perception.hypothesis.tables import SearchModel, provide_search_model, search_model

_ALIKE = 0.04
"""Aligned seeds within this distance, of the diameter, and `_ALIKE_RAD` are of one pose.

Without thinning them out the best 160 of a thousand were of fewer than sixteen poses in six of sixteen real
frames, and in two what they crowded out was the right one, with up to twenty seeds.
"""
_ALIKE_RAD = np.radians(8.0)


def search_poses(
    model: ObjectModel,
    frame: Frame,
    where: Where | None = None,
    max_instances: int = 1,
    config: SearchConfig | None = None,
    device: wp.DeviceLike = "cpu",
) -> list[PoseEstimate]:
    """Find a model in a frame.

    Several instances are looked for in turns, each among the pixels that those before leave.

    Args:
        model: What to look for.
        frame: The images; depth is needed unless a mask or a prior says where.
        where: What is known of where it is; the whole frame is searched if None.
        max_instances: Number of poses to return at most.
        config: Settings.
        device: Warp device.

    Returns:
        Poses of different instances, the preferred place first; empty if nothing fits at all.

    Raises:
        ValueError: The region is empty, outside the image, of another size, or without depth where depth is
        needed; more than one
            region; ``max_instances`` below 1.
    """
    if max_instances < 1:
        raise ValueError(f"max_instances must be at least 1, got {max_instances}")
    where = where or Where()
    check_region(frame, where)
    region = region_of(model, frame, where)
    job = _prepared(model, frame, region, config or SearchConfig(), wp.get_device(device))
    looks = Lookalikes.of(model, job.search)
    first = _narrow(job, _seeds(job, where.prior), job.config.finalists)
    found = _estimates(job, _refined(job, first))
    if where.prior is None and not region.is_mask:
        found, job = _more(job, looks, found, max_instances)
        if len(_sure(job, looks, found, max_instances)) < max_instances:
            found += _estimates(job, _refined(job, _everywhere(job, first)))
    return answers(model, looks, found, max_instances)


def _more(job: _Job, looks: Lookalikes, found: list[Ranked], max_instances: int) -> tuple[list[Ranked], _Job]:
    """Search again and again among the pixels that what is surely found does not explain.

    Every answer of a search competes with all others for its finalists, and many of them show the same few
    instances: searched once, 18 instead of 32 of 36 instances in whole frames of IC-BIN were found. Ends when
    nothing new is sure, or enough is.

    Returns:
        All that was found, and the job that is left.
    """
    known, sure = 0, _sure(job, looks, found)
    while known < len(sure) < max_instances:
        known = len(sure)
        job = _without(job, sure)
        seeds = _seeds(job, None)
        found = found + _estimates(job, _refined(job, _narrow(job, seeds, job.config.finalists)))
        sure = _sure(job, looks, found)
    return found, job


def _without(job: _Job, found: Sequence[PoseEstimate]) -> _Job:
    """The job with the pixels that poses explain taken from where it may look."""
    poses = np.stack([one.T_cam_obj for one in found])
    tolerance_m = job.config.fine_tolerance * job.model.diameter_m
    taken = explained_pixels(job.search, job.model, job.scene.depth, job.frame.camera, poses, tolerance_m)
    allowed = ~taken if job.region.allowed is None else job.region.allowed & ~taken
    return _prepared(job.model, job.frame, replace(job.region, allowed=allowed), job.config, job.device)


def _sure(
    job: _Job, looks: Lookalikes, found: Sequence[Ranked], most: int | None = None
) -> list[PoseEstimate]:
    """Estimates of different instances whose probability is enough, were there at most so many."""
    answered = answers(job.model, looks, found, len(found) if most is None else most)
    return [one for one in answered if one.score >= job.config.enough]


def finalists(
    model: ObjectModel,
    frame: Frame,
    mask: NDArray[np.bool_] | None = None,
    also: Sequence[NDArray[np.float64]] = (),
    config: SearchConfig | None = None,
    device: wp.DeviceLike = "cpu",
) -> Refined | None:
    """All refined poses of a search that looks everywhere, unranked; None if there are none.

    For those who fit the posterior. ``mask`` (H, W), if it is given, shows the object; poses ``also`` (4, 4)
    are refined and judged like those that the search found, and come last.
    """
    region = region_of(model, frame, Where(mask=mask))
    job = _prepared(model, frame, region, config or SearchConfig(), wp.get_device(device))
    T = _narrow(job, _seeds(job, None), job.config.finalists)
    T = T if region.is_mask else np.concatenate([T, _everywhere(job, T)])
    return _refined(job, np.concatenate([T, *(move_origin(one[None], model.center) for one in also)]))


def _everywhere(job: _Job, first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best poses of the centre frame (P, 4, 4) at all places of the frame that differ from the ``first``.

    Without them 15 instead of 14 of 59 searches in whole real frames were wrong (`benchmarks/real.py`).
    """
    count = job.config.finalists
    seeds, places = from_places(job.search, job.scene, np.random.default_rng(job.config.seed))
    return _others(job, _narrow(job, seeds, count, places), first, count)


def prepare_search(
    model: ObjectModel, camera: Camera, config: SearchConfig | None = None, device: wp.DeviceLike = "cpu"
) -> None:
    """Make everything that a search for a model keeps, so that the first search is as fast as the next."""
    config = config or SearchConfig()
    where = wp.get_device(device)
    search_model(model, config.body.mesh_error, where)
    pair_model(model, where)
    count = max(config.finalists, 2)
    with current_session():
        batch_refiner(model, BatchSettings(camera, config.refiner, config.stages, count, str(where)))


def provide_search(model: ObjectModel, config: SearchConfig, device: wp.DeviceLike) -> None:
    """Make sure that a search for a model can begin soon, without holding the memory that it will work with.

    Tables are on the disk afterwards (in memory where they cannot be stored) and kernels are loaded.
    """
    where = wp.get_device(device)
    provide_search_model(model, config.body.mesh_error, where)
    provide_pair_model(model, where)
    with WARP_LOCK:
        wp.load_module(judge_kernels, device=where)
        wp.load_module(looks_kernels, device=where)
        wp.load_module(pair_kernels, device=where)


@dataclass(frozen=True)
class _Job:
    """Everything one search works on."""

    model: ObjectModel
    search: SearchModel
    frame: Frame
    region: Region
    config: SearchConfig
    scene: SearchScene
    judge: Judge
    device: wp.Device


def _prepared(
    model: ObjectModel, frame: Frame, region: Region, config: SearchConfig, device: wp.Device
) -> _Job:
    scene = prepare_scene(model, frame, region, config.sensor.depth, device)
    search = search_model(model, config.body.mesh_error, device)
    judge = Judge(search, scene.images, scene.object_points, device)
    return _Job(model, search, frame, region, config, scene, judge, device)


def _seeds(job: _Job, prior: Prior | None) -> NDArray[np.float64]:
    """Poses of the centre frame to start from."""
    model, scene, config = job.model, job.scene, job.config
    rng = np.random.default_rng(config.seed)
    if prior is not None:
        T = from_belief(np.asarray(prior[0], float), np.asarray(prior[1], float), config.belief_seeds, rng)
        T = move_origin(T, model.center)
        return np.concatenate([T, snapped(job.search, scene, T, rng)])
    references = config.mask_references if job.region.is_mask else config.frame_references
    voted = from_votes(model, scene, job.frame.camera, references, job.device, rng)
    if not job.region.is_mask:
        return voted
    views = [from_views(job.search, m, config.view_shift, model.diameter_m) for m in _middles(job)]
    return np.concatenate([voted, *views])


def _middles(job: _Job) -> list[NDArray[np.float64]]:
    """Where the middle of the visible side may be.

    From depth, or from the size of the mask where there is none.
    """
    points = job.scene.object_points
    if len(points) >= 8:
        return [np.median(points, axis=0)]
    labels = job.scene.images.label.numpy()
    y, x = np.nonzero(labels == 1)
    camera = job.frame.camera
    middle = np.array([x.mean(), y.mean()])
    extent = 2.0 * np.sqrt(max(len(x), 1) / np.pi)
    z = camera.fx * job.model.diameter_m * np.array([0.5, 0.62, 0.75, 0.9]) / extent
    return [camera.unproject(middle, np.array(depth)) for depth in z]


def _narrow(
    job: _Job, T: NDArray[np.float64], count: int, places: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Best seeds after pruning and alignment: poses of the centre frame (P, 4, 4).

    With the numbers of the places that seeds are at (N,), each place keeps as many: a flat thing that any
    side of the object fits coarsely must not crowd out where it is.
    """
    if len(T) == 0:
        return T
    d, c = job.model.diameter_m, job.config
    coarse = c.coarse_tolerance * d
    values = rank(odds_of(job.judge.judge(T, coarse, samples=24, edges=0, points=32)), SEED_WEIGHTS)
    T = T[best(values, c.coarse_kept) if places is None else best_by_group(values, places, c.place_kept)]
    if job.frame.depth is not None:
        T = job.judge.align(T, 1.5 * coarse, 0.5 * coarse, steps=5, samples=48)
    values = rank(_shares(job, T, with_color=True))
    T = T[thin_out(T, values, c.fine_kept, _ALIKE * d, _ALIKE_RAD)]
    if job.frame.depth is not None:
        T = job.judge.align(T, 0.7 * coarse, 0.6 * c.fine_tolerance * d, steps=5, samples=128)
    values = rank(_shares(job, T, with_color=True))
    T = T[thin_out(T, values, count, 0.08 * d, np.radians(20.0))]
    sure = count // 2
    T = np.concatenate([T, twins(job.search, T[: c.twinned])])
    return np.concatenate([T[:sure], _others(job, T[sure:], T[:sure], count - sure)])


def _others(job: _Job, T: NDArray[np.float64], known: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The best of poses of the centre frame (P, 4, 4) that differ from each other and from known ones."""
    if len(T) == 0:
        return T
    values = np.concatenate([np.full(len(known), np.inf), rank(_shares(job, T, with_color=True))])
    both = np.concatenate([known, T])
    kept = thin_out(both, values, len(known) + count, 0.08 * job.model.diameter_m, np.radians(12.0))
    return both[kept[kept >= len(known)][:count]]


def _shares(job: _Job, T: NDArray[np.float64], with_color: bool) -> Shares:
    """Features of poses of the centre frame."""
    tau = job.config.fine_tolerance * job.model.diameter_m
    shares = odds_of(job.judge.judge(T, tau))
    return shares | job.judge.judge_looks(T, tau) if with_color else shares


def _refined(job: _Job, T: NDArray[np.float64]) -> Refined | None:
    """Poses of the centre frame (P, 4, 4) refined; None for none."""
    return refine_batch(job.model, job.frame, T, job.config, job.device) if len(T) else None


def _estimates(job: _Job, refined: Refined | None) -> list[Ranked]:
    """Refined poses with their log posterior."""
    if refined is None:
        return []
    prior = _log_prior(job, refined)
    also = SHARPNESS * prior + _covered(job, refined)
    values, places = refined.ranking + also, refined.ranking_of_places + also
    return [
        Ranked(float(values[i]), float(places[i]), refined.estimate(i, float(prior[i])))
        for i in range(refined.count)
    ]


def _log_prior(job: _Job, refined: Refined) -> NDArray[np.float64]:
    """Log prior odds (P,) of refined poses, beside those of a guess: what the region says of them."""
    if not job.region.is_mask:
        return np.full(refined.count, IN_FRAME)
    if len(job.scene.object_points) == 0:
        return np.zeros(refined.count)
    return COVERED[1] * np.minimum(_covered(job, refined) - COVERED[0], 0.0)


def _covered(job: _Job, refined: Refined) -> NDArray[np.float64]:
    """Log odds (P,) that the points of a mask lie on the model at refined poses; 0 without a mask.

    Of poses that agree alike with what they show, that is the better one which explains more of the mask: a
    mug with its handle out of sight leaves the measured handle unexplained.
    """
    if len(job.scene.object_points) == 0:
        return np.zeros(refined.count)
    return _shares(job, move_origin(refined.T_cam_obj, job.model.center), with_color=False)["covered"]
