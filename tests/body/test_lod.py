"""Simplified meshes stay within the error that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from render_cases import box, torus

from dr_perception.body.lod import simplify, surface_distance
from dr_perception.geometry import is_watertight, sample_surface


def distances(source, target):
    """Distances [m] of random points of one surface from another."""
    import open3d as o3d

    points, _, _ = sample_surface(source, 3000, np.random.default_rng(11))
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(target.vertices.astype(np.float32)), o3d.core.Tensor(target.faces.astype(np.uint32))
    )
    return scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()


@pytest.mark.parametrize("error_m", [2e-4, 5e-4, 2e-3])
def test_the_error_is_kept_in_both_directions(error_m: float) -> None:
    mesh = torus(rows=96, columns=64)
    small = simplify(mesh, error_m)
    assert len(small.faces) < len(mesh.faces)
    for pair in ((mesh, small), (small, mesh)):
        assert np.quantile(distances(*pair), 0.99) <= error_m


def test_a_larger_error_gives_fewer_faces() -> None:
    mesh = torus(rows=96, columns=64)
    sizes = [len(simplify(mesh, error).faces) for error in (5e-5, 5e-4, 3e-3)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_mesh_that_is_small_already_is_left_alone() -> None:
    mesh = box()
    small = simplify(mesh, 1e-3)
    np.testing.assert_array_equal(small.faces, mesh.faces)
    np.testing.assert_array_equal(small.vertices, mesh.vertices)


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("error_m", [1e-6, 5e-4])
def test_what_comes_of_a_mesh_does_not_depend_on_how_it_is_written(turned: int, error_m: float) -> None:
    """A soup of triangles and a mesh that is inside out have the outlines of the closed surface."""
    mesh = torus(rows=24, columns=16)
    corners = np.arange(3 * len(mesh.faces)).reshape(-1, 3)[:, ::turned]
    small = simplify(type(mesh)(mesh.vertices[mesh.faces].reshape(-1, 3), corners), error_m)
    assert is_watertight(small)
    assert len(small.faces) == len(simplify(mesh, error_m).faces)
    a, b, c = (small.vertices[small.faces[:, i]] for i in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) > 0.0


def test_scale_does_not_matter() -> None:
    mesh = torus(rows=48, columns=32)
    tiny = type(mesh)(mesh.vertices * 1e-2, mesh.faces)
    assert abs(len(simplify(tiny, 5e-6).faces) - len(simplify(mesh, 5e-4).faces)) < 0.1 * len(mesh.faces)


def test_surface_distance_sees_a_shift() -> None:
    mesh = torus()
    moved = type(mesh)(mesh.vertices + np.array([0.0, 0.0, 2e-3]), mesh.faces)
    assert surface_distance(mesh, mesh) < 1e-6
    assert 1.5e-3 < surface_distance(mesh, moved) <= 2.1e-3


@pytest.mark.parametrize("error_m", [0.0, -1.0, float("nan")])
def test_the_error_must_be_positive(error_m: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        simplify(box(), error_m)
