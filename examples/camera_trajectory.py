"""Find the path of a moving camera as one smooth spline, from the pictures it took of a known object.

Every picture has a time. Eight knots of a spline carry the camera; its poses at all pictures, and its
velocities, follow from them.

    python examples/camera_trajectory.py
"""

from __future__ import annotations

import numpy as np
from common import demo_bracket, look_at, pinhole

from dr_perception import Instance, Lights, Renderer, RenderOptions, Scene, SplineMap
from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.fitting.least_squares import least_squares
from dr_perception.geometry.se3 import angle_between, retract
from dr_perception.losses import L2, Objective, Pyramid, Term


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images smaller and fewer."""
    camera = pinhole(96, 72, 110.0) if small else pinhole(192, 144, 220.0)
    count = 9 if small else 24
    model = demo_bracket()
    lights = Lights(ambient=(0.5,) * 3, directions=[[0.3, -0.4, -0.8]], colors=[[0.5] * 3])
    scene = Scene([Instance(model)], lights)
    distance, period = 1.9 * model.diameter_m, 0.2
    angles = np.linspace(0.0, 1.4, 8)
    eyes = distance * np.stack([np.cos(angles), np.sin(angles), 0.4 + 0.25 * np.sin(2.0 * angles)], axis=1)
    knots = np.array([look_at(model.center + eye, model.center, np.array([0.1, 0.3, -1.0])) for eye in eyes])
    stamps = np.linspace(0.0, 5 * period, count)

    renderer, options = Renderer(), RenderOptions(channels=("color", "silhouette"))
    true = SplineMap(knots, stamps, period=period)
    drawn = renderer.parameters(scene, [camera] * count)
    drawn.R_world_cam.assign(true.poses()[0][:, :3, :3].astype(np.float32))
    drawn.t_world_cam.assign(true.poses()[0][:, :3, 3].astype(np.float32))
    seen = renderer.render(scene, drawn, options)

    rng = np.random.default_rng(2)
    guess = retract(knots, rng.normal(size=(8, 6)) * np.repeat([0.008, 0.04], 3))
    front = SplineMap(guess, stamps, period=period)
    parameters = renderer.parameters(scene, [camera] * count, requires_grad=("camera_pose",))
    start = _errors(front, true)
    for levels in (4, 1):
        terms = {image: Term(Pyramid(L2(), levels), image) for image in ("color", "silhouette")}
        fit = ImageFit(renderer, scene, parameters, Objective(terms), seen, options=options, front=front)
        block = {"knots": fit.block("knots", np.repeat([0.003, 0.02], 3))}
        fit(lbfgs(fit, block, iterations=60).values)
    block = {"knots": fit.block("knots", np.repeat([0.003, 0.02], 3))}
    least_squares(fit, block, {"color": 0.01, "silhouette": 0.01}, iterations=12)
    end = _errors(front, true)
    return {
        "start mm": start[0],
        "start deg": start[1],
        "camera mm": end[0],
        "camera deg": end[1],
        "velocity mm/s": end[2],
    }


def _errors(found: SplineMap, true: SplineMap) -> tuple[float, float, float]:
    """Root mean square errors of places [mm], turns [deg] and speeds [mm/s] at the pictures."""
    (T, v), (T_true, v_true) = found.poses(), true.poses()
    place = np.linalg.norm(T[:, :3, 3] - T_true[:, :3, 3], axis=1)
    turn = angle_between(T[:, :3, :3], T_true[:, :3, :3])
    speed = np.linalg.norm(v[:, :3] - v_true[:, :3], axis=1)
    return 1e3 * _rms(place), float(np.rad2deg(_rms(turn))), 1e3 * _rms(speed)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
