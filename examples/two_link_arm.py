"""Find the joint angles and the base of a two-link arm in one picture.

The arm is a kinematic tree in front of the renderer: gradients of the images come back to its angles. The
picture has noise, and the first guess is some twenty degrees and centimetres off.

    python examples/two_link_arm.py
"""

from __future__ import annotations

import numpy as np
import warp as wp
from common import pinhole

from dr_perception import Instance, Joint, JointMap, KinematicTree, Mesh, Renderer, RenderOptions, Scene
from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.se3 import angle_between, exp_so3, make_transform, retract
from dr_perception.losses import L2, Objective, Pyramid, Term


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the image smaller."""
    camera = pinhole(160, 120, 200.0) if small else pinhole(320, 240, 400.0)
    links = ("foot", "upper", "lower")
    arm = KinematicTree(
        [
            Joint("shoulder", "revolute", "foot", "upper", _shift(0.0, 0.0, 0.05), (0.3, 1.0, 0.2)),
            Joint("elbow", "revolute", "upper", "lower", _shift(0.0, 0.0, 0.12), (0.1, 1.0, 0.0)),
        ]
    )
    bars = [_bar(0.06, 0.05), _bar(0.03, 0.12), _bar(0.02, 0.10)]
    scene = Scene([Instance(bar) for bar in bars])
    base = make_transform(exp_so3([0.5, 0.3, -0.2]), np.array([-0.03, -0.05, 0.55]))
    angles = np.array([0.6, -0.9])

    renderer, options = Renderer(), RenderOptions(channels=("color", "silhouette"))
    rng = np.random.default_rng(0)
    seen = _picture(renderer, scene, camera, JointMap(arm, links, angles, base), options, rng)
    guess = retract(base, [0.01, -0.008, 0.02, 0.1, -0.08, 0.06])
    parameters = renderer.parameters(scene, camera, requires_grad=("pose",))
    front = JointMap(arm, links, angles + np.array([0.3, -0.25]), guess)
    for levels in (4, 1):
        terms = {image: Term(Pyramid(L2(), levels), image) for image in ("color", "silhouette")}
        fit = ImageFit(renderer, scene, parameters, Objective(terms), seen, options=options, front=front)
        blocks = {
            "joints": fit.block("joints", 0.05),
            "base": fit.block("base", [0.005] * 3 + [0.03] * 3),
        }
        result = lbfgs(fit, blocks, iterations=80)
    found = result.values
    T = retract(guess, found["base"][0])
    return {
        "start deg": float(np.rad2deg(0.3)),
        "joints deg": float(np.rad2deg(np.abs(found["joints"][0] - angles).max())),
        "base mm": 1e3 * float(np.linalg.norm(T[:3, 3] - base[:3, 3])),
        "base deg": float(np.rad2deg(angle_between(T[:3, :3], base[:3, :3]))),
    }


def _shift(x: float, y: float, z: float) -> np.ndarray:
    return make_transform(np.eye(3), np.array([x, y, z]))


def _bar(width: float, length: float) -> Mesh:
    """A bar along z from the origin, with a colour for each end."""
    x, y = 0.5 * width, 0.35 * width
    corners = np.array([[i, j, k] for i in (-x, x) for j in (-y, y) for k in (0.0, length)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    colors = np.where(corners[:, 2:] > 0.0, [220, 120, 40], [40, 110, 200]).astype(np.uint8)
    return Mesh(corners, faces, vertex_colors=colors)


def _picture(
    renderer: Renderer,
    scene: Scene,
    camera: object,
    front: JointMap,
    options: RenderOptions,
    rng: np.random.Generator,
) -> dict[str, wp.array]:
    """What a camera sees of the arm: colours with noise of 2 %, and the mask."""
    parameters = renderer.parameters(scene, camera)
    front.fill(parameters)
    images = renderer.render(scene, parameters, options)
    color = images.color.numpy() + rng.normal(0.0, 0.02, images.color.numpy().shape)
    return {"color": wp.array(color.astype(np.float32), dtype=wp.vec3), "silhouette": images.silhouette}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
