"""Find how a soft finger bends, in one depth image and mask: three joints move its skin.

python examples/skinned_finger.py
"""

from __future__ import annotations

import numpy as np
from common import pinhole

from dr_perception import Instance, Joint, KinematicTree, Mesh, Renderer, RenderOptions, Scene, SkinMap
from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.se3 import exp_so3, make_transform
from dr_perception.losses import L2, Objective, Pyramid, Term

LENGTH_M, RADIUS_M, BONES = 0.09, 0.010, 3


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images smaller."""
    camera = pinhole(128, 96, 180.0) if small else pinhole(320, 240, 450.0)
    mesh, tree = _finger(), _skeleton()
    middles = LENGTH_M * (np.arange(BONES + 1) - 0.5).clip(0.0) / BONES
    along = np.abs(mesh.vertices[:, :1] - middles)
    weights = np.exp(-0.5 * (along / 0.010) ** 2) + 1e-9
    T = make_transform(exp_so3([0.2, 0.5, 0.3]), np.array([-0.05, -0.02, 0.25]))
    scene = Scene([Instance(mesh, T)])
    renderer, options = Renderer(), RenderOptions(channels=("color", "silhouette"))
    angles = np.array([0.25, 0.45, 0.6])

    drawn = renderer.parameters(scene, camera)
    SkinMap(tree, mesh.vertices, weights, q=angles).fill(drawn)
    seen, bent = renderer.render(scene, drawn, options), drawn.vertices.numpy().copy()

    parameters = renderer.parameters(scene, camera, requires_grad=("vertices",))
    front = SkinMap(tree, mesh.vertices, weights)
    for levels in (4, 1):
        terms = {image: Term(Pyramid(L2(), levels), image) for image in ("color", "silhouette")}
        fit = ImageFit(renderer, scene, parameters, Objective(terms), seen, options=options, front=front)
        found = lbfgs(fit, {"joints": fit.block("joints", 0.1, -0.2, 1.5)}, iterations=60)
        fit(found.values)
    surface = np.linalg.norm(parameters.vertices.numpy() - bent, axis=1)
    return {
        "start deg": float(np.rad2deg(angles.max())),
        "joints deg": float(np.rad2deg(np.abs(found.values["joints"][0] - angles).max())),
        "surface mm": 1e3 * float(surface.max()),
        "start surface mm": 1e3 * float(np.linalg.norm(mesh.vertices - bent, axis=1).max()),
    }


def _skeleton() -> KinematicTree:
    """Hinges at the beginning of each third."""
    names = ["root", *(f"bone_{k}" for k in range(BONES))]
    joints = []
    for k in range(BONES):
        step = make_transform(np.eye(3), np.array([LENGTH_M / BONES if k else 0.0, 0.0, 0.0]))
        joints.append(
            Joint(f"hinge_{k}", "revolute", names[k], names[k + 1], step, (0.0, 1.0, 0.0), -0.2, 1.5)
        )
    return KinematicTree(joints)


def _finger(rings: int = 25, sides: int = 16) -> Mesh:
    """A rod along x with a round tip and rings of two colours."""
    x = np.linspace(0.0, LENGTH_M, rings)
    radius = RADIUS_M * np.sqrt(
        np.clip(1.0 - (np.clip(x - 0.9 * LENGTH_M, 0.0, None) / (0.11 * LENGTH_M)) ** 2, 0.05, 1)
    )
    angle = 2.0 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.zeros(sides), np.cos(angle), np.sin(angle)], axis=1)
    vertices = np.concatenate([np.array([a, 0.0, 0.0]) + r * ring for a, r in zip(x, radius, strict=True)])
    i, j = np.divmod(np.arange((rings - 1) * sides), sides)
    a, b = i * sides + j, i * sides + (j + 1) % sides
    faces = np.concatenate([np.stack([a, a + sides, b], 1), np.stack([b, a + sides, b + sides], 1)])
    ends = [[0, k, k + 1] for k in range(1, sides - 1)]
    last = (rings - 1) * sides
    ends += [[last, last + k + 1, last + k] for k in range(1, sides - 1)]
    colors = np.where((np.arange(len(vertices)) // sides // 3 % 2)[:, None], [220, 160, 60], [60, 130, 190])
    return Mesh(vertices, np.concatenate([faces, np.array(ends)]), vertex_colors=colors.astype(np.uint8))


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
