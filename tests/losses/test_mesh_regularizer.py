"""The regulariser of fitted meshes: free at rest, and its gradient is right."""

import numpy as np
import pytest
import warp as wp

from dr_perception.geometry.mesh import Mesh
from dr_perception.losses import MeshRegularizer

FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
REST = 0.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])


def _value(shape: MeshRegularizer, vertices: np.ndarray) -> tuple[float, np.ndarray]:
    array = wp.array(vertices, dtype=wp.vec3, requires_grad=True)
    with wp.Tape() as tape:
        value = shape(array)
    tape.backward(loss=value)
    return float(value.numpy()[0]), array.grad.numpy()


def test_rigid_translation_is_free() -> None:
    assert _value(MeshRegularizer(Mesh(REST, FACES)), REST + np.array([0.3, -0.2, 0.5]))[0] == pytest.approx(
        0.0, abs=1e-9
    )


@pytest.mark.parametrize("part", ["laplacian", "edge", "fold"])
def test_gradient_equals_central_difference(part: str) -> None:
    weights = {"laplacian": 0.0, "edge": 0.0, "fold": 0.0, part: 1.0}
    shape = MeshRegularizer(Mesh(REST, FACES), **weights)
    rng = np.random.default_rng(0)
    vertices = REST + 0.02 * rng.normal(size=REST.shape)
    _, gradient = _value(shape, vertices)
    assert np.linalg.norm(gradient) > 0
    for _ in range(3):
        direction = rng.normal(size=REST.shape)
        ahead, behind = (_value(shape, vertices + s * 1e-4 * direction)[0] for s in (1, -1))
        slack = 2e-3 * float(np.linalg.norm(gradient))
        assert (ahead - behind) / 2e-4 == pytest.approx(float(np.sum(gradient * direction)), abs=slack)


@pytest.mark.parametrize("part", ["laplacian", "edge", "fold"])
def test_split_vertices_cost_what_welded_ones_do(part: str) -> None:
    weights = {"laplacian": 0.0, "edge": 0.0, "fold": 0.0, part: 1.0}
    split = Mesh(REST[FACES.reshape(-1)], np.arange(12, dtype=np.int32).reshape(4, 3))
    moved = REST + 0.02 * np.random.default_rng(1).normal(size=REST.shape)
    welded, gradient = _value(MeshRegularizer(Mesh(REST, FACES), **weights), moved)
    value, parts = _value(MeshRegularizer(split, **weights), moved[FACES.reshape(-1)])
    assert welded > 0
    assert value == pytest.approx(welded, rel=1e-5)
    together = np.zeros_like(gradient)
    np.add.at(together, FACES.reshape(-1), parts)
    assert together == pytest.approx(gradient, abs=1e-4 * float(np.linalg.norm(gradient)))


def test_seams_that_open_cost() -> None:
    split = Mesh(REST[FACES.reshape(-1)], np.arange(12, dtype=np.int32).reshape(4, 3))
    moved = split.vertices.copy()
    moved[:3] += np.array([0.01, 0.0, 0.0])
    assert _value(MeshRegularizer(split), moved)[0] > 1e-4


def test_collapse_costs_more_the_further_it_goes() -> None:
    shape = MeshRegularizer(Mesh(REST, FACES))
    costs = [_value(shape, REST * f)[0] for f in (1.0, 0.7, 0.4, 0.1)]
    assert costs == sorted(costs) and costs[1] > 0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="not be negative"):
        MeshRegularizer(Mesh(REST, FACES), edge=-1.0)
    with pytest.raises(ValueError, match="4 vertices"):
        MeshRegularizer(Mesh(REST, FACES))(wp.zeros(3, dtype=wp.vec3))
