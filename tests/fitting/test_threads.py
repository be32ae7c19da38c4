"""Fits and searches give the same bits in any thread and after anything else, and keep no model alive."""

from __future__ import annotations

import gc
import importlib.util
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import warp as wp

from dr_perception.body.prepared import model_buffers
from dr_perception.device.session import Session
from dr_perception.fitting.fit_pose import fit_pose
from dr_perception.geometry.se3 import perturb
from dr_perception.hypothesis.batch import BatchRefiner, BatchSettings
from dr_perception.hypothesis.config import RefinerConfig
from dr_perception.hypothesis.region import Where
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import search_poses
from dr_perception.hypothesis.search_config import FIT_STAGES, SearchConfig
from dr_perception.hypothesis.tables import search_model

_spec = importlib.util.spec_from_file_location(
    "search_scenes", Path(__file__).parents[1] / "hypothesis" / "search_scenes.py"
)
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

MODEL, BRICK = scenes.bracket(), scenes.brick()
TRUTHS = [scenes.pose(0.03, -0.02, 0.6, (0.9, -0.7, 1.8)), scenes.pose(-0.05, 0.03, 0.7, (0.2, 0.5, 0.3))]
FRAMES = [scenes.render([(MODEL, T)]) for T in TRUTHS]
GUESSES = [perturb(T, 0.02, 0.15, np.random.default_rng(k)) for k, T in enumerate(TRUTHS)]
QUICK = SearchConfig(frame_references=32, mask_references=12, belief_seeds=128, finalists=4, fine_kept=24)


def bits(*estimates: PoseEstimate) -> bytes:
    return b"".join(
        e.T_cam_obj.tobytes() + e.covariance.tobytes() + np.array([e.score, e.cost]).tobytes()
        for e in estimates
    )


def fit(k: int, with_color: bool = True, with_depth: bool = True, **options: object) -> bytes:
    frame = FRAMES[k][0]
    frame = replace(
        frame, color=frame.color if with_color else None, depth=frame.depth if with_depth else None
    )
    return bits(fit_pose(MODEL, frame, GUESSES[k], **options))


def search(k: int, config: SearchConfig = QUICK, **where: object) -> bytes:
    return bits(*search_poses(MODEL, FRAMES[k][0], Where(**where), max_instances=4, config=config))


def test_fits_of_one_model_in_two_threads(alike: Callable[..., None]) -> None:
    alike(lambda: fit(0), lambda: fit(1))


def test_fits_with_and_without_depth_in_two_threads(alike: Callable[..., None]) -> None:
    alike(lambda: fit(0, with_depth=False), lambda: fit(0, with_color=False))


def test_searches_for_one_model_in_two_threads(alike: Callable[..., None]) -> None:
    alike(lambda: search(0, mask=FRAMES[0][1][0]), lambda: search(1, prior=(TRUTHS[1], 1e-3 * np.eye(6))))


def test_a_search_and_a_fit_of_one_model_in_two_threads(alike: Callable[..., None]) -> None:
    alike(lambda: search(0, mask=FRAMES[0][1][0]), lambda: fit(1))


def test_two_threads_with_one_session_take_turns(alike: Callable[..., None]) -> None:
    session = Session()

    def with_it(k: int) -> bytes:
        with session:
            return fit(k)

    alike(lambda: with_it(0), lambda: with_it(1))


OTHERS = [
    lambda: fit(1),
    lambda: fit(0, with_depth=False),
    lambda: fit(1, with_color=False),
    lambda: search(1),
    lambda: search(1, mask=FRAMES[1][1][0]),
    lambda: search(0, prior=(TRUTHS[0], 1e-3 * np.eye(6))),
    lambda: bits(fit_pose(BRICK, FRAMES[0][0], GUESSES[0])),
]


