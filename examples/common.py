"""What the examples share: where the demo's models are, and views around an object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dr_perception import Camera, ObjectModel, load_model
from dr_perception.body.lod import simplify

MODELS = Path(__file__).resolve().parents[1] / "models" / "demo" / "models"


def demo_bracket() -> ObjectModel:
    """The bracket that comes with the demo, with as few faces as keep its shape to 0.4 mm."""
    model = load_model(MODELS / "obj_000002.ply")
    return replace(model, mesh=simplify(model.mesh, 4e-4))


def pinhole(width: int, height: int, focal: float) -> Camera:
    """A camera without distortion whose axis meets the middle of the image."""
    return Camera(width=width, height=height, fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)


def look_at(eye: np.ndarray, target: np.ndarray, down: np.ndarray) -> np.ndarray:
    """T_world_cam of a camera at ``eye`` that looks at ``target`` with ``down`` pointing down in the
    image."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = eye
    return T


def views_around(count: int, distance: float, target: np.ndarray) -> np.ndarray:
    """Camera poses spread evenly over a sphere (a Fibonacci lattice), shape (count, 4, 4)."""
    golden = np.pi * (3.0 - np.sqrt(5.0))
    poses = []
    for i in range(count):
        z = 1.0 - 2.0 * (i + 0.5) / count
        r = np.sqrt(1.0 - z * z)
        direction = np.array([r * np.cos(golden * i), r * np.sin(golden * i), z])
        poses.append(look_at(target + distance * direction, target, np.array([0.1, 0.3, -1.0])))
    return np.stack(poses)
