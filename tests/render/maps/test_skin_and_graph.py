"""Meshes that bend: skins under joints and deformation graphs, against plain NumPy and differences."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, pose, torus

from dr_perception.geometry.kinematics import Joint, KinematicTree
from dr_perception.geometry.se3 import exp_so3, make_transform, transform_points
from dr_perception.render import Instance, Renderer, Scene
from dr_perception.render.maps import GraphMap, SkinMap
from dr_perception.render.maps.graph import nearest_nodes, pairs_of, spread
from dr_perception.render.maps.skin import four_largest, smooth_weights

MESH = torus()
SCENE = Scene([Instance(MESH, pose())])


def finger() -> KinematicTree:
    def along(x: float) -> np.ndarray:
        return make_transform(np.eye(3), np.array([x, 0.0, 0.0]))

    return KinematicTree(
        [
            Joint("knuckle", "revolute", "palm", "near", along(-0.02), (0.0, 0.0, 1.0)),
            Joint("tip", "revolute", "near", "far", along(0.04), (0.0, 1.0, 0.3)),
            Joint("pull", "prismatic", "far", "nail", along(0.02), (1.0, 0.0, 0.0)),
        ]
    )


def parameters():
    return Renderer().parameters(SCENE, CAMERA, requires_grad=("vertices",))


def _weights(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.0, 1.0, (len(MESH.vertices), 4)) ** 3


def test_a_skin_is_the_weighted_mean_of_what_its_bones_do() -> None:
    rng, tree = np.random.default_rng(0), finger()
    weights, q_rest, q = _weights(rng), np.array([0.2, -0.1, 0.01]), np.array([0.9, -0.7, 0.03])
    front, p = SkinMap(tree, MESH.vertices, weights, q_rest, q), parameters()
    front.fill(p)
    before, now = tree.link_poses(q_rest), tree.link_poses(q)
    each = np.stack(
        [transform_points(b @ np.linalg.inv(a), MESH.vertices) for a, b in zip(before, now, strict=True)]
    )
    shares = weights / weights.sum(axis=1, keepdims=True)
    expected = np.einsum("vb,bvi->vi", shares, each)
    np.testing.assert_allclose(p.vertices.numpy(), expected, atol=1e-6)
    SkinMap(tree, MESH.vertices, weights, q_rest).fill(p)
    np.testing.assert_allclose(p.vertices.numpy(), MESH.vertices, atol=1e-6)


def test_gradients_of_a_skin_are_the_slopes_of_its_vertices() -> None:
    rng, tree = np.random.default_rng(1), finger()
    weights, q = _weights(rng), np.array([0.9, -0.7, 0.03])
    front, p = SkinMap(tree, MESH.vertices, weights, q=q), parameters()
    with wp.Tape() as tape:
        front.fill(p)
    g = rng.normal(size=MESH.vertices.shape).astype(np.float32)
    tape.backward(grads={p.vertices: wp.array(g, dtype=wp.vec3)})
    shares = weights / weights.sum(axis=1, keepdims=True)

    def value(x: np.ndarray) -> float:
        pairs = zip(tree.link_poses(np.zeros(3)), tree.link_poses(x), strict=True)
        each = np.stack([transform_points(b @ np.linalg.inv(a), MESH.vertices) for a, b in pairs])
        return float(np.sum(g * np.einsum("vb,bvi->vi", shares, each)))

    expected = [(value(q + d) - value(q - d)) / 2e-6 for d in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(front.theta["joints"].grad.numpy()[0], expected, rtol=1e-3, atol=1e-4)


def test_the_four_largest_weights_count_and_sum_to_one() -> None:
    bones, shares = four_largest(np.array([[0.0, 3.0, 1.0, 0.0, 0.5, 2.0, 0.1]]), (1, 7))
    assert bones.tolist() == [[1, 5, 2, 4]]
    np.testing.assert_allclose(shares, [[3 / 6.5, 2 / 6.5, 1 / 6.5, 0.5 / 6.5]])
    bones, shares = four_largest(np.array([[2.0, 0.0]]), (1, 2))
    assert bones.tolist() == [[0, -1, -1, -1]] and shares[0, 0] == 1.0
    near = smooth_weights([np.array([0.0, 1.0]), np.array([1.0, 0.0])], 0.3)
    assert near[0, 0] > 100 * near[0, 1] and near[1, 1] > 100 * near[1, 0]


def test_nodes_that_move_as_one_body_move_the_mesh_as_one_and_agree() -> None:
    front, p = GraphMap(MESH.vertices, 0.03), parameters()
    R, shift = exp_so3([0.4, -0.6, 0.3]), np.array([0.01, -0.02, 0.03])
    nodes = front._nodes.numpy()
    motions = np.concatenate(
        [nodes @ R.T + shift - nodes, np.tile([0.4, -0.6, 0.3], (front.num_nodes, 1))], axis=1
    )
    front.theta["nodes"].assign(motions.astype(np.float32))
    front.fill(p)
    np.testing.assert_allclose(p.vertices.numpy(), MESH.vertices @ R.T + shift, atol=1e-6)
    assert front.rigidity(p).numpy()[0] < 1e-12
    motions[0, :3] += 0.01
    front.theta["nodes"].assign(motions.astype(np.float32))
    assert front.rigidity(p).numpy()[0] > 1e-7


@pytest.mark.parametrize("what", ["vertices", "rigidity"])
def test_gradients_of_nodes_are_slopes(what: str) -> None:
    rng = np.random.default_rng(3)
    front, p = GraphMap(MESH.vertices, 0.05), parameters()
    x = rng.normal(size=(front.num_nodes, 6)) * [0.01, 0.01, 0.01, 0.4, 0.4, 0.4]
    front.theta["nodes"].assign(x.astype(np.float32))
    nodes, rest = front._nodes.numpy().astype(float), MESH.vertices
    g = rng.normal(size=rest.shape).astype(np.float32)
    with wp.Tape() as tape:
        if what == "vertices":
            front.fill(p)
        else:
            total = front.rigidity(p)
    if what == "vertices":
        tape.backward(grads={p.vertices: wp.array(g, dtype=wp.vec3)})
    else:
        tape.backward(loss=total)
    chosen, weights = nearest_nodes(rest, nodes)
    pairs = pairs_of(chosen)

    def moves(motions: np.ndarray, a: np.ndarray, points: np.ndarray) -> np.ndarray:
        R = exp_so3(motions[a, 3:])
        return np.einsum("...ij,...j->...i", R, points - nodes[a]) + nodes[a] + motions[a, :3]

    def value(motions: np.ndarray) -> float:
        if what == "vertices":
            carried = moves(motions, chosen, rest[:, None])
            return float(np.sum(g * np.einsum("vk,vki->vi", weights, carried)))
        a, b = pairs.T
        off = [moves(motions, i, nodes[j]) - nodes[j] - motions[j, :3] for i, j in ((a, b), (b, a))]
        return float(0.5 * np.mean(np.sum(off[0] ** 2 + off[1] ** 2, axis=1)))

    found = front.theta["nodes"].grad.numpy()
    for index in ((0, 0), (0, 4), (1, 2), (2, 5), (3, 3)):
        step = np.zeros_like(x)
        step[index] = 1e-6
        slope = (value(x + step) - value(x - step)) / 2e-6
        np.testing.assert_allclose(found[index], slope, rtol=2e-3, atol=1e-3 * np.abs(found).max())


def test_nodes_are_spread_evenly() -> None:
    points = np.random.default_rng(0).uniform(size=(400, 3))
    chosen = points[spread(points, 0.2)]
    apart = np.linalg.norm(chosen[:, None] - chosen, axis=2) + 9.0 * np.eye(len(chosen))
    assert apart.min() > 0.2
    assert np.linalg.norm(points[:, None] - chosen, axis=2).min(axis=1).max() <= 0.2


BAD = {
    "weights of another shape": (
        lambda: SkinMap(finger(), MESH.vertices, np.ones((3, 4))),
        r"weights must have shape",
    ),
    "negative weights": (
        lambda: SkinMap(finger(), MESH.vertices, -np.ones((len(MESH.vertices), 4))),
        "finite and not negative, got -1.0",
    ),
    "a vertex without a bone": (
        lambda: SkinMap(finger(), MESH.vertices, np.zeros((len(MESH.vertices), 4))),
        "must be moved by a bone; 640 are not, the first is 0",
    ),
    "joints of another number": (
        lambda: SkinMap(finger(), MESH.vertices, np.ones((len(MESH.vertices), 4)), q=[0.0]),
        r"q must have shape \(3,\), got \(1,\)",
    ),
    "a skin too large": (
        lambda: SkinMap(finger(), MESH.vertices, np.ones((len(MESH.vertices), 4)), first_vertex=5).fill(
            parameters()
        ),
        "the skin has 640 vertices, the scene has 635 from 5 on",
    ),
    "too few nodes": (
        lambda: GraphMap(MESH.vertices, 10.0),
        "spacing_m 10.0 leaves 1 nodes, expected at least 5",
    ),
    "no spacing": (lambda: GraphMap(MESH.vertices, 0.0), "spacing_m must be positive, got 0"),
    "points of another shape": (
        lambda: GraphMap(np.zeros(3), 0.1),
        r"vertices must have shape \(V, 3\), got \(3,\)",
    ),
    "a graph too large": (
        lambda: GraphMap(MESH.vertices, 0.03, first_vertex=1).fill(parameters()),
        "the graph moves 640 vertices, the scene has 639 from 1 on",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_does_not_fit_is_refused_in_one_sentence(case: str) -> None:
    act, text = BAD[case]
    with pytest.raises(ValueError, match=text):
        act()
