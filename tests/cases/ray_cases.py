"""Small meshes with known geometry for tests of rays and edges."""

from __future__ import annotations

import numpy as np

from dr_perception.geometry.mesh import Mesh


def cube(size: float = 0.1, color: tuple[int, int, int] | None = None) -> Mesh:
    """Axis-aligned cube around the origin, outward faces."""
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    colors = None if color is None else np.tile(np.array(color, np.uint8), (8, 1))
    return Mesh(corner, np.array(faces, np.int32), vertex_colors=colors)


def sphere(radius: float = 0.05, level: int = 3) -> Mesh:
    """Icosphere with outward faces."""
    g = (1 + 5**0.5) / 2
    v = np.array(
        [
            *([-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g]),
            *([0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]),
        ]
    )
    f = [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2]]
    f += [[10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5]]
    f += [[2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]]
    vertices, faces = [p / np.linalg.norm(p) for p in v], f
    for _ in range(level):
        middle: dict[tuple[int, int], int] = {}

        def halfway(a: int, b: int, middle: dict[tuple[int, int], int] = middle) -> int:
            key = (min(a, b), max(a, b))
            if key not in middle:
                p = vertices[a] + vertices[b]
                vertices.append(p / np.linalg.norm(p))
                middle[key] = len(vertices) - 1
            return middle[key]

        finer = []
        for a, b, c in faces:
            x, y, z = halfway(a, b), halfway(b, c), halfway(c, a)
            finer += [[a, x, z], [b, y, x], [c, z, y], [x, y, z]]
        faces = finer
    return Mesh(radius * np.array(vertices), np.array(faces, np.int32))


def pose(
    x: float = 0.0, y: float = 0.0, z: float = 0.5, w: tuple[float, float, float] = (0, 0, 0)
) -> np.ndarray:
    """Camera-from-object transform from a translation [m] and a rotation vector [rad]."""
    from dr_perception.geometry.se3 import exp_so3, make_transform

    return make_transform(exp_so3(np.array(w, float)), np.array([x, y, z], float))
