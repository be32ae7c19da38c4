"""Scenes that the tests of the renderer share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry import Camera, Mesh, make_transform
from dr_perception.geometry.se3 import exp_so3

CAMERA = Camera(96, 72, 120.0, 118.0, 46.3, 36.9)

LENSES = {
    "pinhole": ((), "plumb_bob"),
    "plumb_bob": ((-0.2, 0.05, 0.002, -0.001, 0.01), "plumb_bob"),
    "rational_polynomial": ((0.2, 0.05, 0.002, -0.001, 0.01, 0.35, 0.06, 0.005), "rational_polynomial"),
    "equidistant": ((-0.03, 0.01, -0.002, 0.0005), "equidistant"),
}


def lens(name: str) -> Camera:
    """`CAMERA` with another lens."""
    k, model = LENSES[name]
    return Camera(CAMERA.width, CAMERA.height, CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy, k, model)


def enlarged(camera: Camera, factor: int) -> Camera:
    """The same camera with so many pixels for one along each axis."""
    return Camera(
        camera.width * factor,
        camera.height * factor,
        camera.fx * factor,
        camera.fy * factor,
        (camera.cx + 0.5) * factor - 0.5,
        (camera.cy + 0.5) * factor - 0.5,
        camera.distortion,
        camera.distortion_model,
    )


def box(size: tuple[float, float, float] = (0.1, 0.07, 0.05)) -> Mesh:
    """A box of 12 faces about the origin."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return Mesh(corners, np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]))


def torus(radius: float = 0.06, tube: float = 0.025, rows: int = 32, columns: int = 20) -> Mesh:
    """A ring."""
    u, v = np.meshgrid(
        np.arange(rows) * 2 * np.pi / rows, np.arange(columns) * 2 * np.pi / columns, indexing="ij"
    )
    r = radius + tube * np.cos(v)
    vertices = np.stack([r * np.cos(u), r * np.sin(u), tube * np.sin(v)], -1).reshape(-1, 3)
    i, j = (a.reshape(-1) for a in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    a, b = i * columns + j, (i + 1) % rows * columns + j
    c, d = (i + 1) % rows * columns + (j + 1) % columns, i * columns + (j + 1) % columns
    return Mesh(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


def pose(
    z: float = 0.3, w: tuple[float, float, float] = (0.6, 0.4, 0.2), x: float = 0.0, y: float = 0.0
) -> NDArray:
    """A pose in front of the camera."""
    return make_transform(exp_so3(np.array(w)), np.array([x, y, z]))


def centres_x(mesh: Mesh) -> NDArray:
    """The x of the middle of every face (F,)."""
    return mesh.vertices[mesh.faces].mean(axis=1)[:, 0]


def half_marked(mesh: Mesh) -> Mesh:
    """A mesh whose faces at x > 0 nobody ever saw."""
    return Mesh(mesh.vertices, mesh.faces, unseen_faces=centres_x(mesh) > 0.0)
