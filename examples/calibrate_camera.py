"""Recover focal lengths, principal point, lens distortion and the pose of a camera from pictures of one known
object.

A robot shows the object to a fixed camera in poses that are known in the robot's frame. From the colour
images alone come four intrinsics, two distortion coefficients and the six numbers of the camera's pose.

    python examples/calibrate_camera.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from common import demo_bracket

from dr_perception import Camera
from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.fitting.least_squares import least_squares
from dr_perception.geometry.se3 import angle_between, exp_so3, make_transform, perturb
from dr_perception.losses import L2, DepthLoss, DepthNoise, Objective, Pyramid, Term
from dr_perception.render import Instance, Lights, Renderer, RenderOptions, Scene


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images and the effort smaller."""
    scale = 1 if small else 2
    rng = np.random.default_rng(4)
    true = Camera(
        96 * scale, 72 * scale, 84.0 * scale, 85.0 * scale, 46.0 * scale, 37.0 * scale, (-0.22, 0.08, 0, 0)
    )
    guess = Camera(
        96 * scale, 72 * scale, 79.0 * scale, 79.0 * scale, 47.5 * scale, 35.5 * scale, (0.0, 0.0, 0, 0)
    )
    model = demo_bracket()
    scene = Scene(
        [Instance(model)], Lights(ambient=(0.5,) * 3, directions=[[0.3, -0.4, -0.8]], colors=[[0.5] * 3])
    )
    poses = _poses(6 if small else 12, model.diameter_m, rng)
    T_world_cam = perturb(np.eye(4), 0.01, np.deg2rad(3.0), rng)[None]  # the true camera is the origin

    renderer, options = Renderer(), RenderOptions(channels=("color", "depth"), supersampling=2)
    seen = renderer.render(scene, renderer.parameters(scene, true, poses=poses[:, None]), options)
    depth = DepthLoss(DepthNoise(0.003, 0.0, 0.0), kind="huber", delta=1.0)
    camera, calls = guess, 0
    for levels, iterations in ((4, 100), (1, 100)):
        terms = {"color": Term(Pyramid(L2(), levels), "color", 1e3), "depth": Term(depth, "depth", 10.0)}
        names = ("camera_pose", "intrinsics")
        first = renderer.parameters(scene, camera, T_world_cam, poses[:, None], requires_grad=names)
        fit = ImageFit(renderer, scene, first, Objective(terms), seen, options=options)
        free = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
        fixed = first.intrinsics.numpy().astype(float)
        low, high = np.where(free, -np.inf, fixed), np.where(free, np.inf, fixed)
        blocks = {
            "intrinsics": fit.block("intrinsics", [2.0 * scale] * 4 + [0.05] * 8, low, high),
            "camera_pose": fit.block("camera_pose", [0.003] * 3 + [0.03] * 3),
        }
        result = lbfgs(fit, blocks, iterations=iterations, value_tolerance=1e-12)
        T_world_cam, calls = result.values["camera_pose"], calls + len(result.history)
        fx, fy, cx, cy, k1, k2 = (float(v) for v in result.values["intrinsics"][0][:6])
        camera = replace(true, fx=fx, fy=fy, cx=cx, cy=cy, distortion=(k1, k2, 0.0, 0.0))
    # Close to the optimum least squares is surer than a line search, whose objective has small steps.
    found = least_squares(fit, blocks, {"color": 0.01, "depth": 0.001}, iterations=15)
    T_world_cam = found.values["camera_pose"]
    fx, fy, cx, cy, k1, k2 = (float(v) for v in found.values["intrinsics"][0][:6])
    camera = replace(true, fx=fx, fy=fy, cx=cx, cy=cy, distortion=(k1, k2, 0.0, 0.0))
    grid = np.stack(np.meshgrid(np.linspace(-0.35, 0.35, 9), np.linspace(-0.28, 0.28, 7)), -1).reshape(-1, 2)
    points = np.concatenate([grid, np.ones((len(grid), 1))], axis=1)
    return {
        "start px": _rms(guess.project(points) - true.project(points)),
        "reprojection px": _rms(camera.project(points) - true.project(points)),
        "focal error %": 100 * max(abs(camera.fx / true.fx - 1), abs(camera.fy / true.fy - 1)),
        "principal point px": float(np.hypot(camera.cx - true.cx, camera.cy - true.cy)),
        "k1 error": abs(camera.distortion[0] - true.distortion[0]),
        "k2 error": abs(camera.distortion[1] - true.distortion[1]),
        "camera position mm": 1e3 * float(np.linalg.norm(T_world_cam[0, :3, 3])),
        "camera rotation deg": float(np.rad2deg(angle_between(T_world_cam[0, :3, :3], np.eye(3)))),
        "renders": float(calls),
    }


def _poses(count: int, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Poses that bring the object to every part of the image at different angles and distances."""
    places = [
        (-0.22, -0.15),
        (0.22, -0.15),
        (-0.22, 0.15),
        (0.22, 0.15),
        (0, 0),
        (0.28, 0),
        (-0.28, 0),
        (0, 0.18),
    ]
    out = []
    for i in range(count):
        x, y = places[i % len(places)]
        z = diameter * rng.uniform(1.1, 1.9)
        out.append(make_transform(exp_so3(rng.normal(size=3)), np.array([x * z, y * z, z])))
    return np.stack(out)


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(difference**2, axis=-1))))


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
