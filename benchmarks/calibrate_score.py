"""Fit the weights of the tracker's score, in ``dr_perception/tracking/health.py``.

    python benchmarks/calibrate_score.py                        # prints the weights to put into health.py
    python benchmarks/calibrate_score.py --sets bench ycbv_frames

From the reference moved a little, some centimetres and tens of degrees, or far, objects of simulated and of
real frames are refined as the tracker does it, four in seven of them as the images are, three behind a
drawn-in board; with depth and colour, with depth alone and with colour alone. A logistic regression then says
with which probability a refinement is right to a tenth of the diameter, from the log odds that samples of
depth and outline agree (McCullagh and Nelder, "Generalized linear models", 1989,
chapter 4). Every set of frames has the same weight. The printed reliability is of refinements of objects that
were left out of the fit, and once more of whole sets that were.

Where a model has no colours, a pose turned by what leaves its shape as it is counts as right too: nothing
that is measured could tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scenes import OPEN_SCENES, REAL_SETS, ROOT, SHARED, SceneData, read_scenes, write_report
from scipy.optimize import minimize

import dr_perception as drp
from dr_perception.evaluation.consistency import Calibration, reliability
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import invert, make_transform, perturb
from dr_perception.hypothesis.tables import search_model
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.tracking.health import Agreement
from dr_perception.tracking.object_track import ObjectTrack

Array = NDArray[np.float64]
TRIALS = 7
_COVERED = (1, 4, 6)
"""Trials with a board before the object."""
_FEATURES = {"both": (1, 1, 1), "depth": (1, 1, 0), "outline": (1, 0, 1)}
"""Which of offset, depth and outline count, by what was measured."""
_STARTED_WITH = np.diag(np.repeat([0.05, 0.5], 3) ** 2)
_PENALTY = 1e-3


@dataclass(frozen=True)
class Source:
    """A set of frames: every ``step``-th is used, and every object of it ``rounds`` times seven times."""

    root: Path
    step: int
    rounds: int


SOURCES = {
    "bench": Source(OPEN_SCENES, 9, 1),
    "ycbv_frames": Source(SHARED / "data/real/ycbv_frames", 1, 4),
    "icbin_frames": Source(SHARED / "data/real/icbin_frames", 1, 2),
    "visp_rbt_sequence": Source(SHARED / "data/real/visp_rbt_sequence", 6, 3),
}
assert set(REAL_SETS) < set(SOURCES)


@dataclass(frozen=True)
class Example:
    """One refinement."""

    set: str
    object: str
    measured: str
    """Key of `_FEATURES`."""
    features: tuple[float, float, float]
    """One, log odds that depth and outline agree."""
    right: bool
    used: float
    """The score that the tracker gives now."""


def examples(name: str, scene: SceneData, source: Source, rng: np.random.Generator) -> Iterator[Example]:
    """Refinements of all objects of some frames of a scene."""
    buffers = FrameBuffers(scene.frames[0].camera)
    config = drp.TrackerConfig(threads=1)
    tracks = {key: ObjectTrack(model, buffers, config) for key, model in scene.models.items()}
    for index in range(0, len(scene.frames), source.step):
        for key in scene.truth[index]:
            for trial in range(TRIALS * source.rounds):
                yield from _trial(name, scene, index, key, tracks[key], trial % TRIALS, rng)


def _trial(
    name: str,
    scene: SceneData,
    index: int,
    key: str,
    track: ObjectTrack,
    trial: int,
    rng: np.random.Generator,
) -> Iterator[Example]:
    """The same start with both images, with depth alone and with colour alone."""
    frame, truth = scene.frames[index], scene.truth[index][key]
    seen = cover(frame, scene, truth, key, rng) if trial in _COVERED else frame
    guess, wide = start(truth, trial, rng)
    for measured, without in (("both", {}), ("depth", {"color": None}), ("outline", {"depth": None})):
        agreement = refined(track, replace(frame, **without), replace(seen, **without), truth, guess, wide)
        features = (1.0, log_odds(agreement.depth), log_odds(agreement.outline))
        right = looks_right(scene, index, key, track)
        model = scene.models[key].name.rsplit("_", 1)[0] if name == "icbin_frames" else key
        yield Example(name, model, measured, features, right, agreement.score)


def refined(
    track: ObjectTrack, frame: Frame, seen: Frame, truth: Array, guess: Array, wide: bool
) -> Agreement:
    """Learn the colours as tracking would have, then refine a guess in what is seen of the frame."""
    buffers = track.refiner.frame
    buffers.begin(frame)
    track.start(truth)
    buffers.begin(seen)
    buffers.upload(track.refiner.image_box(guess, track.config.margin_px))
    return track.measure(track.wide_stages if wide else track.stages, guess, _STARTED_WITH)


def log_odds(share: float) -> float:
    """Logarithm of the odds of a share, 0 of a negative one (nothing measured)."""
    return float(np.log(share / (1.0 - share))) if share >= 0.0 else 0.0


def looks_right(scene: SceneData, index: int, key: str, track: ObjectTrack) -> bool:
    """Whether the measured pose is right, or cannot be told from one that is."""
    T = track.measured_pose
    poses = [T]
    if not track.refiner.buffers.has_texture:
        model = track.model
        shift = make_transform(np.eye(3), model.center)
        twins = search_model(model, track.config.body.mesh_error, wp.get_device("cpu")).twins
        poses += list(T @ shift @ twins @ invert(shift))
    return any(scene.row(index, key, pose, "", 0.0).right for pose in poses)


def start(truth: Array, trial: int, rng: np.random.Generator) -> tuple[Array, bool]:
    """A pose to start from, and whether the wide stages are used: near, some way off, or far."""
    if trial < 2:
        return perturb(truth, 0.003, np.radians(2.0), rng), False
    if trial < 5:
        return perturb(truth, rng.uniform(0.01, 0.05), np.radians(rng.uniform(5.0, 45.0)), rng), trial != 3
    return perturb(truth, rng.uniform(0.0, 0.15), np.radians(rng.uniform(20.0, 180.0)), rng), True


def cover(frame: Frame, scene: SceneData, truth: Array, name: str, rng: np.random.Generator) -> Frame:
    """The frame with a board held over a fifth to three quarters of an object, from a random side."""
    model = scene.models[name]
    center = truth[:3, :3] @ model.center + truth[:3, 3]
    u, v = frame.camera.project(center)
    r = model.radius_m * frame.camera.fx / center[2]
    share, side = rng.uniform(0.2, 0.75), rng.integers(4)
    low, high = np.array([u - r, v - r]), np.array([u + r, v + r])
    axis = side % 2
    if side < 2:
        high[axis] = low[axis] + 2.0 * r * share
    else:
        low[axis] = high[axis] - 2.0 * r * share
    x0, y0 = np.clip(low, 0, None).astype(int)
    x1, y1 = np.clip(high, 0, [frame.camera.width, frame.camera.height]).astype(int)
    assert frame.color is not None and frame.depth is not None
    color, depth = frame.color.copy(), frame.depth.copy()
    shade = rng.integers(0, 255, 3) + rng.normal(0.0, 8.0, (max(y1 - y0, 0), max(x1 - x0, 0), 3))
    color[y0:y1, x0:x1] = np.clip(shade, 0, 255).astype(np.uint8)
    board = (center[2] - rng.uniform(0.08, 0.25)) / frame.depth_scale_m
    depth[y0:y1, x0:x1] = np.asarray(board, dtype=depth.dtype)
    return replace(frame, color=color, depth=depth)


@dataclass(frozen=True)
class Examples:
    """Refinements as arrays."""

    features: Array
    right: NDArray[np.bool_]
    set: NDArray[np.str_]
    object: NDArray[np.str_]
    """Set and object."""
    used: Array

    @classmethod
    def of(cls, found: Sequence[Example], measured: str) -> Examples:
        """Those with what was measured."""
        kept = [e for e in found if e.measured == measured]
        return cls(
            np.array([e.features for e in kept]),
            np.array([e.right for e in kept]),
            np.array([e.set for e in kept]),
            np.array([f"{e.set}/{e.object}" for e in kept]),
            np.array([e.used for e in kept]),
        )

    def fit(self, chosen: NDArray[np.bool_], used: Sequence[int]) -> Array:
        """Weights (3,) of a logistic regression over some of them; those of unused features are 0."""
        X = self.features[chosen] * np.asarray(used, dtype=np.float64)
        sign = np.where(self.right[chosen], 1.0, -1.0)
        names, which = np.unique(self.set[chosen], return_inverse=True)
        weight = 1.0 / (np.bincount(which)[which] * len(names))

        def loss(w: Array) -> float:
            return float(weight @ np.logaddexp(0.0, -sign * (X @ w)) + _PENALTY * np.sum(w[1:] ** 2))

        return np.asarray(minimize(loss, np.zeros(X.shape[1]), method="BFGS").x) * np.asarray(used)

    def predicted(self, used: Sequence[int], groups: NDArray[np.str_]) -> Array:
        """Probability of each, from weights fitted to all groups but its own."""
        p = np.empty(len(self.right))
        for group in np.unique(groups):
            weights = self.fit(groups != group, used)
            p[groups == group] = 1.0 / (1.0 + np.exp(-self.features[groups == group] @ weights))
        return p


def summary(p: Array, right: NDArray[np.bool_]) -> dict[str, float]:
    """What probabilities are worth: share on the right side of a half, wrong but believed, errors."""
    safe = np.clip(p, 1e-4, 1.0 - 1e-4)
    return {
        "right_side_percent": 100.0 * float(np.mean((p > 0.5) == right)),
        "wrong_believed_percent": 100.0 * float(np.mean((p > 0.5) & ~right)),
        "right_doubted_percent": 100.0 * float(np.mean((p <= 0.5) & right)),
        "log_loss": float(-np.mean(np.where(right, np.log(safe), np.log(1.0 - safe)))),
        "expected_calibration_error": reliability(p, right).expected_error,
    }


def bins(calibration: Calibration) -> str:
    """One line: said, right, number."""
    rows = zip(calibration.predicted, calibration.observed, calibration.count, strict=True)
    return "  ".join(f"{q:.2f}:{o:.2f} ({n})" for q, o, n in rows)


def report(found: Sequence[Example]) -> dict[str, Any]:
    """Fit and judge; print weights fitted to all."""
    result: dict[str, Any] = {"count": len(found)}
    for measured, used in _FEATURES.items():
        e = Examples.of(found, measured)
        weights = e.fit(np.ones(len(e.right), bool), used)
        print(f"\n{measured}: offset, depth, outline = {np.round(weights, 2).tolist()}")
        judged = {
            "now": e.used,
            "object left out": e.predicted(used, e.object),
            "set left out": e.predicted(used, e.set),
        }
        print(f"  {'':34s} {'n':>5s} {'right %':>7s} {'wrong > 0.5 %':>13s} {'right < 0.5 %':>13s}"
              f" {'log loss':>8s} {'calibration':>11s}")  # fmt: skip
        result[measured] = {"weights": weights}
        for how, p in judged.items():
            for name in np.unique(e.set):
                i = e.set == name
                s = summary(p[i], e.right[i])
                result[measured][f"{how}, {name}"] = s
                print(
                    f"  {how + ', ' + name:34s} {i.sum():5d} {100.0 * e.right[i].mean():7.1f}"
                    f" {s['wrong_believed_percent']:13.1f} {s['right_doubted_percent']:13.1f}"
                    f" {s['log_loss']:8.3f} {s['expected_calibration_error']:11.3f}"
                )
        for name in np.unique(e.set):
            i = e.set == name
            print(
                f"  {name}, said:right (n), object left out:"
                f" {bins(reliability(judged['object left out'][i], e.right[i]))}"
            )
    return result


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sets", nargs="+", choices=list(SOURCES), default=list(SOURCES), help="sets of frames")
    p.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the JSON file")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect, fit, print, write."""
    a = parse(arguments)
    wp.config.log_level = wp.LOG_ERROR
    rng = np.random.default_rng(0)
    found: list[Example] = []
    for name in a.sets:
        for scene in read_scenes(SOURCES[name].root):
            found += examples(name, scene, SOURCES[name], rng)
            print(f"{name} {scene.name}: {len(found)} refinements so far", flush=True)
    write_report(a.out / "calibrate_score.json", **report(found))


if __name__ == "__main__":
    main()
