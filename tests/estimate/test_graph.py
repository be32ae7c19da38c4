"""The graph against independent references: differences, SciPy's solver, the full dense matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from problems import PROBLEMS, SIGMA, errors, moving_camera, residuals, rig, stepped
from scipy.optimize import least_squares

from dr_perception.estimate.blocks import Layout, Values
from dr_perception.estimate.chain import Chain, FixedLink, JointLink, PoseLink
from dr_perception.estimate.elimination import Dense, OpenDirection, Schur
from dr_perception.estimate.factors import Belief, PoseFactors, Quadratic
from dr_perception.estimate.graph import Graph, Stopping
from dr_perception.geometry.se3 import local, make_transform, perturb, random_rotation, retract

EXACT = Stopping(decrement=1e-16)


def make(kind: str, seed: int = 0):
    problem = PROBLEMS[kind](np.random.default_rng(seed))
    return problem, Graph(problem.start.layout, problem.factors)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_errors_and_derivatives_are_those_of_differences(kind: str) -> None:
    problem, graph = make(kind)
    step = 1e-6
    for group, columns in zip(graph.factors, graph.columns, strict=True):
        e, J = group.evaluate(problem.start, columns)
        np.testing.assert_allclose(e, errors(group, problem.start), atol=1e-12)
        whole = np.zeros((*e.shape, graph.layout.size))
        for i, (row, places) in enumerate(zip(J, columns, strict=True)):
            for place, column in zip(places, row.T, strict=True):
                whole[i, :, place] += column
        for k, d in enumerate(step * np.eye(graph.layout.size)):
            ends = [errors(group, stepped(problem.start, sign * d)) for sign in (1.0, -1.0)]
            np.testing.assert_allclose(whole[..., k], (ends[0] - ends[1]) / (2.0 * step), atol=1e-7)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_objective_and_gradient(kind: str) -> None:
    problem, graph = make(kind)
    here = graph.linearise(problem.start)
    shift = np.sum(residuals(problem.factors, problem.truth) ** 2) - graph.linearise(problem.truth).objective
    assert here.objective + shift == pytest.approx(np.sum(residuals(problem.factors, problem.start) ** 2))
    for d in np.random.default_rng(1).normal(size=(3, graph.layout.size)) * 1e-7:
        ends = [graph.linearise(stepped(problem.start, s * d)).objective for s in (1.0, -1.0)]
        assert 2.0 * here.g @ d == pytest.approx(0.5 * (ends[0] - ends[1]), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", PROBLEMS)
def test_solutions_and_covariances_are_those_of_scipy(kind: str, seed: int) -> None:
    problem, graph = make(kind, seed)
    solution = graph.solve(problem.start, EXACT)
    assert solution.converged
    reference = (
        least_squares(
            lambda x: residuals(problem.factors, stepped(problem.start, x * scale)),
            np.zeros(graph.layout.size),
            jac="3-point",
            method="lm",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        if (scale := 1e-3)
        else None
    )
    found = stepped(problem.start, reference.x * scale)
    sigma = np.sqrt(solution.covariance(graph.layout.names).diagonal())
    assert (np.abs(solution.values.difference(found)) < 1e-3 * sigma).all()

    step = 1e-6
    J = np.stack(
        [
            residuals(problem.factors, stepped(found, d)) - residuals(problem.factors, stepped(found, -d))
            for d in step * np.eye(graph.layout.size)
        ],
        axis=1,
    ) / (2.0 * step)
    expected = np.linalg.inv(J.T @ J)
    difference = solution.covariance(graph.layout.names) - expected
    assert (np.abs(difference) < 2e-4 * sigma[:, None] * sigma).all()


def test_marginal_covariances_are_parts_of_the_whole() -> None:
    problem, graph = make("arm")
    solution = graph.solve(problem.start)
    whole = solution.inverse
    rows = graph.layout.span(["slide", "base"])
    np.testing.assert_array_equal(solution.covariance(["slide", "base"]), whole[np.ix_(rows, rows)])
    np.testing.assert_array_equal(
        solution.covariance(["slide"], ["base"]), solution.covariance(["base"], ["slide"]).T
    )
    assert solution.covariance(["slide"], ["base"]).shape == (1, 6)


@pytest.mark.parametrize("kind", ["moving camera", "rig", "arm"])
def test_poses_of_chains_have_the_covariance_of_their_blocks(kind: str) -> None:
    """By differences of the chain's poses."""
    problem, graph = make(kind)
    solution = graph.solve(problem.start)
    group = problem.factors[0] if kind != "arm" else problem.factors[2]
    T, covariance = solution.poses_of(group.chain)
    step = 1e-6
    for i, pose in enumerate(T):
        columns = []
        for d in step * np.eye(graph.layout.size):
            ends = [retract(group.T[i], errors(group, stepped(solution.values, s * d))[i]) for s in (1, -1)]
            columns.append((local(pose, ends[0]) - local(pose, ends[1])) / (2.0 * step))
        A = np.stack(columns, axis=1)
        np.testing.assert_allclose(covariance[i], A @ solution.inverse @ A.T, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_eliminating_blocks_changes_nothing(damping: float) -> None:
    problem = rig(np.random.default_rng(4))
    names = [f"object {k}" for k in range(4)]
    problem_factors = (
        *problem.factors[:2],
        *(Belief.of_pose(n, problem.truth.pose(n), np.diag(SIGMA**-2.0)) for n in names),
    )
    dense = Graph(problem.start.layout, problem_factors)
    schur = Graph(problem.start.layout, problem_factors, eliminate=names)
    here = dense.linearise(problem.start)
    steps = [graph.factorise(here, damping).solve(here.g) for graph in (dense, schur)]
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-8, atol=1e-12)
    a, b = dense.solve(problem.start), schur.solve(problem.start)
    np.testing.assert_allclose(a.values.T, b.values.T, atol=1e-12)
    scale = np.sqrt(a.inverse.diagonal())
    np.testing.assert_allclose(
        a.inverse / scale[:, None] / scale, b.inverse / scale[:, None] / scale, atol=1e-9
    )


