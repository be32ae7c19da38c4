"""The path of a camera that moves around objects that stand still.

The objects are tracked and the camera's pose in the world is estimated jointly from all of them. The
world is the camera's first frame. Images are rendered here with noise, so that the true path is known.

    python examples/moving_camera.py
"""

from __future__ import annotations

import itertools

import numpy as np
from common import MODELS, pinhole

from dr_perception import Camera, Frame, ObjectModel, Tracker, TrackerConfig, load_models
from dr_perception.geometry.se3 import angle_between, exp_so3, invert, make_transform, retract
from dr_perception.render import Instance, Lights, Renderer, RenderOptions, Scene

PERIOD_NS = 33_333_333


def placed_models() -> tuple[dict[str, ObjectModel], dict[str, np.ndarray]]:
    """The demo's objects side by side half a metre in front of the camera, turned a little."""
    models = load_models(MODELS)
    places = {}
    for i, model in enumerate(models.values()):
        R = exp_so3(np.array([1.2 + 0.3 * i, 0.3, 0.4 * i]))
        target = np.array([0.16 * (i - 1), 0.02 * (i - 1), 0.55 + 0.03 * i])
        places[model.name] = make_transform(R, target - R @ model.center)
    return models, places


def noisy_frame(
    renderer: Renderer,
    models: dict[str, ObjectModel],
    T_cam_obj: dict[str, np.ndarray],
    camera: Camera,
    index: int,
) -> Frame:
    """Rendered colour and depth before a grey wall one metre away, with the noise of a depth camera."""
    rng = np.random.default_rng(index)
    scene = Scene(
        [Instance(model, T_cam_obj[name]) for name, model in models.items()],
        Lights(ambient=(0.35,) * 3, directions=[[0.3, -0.4, -0.8]], colors=[[0.6] * 3]),
    )
    images = renderer.render(
        scene, renderer.parameters(scene, camera), RenderOptions(channels=("color", "depth", "silhouette"))
    ).numpy()
    color, depth, covered = (np.asarray(images[k]) for k in ("color", "depth", "silhouette"))
    covered = covered.reshape(camera.height, camera.width, 1)
    color = covered * color.reshape(camera.height, camera.width, 3) + (1.0 - covered) * 0.75
    color = 255.0 * np.clip(color, 0.0, 1.0) + rng.normal(0.0, 2.0, color.shape)
    depth = depth.reshape(camera.height, camera.width)
    depth = np.where(depth > 0.0, depth, 1.0)
    depth = depth + rng.normal(0.0, 0.002, depth.shape) * depth**2
    return Frame(
        color=np.clip(np.rint(color), 0, 255).astype(np.uint8),
        depth=depth.astype(np.float32),
        camera=camera,
        stamp_ns=index * PERIOD_NS,
    )


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images and the path smaller."""
    camera = pinhole(320, 240, 300.0) if small else pinhole(640, 480, 600.0)
    models, places = placed_models()
    s = np.arange(10 if small else 45) / 30.0
    zero = np.zeros_like(s)
    steps = np.stack([0.06 * np.sin(3 * s), 0.03 * s, zero, zero, 0.1 * np.sin(3 * s), 0.2 * s], axis=1)
    path = [retract(np.eye(4), step) for step in steps]

    renderer = Renderer()
    tracker = Tracker(models, TrackerConfig(recovery={"search": False}, camera={"mode": "static_objects"}))
    errors = []
    for i, T_world_cam in enumerate(path):
        T_cam_obj = {name: invert(T_world_cam) @ T for name, T in places.items()}
        frame = noisy_frame(renderer, models, T_cam_obj, camera, i)
        if i == 0:
            tracker.start(frame, T_cam_obj)
            continue
        found = tracker.track(frame).T_world_cam
        errors.append(
            (
                1e3 * float(np.linalg.norm(found[:3, 3] - T_world_cam[:3, 3])),
                float(np.rad2deg(angle_between(found[:3, :3], T_world_cam[:3, :3]))),
            )
        )
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    length = float(np.sum([np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in itertools.pairwise(path)]))
    return {"path mm": 1e3 * length, "position error mm": float(rms[0]), "rotation error deg": float(rms[1])}


if __name__ == "__main__":
    for key, value in main().items():
        print(f"{key}: {value:.4g}")
