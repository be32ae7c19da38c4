"""The pose solver: exact linear algebra, a true objective, priors, and rest where nothing is observed."""

import numpy as np
import pytest
import warp as wp

from dr_perception.device.evidence import COST, NUM_SUMS, Sums, add_row, add_sums
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import record
from dr_perception.estimate.levenberg_marquardt import PosePrior, mat66d, prior_residual, solve_damped, vec6d
from dr_perception.estimate.pose_solver import PoseSolver
from dr_perception.geometry import exp_so3, local, make_transform, random_rotation, retract, transform_points
from dr_perception.measure.robust import tukey_rho, tukey_weight


@wp.kernel(enable_backward=False)
def solve_kernel(
    H: wp.array(dtype=mat66d),
    g: wp.array(dtype=vec6d),
    damping: wp.float64,
    # output
    x: wp.array(dtype=vec6d),
):
    i = wp.tid()
    x[i] = solve_damped(H[i], g[i], damping)


@wp.kernel(enable_backward=False)
def prior_kernel(
    priors: wp.array(dtype=PosePrior),
    R: wp.array(dtype=wp.mat33),
    t: wp.array(dtype=wp.vec3),
    # output
    residual: wp.array(dtype=wp.spatial_vector),
):
    i = wp.tid()
    residual[i] = prior_residual(priors[i], R[i], t[i])


@wp.kernel(enable_backward=False)
def accumulate_points(
    points: wp.array(dtype=wp.vec3),
    targets: wp.array2d(dtype=wp.vec3),
    R: wp.array2d(dtype=wp.mat33),
    t: wp.array2d(dtype=wp.vec3),
    active: wp.array(dtype=int),
    axes: int,
    sigma: float,
    cutoff: float,
    # output
    total: wp.array3d(dtype=float),
):
    """Rows for the distance of points from targets along the last ``axes`` axes."""
    problem = wp.tid()
    if active[problem] == 0:
        return
    sums = Sums()
    for i in range(points.shape[0]):
        arm = R[problem, 0] * points[i]
        p = arm + t[problem, 0]
        for a in range(3 - axes, 3):
            direction = wp.vec3()
            direction[a] = 1.0
            residual = targets[problem, i][a] - p[a]
            s = residual * residual / (sigma * sigma)
            sums[COST] += tukey_rho(s, cutoff * cutoff)
            weight = tukey_weight(s, cutoff * cutoff)
            sums = add_row(sums, direction, arm, residual, weight / (sigma * sigma))
    add_sums(problem, 1, sums, total)


SIGMA, CUTOFF = 0.01, 6.0
NOTHING = np.zeros((6, 6))


class PointProblem:
    """Moves points onto targets; (P, N, 3) targets in metres."""

    def __init__(self, points, targets, start, axes=3):
        n = len(start)
        self.points, self.targets, self.axes = points, targets, axes
        self.poses = PoseArrays(n, "cpu")
        self.solver = PoseSolver(self.poses, n, 2, "cpu")
        inputs = [
            wp.array(points.astype(np.float32), dtype=wp.vec3, device="cpu"),
            wp.array(targets.astype(np.float32), dtype=wp.vec3, device="cpu"),
            *(self.poses.R.array, self.poses.t.array, self.poses.active),
        ]
        self._rows = record(
            accumulate_points, n, [*inputs, axes, SIGMA, CUTOFF], [self.solver.sums.array], "cpu"
        )
        self.start = start

    def run(self, steps, prior=None, information=NOTHING):
        """Poses (P, 4, 4) and the solver's state after a number of steps."""
        self.poses.set(self.start)
        self.solver.set_prior(self.start if prior is None else prior, information)
        for launch in self.solver.launches([self._rows], steps):
            launch()
        sums, problems = self.solver.pull()
        return self.poses.get(), sums.copy(), problems.copy()

    def objective(self, T, prior=None, information=NOTHING):
        """The objective (P,) in float64."""
        moved = np.stack([transform_points(a, self.points) for a in T])
        s = ((self.targets - moved)[..., 3 - self.axes :] / SIGMA) ** 2
        rest = np.maximum(1.0 - s / CUTOFF**2, 0.0)
        cost = (CUTOFF**2 / 3.0 * (1.0 - rest**3)).sum(axis=(1, 2))
        if prior is None:
            return cost
        xi = np.stack([local(a, b) for a, b in zip(T, prior, strict=True)])
        return cost + np.einsum("pi,ij,pj->p", xi, information, xi)