def test_blocks_that_meet_cannot_be_eliminated_together() -> None:
    problem = moving_camera(np.random.default_rng(5))
    with pytest.raises(ValueError, match="joins"):
        Graph(problem.start.layout, problem.factors, eliminate=["camera", "object 0"])
    layout = Layout(["a"], {"b": 2})
    with pytest.raises(ValueError, match="one length"):
        Graph(layout, [], eliminate=["a", "b"])
    with pytest.raises(KeyError, match="nobody"):
        Graph(layout, [], eliminate=["nobody"])
    with pytest.raises(ValueError, match="twice"):
        Layout(["a"], {"a": 2})


@pytest.mark.parametrize("seed", range(10))
def test_the_robust_objective_never_rises(seed: int) -> None:
    """From far off, with half of the measurements wrong."""
    rng = np.random.default_rng(seed)
    problem = moving_camera(rng, objects=6, outlier_chi2=12.0)
    seen = problem.factors[0]
    for i in range(3):
        seen.T[i] = perturb(seen.T[i], 0.1, 1.0, rng)
    start = Values(
        problem.start.layout, np.stack([perturb(T, 0.2, 1.0, rng) for T in problem.start.T]), np.zeros(0)
    )
    graph = Graph(start.layout, problem.factors)
    objectives = [
        graph.solve(start, Stopping(decrement=1e-9, iterations=n)).linearised.objective for n in range(40)
    ]
    assert all(b <= a for a, b in itertools.pairwise(objectives))
    assert graph.solve(start, Stopping(decrement=1e-9, iterations=200)).converged


