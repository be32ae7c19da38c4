"""Fit the weights of the log posterior of poses, in ``dr_perception/hypothesis/posterior.py``.

    python benchmarks/calibrate_posterior.py                       # prints the weights to put there
    python benchmarks/calibrate_posterior.py --rows out/rows.json  # fits again to what was collected before

Objects of simulated and real frames are searched for, in their mask and in the whole frame, with both images
and with depth alone; of every search all different refined poses count, and what references moved by some
centimetres and tens of degrees are refined to. With colour alone, what fits make of moved references counts.
A logistic regression says with which probability a pose is right to a tenth of the diameter (McCullagh and
Nelder 1989, chapter 4). Every set of frames has the same weight. What is printed of a set is predicted from
all others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import warp as wp
from fit import cases
from numpy.typing import NDArray
from real import by_model
from real_cases import SETS, Instance, Reference, instances
from real_trial import pose_error
from scenes import OPEN_SCENES, RIGHT, ROOT, moved, write_report
from scipy.optimize import minimize

from dr_perception.data.models import load_models
from dr_perception.evaluation.consistency import reliability
from dr_perception.fitting.fit_color import refined_by_color
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import make_transform
from dr_perception.geometry.symmetry import Symmetries
from dr_perception.hypothesis.batch import Refined
from dr_perception.hypothesis.pool import thin_out
from dr_perception.hypothesis.posterior import BOTH, DEPTH_ONLY, OUTLINE_ONLY
from dr_perception.hypothesis.search import finalists
from dr_perception.hypothesis.search_config import FitConfig
from dr_perception.hypothesis.surface_uncertainty import features_of
from dr_perception.hypothesis.tables import search_model

Array = NDArray[np.float64]
USED = {"both": BOTH, "depth": DEPTH_ONLY, "outline": OUTLINE_ONLY}
MOVES = ((0.0, 0.0), (0.005, 3.0), (0.015, 12.0), (0.04, 40.0), (0.02, 120.0))
"""Distances [m] and angles [deg] from the reference."""
_PENALTY = 1e-3
_STEP = 30
"""Every so-many-th simulated frame."""


@dataclass(frozen=True)
class Row:
    """One refined pose."""

    set: str
    search: int
    """Number of the search or fit it comes from; those of one are alternatives."""
    where: str
    """``mask``, ``frame``, or ``moved`` for a moved reference."""
    measured: str
    """Key of `USED`."""
    features: tuple[float, ...]
    right: bool


def simulated() -> list[Instance]:
    """Instances of the open scenes; without colours, what has the same shape is alike."""
    found = []
    truth = Reference("simulated", 1e-4, 0.01, is_truth=True)
    for case in cases(OPEN_SCENES, load_models(OPEN_SCENES / "models"), _STEP):
        if case.mask.any():
            known = search_model(case.model, FitConfig().body.mesh_error, wp.get_device("cpu"))
            shift = make_transform(np.eye(3), case.model.center)
            twins = np.zeros((0, 4, 4)) if known.has_colors else shift @ known.twins @ np.linalg.inv(shift)
            alike = Symmetries(np.concatenate([case.model.symmetries.discrete, twins]),
                               case.model.symmetries.continuous)  # fmt: skip
            found.append(Instance("bench", case, truth, alike, False, True, 1.0))
    return found


def rows_of(refined: Refined | None, group: Sequence[Instance], moves: int, **what: object) -> Iterator[Row]:
    """A row for every different pose, of which the last ``moves`` come from moved references."""
    if refined is None:
        return
    model = group[0].case.model
    T, values = refined.T_cam_obj, refined.log_odds
    n = len(T) - moves
    for ids, where in ((np.arange(n), what["where"]), (np.arange(n, len(T)), "moved")):
        apart = thin_out(T[ids], values[ids], len(ids), 0.01 * model.diameter_m, np.radians(2.0))
        for k in ids[apart]:
            right = min(pose_error(i, T[k]) for i in group) < RIGHT * model.diameter_m
            features = features_of(refined.refinement.figures[k])
            yield Row(group[0].set, features=tuple(features), right=right, **(what | {"where": where}))


def collect(found: Sequence[Instance]) -> Iterator[Row]:
    """Rows of the instances of a set."""
    rng = np.random.RandomState(0)
    number = 0
    for i in found:
        case = i.case
        also = [moved(case.T_cam_obj, d, a, rng) for d, a in MOVES]
        for measured, frame in (("both", case.frame), ("depth", replace(case.frame, color=None))):
            number += 1
            yield from _searched([i], frame, case.mask, also, measured, number)
        for T in also[1:3]:
            number += 1
            for refined in refined_by_color(case.model, replace(case.frame, depth=None), T, FitConfig()):
                yield from rows_of(refined, [i], 0, search=number, where="moved", measured="outline")
    for group in by_model(found):
        number += 1
        yield from _searched(group, group[0].case.frame, None, [], "both", number)


def _searched(
    group: Sequence[Instance], frame: Frame, mask: NDArray[np.bool_] | None, also: list[Array], measured: str,
    number: int,
) -> Iterator[Row]:  # fmt: skip
    try:
        refined = finalists(group[0].case.model, frame, mask, also=also)
    except ValueError:
        return
    where = "frame" if mask is None else "mask"
    yield from rows_of(refined, group, len(also), search=number, where=where, measured=measured)


class Rows:
    """Rows of one kind of measurement as arrays."""

    def __init__(self, rows: Sequence[Row], measured: str) -> None:
        """Keep those with what was measured."""
        kept = [row for row in rows if row.measured == measured]
        self.X = np.array([row.features for row in kept])
        self.right = np.array([row.right for row in kept], bool)
        self.set = np.array([row.set for row in kept])
        self.search = np.array([f"{row.set}/{row.search}" for row in kept])
        self.where = np.array([row.where for row in kept])

    def fit(self, chosen: NDArray[np.bool_], used: Sequence[bool]) -> Array:
        """Offset and weights, 0 for unused features; no weight is below 0."""
        X, sign = self.X[chosen], np.where(self.right[chosen], 1.0, -1.0)
        scale = (X.std(axis=0) + 1e-9) / np.asarray(used, float).clip(1e-12)
        Z = np.column_stack([np.ones(len(X)), X / scale])
        names, which = np.unique(self.set[chosen], return_inverse=True)
        weight = 1.0 / (np.bincount(which)[which] * len(names))

        def loss(b: Array) -> tuple[float, Array]:
            value = float(weight @ np.logaddexp(0.0, -sign * (Z @ b)) + _PENALTY * np.sum(b[1:] ** 2))
            slope = -Z.T @ (weight * sign / (1.0 + np.exp(sign * (Z @ b))))
            return value, slope + 2.0 * _PENALTY * np.concatenate([[0.0], b[1:]])

        bounds = [(None, None)] + [(0.0, None)] * X.shape[1]
        b = minimize(loss, np.zeros(Z.shape[1]), jac=True, bounds=bounds).x
        return np.concatenate([b[:1], b[1:] / scale])

    def predicted(self, used: Sequence[bool]) -> Array:
        """Probability of each, from weights fitted to all other sets."""
        p = np.empty(len(self.right))
        for name in np.unique(self.set):
            own = self.set == name
            p[own] = probability(self.fit(~own, used), self.X[own])
        return p

    def firsts(self, p: Array, where: str) -> NDArray[np.int64]:
        """The most probable row of every search."""
        kept = np.flatnonzero(self.where == where)
        order = kept[np.argsort(-p[kept], kind="stable")]
        return order[np.unique(self.search[order], return_index=True)[1]]


def probability(weights: Sequence[float] | Array, X: Array) -> Array:
    """Logistic model of features (N, F)."""
    return np.asarray(1.0 / (1.0 + np.exp(-weights[0] - X @ np.asarray(weights[1:]))))


def line(name: str, p: Array, right: NDArray[np.bool_]) -> str:
    """What probabilities are worth."""
    error = reliability(p, right).expected_error
    doubted = f"{np.sum(right & (p < 0.5))}/{right.sum()}"
    believed = f"{np.sum(~right & (p > 0.5))}/{np.sum(~right)}"
    return f"  {name:42s} {len(p):5d} {100.0 * right.mean():7.1f} {error:6.2f} {doubted:>12s} {believed:>12s}"


def report(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Print weights, and what they are worth in sets that they were not fitted to."""
    found = {}
    for measured, now in USED.items():
        r = Rows(rows, measured)
        if len(set(r.right.tolist())) < 2:
            continue
        used = [weight != 0.0 for weight in now[1:]]
        found[measured] = np.round(r.fit(np.ones(len(r.right), bool), used), 3).tolist()
        print(f"\n{measured}: now {now}, fitted {found[measured]}")
        print(f"  {'':42s} {'n':>5s} {'right %':>7s} {'ECE':>6s} {'right < 0.5':>12s} {'wrong > 0.5':>12s}")
        for how, p in (("now", probability(now, r.X)), ("left out", r.predicted(used))):
            for name in np.unique(r.set):
                own = r.set == name
                print(line(f"{how}, {name}, all", p[own], r.right[own]))
            for where in np.unique(r.where):
                first = r.firsts(p, where)
                print(line(f"{how}, first of {where}", p[first], r.right[first]))
                possible = np.mean([r.right[r.search == r.search[k]].any() for k in first])
                print(f"    a right one is among {100.0 * possible:.1f} %")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect, fit, print, write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sets", nargs="+", choices=["bench", *SETS], default=["bench", *SETS])
    p.add_argument("--rows", type=Path, help="rows that were collected before")
    p.add_argument(
        "--out", type=Path, default=ROOT / "out/posterior_rows.json", help="where rows are written"
    )
    a = p.parse_args(arguments)
    wp.config.log_level = wp.LOG_ERROR
    if a.rows is not None:
        rows = [Row(**row) for row in json.loads(a.rows.read_text())["rows"]]
        report([row for row in rows if row.set in a.sets])
        return
    rows = []
    for name in a.sets:
        rows += collect(simulated() if name == "bench" else instances(name)[0])
        print(f"{name}: {len(rows)} poses so far", flush=True)
        write_report(a.out, rows=[asdict(row) for row in rows])
    report(rows)


if __name__ == "__main__":
    main()
