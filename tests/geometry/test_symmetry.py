"""Symmetries against the definitions of the BOP challenge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dr_perception.geometry import (
    ContinuousSymmetry,
    Symmetries,
    angle_between,
    invert,
    make_transform,
    perturb,
    random_rotation,
    transform_points,
)

HALF_TURN_MM = [-1, 0, 0, 20, 0, -1, 0, 40, 0, 0, 1, 0, 0, 0, 0, 1]
ENTRY = {
    "diameter": 100.0,
    "symmetries_discrete": [HALF_TURN_MM],
    "symmetries_continuous": [{"axis": [0, 0, 2], "offset": [10.0, 20.0, 0.0]}],
}


def random_pose(rng: np.random.Generator) -> np.ndarray:
    return make_transform(random_rotation(rng), rng.uniform(-1, 1, 3))


def test_no_symmetry() -> None:
    none = Symmetries.none()
    assert not none.is_symmetric
    np.testing.assert_array_equal(none.transforms(), np.eye(4)[None])
    T = random_pose(np.random.default_rng(0))
    np.testing.assert_array_equal(none.closest(np.eye(4), T), T)


def test_models_info_is_read_in_metres() -> None:
    symmetries = Symmetries.from_models_info(ENTRY)
    assert symmetries.is_symmetric
    np.testing.assert_allclose(symmetries.discrete[0, :3, 3], [0.02, 0.04, 0.0])
    np.testing.assert_allclose(symmetries.continuous[0].axis, [0, 0, 1])
    np.testing.assert_allclose(symmetries.continuous[0].offset, [0.01, 0.02, 0.0])
    assert not Symmetries.from_models_info({"diameter": 1.0}).is_symmetric


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"symmetries_discrete": [[1.0] * 12]}, r"symmetries_discrete\[0\] must be 16 numbers, got 12"),
        ({"symmetries_discrete": [[2.0] * 16]}, "discrete symmetry 0 must be a rigid transform"),
        ({"symmetries_continuous": [{"axis": [0, 0, 0]}]}, "axis of a continuous symmetry must not be zero"),
        ({"symmetries_continuous": [{"axis": [0, 1]}]}, "must be 3 finite numbers"),
    ],
)
def test_bad_entries_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Symmetries.from_models_info(entry)


def bop_set(entry: dict[str, Any], step: float) -> np.ndarray:
    """The definition of the challenge spelled out once more, in metres: each discrete one, then each turn."""
    discrete = [np.eye(4)] + [
        np.reshape(s, (4, 4)).astype(float) for s in entry.get("symmetries_discrete", [])
    ]
    count = int(np.ceil(np.pi / step))
    turns = []
    for symmetry in entry.get("symmetries_continuous", []):
        axis, offset = np.array(symmetry["axis"], float), np.array(symmetry["offset"], float)
        for i in range(count):
            R = Rotation.from_rotvec(2 * np.pi * i / count * axis / np.linalg.norm(axis)).as_matrix()
            turns.append(make_transform(R, offset - R @ offset))
    out = np.array([turn @ d for d in discrete for turn in (turns or [np.eye(4)])])
    out[:, :3, 3] /= 1000
    return out


@pytest.mark.parametrize("step", [0.01, 0.015, 0.3])
@pytest.mark.parametrize("dropped", [None, "symmetries_discrete", "symmetries_continuous"])
def test_finite_set_is_that_of_bop(step: float, dropped: str | None) -> None:
    entry = {key: value for key, value in ENTRY.items() if key != dropped}
    np.testing.assert_allclose(
        Symmetries.from_models_info(entry).transforms(step), bop_set(entry, step), atol=1e-12
    )


def test_default_step_moves_the_farthest_point_by_at_most_a_hundredth_of_the_diameter() -> None:
    turns = Symmetries(continuous=(ContinuousSymmetry(np.array([0, 0, 1.0])),)).transforms()
    assert len(turns) == 315
    rim = transform_points(turns, np.array([0.5, 0.0, 0.0]))  # diameter 1
    gaps = np.linalg.norm(rim - np.roll(rim, 1, axis=0), axis=1)
    assert 0.0099 < gaps.max() <= 0.01


def test_step_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"must be positive, got 0\.0"):
        Symmetries.none().transforms(0.0)


def test_an_axis_leaves_its_own_points_alone(rng: np.random.Generator) -> None:
    axis = ContinuousSymmetry(rng.standard_normal(3), rng.standard_normal(3))
    on_axis = axis.offset + 0.7 * axis.axis
    np.testing.assert_allclose(
        transform_points(axis.turn([0.3, 2.0, -1.0]), on_axis), [on_axis] * 3, atol=1e-12
    )


def test_closest_finds_the_very_symmetry_applied(rng: np.random.Generator) -> None:
    symmetries = Symmetries.from_models_info(ENTRY)
    for _ in range(20):
        T = random_pose(rng)
        S = symmetries.continuous[0].turn(rng.uniform(-np.pi, np.pi))
        if rng.random() < 0.5:
            S = S @ symmetries.discrete[0]
        np.testing.assert_allclose(symmetries.closest(T @ S, T), T @ S, atol=1e-9)


def test_closest_is_nearer_than_any_of_a_fine_set(rng: np.random.Generator) -> None:
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    symmetries = Symmetries(flip[None], (ContinuousSymmetry(np.array([0, 0, 1.0]), np.array([0.01, 0, 0])),))
    fine = symmetries.transforms(0.002)
    for _ in range(20):
        T_ref, T_est = random_pose(rng), random_pose(rng)
        best = symmetries.closest(T_est, T_ref)
        every = angle_between(T_est[:3, :3], (T_ref @ fine)[:, :3, :3]).min()
        assert angle_between(T_est[:3, :3], best[:3, :3]) <= every + 1e-9
        assert angle_between(T_est[:3, :3], best[:3, :3]) == pytest.approx(every, abs=1e-3)


def test_closest_of_discrete_symmetries_alone(rng: np.random.Generator) -> None:
    quarter = [ContinuousSymmetry(np.array([0, 0, 1.0])).turn(k * np.pi / 2) for k in (1, 2, 3)]
    symmetries = Symmetries(np.array(quarter))
    T = random_pose(rng)
    T_est = perturb(T @ quarter[1], 0.01, 0.2, rng)
    np.testing.assert_allclose(symmetries.closest(T_est, T), T @ quarter[1], atol=1e-12)


def test_two_axes_make_a_sphere(rng: np.random.Generator) -> None:
    center = np.array([0.1, -0.2, 0.3])
    axes = [ContinuousSymmetry(a, center + 0.5 * np.array(a)) for a in ([1.0, 0, 0], [0, 1.0, 1.0])]
    symmetries = Symmetries(continuous=tuple(axes))
    T_ref, T_est = random_pose(rng), random_pose(rng)
    best = symmetries.closest(T_est, T_ref)
    np.testing.assert_allclose(best[:3, :3], T_est[:3, :3], atol=1e-12)
    np.testing.assert_allclose(transform_points(invert(T_ref) @ best, center), center, atol=1e-12)


def test_shape_of_the_discrete_list_is_checked() -> None:
    with pytest.raises(ValueError, match=r"shape \(N, 4, 4\), got \(4, 4\)"):
        Symmetries(np.eye(4))
