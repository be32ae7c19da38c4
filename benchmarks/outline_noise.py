"""How the errors of measured outlines scatter and how far along the outline they are shared.

    python benchmarks/outline_noise.py --frames 40

Outlines of simulated frames (`simulate.py`) are measured at the true pose, so that what is left is their
error. Prints its variance as a share of what the rows claim, and the integral of its autocorrelation along
the outline in pixels, in units of the claimed variance: the setting `sensor.contour.shared_px` with which
covariances of poses are true.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import warp as wp
from consistency import default_models
from numpy.typing import NDArray
from scenes import ROOT, write_report
from simulate import CAMERA, Noise, Simulator

from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.batch import BatchRefiner, BatchSettings, batch_refiner
from dr_perception.measure.modalities import OUTLINE
from dr_perception.measure.terms import OutlineTerm

Array = NDArray[np.float64]
_DISTANCES_PX = np.array([0.01, 2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 26.0, 32.0, 40.0])
_ALIKE = 0.7
"""Cosine of the angle between normals of lines whose errors are compared."""


def measured_lines(batch: BatchRefiner, T: Array) -> NDArray[np.void]:
    """Inlying lines at a pose (4, 4)."""
    refiner = batch.refiner
    refiner.set_poses(T[None])
    batch.learn_colors()
    outline = refiner.terms[int(OUTLINE)]
    assert isinstance(outline, OutlineTerm)
    for measure in outline.launches(batch.stages[-1].config).measure:
        measure()
    lines = outline.lines.numpy()[0, : int(refiner.view.contour.count.numpy()[0])]
    lines = lines[lines["variance"] > 0.0]
    return lines[lines["offset"] ** 2 < refiner.config.sensor.contour.cutoff_sigma**2 * lines["variance"]]


def shared_noise(model: ObjectModel, frames: int, seed: int) -> tuple[float, Array]:
    """Variance over what is claimed, and the integral of the autocorrelation up to each distance [px]."""
    rng = np.random.default_rng(seed)
    noise = Noise()
    simulator = Simulator(model, noise, rng)
    config = noise.fit_config()
    batch = batch_refiner(model, BatchSettings(CAMERA, config.refiner, config.stages, 1))
    products, weights = np.zeros(len(_DISTANCES_PX) - 1), np.zeros(len(_DISTANCES_PX) - 1)
    variance = []
    for _ in range(frames):
        T = simulator.pose()
        frame, _ = simulator.frame(T)
        batch.load(frame, (0, 0, CAMERA.width, CAMERA.height))
        lines = measured_lines(batch, T)
        share = 1.0 / np.sqrt(lines["variance"])
        pull = lines["offset"] / lines["variance"]
        variance.append(np.sum(pull**2) / np.sum(share**2))
        distance = np.linalg.norm(lines["center"][:, None] - lines["center"], axis=2)
        alike = lines["normal"] @ lines["normal"].T
        for k, (near, far) in enumerate(pairwise(_DISTANCES_PX)):
            i, j = np.nonzero((distance >= near) & (distance < far) & (alike > _ALIKE))
            products[k] += np.sum(pull[i] * pull[j] * alike[i, j])
            weights[k] += np.sum(share[i] * share[j])
    # The outline goes on to both sides.
    return float(np.mean(variance)), 2.0 * np.cumsum(products / weights * np.diff(_DISTANCES_PX))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--frames", type=int, default=40, help="frames of each model")
    p.add_argument("--seed", type=int, default=100)
    p.add_argument("--out", type=Path, default=ROOT / "out")
    a = p.parse_args(arguments)
    wp.config.log_level = wp.LOG_ERROR
    print(f"{'':14s} variance / claimed   shared px within 12, 26, 40 px")
    rows = {}
    for k, model in enumerate(default_models()):
        variance, shared = shared_noise(model, a.frames, a.seed + k)
        rows[model.name] = {"variance": variance, "shared_px": shared.tolist()}
        print(f"{model.name:14s} {variance:18.2f}   {shared[4]:.1f}, {shared[7]:.1f}, {shared[-1]:.1f}")
    write_report(a.out / "outline_noise.json", rows=rows)


if __name__ == "__main__":
    main()
