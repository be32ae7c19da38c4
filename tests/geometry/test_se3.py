"""What the rigid motions promise, at ordinary angles, near none and near a half turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dr_perception import geometry as g

BATCHES = [(), (1,), (3, 1, 2)]
seeds = st.integers(0, 2**32 - 1)
angles = st.one_of(
    st.floats(0.0, np.pi),
    st.sampled_from(
        [0.0, 1e-12, 1e-9, 1e-7, 9.99e-4, 1.001e-3, np.pi - 1e-3, np.pi - 1e-7, np.pi - 1e-9, np.pi]
    ),
)


def rotation_vector(seed: int, angle: float) -> np.ndarray:
    direction = np.random.default_rng(seed).standard_normal(3)
    return angle * direction / np.linalg.norm(direction)


def random_poses(rng: np.random.Generator, batch: tuple[int, ...]) -> np.ndarray:
    return g.make_transform(g.exp_so3(rng.uniform(-3, 3, (*batch, 3))), rng.uniform(-1, 1, (*batch, 3)))


@given(seeds, angles)
def test_exp_agrees_with_scipy(seed: int, angle: float) -> None:
    w = rotation_vector(seed, angle)
    np.testing.assert_allclose(g.exp_so3(w), Rotation.from_rotvec(w).as_matrix(), atol=1e-14)


@given(seeds, angles)
def test_log_inverts_exp_at_every_angle(seed: int, angle: float) -> None:
    w = rotation_vector(seed, angle)
    back = g.log_so3(g.exp_so3(w))
    if angle > np.pi - 1e-6:  # the sign of the axis is free at a half turn
        np.testing.assert_allclose(g.exp_so3(back), g.exp_so3(w), atol=1e-12)
        assert np.linalg.norm(back) == pytest.approx(angle, abs=1e-9)
    else:
        np.testing.assert_allclose(back, w, atol=1e-12, rtol=1e-9)


def test_log_keeps_tiny_rotations() -> None:
    w = np.array([3e-9, -4e-9, 1.2e-8])
    np.testing.assert_allclose(g.log_so3(g.exp_so3(w)), w, rtol=1e-12)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-1, 2, -3)])
def test_log_of_a_half_turn_is_finite_and_right(axis: tuple[float, ...]) -> None:
    w = np.pi * np.array(axis) / np.linalg.norm(axis)
    np.testing.assert_allclose(g.exp_so3(g.log_so3(g.exp_so3(w))), g.exp_so3(w), atol=1e-14)


@pytest.mark.parametrize("batch", BATCHES)
def test_local_inverts_retract(batch: tuple[int, ...], rng: np.random.Generator) -> None:
    T = random_poses(rng, batch)
    xi = rng.uniform(-1.5, 1.5, (*batch, 6))
    np.testing.assert_allclose(g.local(T, g.retract(T, xi)), xi, atol=1e-12)


def test_tangent_convention_is_decoupled_and_along_the_parent_axes(rng: np.random.Generator) -> None:
    T = random_poses(rng, ())
    v, w = np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.0, np.pi / 2])
    moved = g.retract(T, np.concatenate([v, w]))
    np.testing.assert_allclose(moved[:3, 3], T[:3, 3] + v)
    quarter_turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(moved[:3, :3], quarter_turn @ T[:3, :3], atol=1e-15)


def test_retract_has_the_derivative_of_a_rigid_motion(rng: np.random.Generator) -> None:
    T, p = random_poses(rng, ()), rng.uniform(-1, 1, 3)
    arm = T[:3, :3] @ p
    expected = np.concatenate([np.eye(3), -g.hat(arm)], axis=1)  # v + w x arm
    h = 1e-6
    steps = h * np.eye(6)
    moved = [g.transform_points(g.retract(T, s), p) - g.transform_points(g.retract(T, -s), p) for s in steps]
    np.testing.assert_allclose(np.stack(moved, axis=1) / (2 * h), expected, atol=1e-9)


@pytest.mark.parametrize("batch", BATCHES)
def test_inverse_undoes(batch: tuple[int, ...], rng: np.random.Generator) -> None:
    T = random_poses(rng, batch)
    np.testing.assert_allclose(g.invert(T) @ T, np.broadcast_to(np.eye(4), T.shape), atol=1e-14)


@pytest.mark.parametrize("batch", BATCHES)
def test_transform_points_takes_frame_b_to_frame_a(batch: tuple[int, ...], rng: np.random.Generator) -> None:
    T, p = random_poses(rng, batch), rng.uniform(-1, 1, (5, 3))
    homogeneous = np.concatenate([p, np.ones((5, 1))], axis=1)
    expected = np.einsum("...ij,nj->...ni", T, homogeneous)[..., :3]
    np.testing.assert_allclose(g.transform_points(T, p), expected, atol=1e-14)
    np.testing.assert_allclose(g.transform_points(T, p[0]), expected[..., 0, :], atol=1e-14)


@pytest.mark.parametrize("batch", BATCHES)
def test_quaternions_are_xyzw_and_round_trip(batch: tuple[int, ...], rng: np.random.Generator) -> None:
    R = random_poses(rng, batch)[..., :3, :3]
    q = g.quaternion_from_matrix(R)
    assert q.shape == (*batch, 4)
    assert np.all(q[..., 3] >= 0)
    np.testing.assert_allclose(g.matrix_from_quaternion(q), R, atol=1e-14)
    expected = Rotation.from_matrix(R.reshape(-1, 3, 3)).as_quat(canonical=True).reshape(q.shape)
    np.testing.assert_allclose(q, expected, atol=1e-14)


def test_quaternion_of_zero_norm_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quaternion .* got \[0\.0, 0\.0, 0\.0, 0\.0\]"):
        g.matrix_from_quaternion(np.zeros(4))


@given(seeds, angles)
def test_angle_between_is_the_angle_turned(seed: int, angle: float) -> None:
    R = g.random_rotation(np.random.default_rng(seed + 1))
    turned = g.exp_so3(rotation_vector(seed, angle)) @ R
    assert g.angle_between(turned, R) == pytest.approx(angle, abs=1e-9)


def test_interpolation_meets_its_ends_and_halves_the_way(rng: np.random.Generator) -> None:
    T_a = random_poses(rng, ())
    T_b = g.perturb(T_a, 0.4, 2.0, rng)
    np.testing.assert_allclose(g.interpolate(T_a, T_b, 0.0), T_a, atol=1e-14)
    np.testing.assert_allclose(g.interpolate(T_a, T_b, 1.0), T_b, atol=1e-14)
    middle = g.interpolate(T_a, T_b, 0.5)
    assert np.linalg.norm(middle[:3, 3] - T_a[:3, 3]) == pytest.approx(0.2)
    assert g.angle_between(middle[:3, :3], T_b[:3, :3]) == pytest.approx(1.0)
    assert g.interpolate(T_a, T_b, np.linspace(0, 1, 5)).shape == (5, 4, 4)


def test_perturb_moves_by_exactly_what_is_asked(rng: np.random.Generator) -> None:
    T = random_poses(rng, ())
    moved = g.perturb(T, 0.02, 0.3, rng)
    assert np.linalg.norm(moved[:3, 3] - T[:3, 3]) == pytest.approx(0.02)
    assert g.angle_between(moved[:3, :3], T[:3, :3]) == pytest.approx(0.3)


def test_random_rotations_are_uniform(rng: np.random.Generator) -> None:
    R = np.array([g.random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(R.mean(axis=0), np.zeros((3, 3)), atol=0.05)
    # The angle of a uniform rotation has density (1 - cos a) / pi, hence mean pi / 2 + 2 / pi.
    assert g.angle_between(R, np.eye(3)).mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.05)


@pytest.mark.parametrize("batch", BATCHES)
def test_orthonormalize_gives_the_nearest_rotation(batch: tuple[int, ...], rng: np.random.Generator) -> None:
    R = random_poses(rng, batch)[..., :3, :3]
    repaired = g.orthonormalize(R + 1e-3 * rng.standard_normal(R.shape))
    np.testing.assert_allclose(
        repaired @ np.swapaxes(repaired, -1, -2), np.broadcast_to(np.eye(3), R.shape), atol=1e-14
    )
    np.testing.assert_allclose(np.linalg.det(repaired), 1.0)
    assert np.max(g.angle_between(repaired, R)) < 5e-3


def test_orthonormalize_never_reflects() -> None:
    assert np.linalg.det(g.orthonormalize(np.diag([1.0, 1.0, -0.1]))) == pytest.approx(1.0)


def test_check_transform_repairs_rounding_but_not_more(rng: np.random.Generator) -> None:
    T = random_poses(rng, ())
    np.testing.assert_array_equal(g.check_transform(T), T)
    rounded = g.check_transform(np.round(T, 5))
    np.testing.assert_allclose(rounded[:3, :3] @ rounded[:3, :3].T, np.eye(3), atol=1e-14)
    assert g.check_transform(T.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("T", "message"),
    [
        (np.eye(3), r"T_cam_obj must have shape \(4, 4\), got \(3, 3\)"),
        (np.full((4, 4), np.nan), "T_cam_obj must be finite"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), "rigid transform .* determinant -1"),
        (np.diag([2.0, 2.0, 2.0, 1.0]), "rigid transform .* determinant 8"),
        (np.eye(4) + np.eye(4)[[3, 0, 1, 2]].T * np.array([[0], [0], [0], [1.0]]), "last row of T_cam_obj"),
        ("pose", "T_cam_obj must be a 4x4 array of numbers, got 'pose'"),
    ],
)
def test_check_transform_names_what_is_wrong(T: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        g.check_transform(T, "T_cam_obj")  # type: ignore[arg-type]


def test_moving_the_origin_is_a_translation_in_the_moved_frame(rng: np.random.Generator) -> None:
    T = np.stack([g.make_transform(g.random_rotation(rng), rng.standard_normal(3)) for _ in range(4)])
    point = rng.standard_normal(3)
    moved = g.move_origin(T, point)
    np.testing.assert_allclose(moved, T @ g.make_transform(np.eye(3), point), atol=1e-14)
    np.testing.assert_allclose(g.move_origin(moved, -point), T, atol=1e-14)


def test_covariance_about_another_point_is_that_of_the_moved_origin(rng: np.random.Generator) -> None:
    A = rng.standard_normal((6, 6))
    point = np.array([0.3, -0.2, 0.5])
    T = g.make_transform(np.eye(3), np.zeros(3))
    moved = g.make_transform(np.eye(3), point)
    step = 1e-6
    J = np.stack([g.local(moved, g.retract(T, xi) @ moved) for xi in step * np.eye(6)], axis=1) / step
    np.testing.assert_allclose(g.covariance_about(point, A @ A.T), J @ A @ A.T @ J.T, rtol=1e-5)


def test_rotated_covariance_is_that_of_rotated_samples(rng: np.random.Generator) -> None:
    A = rng.standard_normal((6, 6))
    R = g.random_rotation(rng)
    samples = rng.standard_normal((6, 50)) * 0.1
    xi_b = A @ samples
    xi_a = np.concatenate([R @ xi_b[:3], R @ xi_b[3:]])
    np.testing.assert_allclose(g.rotate_covariance(R, xi_b @ xi_b.T), xi_a @ xi_a.T, atol=1e-12)
