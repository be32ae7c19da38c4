"""Fit the weights that rank the poses of a search, in ``dr_perception/hypothesis/rank.py``.

    python benchmarks/calibrate_search.py                       # prints weights and curves
    python benchmarks/calibrate_search.py --sets ycbv_frames

Objects of simulated and of real frames are searched for, with their mask and in the whole frame. Of the
refined poses of a search, and what the reference is refined to, the right ones should rank first: the weights
maximise the conditional likelihood of that (conditional logit; McFadden 1974), every set of frames with the
same weight and no weight below 0. The printed shares are of searches for objects left out of the fit.
A curve then says how probable a first answer is, from searches for objects that are there and for others that
are not (logistic regression); where a model has no colours, one that cannot be told from a right one by its
shape counts as right.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from fit import Case, add_error, cases, poses_of_model
from numpy.typing import NDArray
from scenes import ROOT, SHARED, evaluation_points, write_report
from scipy.optimize import minimize

from dr_perception.data.models import load_models
from dr_perception.evaluation.consistency import reliability
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import invert, make_transform
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.hypothesis.rank import WEIGHTS
from dr_perception.hypothesis.search import finalists
from dr_perception.hypothesis.tables import search_model

Array = NDArray[np.float64]
NAMES = tuple(WEIGHTS)
SOURCES = {
    "bench": (SHARED / "data/bench/open", 20),
    "ycbv_frames": (SHARED / "data/real/ycbv_frames", 1),
    "icbin_frames": (SHARED / "data/real/icbin_frames", 1),
    "visp_rbt_sequence": (SHARED / "data/real/visp_rbt_sequence", 20),
}
_PENALTY = 2e-3


@dataclass(frozen=True)
class Searched:
    """The refined poses of one search."""

    set: str
    model: str
    mask: bool
    features: Array
    """(P, F) in the order of `NAMES`; 0 where a search has none."""
    right: NDArray[np.bool_]
    """(P,)."""
    colored: bool
    is_there: bool
    """Whether the model was in the frame; then the last pose is its refined reference."""

    @property
    def group(self) -> str:
        """Set and object."""
        return f"{self.set}/{self.model}"

    def first(self, weights: Array) -> tuple[float, bool]:
        """Rank of the answer, the reference not among the candidates, and whether it is right."""
        found = len(self.right) - 1 if self.is_there else len(self.right)
        values = self.features[:found] @ weights
        k = int(np.argmax(values))
        return float(values[k]), bool(self.right[k])


def searched(name: str, case: Case, model: ObjectModel, mask: bool, there: list[Array]) -> Searched | None:
    """Search for a model in a frame; ``there`` holds its poses (4, 4), none for one that is not there."""
    poses, shares = finalists(model, case.frame, case.mask if mask else None, also=there[:1])
    if len(poses) < 2:
        return None
    points, limit = evaluation_points(model), 0.1 * model.diameter_m
    known = search_model(model, BodyConfig().mesh_error, wp.get_device("cpu"))
    shift = make_transform(np.eye(3), model.center)
    twins = np.zeros((0, 4, 4)) if known.has_colors else shift @ known.twins @ invert(shift)
    alike = [other @ twin for other in there for twin in (np.eye(4), *twins)]
    right = [any(add_error(model, points, T, other) < limit for other in alike) for T in poses]
    zeros = np.zeros(len(poses))
    features = np.column_stack([shares.get(n, zeros) for n in NAMES])
    return Searched(name, model.name, mask, features, np.array(right), "pattern" in shares, bool(there))


def collect(name: str, strangers: Sequence[ObjectModel]) -> Iterator[Searched]:
    """Searches of one set, a third as many of them for objects of other sets."""
    root, step = SOURCES[name]
    rng = np.random.default_rng(0)
    for number, case in enumerate(cases(root, load_models(root / "models"), step)):
        if not case.mask.any():
            continue
        for mask in (True, False):
            there = [case.T_cam_obj, *poses_of_model(case, root, mask)]
            wanted = [(case.model, there)]
            if number % 3 == 0:
                wanted.append((strangers[rng.integers(len(strangers))], []))
            for model, poses in wanted:
                try:
                    one = searched(name, case, model, mask, poses)
                except ValueError:  # the mask is far too small or too large for a stranger
                    continue
                if one is not None:
                    yield one


def fit(found: Sequence[Searched]) -> Array:
    """Weights (F,) of a conditional logit over searches that found right poses and wrong ones."""
    used = [s for s in found if s.right.any() and not s.right.all()]
    count = {s.set: sum(other.set == s.set for other in used) for s in used}
    scale = np.concatenate([s.features for s in used]).std(axis=0) + 1e-9

    def loss(w: Array) -> tuple[float, Array]:
        total, slope = float(_PENALTY * w @ w), 2.0 * _PENALTY * w
        for s in used:
            X = s.features / scale
            p = np.exp(X @ w - np.max(X @ w))
            p /= p.sum()
            q = p * s.right / np.sum(p[s.right])
            share = 1.0 / (count[s.set] * len(count))
            total -= share * float(np.log(np.sum(p[s.right]) + 1e-300))
            slope = slope - share * (X.T @ (q - p))
        return total, slope

    start = np.ones(len(scale))
    return np.asarray(minimize(loss, start, jac=True, bounds=[(0.0, None)] * len(scale)).x) / scale


def curve(values: Array, right: NDArray[np.bool_], sets: NDArray[np.str_]) -> tuple[float, float]:
    """Slope and middle of the logistic curve of a rank, every set with the same weight."""
    names, which = np.unique(sets, return_inverse=True)
    weight = 1.0 / (np.bincount(which)[which] * len(names))
    sign = np.where(right, 1.0, -1.0)

    def loss(b: Array) -> float:
        return float(weight @ np.logaddexp(0.0, -sign * (b[0] * values - b[1])) + 1e-3 * b[0] ** 2)

    slope, offset = minimize(loss, np.array([0.5, 5.0])).x
    return float(slope), float(offset / slope)


def report(found: Sequence[Searched]) -> dict[str, Any]:
    """Print weights, how often the first answer is right, and curves."""
    weights = fit(found)
    now = np.array(list(WEIGHTS.values()))
    print("\nweights:", ", ".join(f"{n} {w:.2f}" for n, w in zip(NAMES, weights, strict=True)))
    there = [s for s in found if s.is_there]
    left_out = {g: fit([s for s in found if s.group != g]) for g in {s.group for s in there}}
    print("\n  searches for what is there           n  right now %  refitted, object left out %")
    result: dict[str, Any] = {"weights": dict(zip(NAMES, weights.tolist(), strict=True))}
    for name, mask in sorted({(s.set, s.mask) for s in there}):
        some = [s for s in there if (s.set, s.mask) == (name, mask)]
        shares = [100.0 * np.mean([s.first(w)[1] for s, w in zip(some, ws, strict=True)])
                  for ws in ([now] * len(some), [left_out[s.group] for s in some])]  # fmt: skip
        print(f"  {name + (', mask' if mask else ', whole frame'):32s} {len(some):5d} {shares[0]:12.1f}"
              f" {shares[1]:29.1f}")  # fmt: skip
        result[f"{name}, mask={mask}"] = shares
    for colored, mask in ((True, True), (True, False), (False, True), (False, False)):
        some = [s for s in found if (s.colored, s.mask) == (colored, mask)]
        sets = np.array([s.set for s in some])
        firsts = [s.first(now) for s in some]
        if len({right for _, right in firsts}) < 2:
            continue
        values, right = np.array([v for v, _ in firsts]), np.array([r for _, r in firsts])
        slope, middle = curve(values, right, sets)
        p = 1.0 / (1.0 + np.exp(-slope * (values - middle)))
        r = reliability(p, right, bins=5)
        bins = zip(r.predicted, r.observed, r.count, strict=True)
        print(f"\n  colours {colored}, mask {mask}: slope {slope:.2f}, middle {middle:.1f},"
              f" calibration error {r.expected_error:.3f} over {len(some)}")  # fmt: skip
        print("    said:right (n)  " + "  ".join(f"{q:.2f}:{o:.2f} ({n})" for q, o, n in bins))
        result[f"curve, colours={colored}, mask={mask}"] = (slope, middle)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect, fit, print, write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sets", nargs="+", choices=list(SOURCES), default=list(SOURCES), help="sets of frames")
    p.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the JSON file")
    a = p.parse_args(arguments)
    wp.config.log_level = wp.LOG_ERROR
    models = {name: list(load_models(SOURCES[name][0] / "models").values()) for name in SOURCES}
    found: list[Searched] = []
    for name in a.sets:
        found += collect(name, [m for other, ms in models.items() if other != name for m in ms])
        print(f"{name}: {len(found)} searches so far", flush=True)
    write_report(a.out / "calibrate_search.json", **report(found))


if __name__ == "__main__":
    main()
