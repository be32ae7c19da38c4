"""Two calibrated cameras follow one object in one estimate, and correct an error of their calibration.

python examples/two_cameras.py
"""

from __future__ import annotations

import numpy as np
from common import pinhole
from moving_camera import noisy_frame, placed_models

from dr_perception import TrackerConfig
from dr_perception.geometry.se3 import exp_so3, invert, make_transform, perturb, retract
from dr_perception.render import Renderer
from dr_perception.tracking.multi_camera import MultiCameraTracker


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images smaller and the sequence shorter."""
    camera = pinhole(320, 240, 300.0) if small else pinhole(640, 480, 600.0)
    models, places = placed_models()
    name = next(iter(models))
    models, start = {name: models[name]}, places[name]
    target = start[:3, :3] @ models[name].center + start[:3, 3]
    R = exp_so3(np.array([0.0, 1.1, 0.0]))
    true = {"left": np.eye(4), "right": make_transform(R, target - R @ np.array([0.0, 0.0, 0.55]))}
    believed = {**true, "right": perturb(true["right"], 0.004, 0.008, np.random.default_rng(1))}

    tracker = MultiCameraTracker(
        models,
        believed,
        TrackerConfig(recovery={"search": False}),
        extrinsics_sigma_m=0.004,
        extrinsics_sigma_rad=0.008,
    )
    renderer = Renderer()
    errors = []
    for i in range(8 if small else 30):
        T_rig_obj = retract(start, np.array([0.002, 0.001, 0.0, 0.0, 0.01, 0.02]) * i)
        frames = {
            side: noisy_frame(renderer, models, {name: invert(T) @ T_rig_obj}, camera, i)
            for side, T in true.items()
        }
        if i == 0:
            tracker.start(frames, {name: T_rig_obj})
            continue
        result = tracker.track(frames)
        errors.append(1e3 * float(np.linalg.norm(result.objects[name].T_cam_obj[:3, 3] - T_rig_obj[:3, 3])))
    off = {
        key: T["right"][:3, 3] - true["right"][:3, 3]
        for key, T in (("was", believed), ("is", result.T_rig_cam))
    }
    return {
        "object error mm": float(np.sqrt(np.mean(np.square(errors)))),
        "right camera was off mm": 1e3 * float(np.linalg.norm(off["was"])),
        "right camera is off mm": 1e3 * float(np.linalg.norm(off["is"])),
    }


if __name__ == "__main__":
    for key, value in main().items():
        print(f"{key}: {value:.4g}")