@pytest.fixture
def problem() -> PointProblem:
    """Eight poses some centimetres and tenths of a radian away from their targets, with outliers."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-0.1, 0.1, (40, 3))
    truth = np.stack([make_transform(random_rotation(rng), rng.uniform(-0.3, 0.3, 3)) for _ in range(8)])
    targets = np.stack([transform_points(T, points) for T in truth])
    targets[:, :5] += 0.5
    sigma = np.repeat([0.01, 0.1], 3)
    start = np.stack([retract(T, sigma * rng.normal(size=6)) for T in truth])
    made = PointProblem(points, targets, start)
    made.truth = truth
    return made


def test_solve_damped_agrees_with_linear_algebra() -> None:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(20, 9, 6)) * np.array([1.0, 1.0, 1.0, 0.01, 0.02, 0.05])
    H = np.einsum("pki,pkj->pij", A, A)
    g = np.einsum("pki,pk->pi", A, rng.normal(size=(20, 9)))
    for damping in (0.0, 1.0e-3, 10.0):
        x = wp.zeros(20, dtype=vec6d, device="cpu")
        wp.launch(
            solve_kernel,
            20,
            [
                wp.array(H, dtype=mat66d, device="cpu"),
                wp.array(g, dtype=vec6d, device="cpu"),
                wp.float64(damping),
            ],
            [x],
            device="cpu",
        )
        damped = H + damping * np.einsum("pii->pi", H)[:, :, None] * np.eye(6)
        np.testing.assert_allclose(x.numpy(), np.linalg.solve(damped, g[..., None])[..., 0], rtol=1e-6)


def test_solve_damped_leaves_directions_without_information_alone() -> None:
    H = np.diag([1.0, 0.0, 4.0, 0.0, 0.0, 2.0])
    x = wp.zeros(1, dtype=vec6d, device="cpu")
    g = np.array([1.0, 0.0, 4.0, 0.0, 0.0, 2.0])
    inputs = [wp.array(H[None], dtype=mat66d, device="cpu"), wp.array(g[None], dtype=vec6d, device="cpu")]
    wp.launch(solve_kernel, 1, [*inputs, wp.float64(0.0)], [x], device="cpu")
    np.testing.assert_allclose(x.numpy()[0], [1, 0, 1, 0, 0, 1], atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1.0e-7, 1.0e-3, 0.5, 2.0, 3.1])
def test_prior_residual_leads_from_the_pose_to_the_mean(angle: float) -> None:
    rng = np.random.default_rng(5)
    n = 16
    axes = rng.normal(size=(n, 3))
    xi = np.concatenate(
        [rng.normal(0.0, 0.1, (n, 3)), angle * axes / np.linalg.norm(axes, axis=1)[:, None]], axis=1
    )
    T = np.stack([make_transform(random_rotation(rng), rng.normal(size=3)) for _ in range(n)])
    mean = np.stack([retract(a, b) for a, b in zip(T, xi, strict=True)])
    priors = np.zeros(n, dtype=PosePrior.numpy_dtype())
    priors["R"], priors["t"] = mean[:, :3, :3], mean[:, :3, 3]
    residual = wp.zeros(n, dtype=wp.spatial_vector, device="cpu")
    wp.launch(
        prior_kernel,
        n,
        [
            wp.array(priors, dtype=PosePrior, device="cpu"),
            wp.array(T[:, :3, :3].astype(np.float32), dtype=wp.mat33, device="cpu"),
            wp.array(T[:, :3, 3].astype(np.float32), dtype=wp.vec3, device="cpu"),
        ],
        [residual],
        device="cpu",
    )
    np.testing.assert_allclose(residual.numpy(), xi, atol=2e-6 if angle < 3.0 else 2e-5)


def test_a_batch_converges_to_the_true_poses_despite_outliers(problem: PointProblem) -> None:
    T, sums, state = problem.run(15)
    for found, truth in zip(T, problem.truth, strict=True):
        xi = local(truth, found)
        assert np.abs(xi[:3]).max() < 1e-5 and np.abs(xi[3:]).max() < 1e-4
    assert (state["step"] < 3.0e-5).all()
    assert not problem.poses.active.numpy().any()
    np.testing.assert_allclose(sums[:, 1, 0], 35 / SIGMA**2, rtol=1e-3)


def test_more_steps_never_raise_the_true_objective(problem: PointProblem) -> None:
    information = np.diag(1.0 / np.repeat([0.02, 0.2], 3) ** 2)
    previous = np.full(8, np.inf)
    for steps in (1, 2, 3, 5, 8):
        T, _, state = problem.run(steps, problem.start, information)
        true = problem.objective(T, problem.start, information)
        np.testing.assert_allclose(state["cost"], true, rtol=2e-3, atol=1e-2)
        assert (state["cost"] <= previous * (1.0 + 1e-5) + 1e-3).all()
        previous = state["cost"]


def test_a_step_that_would_raise_the_objective_is_rejected() -> None:
    """Heights of rods that stand nearly upright: the linearisation asks for turns that are far too long."""
    points = np.column_stack([np.linspace(-0.03, 0.03, 20), np.zeros((20, 2))])
    truth = make_transform(exp_so3(np.array([0.0, 0.5, 0.0])), np.zeros(3))
    angles = np.linspace(1.2, 1.55, 12)
    start = np.stack([make_transform(exp_so3(np.array([0.0, a, 0.0])), np.zeros(3)) for a in angles])
    targets = np.repeat(transform_points(truth, points)[None], len(start), axis=0)
    made = PointProblem(points, targets, start, axes=1)
    T, _, state = made.run(20)
    assert state["rejected"].sum() > 0 and (state["accepted"] > 0).all()
    assert (made.objective(T) < 1e-2).all() and (made.objective(start) > 1.0).all()
    costs = np.stack([made.run(steps)[2]["cost"] for steps in range(1, 12)])
    assert (np.diff(costs, axis=0) <= 1e-5 * costs[:-1]).all()


def test_without_rows_the_poses_go_to_the_prior(problem: PointProblem) -> None:
    far = problem.targets + 50.0
    lonely = PointProblem(problem.points, far, problem.start)
    T, _, _ = lonely.run(10, problem.truth, np.diag(1.0 / np.repeat([0.02, 0.2], 3) ** 2))
    for found, mean in zip(T, problem.truth, strict=True):
        assert np.abs(local(mean, found)).max() < 1e-4


def test_prior_and_rows_meet_where_their_information_says() -> None:
    """One point at the origin, three rows: the mean is the information-weighted one."""
    target = np.array([[[0.01, -0.02, 0.03]]]) * 0.1
    made = PointProblem(np.zeros((1, 3)), target, np.eye(4)[None])
    variance = 0.02**2
    T, _, _ = made.run(8, np.eye(4)[None], np.diag(np.r_[np.full(3, 1.0 / variance), np.full(3, 1.0)]))
    rows = 1.0 / SIGMA**2
    np.testing.assert_allclose(T[0, :3, 3], target[0, 0] * rows / (rows + 1.0 / variance), atol=1e-5)


def test_what_no_row_observes_stays_put() -> None:
    """Points of a plane, measured along z only: shifts in the plane and turns about z are free."""
    rng = np.random.default_rng(2)
    points = np.column_stack([rng.uniform(-0.1, 0.1, (50, 2)), np.zeros(50)])
    start = make_transform(np.eye(3), np.array([0.1, 0.2, 0.5]))[None]
    truth = retract(start[0], np.array([0, 0, 0.01, 0.02, -0.03, 0]))
    made = PointProblem(points, transform_points(truth, points)[None], start, axes=1)
    T, sums, _ = made.run(10)
    xi = local(start[0], T[0])
    np.testing.assert_allclose(xi[[0, 1]], 0.0, atol=1e-5)
    assert abs(xi[5]) < 1e-3
    np.testing.assert_allclose(
        transform_points(T[0], points)[:, 2], transform_points(truth, points)[:, 2], atol=1e-5
    )
    assert sums.shape == (1, 2, NUM_SUMS)
    assert not sums[:, 0].any() and sums[:, 1].any()
