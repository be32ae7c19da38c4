"""Fit the pose of a known object from one silhouette alone: no depth, no colour.

The outline is matched coarse to fine: a loss on an image pyramid pulls from afar, the antialiased outline at
full resolution places it to a fraction of a pixel.

    python examples/fit_pose_from_silhouette.py
"""

from __future__ import annotations

import numpy as np
from common import demo_bracket, pinhole

from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.se3 import angle_between, exp_so3, make_transform, perturb
from dr_perception.losses import L2, Objective, Pyramid, Term
from dr_perception.render import Renderer, RenderOptions, Scene, render


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images and the effort smaller."""
    scale = 1 if small else 2
    camera = pinhole(160 * scale, 120 * scale, 180.0 * scale)
    model = demo_bracket()
    T_true = make_transform(
        exp_so3(np.array([2.2, 0.5, 0.4])), np.array([0.01, -0.005, 4.0 * model.diameter_m / 2])
    )
    T_start = perturb(T_true, 0.15 * model.diameter_m, np.deg2rad(20.0), np.random.default_rng(1))

    options = RenderOptions(channels=("silhouette",))
    mask = render(Scene.of(model, T_true), camera, options=options).silhouette
    renderer, scene, poses = Renderer(), Scene.of(model, T_start), T_start[None, None]
    for levels in (5, 3, 1):
        objective = Objective({"outline": Term(Pyramid(L2(), levels), "silhouette")})
        parameters = renderer.parameters(scene, camera, poses=poses, requires_grad=("pose",))
        fit = ImageFit(renderer, scene, parameters, objective, {"silhouette": mask}, options=options)
        block = fit.block("pose", scale=[0.01] * 3 + [0.1] * 3)
        poses = lbfgs(fit, {"pose": block}, iterations=60).values["pose"]
    T = poses[0, 0]
    return {
        "start translation mm": 1e3 * float(np.linalg.norm(T_start[:3, 3] - T_true[:3, 3])),
        "start rotation deg": float(np.rad2deg(angle_between(T_start[:3, :3], T_true[:3, :3]))),
        "translation mm": 1e3 * float(np.linalg.norm(T[:3, 3] - T_true[:3, 3])),
        "rotation deg": float(np.rad2deg(angle_between(T[:3, :3], T_true[:3, :3]))),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.3f}")