def test_a_target_out_of_reach_is_approached_without_overshooting() -> None:
    """An arm of one metre that should reach five metres far: Gauss-Newton alone would swing about."""
    tip = FixedLink(make_transform(np.eye(3), np.array([1.0, 0.0, 0.0]))[None])
    reach = Chain((JointLink(("joint",), (0.0, 0.0, 1.0)), tip))
    target = make_transform(np.eye(3), np.array([5.0, 0.0, 0.0]))[None]
    place = Quadratic(np.diag([1e4, 1e4, 1e4, 0.0, 0.0, 0.0])[None])
    values = Values.of({}, {"joint": 0.5})
    graph = Graph(values.layout, [PoseFactors(reach, target, place)])
    plain = values.moved(-graph.factorise(graph.linearise(values)).solve(graph.linearise(values).g))
    assert graph.linearise(plain).objective > graph.linearise(values).objective
    objectives = [graph.solve(values, Stopping(1e-9, n)).linearised.objective for n in range(40)]
    assert all(b <= a for a, b in itertools.pairwise(objectives))
    solution = graph.solve(values, Stopping(1e-9, 200))
    assert solution.converged and abs(solution.values.vector("joint")[0]) < 1e-5


def test_a_wrong_measurement_loses_its_weight() -> None:
    """The robust optimum is SciPy's."""
    rng = np.random.default_rng(3)
    problem = moving_camera(rng, objects=4, outlier_chi2=12.0)
    seen = problem.factors[0]
    seen.T[1] = perturb(seen.T[1], 0.01, 0.05, rng)
    graph = Graph(problem.start.layout, problem.factors)
    solution = graph.solve(problem.start, Stopping(decrement=1e-12, iterations=200))
    assert solution.chi2[0][1] > 12.0 and (np.delete(solution.chi2[0], 1) < 12.0 * 3.0).all()
    reference = least_squares(
        lambda x: residuals(problem.factors, stepped(solution.values, x)),
        np.zeros(graph.layout.size),
        x_scale="jac",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    )
    sigma = np.sqrt(solution.inverse.diagonal())
    assert (np.abs(reference.x) < 0.02 * sigma).all()


def test_what_nothing_fixes_is_reported() -> None:
    """Without priors, everything may move together."""
    problem = rig(np.random.default_rng(6), cameras=1)
    seen = problem.factors[0]
    graph = Graph(problem.start.layout, [seen, problem.factors[1]])
    solution = graph.solve(problem.start)
    assert (solution.chi2[0] < 40.0).all()
    objects = [f"object {k}" for k in range(4)]
    reduced = Graph(graph.layout, graph.factors, eliminate=objects).solve(problem.start)
    for found in (solution, reduced):
        with pytest.raises(ValueError, match="open"):
            found.covariance(["rig"])
    free = solution.open_directions()
    assert free.shape[1] == 6
    for direction in free.T:
        along = direction * 1e-4 / np.abs(direction).max()
        moved = graph.linearise(stepped(solution.values, along)).objective
        assert moved - solution.linearised.objective < 1e-3 * (
            along @ np.diag(solution.linearised.H.diagonal()) @ along
        )
    held = Graph(problem.start.layout, problem.factors).solve(problem.start)
    assert held.open_directions().shape[1] == 0


def test_a_block_that_no_factor_sees_stays() -> None:
    T = perturb(np.eye(4), 0.1, 0.1, np.random.default_rng(7))
    values = Values.of({"seen": np.eye(4), "unseen": T}, {"x": [1.0, 2.0]})
    graph = Graph(values.layout, [Belief.of_pose("seen", T, np.eye(6))])
    solution = graph.solve(values, EXACT)
    np.testing.assert_allclose(solution.values.pose("seen"), T, atol=1e-9)
    np.testing.assert_array_equal(solution.values.pose("unseen"), T)
    np.testing.assert_array_equal(solution.values.vector("x"), [1.0, 2.0])
    with pytest.raises(ValueError, match="unseen"):
        solution.covariance(["seen"])
    with pytest.raises(KeyError, match="nobody"):
        solution.covariance(["nobody"])


def test_what_rounding_leaves_is_not_taken_for_knowledge() -> None:
    H = np.array([[1.0, 1.0], [1.0, 1.0 + 4e-16]])
    with pytest.raises(OpenDirection):
        Dense(H)
    with pytest.raises(OpenDirection) as caught:
        Schur(H, np.array([[0]]))
    assert caught.value.args == (1,)


