"""Fit the weights of the tracker's score, in ``dr_perception/tracking/health.py``.

    python benchmarks/calibrate_score.py                     # prints the weights to put into health.py
    python benchmarks/calibrate_score.py --step 12 --only 000003 000004

From ground truth moved a little, some centimetres and tens of degrees, or far, objects are refined as the
tracker does it, four in seven of them as the images are, three behind a drawn-in board. A logistic
regression then says with which probability a refinement is right to a tenth of the diameter, from the shares
of depth and outline that agree and the share that is visible; once with both, once with depth and once with
outline alone (McCullagh and Nelder, "Generalized linear models", 1989, chapter 4). Fitting and judging are
split by frames, so that the printed reliability is of refinements that were not fitted to.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scenes import OPEN_SCENES, ROOT, SceneData, read_scenes, write_report
from scipy.optimize import minimize

import dr_perception as drp
from dr_perception.evaluation.consistency import reliability
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import perturb
from dr_perception.residuals.frame_buffers import FrameBuffers
from dr_perception.tracking.object_track import ObjectTrack

Array = NDArray[np.float64]
TRIALS = 7
_COVERED = (1, 4, 6)
"""Trials with a board before the object."""
_FEATURES = {"both": (1, 1, 1, 1), "depth": (1, 1, 0, 1), "outline": (1, 0, 1, 0)}
_PENALTY = 1e-4


@dataclass(frozen=True)
class Example:
    """One refinement."""

    fold: int
    features: tuple[float, float, float, float]
    """One, and the shares of depth, outline and visible surface."""
    right: bool


def examples(scene: SceneData, step: int, rng: np.random.Generator) -> list[Example]:
    """Refinements of all objects of every ``step``-th frame of a scene."""
    buffers = FrameBuffers(scene.frames[0].camera)
    config = drp.TrackerConfig(threads=1)
    tracks = {name: ObjectTrack(model, buffers, config) for name, model in scene.models.items()}
    found = []
    for index in range(0, len(scene.frames), step):
        for name, track in tracks.items():
            for trial in range(TRIALS):
                found += _example(scene, index, name, track, trial, rng)
    return found


def _example(
    scene: SceneData, index: int, name: str, track: ObjectTrack, trial: int, rng: np.random.Generator
) -> list[Example]:
    frame, truth = scene.frames[index], scene.truth[index][name]
    seen = cover(frame, scene, truth, name, rng) if trial in _COVERED else frame
    buffers = track.refiner.frame
    buffers.begin(frame)
    track.start(truth)  # learns the colours of the object as tracking would have
    guess, wide = start(truth, trial, rng)
    stages = track.wide_stages if wide else track.stages
    buffers.begin(seen)
    buffers.upload(track.refiner.image_box(guess, track.config.margin_px))
    agreement = track.measure(stages, guess, np.diag(np.repeat([0.05, 0.5], 3) ** 2))
    if agreement.depth < 0.0 or agreement.outline < 0.0:
        return []
    row = scene.row(index, name, track.measured_pose, "", 0.0)
    features = (1.0, agreement.depth, agreement.outline, agreement.visible_fraction)
    return [Example(index // 8 % 2, features, row.right)]


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


def fit(features: Array, right: NDArray[np.bool_], used: Sequence[int]) -> Array:
    """Weights (4,) of a logistic regression; those of unused features are 0."""
    X = features * np.asarray(used, dtype=np.float64)
    sign = np.where(right, 1.0, -1.0)

    def loss(w: Array) -> float:
        return float(np.mean(np.logaddexp(0.0, -sign * (X @ w))) + _PENALTY * np.sum(w[1:] ** 2))

    return np.asarray(minimize(loss, np.zeros(X.shape[1]), method="BFGS").x) * np.asarray(used)


def probability(features: Array, weights: Array) -> Array:
    """Probability that each refinement (N, 4) is right."""
    return np.asarray(1.0 / (1.0 + np.exp(-features @ weights)))


def report(found: Sequence[Example]) -> dict[str, Any]:
    """Fit on one half of the frames, judge on the other, and print weights fitted to all."""
    X, right = np.array([e.features for e in found]), np.array([e.right for e in found])
    fold = np.array([e.fold for e in found])
    print(f"\n{len(found)} refinements, {100.0 * right.mean():.0f} % right")
    result: dict[str, Any] = {"count": len(found)}
    for name, used in _FEATURES.items():
        p = np.empty(len(found))
        for k in (0, 1):
            p[fold == k] = probability(X[fold == k], fit(X[fold != k], right[fold != k], used))
        weights, calibration = fit(X, right, used), reliability(p, right)
        error = calibration.expected_error
        believed = 100.0 * np.mean((p > 0.5) & ~right)
        print(f"\n{name}: offset, depth, outline, visible = {np.round(weights, 1).tolist()}")
        print(
            f"  on frames left out: right side {100.0 * np.mean((p > 0.5) == right):.1f} %,"
            f" wrong but believed {believed:.1f} %, expected calibration error {error:.3f}"
        )
        for q, o, n in zip(calibration.predicted, calibration.observed, calibration.count, strict=True):
            print(f"    score {q:.2f}: {100.0 * o:5.1f} % right of {n}")
        result[name] = {"weights": weights, "expected_calibration_error": calibration.expected_error}
    return result


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scenes", type=Path, default=OPEN_SCENES, help="scenes and models/ in BOP layout")
    p.add_argument("--only", nargs="+", help="names of scenes; default: all")
    p.add_argument("--step", type=int, default=6, help="use every so-many-th frame")
    p.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the JSON file")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect, fit, print, write."""
    a = parse(arguments)
    wp.config.log_level = wp.LOG_ERROR
    rng = np.random.default_rng(0)
    found: list[Example] = []
    for scene in read_scenes(a.scenes, a.only):
        found += examples(scene, a.step, rng)
        print(f"scene {scene.name}: {len(found)} refinements so far", flush=True)
    write_report(a.out / "calibrate_score.json", **report(found))


if __name__ == "__main__":
    main()
