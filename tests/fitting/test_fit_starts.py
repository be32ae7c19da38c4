"""Where a fit starts again once it has ended at a wrong pose."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from dr_perception.fitting.fit_job import FitJob
from dr_perception.fitting.fit_starts import slid
from dr_perception.geometry import angle_between, retract
from dr_perception.hypothesis.rank import shares_of
from dr_perception.hypothesis.search_config import FitConfig

sys.path.insert(0, str(Path(__file__).parent.parent / "tracking"))

from synthetic import make_model, poses, render

MUG, T = make_model("mug"), poses("mug", 1)[0]
JOB = FitJob(MUG, render({"mug": (MUG.mesh, T)}), T, None, FitConfig())
AXIS = T[:3, 2]
UNKNOWN_TURN = np.diag([1e7, 1e7, 1e7, 1e4, 1e4, 1e4])
UNKNOWN_TURN[3:, 3:] -= 0.99e4 * np.outer(AXIS, AXIS)


def turned(angle_rad: float) -> np.ndarray:
    """The mug turned about its axis."""
    return JOB.uncentred(retract(JOB.centred(T), np.concatenate([np.zeros(3), angle_rad * AXIS])))


@pytest.mark.parametrize("angle_rad", [-0.6, -0.3, 0.3, 0.6])
def test_a_handle_at_the_wrong_place_is_turned_to_the_right_one(angle_rad: float) -> None:
    judge = JOB.judge(JOB.batch(1))
    found = slid(JOB, judge, turned(angle_rad), UNKNOWN_TURN)
    assert found is not None
    assert angle_between(found[:3, :3], T[:3, :3]) < 0.1


def test_the_right_pose_stays() -> None:
    assert slid(JOB, JOB.judge(JOB.batch(1)), T, UNKNOWN_TURN) is None


def test_depths_without_normals_agree_as_well_as_any() -> None:
    """A fit has no image of normals: what is not known of a point is not evidence against it."""
    judge = JOB.judge(JOB.batch(1))
    assert shares_of(judge.judge(JOB.centred(T)[None], JOB.config.tolerance_m))["agree"][0] > 0.95