@pytest.mark.parametrize("gap", range(3))
def test_the_open_block_is_named_whether_it_is_eliminated_or_not(gap: int) -> None:
    """One of three poses has a prior that says nothing about its turn about one axis."""
    names = ("a", "b", "c")
    factors = []
    for i, name in enumerate(names):
        H = np.diag(SIGMA**-2.0)
        if i == gap:
            H[4, 4] = 0.0
        factors.append(Belief.of_pose(name, np.eye(4), H))
    layout = Layout(["rest", *names])
    factors.append(Belief.of_pose("rest", np.eye(4), np.eye(6)))
    values = Values(layout, np.stack([np.eye(4)] * 4), np.zeros(0))
    for eliminated in ((), names, ("rest",)):
        solution = Graph(layout, factors, eliminate=eliminated).solve(values)
        with pytest.raises(ValueError, match=f"'{names[gap]}'"):
            solution.covariance(["rest"])


def test_evidence_moves_a_body_by_its_normal_equations() -> None:
    """Also a body of revolution, whose turn nothing measures; at the solution chi^2 is zero."""
    rng = np.random.default_rng(8)
    T = perturb(np.eye(4), 0.2, 0.5, rng)
    J = rng.normal(size=(4, 6)) / SIGMA
    r = rng.normal(size=4)
    evidence = Quadratic.of_evidence((J.T @ J)[None], (J.T @ r)[None], outlier_chi2=20.0)
    body = PoseFactors(Chain((PoseLink(("body",)),)), T[None], evidence)
    weak = Belief.of_pose("body", T, 1e-6 * np.diag(SIGMA**-2.0))
    solution = Graph(Layout(["body"]), [body, weak]).solve(Values.of({"body": T}), EXACT)
    expected = np.linalg.lstsq(J * SIGMA, r, rcond=None)[0] * SIGMA
    np.testing.assert_allclose(local(T, solution.values.pose("body")), expected, atol=1e-3 * SIGMA.min())
    assert solution.chi2[0][0] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="of_evidence"):
        Quadratic(evidence.H, evidence.g, outlier_chi2=20.0)
    far = PoseFactors(body.chain, retract(T, 50.0 * SIGMA)[None], evidence)
    assert Graph(Layout(["body"]), [far]).linearise(Values.of({"body": T})).chi2[0][0] > 20.0


def test_single_precision_does_not_count_as_evidence() -> None:
    """What rounding puts into the directions that nothing measures is not in chi^2."""
    rng = np.random.default_rng(10)
    for _ in range(20):
        J, r = rng.normal(size=(4, 6)) / SIGMA, rng.normal(size=4)
        H, g = (a.astype(np.float32).astype(np.float64)[None] for a in (J.T @ J, J.T @ r))
        assert Quadratic.of_evidence(H, g).least == pytest.approx(r @ r, rel=1e-3)
    H, g = np.diag([4.0, 1.0, 1e-9, 0.0])[None], np.array([[2.0, 1.0, 0.0, 1e-9]])
    H[0, 1, 2] = H[0, 2, 1] = np.sqrt(1e-9) * (1.0 - 1e-12)
    g[0, 2] = -np.sqrt(1e-9)
    assert Quadratic.of_evidence(H, g).least == pytest.approx(1.0, abs=1e-9)


def test_a_weighted_far_error_turns_by_the_whole_angle() -> None:
    """Half a turn off, the exact derivative still leads home."""
    rng = np.random.default_rng(9)
    for _ in range(5):
        T = np.eye(4)
        T[:3, :3] = random_rotation(rng)
        values = Values.of({"body": perturb(T, 0.5, 2.8, rng)})
        solution = Graph(values.layout, [Belief.of_pose("body", T, np.diag(SIGMA**-2.0))]).solve(
            values, EXACT
        )
        np.testing.assert_allclose(solution.values.pose("body"), T, atol=1e-8)
