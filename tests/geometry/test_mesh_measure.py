"""Sizes of meshes and points on them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from dr_perception.geometry import Mesh, bounding_sphere, diameter, sample_surface


def hull_mesh(points: np.ndarray) -> Mesh:
    return Mesh(points, ConvexHull(points).simplices)


def on_a_sphere(rng: np.random.Generator, n: int) -> np.ndarray:
    points = rng.standard_normal((n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("n", [4, 17, 100, 1500])
@pytest.mark.parametrize("stretch", [(1.0, 1.0, 1.0), (1.0, 0.1, 3.0)])
def test_diameter_is_exact(n: int, stretch: tuple[float, ...], rng: np.random.Generator) -> None:
    points = on_a_sphere(rng, n) * stretch
    assert diameter(hull_mesh(points)) == pytest.approx(pdist(points).max(), rel=1e-14)


def test_diameter_of_flat_and_tiny_meshes(box: Mesh) -> None:
    assert diameter(box) == pytest.approx(np.sqrt(0.14))
    flat = Mesh(box.vertices * (1, 1, 0), box.faces)
    assert diameter(flat) == pytest.approx(np.hypot(0.1, 0.2))
    one = Mesh(np.array([[0, 0, 1], [3, 0, 1], [0, 4, 1.0]]), np.array([[0, 1, 2]]))
    assert diameter(one) == pytest.approx(5.0)


def test_vertices_of_no_face_do_not_count(box: Mesh) -> None:
    stray = Mesh(np.vstack([box.vertices, [[50.0, 0, 0]]]), box.faces)
    assert diameter(stray) == diameter(box)
    np.testing.assert_array_equal(bounding_sphere(stray)[0], bounding_sphere(box)[0])


@pytest.mark.parametrize("n", [4, 50, 2000])
def test_bounding_sphere_encloses_and_is_tight(n: int, rng: np.random.Generator) -> None:
    points = rng.standard_normal((n, 3)) * (0.1, 0.2, 0.05)
    mesh = hull_mesh(points)
    center, radius = bounding_sphere(mesh)
    hull = points[np.unique(mesh.faces)]
    assert np.max(np.linalg.norm(hull - center, axis=1)) <= radius * (1 + 1e-12)
    assert radius <= 1.01 * diameter(mesh) * np.sqrt(3 / 8)  # Jung's theorem bounds the smallest sphere


def test_bounding_sphere_of_a_box_is_about_its_centre(box: Mesh) -> None:
    center, radius = bounding_sphere(box)
    np.testing.assert_allclose(center, (0.05, 0.1, 0.15), atol=1e-12)
    assert radius == pytest.approx(np.sqrt(0.14) / 2)


def test_samples_lie_on_their_faces_with_their_normals(box: Mesh, rng: np.random.Generator) -> None:
    points, normals, ids = sample_surface(box, 500, rng)
    corners = box.vertices[box.faces[ids]]
    np.testing.assert_allclose(np.sum((points - corners[:, 0]) * normals, axis=1), 0.0, atol=1e-12)
    assert np.all(points >= -1e-12) and np.all(points <= np.array([0.1, 0.2, 0.3]) + 1e-12)


def test_samples_are_uniform_by_area(box: Mesh, rng: np.random.Generator) -> None:
    points, _, ids = sample_surface(box, 20000, rng)
    share = np.bincount(ids, minlength=12) / 20000
    corners = box.vertices[box.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    np.testing.assert_allclose(share, areas / areas.sum(), atol=0.015)
    np.testing.assert_allclose(points[ids == 0].mean(axis=0), corners[0].mean(axis=0), atol=0.01)


def test_samples_depend_on_the_generator_alone(box: Mesh) -> None:
    first, again = (sample_surface(box, 10, np.random.default_rng(3))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        sample_surface(box, 0, np.random.default_rng(3))
