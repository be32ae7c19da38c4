"""Calibrate one lens and eight cameras at once from eight pictures of a known object that nobody placed.

Unknown are two focal lengths, the principal point and the first coefficient of the lens, which all views
share, and the poses of all cameras in the frame of the object. Pictures have noise of 0.01. Coarse
differences of images pull the cameras near; least squares then gives the optimum, its covariance, and what
the pictures leave open: with the pose of the object unknown too, where all of it stands.

    python examples/self_calibration.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import warp as wp
from common import demo_bracket, views_around

import dr_perception as drp
from dr_perception.geometry.se3 import local, perturb
from dr_perception.losses import L2, Objective, Pyramid, Term

SIGMA = 0.01
"""Noise of a pixel."""
FREE = np.array([1] * 5 + [0] * 7, bool)
"""fx, fy, cx, cy and k1 of the twelve numbers of a lens."""
LENS_SCALE = [2.0] * 4 + [0.05] * 8
CAMERA_SCALE = [0.003] * 3 + [0.03] * 3


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images smaller."""
    n = 1 if small else 2
    rng = np.random.default_rng(5)
    true = drp.Camera(120 * n, 90 * n, 150.0 * n, 149.0 * n, 59.0 * n, 45.0 * n, (-0.2, 0.0, 0.0, 0.0))
    guess = replace(
        true, fx=144.0 * n, fy=144.0 * n, cx=59.5 * n, cy=44.5 * n, distortion=(0.0, 0.0, 0.0, 0.0)
    )
    model = demo_bracket()
    scene = _scene(model)
    T_obj_cam = _cameras(model, rng)
    renderer = drp.Renderer()
    options = drp.RenderOptions(channels=("silhouette", "color"), supersampling=1 if small else 3)
    seen = _pictures(renderer, scene, true, T_obj_cam, options, rng)

    first = np.stack([perturb(T, 0.004, np.deg2rad(2.0), rng) for T in T_obj_cam])
    fit = _fit(renderer, scene, guess, first, seen, options)
    coarse = drp.lbfgs(fit, _blocks(fit), iterations=60)
    found = drp.least_squares(fit, _blocks(fit), {"silhouette": SIGMA, "color": SIGMA})
    lens = found.values["lens"]
    truth = np.array([true.fx, true.fy, true.cx, true.cy, -0.2])
    errors = np.concatenate(
        [
            *(local(T, found.values["camera_pose"][k]) for k, T in enumerate(T_obj_cam)),
            lens[FREE] - truth,
        ]
    )
    covariance = found.covariance(["camera_pose", "lens"])
    free_object = _fit(renderer, scene, guess, first, seen, options, ("pose",))
    open_ones = drp.least_squares(
        free_object,
        {**_blocks(free_object), "pose": free_object.block("pose", CAMERA_SCALE)},
        {"silhouette": SIGMA, "color": SIGMA},
        starts=[found.values],
        iterations=0,
    )
    print(f"{coarse.reason}; then: {found.reason}")
    print(f"with the pose of the object unknown: {'; '.join(map(str, open_ones.gauges))}")
    distances = np.linalg.norm(found.values["camera_pose"][:, :3, 3] - T_obj_cam[:, :3, 3], axis=1)
    start = np.linalg.norm(first[:, :3, 3] - T_obj_cam[:, :3, 3], axis=1)
    return {
        "focal error %": float(100 * np.abs(lens[:2] / truth[:2] - 1).max()),
        "principal point px": float(np.hypot(*(lens[2:4] - truth[2:4]))),
        "k1 error %": float(100 * abs(lens[4] / truth[4] - 1)),
        "camera position mm, start": float(1e3 * start.max()),
        "camera position mm": float(1e3 * distances.max()),
        "k1 sigma %": float(100 * found.sigma("lens")[4] / abs(truth[4])),
        "camera sigma mm": float(1e3 * found.sigma("camera_pose")[:, :3].max()),
        "chi2 of errors per number": float(errors @ np.linalg.solve(covariance, errors) / len(errors)),
        "noise factor": found.noise_factor,
        "open directions": float(sum(g.count for g in open_ones.gauges)),
    }


def _scene(model: drp.ObjectModel) -> drp.Scene:
    lights = drp.Lights(
        ambient=(0.3, 0.3, 0.3),
        directions=[[0.3, -0.4, -0.8], [-0.5, 0.6, 0.3]],
        colors=[[0.6] * 3, [0.3] * 3],
    )
    return drp.Scene([drp.Instance(model, np.eye(4))], lights)


def _cameras(model: drp.ObjectModel, rng: np.random.Generator) -> np.ndarray:
    """Eight cameras around the object that see it at different distances, off the middle of the image."""
    d = model.diameter_m
    poses = views_around(8, 1.0, np.zeros(3))
    for k, T in enumerate(poses):
        T[:3, 3] *= d * (1.3 + 0.9 * (k % 3) / 2.0)
        T[:3, 3] += T[:3, :3] @ (0.25 * d * np.array([np.cos(2.4 * k), np.sin(2.4 * k), 0.0]))
    return np.stack([perturb(T, 0.0, 0.05, rng) for T in poses])


def _pictures(renderer, scene, camera, T_obj_cam, options, rng) -> dict[str, wp.array]:
    """What the cameras see, with noise."""
    cameras = [camera] * len(T_obj_cam)
    images = renderer.render(scene, renderer.parameters(scene, cameras, T_obj_cam), options)
    seen = {}
    for name in ("silhouette", "color"):
        image = getattr(images, name)
        noisy = image.numpy() + rng.normal(0.0, SIGMA, image.numpy().shape)
        seen[name] = wp.array(noisy.astype(np.float32), dtype=image.dtype)
    return seen


def _fit(renderer, scene, guess, first, seen, options, more: tuple[str, ...] = ()) -> drp.ImageFit:
    names = ("intrinsics", "camera_pose", *more)
    unknown = renderer.parameters(scene, [guess] * len(first), first, requires_grad=names)
    objective = Objective({name: Term(Pyramid(L2(), 4), name, 1e3) for name in seen})
    lens = drp.TiedIntrinsics(unknown.intrinsics.numpy()[0])
    return drp.ImageFit(renderer, scene, unknown, objective, seen, options=options, front=lens)


def _blocks(fit: drp.ImageFit) -> dict[str, drp.Block]:
    lens = fit.block("lens").start
    low, high = np.where(FREE, -np.inf, lens), np.where(FREE, np.inf, lens)
    return {
        "lens": fit.block("lens", LENS_SCALE, low, high),
        "camera_pose": fit.block("camera_pose", CAMERA_SCALE),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
