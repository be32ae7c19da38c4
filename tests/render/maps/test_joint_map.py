"""Joints in front of the renderer: poses as the tree says, gradients as the images change."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box

from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.kinematics import Joint, KinematicTree
from dr_perception.geometry.se3 import exp_so3, make_transform, retract
from dr_perception.losses import L2, Objective, Term
from dr_perception.render import Instance, Renderer, RenderOptions, Scene
from dr_perception.render.maps.joints import JointMap

OPTIONS = RenderOptions(channels=("color", "silhouette"), supersampling=4)
BASE = make_transform(exp_so3([0.2, 0.5, -0.3]), np.array([-0.04, 0.02, 0.45]))


def arm() -> KinematicTree:
    """A foot, two arms, and a slide that follows the elbow by half."""
    along = make_transform(np.eye(3), np.array([0.05, 0.0, 0.0]))
    return KinematicTree(
        [
            Joint("shoulder", "revolute", "foot", "upper", along, (0.2, 0.1, 1.0)),
            Joint("elbow", "revolute", "upper", "lower", along, (0.0, 1.0, 0.2)),
            Joint(
                "grip", "prismatic", "lower", "hand", along, (1.0, 0.0, 0.3), mimic="elbow", multiplier=0.05
            ),
        ]
    )


LINKS = ("foot", "upper", None, "lower", "hand")


def scene() -> Scene:
    """Parts of different thickness, or their faces would lie in one plane."""
    beside = make_transform(np.eye(3), np.array([0.0, 0.08, 0.5]))
    parts = [box((0.03, 0.02 - 0.003 * k, 0.016 - 0.002 * k)) for k in range(len(LINKS))]
    return Scene([Instance(p) if n else Instance(p, beside) for n, p in zip(LINKS, parts, strict=True)])


def fit_of(q: np.ndarray) -> tuple[ImageFit, JointMap]:
    renderer, drawn, tree = Renderer(), scene(), arm()
    parameters = renderer.parameters(drawn, CAMERA, requires_grad=("pose",))
    front = JointMap(tree, LINKS, q, BASE)
    aim = renderer.parameters(drawn, CAMERA)
    JointMap(tree, LINKS, q + 0.15, retract(BASE, [0.004, 0.003, 0.01, 0.02, -0.03, 0.05])).fill(aim)
    seen = Renderer().render(drawn, aim, OPTIONS)
    objective = Objective({"c": Term(L2(), "color"), "s": Term(L2(), "silhouette")})
    return ImageFit(renderer, drawn, parameters, objective, seen, options=OPTIONS, front=front), front


def test_instances_get_the_poses_of_their_links_and_others_keep_theirs() -> None:
    q = np.array([[0.4, -0.6], [2.9, 3.1]])
    renderer, drawn, tree = Renderer(), scene(), arm()
    poses = np.array([[np.asarray(i.T_world_obj) for i in drawn.instances]] * 2)
    p = renderer.parameters(drawn, CAMERA, poses=poses, requires_grad=("pose",))
    front = JointMap(tree, LINKS, q, BASE)
    xi = np.array([0.01, 0.0, -0.02, 0.3, -0.2, 0.1], np.float32)
    front.theta["base"].assign(np.stack([np.zeros(6, np.float32), xi]))
    front.fill(p)
    for h, base in enumerate((BASE, retract(BASE, xi))):
        T = dict(zip(tree.links, tree.link_poses(q[h], base), strict=True))
        for i, link in enumerate(LINKS):
            expected = poses[h, i] if link is None else T[link]
            np.testing.assert_allclose(p.R_world_obj.numpy()[h, i], expected[:3, :3], atol=2e-6)
            np.testing.assert_allclose(p.t_world_obj.numpy()[h, i], expected[:3, 3], atol=1e-7)


@pytest.mark.parametrize("q", [(0.3, -0.4), (np.pi, 0.0), (-1.2, np.pi)])
def test_gradients_of_joints_and_base_are_the_slopes_of_the_objective(q: tuple[float, float]) -> None:
    fit, _ = fit_of(np.array([q]))
    base = np.array([[0.003, -0.002, 0.004, 0.3, -0.5, 0.2]])
    values = {"joints": np.array([q]), "base": base}
    _, gradients = fit(values)
    for name, steps in {"joints": [2e-3] * 2, "base": [1e-4] * 3 + [2e-3] * 3}.items():
        slopes = []
        for k, step in enumerate(steps):
            moved = []
            for sign in (1.0, -1.0):
                x = values[name].copy()
                x[0, k] += sign * step
                moved.append(fit({**values, name: x})[0])
            slopes.append((moved[0] - moved[1]) / (2.0 * step))
        scale = np.abs(slopes).max()
        np.testing.assert_allclose(gradients[name][0], slopes, rtol=0.03, atol=0.02 * scale)


def test_the_gradient_is_the_jacobian_of_the_tree_transposed() -> None:
    """With image gradients out of the way: what instances get comes back through `KinematicTree.jacobian`."""
    rng = np.random.default_rng(1)
    q, tree = np.array([[0.7, -0.2]]), arm()
    p = Renderer().parameters(scene(), CAMERA, requires_grad=("pose",))
    front = JointMap(tree, LINKS, q, BASE)
    with wp.Tape() as tape:
        front.fill(p)
    g = rng.normal(size=(1, len(LINKS), 6)).astype(np.float32)
    tape.backward(grads={p.pose: wp.array(g, dtype=p.pose.dtype)})
    J = tree.jacobian(q[0], BASE)
    place = {link: k for k, link in enumerate(tree.links)}
    expected = sum(J[place[link]].T @ g[0, i] for i, link in enumerate(LINKS) if link is not None)
    np.testing.assert_allclose(front.theta["base"].grad.numpy()[0], expected[:6], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(front.theta["joints"].grad.numpy()[0], expected[6:], rtol=1e-4, atol=1e-5)


BAD = {
    "an unknown link": (
        lambda: JointMap(arm(), ["head"], [0.0, 0.0]),
        r"unknown links \['head'\]; the tree has",
    ),
    "too few joints": (lambda: JointMap(arm(), LINKS, [0.0]), r"q must have shape \(H, 2\), got \(1,\)"),
    "two bases for one": (
        lambda: JointMap(arm(), LINKS, [0.0, 0.0], np.stack([BASE] * 2)),
        r"T_world_base must have shape \(4, 4\) or \(1, 4, 4\)",
    ),
    "a base that is no pose": (lambda: JointMap(arm(), LINKS, [0.0, 0.0], 2 * BASE), "T_world_base"),
    "another scene": (
        lambda: JointMap(arm(), LINKS[:2], [0.0, 0.0]).fill(Renderer().parameters(scene(), CAMERA)),
        "the map is for 1 hypotheses of 2 instances, the parameters are for 1 of 5",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_does_not_fit_is_refused_in_one_sentence(case: str) -> None:
    act, text = BAD[case]
    with pytest.raises(ValueError, match=text):
        act()
