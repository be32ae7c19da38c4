"""Are the covariances and scores true, and how far is the error from the least that the noise allows?

    python benchmarks/consistency.py                       # 600 simulated fits, and the tracking scenes
    python benchmarks/consistency.py --trials 200 --depth-only
    python benchmarks/consistency.py --trials 0            # the tracking scenes alone

For simulated frames (`simulate.py`) prints the normalised error squared (NEES) of the poses that are right,
the share below the 95 % quantile of chi-square, the root mean square displacement of the surface against its
Cramer-Rao bound from the depths of the object, and how often a score was right. For the scenes the same
normalised errors of the tracker's poses. Plots and numbers go to out/.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from consistency_plots import plot_nees, plot_reliability
from numpy.typing import NDArray
from scenes import OPEN_SCENES, RIGHT, ROOT, about, evaluation_points, read_scenes, write_report
from simulate import Noise, Simulator

import dr_perception as drp
from dr_perception.evaluation.consistency import consistency, nees, observable_basis, pose_nees, reliability
from dr_perception.evaluation.metrics import add_symmetric
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import local, perturb
from dr_perception.hypothesis.surface_uncertainty import SurfaceUncertainty

Array = NDArray[np.float64]
_FAR_SHARE = 0.33
_SETTLED_FRAMES = 5
_LARGEST_BOUND_M = 0.003


@dataclass(frozen=True)
class Trial:
    """One fit, or one frame of a track."""

    group: str
    dof: int
    nees: float
    nees_translation: float
    displacement_m: float
    """Root mean square displacement of the surface."""
    bound_m: float
    """Its Cramer-Rao bound; NaN where it is unknown or a direction is not observed."""
    score: float
    right: bool
    near: bool
    """Whether the fit started near, or the track had settled."""


def displacement_m(model: ObjectModel, T: Array, T_ref: Array, points: Array) -> float:
    """Root mean square distance of surface points from where they should be, over the symmetries."""
    reference = model.symmetries.closest(T, T_ref)
    moved = points @ (T[:3, :3] - reference[:3, :3]).T + T[:3, 3] - reference[:3, 3]
    return float(np.sqrt(np.mean(np.sum(moved**2, axis=1))))


def bound_m(model: ObjectModel, surface: SurfaceUncertainty, T: Array, information: Array) -> float:
    """Least root mean square displacement that an information matrix about the model's centre allows."""
    center = np.eye(4)
    center[:3, 3] = model.center
    basis = observable_basis(T @ center, about(model.symmetries, model.center))
    reduced = basis @ information @ basis.T
    covariance = basis.T @ np.linalg.pinv(reduced, rcond=1e-12) @ basis
    bound = surface.displacement_m(T[:3, :3], covariance)
    return bound if bound < _LARGEST_BOUND_M else float("nan")


def trial(
    group: str, model: ObjectModel, points: Array, T_ref: Array, state: Any, bound: float, near: bool
) -> Trial:
    """Errors of an estimate (anything with ``T_cam_obj``, ``covariance`` and ``score``) against the truth."""
    T, C = state.T_cam_obj, state.covariance
    e = local(model.symmetries.closest(T, T_ref), T)
    return Trial(
        group,
        len(observable_basis(T, model.symmetries)),
        pose_nees(T, T_ref, C, model.symmetries),
        float(nees(e[None, :3], C[None, :3, :3])[0]),
        displacement_m(model, T, T_ref, points),
        bound,
        state.score,
        add_symmetric(T, T_ref, points, model.symmetries) < RIGHT * model.diameter_m,
        near,
    )


def simulate(model: ObjectModel, count: int, color: bool, seed: int) -> list[Trial]:
    """Fits of one model to simulated frames, two thirds of them from near."""
    rng = np.random.default_rng(seed)
    noise = Noise()
    config = noise.fit_config()
    simulator, surface, points = (
        Simulator(model, noise, rng),
        SurfaceUncertainty(model),
        evaluation_points(model),
    )
    found = []
    for _ in range(count):
        T = simulator.pose()
        frame, information = simulator.frame(T, color)
        near = bool(rng.random() > _FAR_SHARE)
        distance, angle = (
            (0.005, np.radians(3.0))
            if near
            else (rng.uniform(0.02, 0.08), np.radians(rng.uniform(20.0, 120.0)))
        )
        try:
            fit = drp.fit_pose(model, frame, T_cam_obj=perturb(T, distance, angle, rng), config=config)
        except ValueError:
            continue  # the guess is outside of the image
        found.append(trial(model.name, model, points, T, fit, bound_m(model, surface, T, information), near))
    return found


def follow(root: Path, names: Sequence[str] | None) -> list[Trial]:
    """Frames of the tracker over scenes, from the sixth frame on."""
    found = []
    for scene in read_scenes(root, names):
        tracker = drp.Tracker(scene.models, drp.TrackerConfig(threads=1))
        tracker.start(scene.frames[0], dict(scene.truth[0]))
        points = {name: evaluation_points(model) for name, model in scene.models.items()}
        for k in range(1, len(scene.frames)):
            for name, state in tracker.track(scene.frames[k]).objects.items():
                near = k > _SETTLED_FRAMES and state.status is drp.Status.TRACKING
                group, truth = f"{scene.name} {name}", scene.truth[k][name]
                found.append(trial(group, scene.models[name], points[name], truth, state, float("nan"), near))
    return found


