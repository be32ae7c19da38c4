"""A body half of whose surface nobody ever saw is fitted and tracked by the other half."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from half_known import half_known
from synthetic import PERIOD_NS, pose_error, poses, render

from dr_perception.fitting.fit_pose import fit_pose
from dr_perception.geometry import Frame, ObjectModel, local, make_transform
from dr_perception.geometry.se3 import perturb
from dr_perception.tracking import Status, Tracker, TrackerConfig

CASES = [("box", 0, 0.02), ("box", 0, -0.02), ("box", 0, None), ("mug", 2, 0.02)]
"""Bodies, the axis along which their half was not seen, and how far off the guess is [m]."""
FRAMES = 12
ALONE = TrackerConfig(recovery={"search": False}, threads=1)


@cache
def frames(name: str) -> tuple[Frame, ...]:
    mesh = half_known(name, 0, None).true.mesh
    return tuple(
        render({name: (mesh, T)}, stamp_ns=i * PERIOD_NS, seed=i) for i, T in enumerate(poses(name, FRAMES))
    )


def nees(T: np.ndarray, truth: np.ndarray, covariance: np.ndarray) -> float:
    xi = local(T, truth)
    return float(xi @ np.linalg.solve(covariance, xi)) / 6.0


def fitted(model: ObjectModel) -> np.ndarray:
    """Error [mm, deg], score and NEES of fits from guesses 20 mm and 11 degrees off (N, 4)."""
    truth = poses(model.name, FRAMES)[0]
    rows = []
    for seed in range(3):
        guess = perturb(truth, 0.02, 0.2, np.random.default_rng(seed))
        fit = fit_pose(model, frames(model.name)[0], guess)
        error = pose_error(fit.T_cam_obj, truth, model)
        rows.append((*error, fit.score, nees(fit.T_cam_obj, truth, fit.covariance)))
    return np.array(rows)


def tracked(model: ObjectModel) -> np.ndarray:
    """Error [mm, deg], score, NEES and whether it is tracked, frame by frame (N, 5)."""
    T = poses(model.name, FRAMES)
    tracker = Tracker({model.name: model}, ALONE)
    tracker.start(frames(model.name)[0], {model.name: T[0]})
    rows = []
    for frame, truth in zip(frames(model.name)[1:], T[1:], strict=True):
        state = tracker.track(frame).objects[model.name]
        error = pose_error(state.T_cam_obj, truth, model)
        ratio = nees(state.T_cam_obj, truth, state.covariance)
        rows.append((*error, state.score, ratio, state.status is Status.TRACKING))
    return np.array(rows)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_marked_guess_does_not_spoil_a_fit(case: tuple[str, int, float | None]) -> None:
    models = half_known(*case)
    true, marked, unmarked = (fitted(m) for m in (models.true, models.marked, models.unmarked))
    assert (true[:, :2] < 0.3).all()
    assert (marked[:, :2] < (0.3, 0.5)).all()
    assert (marked[:, 2] > 0.95).all() and (marked[:, 3] < 2.0).all()
    assert np.median(unmarked[:, 0]) > 5.0, "or the guess harms nobody"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_marked_guess_does_not_spoil_tracking(case: tuple[str, int, float | None]) -> None:
    models = half_known(*case)
    marked, unmarked = tracked(models.marked), tracked(models.unmarked)
    assert (marked[:, :2] < (0.4, 0.6)).all()
    assert (marked[:, 2] > 0.9).all() and (marked[:, 3] < 2.0).all() and marked[:, 4].all()
    right = (unmarked[:, 0] < 2.0) & (unmarked[:, 2] > 0.5)
    assert right.mean() < 0.3, "or the guess harms nobody"


def test_a_body_that_shows_the_side_nobody_saw_is_not_tracked() -> None:
    """Its pose is held, and the reason is true."""
    models = half_known("box", 0, 0.005)
    R = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])  # x towards the camera
    T = make_transform(R, np.array([-0.0375, 0.025, 0.5]))
    seen = [render({"box": (models.true.mesh, T)}, stamp_ns=i * PERIOD_NS, seed=i) for i in range(4)]
    tracker = Tracker({"box": models.marked}, ALONE)
    tracker.start(seen[0], {"box": T})
    for frame in seen[1:]:
        state = tracker.track(frame).objects["box"]
        assert state.status is not Status.TRACKING
        assert state.reason.startswith("too thin, or nothing of its known surface shows")
    assert state.score < 0.9
