"""Rows and their sums, and the small matrices that they become."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from dr_perception.device.evidence import NUM_SUMS, Sums, add_row, add_sums, joint_sums
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.spd import cholesky, inverse_spd, is_positive, positive_part

wp.set_module_options({"max_unroll": 1})  # as `spd`: it would take long to compile

RNG = np.random.default_rng(5)


@wp.kernel(enable_backward=False)
def sum_rows(
    directions: wp.array[wp.vec3],
    arms: wp.array[wp.vec3],
    residuals: wp.array[float],
    weights: wp.array[float],
    # output
    total: wp.array3d[float],
):
    i = wp.tid()
    sums = add_row(Sums(), directions[i], arms[i], residuals[i], weights[i])
    add_sums(i % 2, i % 3, sums, total)


@wp.kernel(enable_backward=False)
def join(
    total: wp.array3d[float],
    # output
    joint: wp.array2d[float],
):
    problem = wp.tid()
    sums = joint_sums(total, problem)
    for k in range(NUM_SUMS):
        joint[problem, k] = sums[k]


def test_rows_become_normal_equations_by_problem_and_modality() -> None:
    n = 60
    a, arm = RNG.normal(size=(2, n, 3))
    r, w = RNG.normal(size=n), RNG.uniform(0.1, 2.0, n)
    total = wp.zeros((2, 3, NUM_SUMS), dtype=float, device="cpu")
    inputs = [wp.array(x.astype(np.float32), dtype=wp.vec3, device="cpu") for x in (a, arm)]
    inputs += [wp.array(x.astype(np.float32), dtype=float, device="cpu") for x in (r, w)]
    wp.launch(sum_rows, n, inputs, [total], device="cpu")
    J = np.hstack([a, np.cross(arm, a)])
    for problem in range(2):
        for modality in range(3):
            k = np.arange(n)[(np.arange(n) % 2 == problem) & (np.arange(n) % 3 == modality)]
            H, g = (J[k].T * w[k]) @ J[k], (J[k].T * w[k]) @ r[k]
            sums = total.numpy()[problem, modality]
            np.testing.assert_allclose(sums[:21], H[np.triu_indices(6)], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(sums[21:27], g, rtol=1e-4, atol=1e-4)
            assert not sums[27:].any()
    joint = wp.zeros((2, NUM_SUMS), dtype=float, device="cpu")
    wp.launch(join, 2, [total], [joint], device="cpu")
    np.testing.assert_allclose(joint.numpy(), total.numpy().sum(axis=1), rtol=1e-5, atol=1e-5)


@wp.kernel(enable_backward=False)
def decompose(
    matrices: wp.array[wp.spatial_matrixd],
    least: wp.float64,
    # output
    factor: wp.array[wp.spatial_matrixd],
    inverse: wp.array[wp.spatial_matrixd],
    part: wp.array[wp.spatial_matrixd],
    positive: wp.array[int],
):
    i = wp.tid()
    factor[i] = cholesky(matrices[i], least)
    inverse[i] = inverse_spd(matrices[i])
    part[i] = positive_part(matrices[i])
    positive[i] = int(is_positive(matrices[i]))


def decomposed(A: np.ndarray, least: float = 1e-30):
    """Factor, inverse, positive part (6, 6) and whether a matrix is positive definite."""
    outputs = [wp.zeros(1, dtype=wp.spatial_matrixd, device="cpu") for _ in range(3)]
    outputs.append(wp.zeros(1, dtype=int, device="cpu"))
    given = wp.array(A[None], dtype=wp.spatial_matrixd, device="cpu")
    wp.launch(decompose, 1, [given, least], outputs, device="cpu")
    return [out.numpy()[0] for out in outputs]


def with_eigenvalues(values) -> np.ndarray:
    Q, _ = np.linalg.qr(RNG.normal(size=(6, 6)))
    A = Q * np.asarray(values) @ Q.T
    return 0.5 * (A + A.T)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8])
def test_positive_definite_matrices_are_factored_and_inverted(condition: float) -> None:
    A = with_eigenvalues(np.geomspace(1.0, condition, 6))
    L, inverse, part, positive = decomposed(A)
    np.testing.assert_allclose(L @ L.T, A, rtol=1e-9, atol=1e-12 * condition)
    assert not np.triu(L, 1).any()
    np.testing.assert_allclose(inverse @ A, np.eye(6), atol=1e-14 * condition + 1e-12)
    np.testing.assert_array_equal(part, A)
    assert positive == 1


@pytest.mark.parametrize(
    "values", [[-3, -1, 0.5, 1, 2, 4], [-1e-3, 1, 1, 2, 3, 4], [-5, -4, -3, -2, -1, -0.1]]
)
def test_the_positive_part_drops_negative_eigenvalues_alone(values) -> None:
    A = with_eigenvalues(values)
    eigenvalues, V = np.linalg.eigh(A)
    _, _, part, positive = decomposed(A)
    np.testing.assert_allclose(part, V * np.maximum(eigenvalues, 0.0) @ V.T, atol=1e-12)
    assert positive == 0


def test_pivots_of_a_singular_matrix_stay_above_the_least() -> None:
    A = np.diag([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    L, inverse, _, positive = decomposed(A, least=1e-6)
    assert L[2, 2] == pytest.approx(1e-3) and positive == 0
    assert np.isfinite(inverse).all() and inverse[2, 2] > 1e10
    np.testing.assert_allclose(inverse[:2, :2], np.eye(2))


def test_poses_are_set_and_read_as_they_are() -> None:
    T = np.tile(np.eye(4), (3, 1, 1))
    T[:, :3, :3] = np.linalg.qr(RNG.normal(size=(3, 3, 3)))[0]
    T[:, :3, 3] = RNG.normal(size=(3, 3))
    poses = PoseArrays(3, "cpu")
    poses.set(T)
    np.testing.assert_allclose(poses.get(), T, atol=1e-6)
    np.testing.assert_allclose(poses.R.array.numpy()[:, 0], T[:, :3, :3], atol=1e-6)
    np.testing.assert_allclose(poses.t.array.numpy()[:, 0], T[:, :3, 3], atol=1e-6)
    assert poses.active.numpy().tolist() == [1, 1, 1]