def show(title: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Print a line a group and one for all; only right poses from near count, except for the scores."""
    print(f"\n{title}")
    normalised = f"{'NEES/dof':>9s} {'95 % band':>14s} {'of transl.':>10s} {'inside 95 %':>12s}"
    print(f"  {'':22s} {'n':>5s} {normalised} {'rms mm':>7s} {'bound':>6s} {'ratio':>6s}")
    lines = {}
    for group in [*dict.fromkeys(t.group for t in trials), "all"]:
        chosen = [t for t in trials if group in ("all", t.group) and t.near and t.right]
        if chosen:
            lines[group] = _line(group, chosen)
    calibration = reliability([t.score for t in trials], [t.right for t in trials])
    error = calibration.expected_error
    print(f"  scores: expected calibration error {error:.3f}, Brier {calibration.brier:.3f}")
    for p, o, n in zip(calibration.predicted, calibration.observed, calibration.count, strict=True):
        print(f"    score {p:.2f}: {100.0 * o:5.1f} % right of {n}")
    return {
        "lines": lines,
        "expected_calibration_error": calibration.expected_error,
        "brier": calibration.brier,
    }


def _line(group: str, chosen: Sequence[Trial]) -> dict[str, float]:
    # Scaled to six degrees of freedom, so that objects with fewer can be averaged with the others.
    parts = [consistency([t.nees for t in chosen if t.dof == dof], dof) for dof in {t.dof for t in chosen}]
    count = sum(p.count for p in parts)
    mean = sum(p.mean / p.dof * p.count for p in parts) / count
    width = 1.96 * np.sqrt(sum(2.0 / p.dof * p.count for p in parts)) / count
    inside = sum(p.share_inside_95 * p.count for p in parts) / count
    translation = float(np.mean([t.nees_translation for t in chosen])) / 3.0
    bounded = [t for t in chosen if np.isfinite(t.bound_m)]
    rms = float(np.sqrt(np.mean([t.displacement_m**2 for t in (bounded or chosen)])))
    bound = float(np.sqrt(np.mean([t.bound_m**2 for t in bounded]))) if bounded else float("nan")
    band = f"{1.0 - width:.2f} .. {1.0 + width:.2f}"
    print(
        f"  {group:22s} {count:5d} {mean:9.2f} {band:>14s} {translation:10.2f} {100.0 * inside:12.1f}"
        f" {1e3 * rms:7.3f} {1e3 * bound:6.3f} {rms / bound:6.2f}"
    )
    return {
        "n": count,
        "nees_per_dof": mean,
        "inside_95": inside,
        "rms_m": rms,
        "bound_m": bound,
        "ratio": rms / bound,
    }


def default_models() -> list[ObjectModel]:
    """The models of the reference scenes, or those of the demonstration."""
    folder = OPEN_SCENES / "models"
    folder = folder if folder.is_dir() else ROOT / "models/demo/models"
    return list(drp.load_models(folder).values())


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=600, help="simulated fits, over all models; 0: none")
    p.add_argument(
        "--models", type=Path, nargs="+", help="mesh files; default: those of the reference scenes"
    )
    p.add_argument("--depth-only", action="store_true", help="simulated frames have no colour")
    p.add_argument("--scenes", type=Path, default=OPEN_SCENES, help="folder of scenes for the tracker")
    p.add_argument("--only", nargs="*", help="names of scenes; none: skip the tracker")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=ROOT / "out", help="folder of plots and numbers")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the trials, print tables, draw plots."""
    a = parse(arguments)
    wp.config.log_level = wp.LOG_ERROR
    report: dict[str, Any] = {}
    runs: dict[str, list[Trial]] = {}
    if a.trials:
        models = [drp.load_model(path) for path in a.models] if a.models else default_models()
        each = -(-a.trials // len(models))
        title = "depth alone" if a.depth_only else "depth and colour"
        runs[f"Simulated frames, {title}"] = [
            t for k, model in enumerate(models) for t in simulate(model, each, not a.depth_only, a.seed + k)
        ]
    if a.only != [] and (a.only or a.scenes.is_dir()):
        runs["Tracking"] = follow(a.scenes, a.only)
    a.out.mkdir(parents=True, exist_ok=True)
    for title, trials in runs.items():
        report[title] = show(title, trials)
        stem = (
            "consistency_"
            + title.split()[0].lower()
            + ("_depth" if a.depth_only and title != "Tracking" else "")
        )
        plot_nees(a.out / f"{stem}_nees.png", title, [t for t in trials if t.near and t.right])
        plot_reliability(
            a.out / f"{stem}_scores.png", title, [t.score for t in trials], [t.right for t in trials]
        )
    write_report(a.out / ("consistency_depth.json" if a.depth_only else "consistency.json"), **report)


if __name__ == "__main__":
    main()
