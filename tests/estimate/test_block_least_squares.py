"""Least squares over named blocks: optima, covariances and gauges against closed forms and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from dr_perception.estimate.first_order import Block
from dr_perception.estimate.gauges import find_gauges, open_directions
from dr_perception.estimate.least_squares import Normal, solve_least_squares
from dr_perception.estimate.unknowns import Prior, Unknowns
from dr_perception.geometry.se3 import local, make_transform, random_rotation, retract


class Curve:
    """``a exp(-b x) + c d`` through noisy points: c and d have a gauge."""

    X = np.linspace(0.0, 3.0, 40)

    def __init__(self, y: np.ndarray, blocks: dict[str, Block], sigma: float = 0.01) -> None:
        self.unknowns, self.rows = Unknowns(blocks), len(y)
        self._y, self._sigma = y, sigma

    def _residuals(self, v: dict) -> np.ndarray:
        a, b = v["decay"]
        return (a * np.exp(-b * self.X) + v["c"][0] * v["d"][0] - self._y) / self._sigma

    def chi2(self, values: dict) -> float:
        return float(np.sum(self._residuals(values) ** 2))

    def linearise(self, v: dict) -> Normal:
        a, b = v["decay"]
        e = np.exp(-b * self.X)
        full = np.stack([e, -a * self.X * e, v["d"][0] + 0 * e, v["c"][0] + 0 * e], axis=1) / self._sigma
        place = np.concatenate([self.unknowns.index[n].ravel() for n in ("decay", "c", "d")])
        J = np.zeros((len(self.X), self.unknowns.size))
        for column, at in enumerate(place):
            if at >= 0:
                J[:, at] = full[:, column] * self.unknowns.scale[at]
        r = self._residuals(v)
        return Normal(J.T @ J, J.T @ r, float(r @ r))


def blocks(**changes: Block) -> dict[str, Block]:
    return {
        "decay": Block([1.5, 0.4], [0.5, 0.2]),
        "c": Block([0.5], 0.2, 0.5, 0.5),
        "d": Block([0.1], 0.2),
        **changes,
    }


def data(seed: int, sigma: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 2.0 * np.exp(-0.9 * Curve.X) + 0.5 * 0.6 + rng.normal(0.0, sigma, len(Curve.X))


def test_the_optimum_is_that_of_scipy() -> None:
    y = data(0)
    found = solve_least_squares(Curve(y, blocks()))
    expected = least_squares(lambda p: p[0] * np.exp(-p[1] * Curve.X) + 0.5 * p[2] - y, [1.5, 0.4, 0.1]).x
    np.testing.assert_allclose([*found.values["decay"], *found.values["d"]], expected, atol=2e-5)
    assert found.converged and "uncertainty" in found.reason and found.gauges == ()
    assert found.noise_factor == pytest.approx(1.0, abs=0.3)
    assert list(found.history) == sorted(found.history, reverse=True)
    np.testing.assert_array_equal(found.values["c"], [0.5])  # its bounds are equal: it is known


def test_the_covariance_is_the_scatter_of_many_fits() -> None:
    fits = [solve_least_squares(Curve(data(seed), blocks())) for seed in range(300)]
    values = np.array([[*f.values["decay"], *f.values["d"]] for f in fits])
    claimed = fits[0].covariance(["decay", "d"])
    np.testing.assert_allclose(np.cov(values.T).diagonal(), claimed.diagonal(), rtol=0.25)
    truth = np.array([2.0, 0.9, 0.6])
    chi2 = np.einsum("ni,ij,nj->n", values - truth, np.linalg.inv(claimed), values - truth) / 3
    assert 0.85 < chi2.mean() < 1.15
    np.testing.assert_allclose(fits[0].sigma("d"), [np.sqrt(claimed[2, 2])])
    assert fits[0].sigma("c")[0] == 0.0


def test_what_the_data_leave_open_is_named_and_a_prior_closes_it() -> None:
    free = {"c": Block([0.5], 0.2), "d": Block([0.45], 0.2)}
    found = solve_least_squares(Curve(data(1), blocks(**free)))
    (gauge,) = found.gauges
    assert (gauge.name, gauge.count) == ("c x d", 1)
    assert "cannot be told" in str(gauge)
    assert found.sigma("c")[0] == np.inf and np.isfinite(found.sigma("decay")).all()
    with pytest.raises(ValueError, match="c x d"):
        found.covariance(["c"])
    assert np.isfinite(found.covariance(["decay"])).all()
    known = solve_least_squares(Curve(data(1), blocks(**free)), priors={"c": Prior(0.4, 0.05)})
    assert known.gauges == ()
    np.testing.assert_allclose(known.values["c"], [0.4], atol=1e-3)
    np.testing.assert_allclose(known.sigma("c"), [0.05], rtol=0.02)
    np.testing.assert_allclose(known.values["c"] * known.values["d"], 0.3, atol=0.03)


def test_bounds_hold_and_a_prior_pulls_as_its_weight_says() -> None:
    y = data(2)
    bounded = solve_least_squares(
        Curve(y, blocks(decay=Block([1.5, 0.4], [0.5, 0.2], [0.0, 0.0], [3.0, 0.7])))
    )
    assert bounded.values["decay"][1] == pytest.approx(0.7)
    free = solve_least_squares(Curve(y, blocks()))
    pulled = solve_least_squares(Curve(y, blocks()), priors={"d": Prior(0.7, free.sigma("d")[0])})
    half = 0.5 * (free.values["d"][0] + 0.7)
    assert pulled.values["d"][0] == pytest.approx(half, abs=0.02)


def test_priors_of_poses_are_about_their_tangents() -> None:
    rng = np.random.default_rng(3)
    T, mean = (make_transform(random_rotation(rng), rng.normal(size=3)) for _ in range(2))
    unknowns = Unknowns({"T": Block(T, [0.5, 0.5, 0.5, 2.0, 2.0, 2.0], pose=True)})
    sigma = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    prior = Prior(mean, sigma)
    _, g, chi2 = prior.normal("T", {"T": T}, unknowns)
    assert chi2 == pytest.approx(np.sum((local(mean, T) / sigma) ** 2))
    for k in range(6):
        step = 1e-6 * np.eye(6)[k]
        sides = [
            prior.normal("T", {"T": retract(T, s * step * unknowns.scale)}, unknowns)[2] for s in (1, -1)
        ]
        assert (sides[0] - sides[1]) / 4e-6 == pytest.approx(g[k], rel=1e-4, abs=1e-4)


def test_open_directions_are_sorted_by_the_blocks_that_they_couple() -> None:
    H = np.diag([1e4, 1e4, 0.0, 1e4, 1e4])
    together = np.array([0.0, 0.0, 0.0, 1.0, -1.0]) / np.sqrt(2)
    H -= 1e4 * np.outer(together, together)
    gauges = find_gauges(open_directions(H), ["a", "a", "b", "c", "d"])
    assert sorted((g.name, g.count) for g in gauges) == [("b", 1), ("c x d", 1)]
    assert find_gauges(open_directions(1e4 * np.eye(3)), ["a", "b", "c"]) == ()


BAD = {
    "nothing unknown": (lambda: Unknowns({"a": Block([1.0], 1.0, 1.0, 1.0)}), "nothing is unknown"),
    "a scale of zero": (lambda: Unknowns({"a": Block([1.0], 0.0)}), "scale of block 'a' must be positive"),
    "a start of nan": (lambda: Unknowns({"a": Block([np.nan])}).start(), "start of block 'a' must be finite"),
    "an unknown prior": (
        lambda: solve_least_squares(Curve(data(0), blocks()), priors={"z": Prior(0.0, 1.0)}),
        "the prior is about 'z', expected one of",
    ),
    "a prior of no width": (
        lambda: solve_least_squares(Curve(data(0), blocks()), priors={"d": Prior(0.0, 0.0)}),
        "sigma of the prior of 'd' must be positive, got 0",
    ),
    "a prior of another shape": (
        lambda: solve_least_squares(Curve(data(0), blocks()), priors={"d": Prior([0.0, 1.0], 1.0)}),
        r"mean of the prior of 'd' must fit the shape \(1,\), got \(2,\)",
    ),
    "residuals of nan": (
        lambda: solve_least_squares(Curve(np.full(40, np.nan), blocks())),
        "residuals must be finite, got chi\\^2 = nan",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_does_not_fit_is_refused_in_one_sentence(case: str) -> None:
    act, text = BAD[case]
    with pytest.raises(ValueError, match=text):
        act()