@pytest.mark.parametrize(
    "work",
    [
        lambda: fit(0),
        lambda: fit(0, mask=FRAMES[0][1][0]),
        lambda: fit(0, with_depth=False),
        lambda: search(0),
        lambda: search(0, mask=FRAMES[0][1][0]),
        # The stages of a fit, so that both work with the same refiner.
        lambda: search(0, replace_stages(QUICK)),
    ],
)
def test_nothing_depends_on_what_was_done_before(work: Callable[[], bytes]) -> None:
    with Session():
        first = work()
    with Session():
        for other in OTHERS:
            other()
            assert work() == first


def replace_stages(config: SearchConfig) -> SearchConfig:
    return config.model_copy(update={"stages": FIT_STAGES, "finalists": 1})


def known(batch: BatchRefiner) -> list[np.ndarray]:
    """Everything that a refinement reads before it writes it."""
    refiner = batch.refiner
    arrays = [batch.frame.depth, batch.frame.color, refiner.view.counts, refiner.solver.priors]
    arrays += [refiner.solver.sums, refiner.solver.best]
    return [*(one.array.numpy().copy() for one in arrays), refiner.histograms.log_ratio.numpy().copy()]


def test_a_refiner_that_loads_a_frame_knows_what_a_new_one_does() -> None:
    """Pixels outside of the box are not those of the frame before, nor are colours, priors and samples."""
    (first, _), (second, _) = FRAMES
    settings = BatchSettings(first.camera, RefinerConfig(), FIT_STAGES, 2)
    used, new = BatchRefiner(MODEL, settings), BatchRefiner(MODEL, settings)
    used.load(first, (0, 0, first.camera.width, first.camera.height))
    used.refiner.set_prior(np.stack(TRUTHS), np.eye(6))
    used.start(np.stack(TRUTHS))
    used.refiner.refine(used.stages[:1])
    used.learn_colors()
    box = (40, 30, 60, 50)
    for batch in (used, new):
        batch.load(second, box)
    for a, b in zip(known(used), known(new), strict=True):
        assert a.tobytes() == b.tobytes()


def test_colours_that_are_learned_afresh_are_those_that_a_new_refiner_learns() -> None:
    frame = FRAMES[0][0]
    settings = BatchSettings(frame.camera, RefinerConfig(), FIT_STAGES, 1)
    used, new = BatchRefiner(MODEL, settings), BatchRefiner(MODEL, settings)
    for batch in (used, new):
        batch.load(frame, (0, 0, frame.camera.width, frame.camera.height))
        if batch is used:
            for mean in batch.refiner.histograms._means:
                mean.assign(np.random.default_rng(0).random(mean.shape, np.float32))
        batch.start(TRUTHS[0][None])
        batch.learn_colors()
    means = ([mean.numpy() for mean in batch.refiner.histograms._means] for batch in (used, new))
    assert np.array_equal(*means)


def test_tables_are_those_of_their_settings() -> None:
    device = wp.get_device("cpu")
    torus = scenes.bracket()
    fine, coarse = (model_buffers(torus, error, device) for error in (1e-4, 0.05))
    assert fine is not coarse and model_buffers(torus, 1e-4, device) is fine
    tables = [search_model(torus, error, device) for error in (1e-4, 0.05)]
    assert tables[0] is not tables[1] and search_model(torus, 0.05, device) is tables[1]
    # A copy under another name is the same body, one with other symmetries is not.
    assert search_model(torus.with_name("copy"), 1e-4, device) is tables[0]
    assert search_model(replace(torus, symmetries=BRICK.symmetries), 1e-4, device) is not tables[0]


def test_a_model_and_all_that_was_made_for_it_go_when_nobody_has_it() -> None:
    model = scenes.bracket()
    fit_pose(model, FRAMES[0][0], GUESSES[0])
    search_poses(model, FRAMES[0][0], Where(mask=FRAMES[0][1][0]), config=QUICK)
    error = RefinerConfig().body.mesh_error
    kept = [
        weakref.ref(one) for one in (model, model.mesh, model_buffers(model, error, wp.get_device("cpu")))
    ]
    del model
    gc.collect()
    assert [one() for one in kept] == [None] * 3
