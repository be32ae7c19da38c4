"""Meshes that need no files: convex, concave with holes, textured, thin. Sizes of about 0.1 m."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry import Mesh, weld


def _grid_faces(rows: int, columns: int) -> NDArray[np.int64]:
    """Two faces for every cell of a grid that is closed in both directions."""
    i, j = (a.reshape(-1) for a in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    a, b = i * columns + j, (i + 1) % rows * columns + j
    c, d = (i + 1) % rows * columns + (j + 1) % columns, i * columns + (j + 1) % columns
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def torus(radius: float = 0.06, tube: float = 0.025, rows: int = 48, columns: int = 24) -> Mesh:
    """A ring."""
    u, v = np.meshgrid(
        np.linspace(0, 2 * np.pi, rows, endpoint=False),
        np.linspace(0, 2 * np.pi, columns, endpoint=False),
        indexing="ij",
    )
    ring = radius + tube * np.cos(v)
    vertices = np.stack([ring * np.cos(u), ring * np.sin(u), tube * np.sin(v)], -1).reshape(-1, 3)
    colors = (128 + 100 * np.stack([np.cos(u), np.sin(u + 1), np.cos(v)], -1)).astype(np.uint8).reshape(-1, 3)
    return Mesh(vertices, _grid_faces(rows, columns), vertex_colors=colors)


def ellipsoid(size: tuple[float, float, float] = (0.08, 0.06, 0.05), rows: int = 24) -> Mesh:
    """A convex body of 4 * rows^2 faces or so."""
    theta = np.linspace(0, np.pi, rows + 1)
    phi = np.linspace(0, 2 * np.pi, 2 * rows, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    unit = np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], -1)
    unit[0, :, :2] = unit[-1, :, :2] = 0.0
    faces = []
    n = 2 * rows
    for i in range(rows):
        for j in range(n):
            a, b, c, d = i * n + j, (i + 1) * n + j, (i + 1) * n + (j + 1) % n, i * n + (j + 1) % n
            faces += [(a, b, c), (a, c, d)]
    colors = (128 + 100 * np.sin(3 * unit)).astype(np.uint8).reshape(-1, 3)
    return weld(Mesh(unit.reshape(-1, 3) * np.asarray(size), np.asarray(faces), vertex_colors=colors))


def textured_box(
    size: tuple[float, float, float] = (0.12, 0.09, 0.06), cells: int = 6, texels: int = 48
) -> Mesh:
    """A box with a smooth texture that differs on each side, sides of cells x cells squares."""
    half = 0.5 * np.asarray(size)
    s = np.linspace(-1.0, 1.0, cells + 1)
    vertices, faces, uv = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            a, b = np.meshgrid(s, s, indexing="ij")
            p = np.empty((cells + 1, cells + 1, 3))
            p[..., axis], p[..., (axis + 1) % 3], p[..., (axis + 2) % 3] = sign, a * sign, b
            start = sum(len(v) for v in vertices)
            vertices.append((p * half).reshape(-1, 3))
            place = 0.17 * axis + 0.5 * (sign > 0)
            coordinates = np.stack(
                [(a + 1) * 0.2 + place * 0.5, (b + 1) * 0.2 + 0.3 * (sign > 0) + 0.1], -1
            ).reshape(-1, 2)
            for i in range(cells):
                for j in range(cells):
                    k = i * (cells + 1) + j
                    for f in ((k, k + cells + 1, k + cells + 2), (k, k + cells + 2, k + 1)):
                        faces.append([start + n for n in f])
                        uv.append(coordinates[list(f)])
    y, x = np.mgrid[:texels, :texels] / texels
    texture = 128 + 90 * np.stack([np.sin(9 * x + 3 * y), np.cos(8 * y - 4 * x), np.sin(7 * (x + y))], -1)
    mesh = Mesh(
        np.concatenate(vertices),
        np.asarray(faces),
        None,
        np.asarray(uv, np.float32),
        texture.astype(np.uint8),
    )
    return weld(mesh)


def frame(width: float = 0.12, height: float = 0.09, bar: float = 0.006) -> Mesh:
    """A rectangular frame of thin square bars."""
    x, y, b = 0.5 * width, 0.5 * height, 0.5 * bar
    corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * b
    ring = [
        np.column_stack([corners - inwards, np.full(4, -b)]),
        np.column_stack([corners + inwards, np.full(4, -b)]),
    ]
    ring += [
        np.column_stack([corners + inwards, np.full(4, b)]),
        np.column_stack([corners - inwards, np.full(4, b)]),
    ]
    vertices = np.stack(ring, 1).reshape(-1, 3)
    faces = _grid_faces(4, 4)
    volume = np.einsum(
        "ij,ij->", vertices[faces[:, 0]], np.cross(vertices[faces[:, 1]], vertices[faces[:, 2]])
    )
    return Mesh(vertices, faces if volume > 0 else faces[:, ::-1])


MESHES = {"convex": ellipsoid, "holes": torus, "textured": textured_box, "thin": frame}
"""The four kinds of meshes by name."""
