"""What remains of blocks that are left free, against the full problem."""

from __future__ import annotations

import numpy as np
import pytest
from problems import moving_camera, window

from dr_perception.estimate.blocks import Values
from dr_perception.estimate.factors import Belief, Quadratic
from dr_perception.estimate.graph import Graph, Stopping
from dr_perception.estimate.marginal import belief, eliminate, marginalise, without

EXACT = Stopping(decrement=1e-18)


def scaled(covariance: np.ndarray) -> np.ndarray:
    sigma = np.sqrt(covariance.diagonal())
    return covariance / sigma[:, None] / sigma


def test_a_window_moves_on_without_losing_anything() -> None:
    """Estimates and covariances of the rest stay those of the full problem."""
    problem = window(np.random.default_rng(0), frames=6)
    graph = Graph(problem.start.layout, problem.factors)
    full = graph.solve(problem.start, EXACT)
    old = ["pose 0", "pose 1", "pose 2"]
    rest = marginalise(graph, full.values, old)
    assert rest.layout.names == ("pose 3", "pose 4", "pose 5", "shift")
    assert [len(columns) for columns in rest.columns] == [3, 2, 1, 1]
    assert rest.factors[-1].mean.layout.names == ("pose 3", "shift")
    start = full.values.kept(rest.layout).moved(1e-3 * np.random.default_rng(1).normal(size=rest.layout.size))
    again = rest.solve(start, EXACT)
    sigma = np.sqrt(full.covariance(rest.layout.names).diagonal())
    assert (np.abs(again.values.difference(full.values.kept(rest.layout))) < 1e-4 * sigma).all()
    np.testing.assert_allclose(scaled(again.inverse), scaled(full.covariance(rest.layout.names)), atol=1e-9)
    np.testing.assert_allclose(np.sqrt(again.inverse.diagonal()), sigma, rtol=1e-8)


def test_normal_equations_of_a_window_away_from_the_optimum() -> None:
    """At the values where it was marginalised, step and matrix are exact, gradient included."""
    problem = window(np.random.default_rng(2), frames=4)
    graph = Graph(problem.start.layout, problem.factors)
    rest = marginalise(graph, problem.start, ["pose 0"])
    here, left = graph.linearise(problem.start), rest.linearise(problem.start.kept(rest.layout))
    expected = eliminate(here.H, here.g, graph.layout.span(["pose 0"]))
    step = np.linalg.solve(here.H, here.g)[graph.layout.span(rest.layout.names)]
    np.testing.assert_allclose(np.linalg.solve(left.H, left.g), step, rtol=1e-7)
    scale = 1.0 / np.sqrt(expected[0].diagonal())
    np.testing.assert_allclose(
        scale[:, None] * left.H * scale, scale[:, None] * expected[0] * scale, atol=1e-12
    )
    np.testing.assert_allclose(scale * left.g, scale * expected[1], rtol=1e-9)


def test_a_fixed_lag_follows_the_full_problem() -> None:
    """Frame by frame with two poses kept, the newest pose is that of all frames together."""
    problem = window(np.random.default_rng(3), frames=7)
    names = [f"pose {i}" for i in range(7)]
    full = Graph(problem.start.layout, problem.factors).solve(problem.start, EXACT)
    evidence, motion, shift = problem.factors
    lag, values = [], None
    for i, name in enumerate(names):
        poses = {n: values.pose(n) for n in (values.layout.poses if values else ())}
        x = values.vector("shift") if values else np.zeros(2)
        start = Values.of({**poses, name: problem.start.pose(name)}, {"shift": x})
        only = np.arange(7) == i
        lag = [*lag, evidence.select(only), *([motion.select(only[1:])] if i else [shift])]
        graph = Graph(start.layout, lag)
        solution = graph.solve(start, EXACT)
        values = solution.values
        if len(values.layout.poses) > 2:
            graph = marginalise(graph, values, [values.layout.poses[0]])
            values, lag = values.kept(graph.layout), list(graph.factors)
    sigma = np.sqrt(full.covariance([names[-1]]).diagonal())
    difference = solution.values.kept(values.layout).difference(full.values.kept(values.layout))[6:12]
    assert (np.abs(difference) < 0.02 * sigma).all()
    np.testing.assert_allclose(solution.covariance([names[-1]]).diagonal(), sigma**2, rtol=1e-2)


