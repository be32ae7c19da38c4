"""Collapsing edges keeps a surface what it is: closed or open, of one piece, right side out."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.body.collapse import collapse_edges
from dr_perception.body.lod import surface_distance
from dr_perception.geometry import Mesh
from dr_perception.geometry.mesh import face_areas, face_normals
from dr_perception.geometry.mesh_topology import edges, is_watertight


def ball(rows: int = 40, columns: int = 60) -> Mesh:
    """A closed sphere of radius 1 about (3, 0, 0)."""
    t = np.linspace(0.0, np.pi, rows + 1)[1:-1]
    p = np.arange(columns) * 2.0 * np.pi / columns
    ring = np.stack([np.cos(p), np.sin(p), np.zeros(columns)], axis=1)
    body = np.sin(t)[:, None, None] * ring + np.cos(t)[:, None, None] * [0.0, 0.0, 1.0]
    vertices = np.concatenate([[[0.0, 0, 1]], body.reshape(-1, 3), [[0.0, 0, -1]]])
    k, n = np.arange(columns), np.roll(np.arange(columns), -1)
    faces = [np.stack([0 * k, 1 + k, 1 + n], axis=1)]
    for r in range(rows - 2):
        a = 1 + r * columns
        faces += [np.stack([a + k, a + columns + k, a + n], axis=1)]
        faces += [np.stack([a + n, a + columns + k, a + columns + n], axis=1)]
    last = 1 + (rows - 2) * columns
    faces += [np.stack([last + k, np.full(columns, len(vertices) - 1), last + n], axis=1)]
    return Mesh(vertices + np.array([3.0, 0.0, 0.0]), np.concatenate(faces).astype(np.int32))


def grid(n: int = 30, bend: float = 0.0) -> Mesh:
    """An open square sheet of side 1."""
    x, y = np.meshgrid(*2 * [np.linspace(0.0, 1.0, n + 1)], indexing="ij")
    vertices = np.stack([x, y, bend * np.sin(3.0 * x) * np.cos(2.0 * y)], axis=-1).reshape(-1, 3)
    i = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    quads = np.concatenate([np.stack([i, i + n + 1, i + 1], 1), np.stack([i + 1, i + n + 1, i + n + 2], 1)])
    return Mesh(vertices, quads.astype(np.int32))


def test_a_closed_surface_stays_closed_and_right_side_out() -> None:
    mesh = ball()
    small = collapse_edges(mesh, 300)
    assert 250 <= len(small.faces) <= 300
    assert is_watertight(small)
    outward = small.vertices[small.faces].mean(axis=1) - [3.0, 0.0, 0.0]
    assert (np.einsum("ij,ij->i", face_normals(small), outward) > 0.5).all()
    assert len(small.vertices) - len(edges(small)) + len(small.faces) == 2  # Euler: still a ball
    assert surface_distance(mesh, small) < 0.03


def test_a_plane_needs_few_faces_and_keeps_its_border() -> None:
    small = collapse_edges(grid(), 8)
    assert len(small.faces) <= 12
    assert abs(face_areas(small).sum() - 1.0) < 1e-3
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert np.abs(small.vertices - [*corner, 0.0]).sum(axis=1).min() < 1e-2


def test_a_bent_sheet_keeps_its_border() -> None:
    mesh = grid(bend=0.1)
    small = collapse_edges(mesh, 120)
    assert len(small.faces) <= 120
    assert surface_distance(mesh, small) < 0.004


def test_pieces_stay_apart_and_none_is_lost() -> None:
    one = ball(12, 16)
    two = Mesh(
        np.concatenate([one.vertices, one.vertices + np.array([5.0, 0.0, 0.0])]),
        np.concatenate([one.faces, one.faces + len(one.vertices)]),
    )
    small = collapse_edges(two, 120)
    left = small.vertices[:, 0] < 5.5
    assert (left[small.faces].all(axis=1) | ~left[small.faces].any(axis=1)).all()
    assert is_watertight(small)


def test_what_cannot_collapse_is_left() -> None:
    tetrahedron = Mesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
    )
    assert len(collapse_edges(tetrahedron, 2).faces) == 4


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_do_not_matter(scale: float) -> None:
    mesh = ball(20, 30)
    small = collapse_edges(mesh, 200)
    scaled = collapse_edges(Mesh(scale * mesh.vertices, mesh.faces), 200)
    assert abs(len(small.faces) - len(scaled.faces)) <= 4
    unit = Mesh(scaled.vertices / scale, scaled.faces)
    assert surface_distance(mesh, unit) < 1.3 * surface_distance(mesh, small) + 1e-6
