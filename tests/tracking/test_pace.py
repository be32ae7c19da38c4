"""What is learned of how an object moves, and what that makes of the time it is not seen."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from dr_perception.tracking.belief import Belief, Motion, believed_covariance
from dr_perception.tracking.pace import Pace, learned

LARGEST = np.repeat([0.5, np.pi], 3) ** 2


@wp.kernel(enable_backward=False)
def _learn(paces: wp.array[Pace], moved: wp.array[wp.spatial_vectord], off: wp.array[wp.spatial_vectord]):
    for i in range(moved.shape[0]):
        paces[0] = learned(paces[0], moved[i], off[i])


@wp.kernel(enable_backward=False)
def _report(beliefs: wp.array[Belief], motion: Motion, lost: int, out: wp.array[wp.spatial_matrixd]):
    out[0] = believed_covariance(beliefs[0], motion, lost)


def _pace(rests: int, unseen: float = 1.0) -> wp.array:
    host = np.zeros(1, Pace.numpy_dtype())
    host["surprise"], host["speed"] = [[1.2e-3, 6.75e-2]], [[1.2e-3, 6.75e-2]]
    host["unseen"], host["rests"] = unseen, rests
    return wp.array(host, dtype=Pace, device="cpu")


def _vectors(values: np.ndarray) -> wp.array:
    return wp.array(values, dtype=wp.spatial_vectord, device="cpu")


def test_speed_and_surprise_come_near_the_mean_squares_of_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    moved = rng.normal(size=(400, 6)) * np.repeat([0.004, 0.02], 3)
    off = rng.normal(size=(400, 6)) * np.repeat([0.001, 0.005], 3)
    pace = _pace(rests=0)
    wp.launch(_learn, 1, [pace, _vectors(moved), _vectors(off)], device="cpu")
    found = pace.numpy()[0]
    # The newest ten or so count: a third of scatter.
    np.testing.assert_allclose(found["speed"], [3 * 0.004**2, 3 * 0.02**2], rtol=0.5)
    np.testing.assert_allclose(found["surprise"], [3 * 0.001**2, 3 * 0.005**2], rtol=0.5)
    assert found["unseen"] == 0.0


def test_a_measurement_after_some_periods_counts_as_what_it_says_of_one() -> None:
    start = np.array([1.2e-3, 6.75e-2])
    moved, off = np.full((1, 6), 0.04), np.full((1, 6), 0.06)
    pace = _pace(rests=0, unseen=4.0)
    wp.launch(_learn, 1, [pace, _vectors(moved), _vectors(off)], device="cpu")
    found = pace.numpy()[0]
    np.testing.assert_allclose(found["speed"], 0.8 * start + 0.2 * 3 * 0.01**2, rtol=1e-12)
    np.testing.assert_allclose(found["surprise"], 0.8 * start + 0.2 * 3 * 0.006**2, rtol=1e-12)
    pace = _pace(rests=1, unseen=4.0)
    wp.launch(_learn, 1, [pace, _vectors(moved), _vectors(off)], device="cpu")
    np.testing.assert_allclose(pace.numpy()[0]["surprise"], start, rtol=1e-12)


def _believed(pace: tuple[float, ...], unseen: float, rests: int, lost: int = 0) -> np.ndarray:
    host = np.zeros(1, Belief.numpy_dtype())
    host["covariance"], host["measured"] = 4.0e-2 * np.eye(6), 1.0e-6 * np.eye(6)
    host["pace"]["surprise"], host["pace"]["speed"] = [pace[:2]], [pace[2:]]
    host["pace"]["unseen"], host["pace"]["rests"] = unseen, rests
    motion = Motion()
    motion.largest = wp.spatial_vectord(*LARGEST)
    out = wp.zeros(1, dtype=wp.spatial_matrixd, device="cpu")
    beliefs = wp.array(host, dtype=Belief, device="cpu")
    wp.launch(_report, 1, [beliefs, motion, lost, out], device="cpu")
    return out.numpy()[0]


PACE = (3e-6, 3e-5, 1.2e-4, 3e-3)
"""Surprises of a millimetre and 3 mrad along each axis, and a speed of 6 mm and 30 mrad, a period."""


@pytest.mark.parametrize("unseen", [1.0, 2.0, 5.0])
def test_what_goes_on_is_off_by_the_sum_of_its_changes_of_velocity(unseen: float) -> None:
    steps = sum(range(1, int(unseen) + 1))
    expected = np.diag(1e-6 + steps**2 * np.repeat([1e-6, 1e-5], 3))
    np.testing.assert_allclose(_believed(PACE, unseen, rests=0), expected, rtol=1e-9)
    rest = expected + unseen**2 * np.diag(np.repeat([4e-5, 1e-3], 3))
    np.testing.assert_allclose(_believed(PACE, unseen, rests=1), rest, rtol=1e-9)


def test_in_the_long_run_it_is_off_by_the_way_it_goes_and_never_by_more_than_is_believed() -> None:
    way = 2.0 * 40.0**2 * np.repeat([4e-5, 1e-3], 3)
    found = np.diag(_believed(PACE, 40.0, rests=0))
    np.testing.assert_allclose(found, np.minimum(1e-6 + way, LARGEST), rtol=1e-9)
    assert (np.diag(_believed(PACE, 1e4, rests=1)) <= LARGEST * (1 + 1e-9)).all()


def test_what_was_just_measured_or_is_lost_is_as_well_known_as_a_refinement_takes_it() -> None:
    for unseen, lost in ((0.0, 0), (5.0, 1)):
        np.testing.assert_array_equal(_believed(PACE, unseen, rests=0, lost=lost), 4.0e-2 * np.eye(6))


def test_seven_frames_held_from_a_real_motion_are_within_what_is_claimed() -> None:
    """Constant-velocity predictions of a smooth motion against what is learned from it, at all its phases."""
    phase = np.arange(400) / 30.0
    place = np.stack([0.06 * np.sin(2 * phase), 0.03 * np.sin(3 * phase), 0.05 * np.sin(1.5 * phase)], 1)
    velocity = np.diff(place, axis=0)
    off = np.hstack([np.diff(velocity, axis=0), np.zeros((398, 3))])
    moved = np.hstack([velocity[1:], np.zeros((398, 3))])
    ratios = []
    for k in range(60, 380, 7):
        pace = _pace(rests=0)
        wp.launch(_learn, 1, [pace, _vectors(moved[:k]), _vectors(off[:k])], device="cpu")
        learned_pace = pace.numpy()[0]
        believed = _believed((*learned_pace["surprise"], *learned_pace["speed"]), 7.0, rests=0)
        error = place[k + 8] - place[k + 1] - 7 * velocity[k]
        ratios.append(error @ error / np.trace(believed[:3, :3]))
    assert 0.3 < np.mean(ratios) < 2.0