def test_elimination_is_the_inverse_of_a_part_of_the_inverse() -> None:
    rng = np.random.default_rng(4)
    A = rng.normal(size=(9, 9))
    H, g = A @ A.T, rng.normal(size=9)
    gone, rest = np.array([7, 1, 4]), np.array([0, 2, 3, 5, 6, 8])
    left, pull = eliminate(H, g, gone)
    np.testing.assert_allclose(np.linalg.inv(left), np.linalg.inv(H)[np.ix_(rest, rest)], rtol=1e-7)
    np.testing.assert_allclose(np.linalg.solve(left, pull), np.linalg.solve(H, g)[rest], rtol=1e-7)


@pytest.mark.parametrize("rows", [3, 4, 6])
def test_open_directions_carry_nothing_over(rows: int) -> None:
    """A camera that sees one object alone says nothing about it, however little it sees."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        J = rng.normal(size=(rows, 6)) * 1e3
        both = np.concatenate([J, -J], axis=1)
        left, pull = eliminate(both.T @ both, both.T @ np.ones(rows), np.arange(6))
        assert np.abs(left).max() < 1e-6 and np.abs(pull).max() < 1e-6


def test_rounding_carries_nothing_over() -> None:
    """Two unknowns of which only the sum is measured, and what they have to do with a third."""
    H = np.array([[1.0, 1.0, 1e-8], [1.0, 1.0 + 4e-16, -1e-8], [1e-8, -1e-8, 10.0]])
    left, pull = eliminate(H, np.array([1e-8, -1e-8, 1.0]), np.array([0, 1]))
    assert left[0, 0] == pytest.approx(10.0, abs=1e-6) and pull[0] == pytest.approx(1.0, abs=1e-6)


def test_eliminating_what_nothing_sees_changes_nothing() -> None:
    left, pull = eliminate(np.zeros((3, 3)), np.zeros(3), np.array([1]))
    assert not left.any() and not pull.any()


def test_measurements_say_nothing_about_where_everything_is_together() -> None:
    problem = moving_camera(np.random.default_rng(6))
    graph = Graph(problem.start.layout, problem.factors)
    objects = [f"object {k}" for k in range(3)]
    relative = belief(graph, graph.linearise(problem.truth), objects, groups=[0])
    assert relative.mean.layout.names == tuple(objects)
    common = np.zeros((18, 6))
    for k in range(3):
        for j, xi in enumerate(np.eye(6)):
            common[6 * k : 6 * k + 3, j] = xi[:3] + np.cross(xi[3:], problem.truth.T[k + 1, :3, 3])
            common[6 * k + 3 : 6 * k + 6, j] = xi[3:]
    H = relative.quadratic.H[0]
    assert np.abs(common.T @ H @ common).max() < 1e-9 * np.abs(H).max()
    assert np.linalg.eigvalsh(H)[6:].min() > 1e-7 * np.abs(H).max()


def test_a_belief_set_up_elsewhere_is_the_same_belief() -> None:
    rng = np.random.default_rng(7)
    A = rng.normal(size=(8, 8))
    mean = Values.of({"a": np.eye(4)}, {"x": [1.0, 2.0]})
    known = Belief(mean, Quadratic((A @ A.T)[None], rng.normal(size=(1, 8))))
    there = known.about(mean.moved(np.array([0.1, 0.2, -0.1, 0.0, 0.0, 0.0, 0.3, 0.4])))
    values = mean.moved(np.array([-0.2, 0.1, 0.3, 0.0, 0.0, 0.0, 0.5, -0.1]))
    terms = [Graph(mean.layout, [b]).linearise(values) for b in (known, there)]
    np.testing.assert_allclose(terms[0].g, terms[1].g, rtol=1e-12)
    np.testing.assert_allclose(terms[0].H, terms[1].H)


def test_beliefs_about_different_blocks_are_one() -> None:
    rng = np.random.default_rng(8)
    a, b = (Belief.of_pose(n, np.eye(4), np.diag(rng.uniform(1, 2, 6))) for n in "ab")
    b = b.about(b.mean.moved(0.1 * rng.normal(size=6)))
    both = Belief.independent([a, b])
    values = both.mean.moved(0.1 * rng.normal(size=12))
    one, two = (Graph(values.layout, f).linearise(values) for f in ([both], [a, b]))
    np.testing.assert_allclose(one.H, two.H)
    np.testing.assert_allclose(one.g, two.g)
    assert one.objective == pytest.approx(two.objective)
    left = without(both, ["a"])
    np.testing.assert_allclose(left.quadratic.H, b.quadratic.H)
    assert left.mean.layout.names == ("b",)
    assert without(both, ["c"]) is both
