"""Nearest points of a mesh against every triangle, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.body.nearest import Surface
from dr_perception.geometry import Mesh


def triangle_distance(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Distances (N, F) of points (N, 3) from triangles (F, 3)."""

    def segment(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        d = v - u
        s = np.clip(np.einsum("nfk,fk->nf", p[:, None] - u, d) / np.maximum((d * d).sum(-1), 1e-30), 0, 1)
        return np.linalg.norm(p[:, None] - u - s[..., None] * d, axis=-1)

    n = np.cross(b - a, c - a)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    h = np.einsum("nfk,fk->nf", p[:, None] - a, n)
    q = p[:, None] - h[..., None] * n
    inside = np.ones(h.shape, bool)
    for u, v in ((a, b), (b, c), (c, a)):
        inside &= np.einsum("nfk,fk->nf", np.cross(v - u, q - u), n) >= 0
    edges = np.minimum(np.minimum(segment(a, b), segment(b, c)), segment(c, a))
    return np.where(inside, np.abs(h), edges)


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_no_triangle_is_nearer(scale: float) -> None:
    rng = np.random.default_rng(3)
    mesh = Mesh(
        scale * rng.normal(size=(60, 3)) + scale, rng.permuted(np.tile(np.arange(60), (40, 1)), axis=1)[:, :3]
    )
    points = scale * rng.normal(scale=2.0, size=(200, 3))
    near = Surface(mesh).nearest(points)
    expected = triangle_distance(points, *(mesh.vertices[mesh.faces[:, k]] for k in range(3))).min(axis=1)
    np.testing.assert_allclose(near.distance_m, expected, atol=2e-6 * scale)
    found = np.einsum("nk,nkc->nc", near.weights, mesh.vertices[mesh.faces[near.face]])
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), expected, atol=2e-6 * scale)
    assert near.weights.min() >= -1e-5
    np.testing.assert_allclose(near.weights.sum(axis=1), 1.0, atol=1e-5)


def test_points_of_the_surface_are_on_it() -> None:
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32))
    near = Surface(mesh).nearest(np.concatenate([mesh.vertices, [[1 / 3, 1 / 3, 1 / 3]]]))
    assert near.distance_m.max() < 1e-6


def test_vertices_of_no_face_do_not_count() -> None:
    mesh = Mesh(np.concatenate([np.eye(3), [[5.0, 5.0, 5.0]]]), np.array([[0, 1, 2]], np.int32))
    near = Surface(mesh).nearest(np.array([[5.0, 5.0, 5.0]]))
    assert near.distance_m[0] == pytest.approx(np.linalg.norm([14 / 3] * 3), rel=1e-5)
