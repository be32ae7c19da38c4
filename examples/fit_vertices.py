"""Fit the vertices of a sphere to depth images and silhouettes of a deformed body from eight views.

A regulariser on the displacement keeps the mesh from collapsing and folding; it is relaxed from stage to
stage. The outcome is judged by the distance of the vertices to the true surface and by the faces that turned
over.

    python examples/fit_vertices.py
"""

from __future__ import annotations

import numpy as np
from common import pinhole, views_around

from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry import Mesh
from dr_perception.losses import L2, DepthLoss, DepthNoise, MeshRegularizer, Objective, Pyramid, Term
from dr_perception.render import Instance, Renderer, RenderOptions, Scene

RADIUS = 0.05


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the mesh, the images and the effort smaller."""
    size = (80, 80, 110.0) if small else (120, 120, 165.0)
    camera = pinhole(*size)
    start = ball(16, 24) if small else ball(24, 36)
    true = deformed(ball(40, 60))
    cameras = [camera] * 8
    T_world_cam = views_around(8, 0.25, np.zeros(3))

    renderer, options = Renderer(), RenderOptions(channels=("depth", "silhouette"))
    truth = Scene([Instance(true)])
    seen = renderer.render(truth, renderer.parameters(truth, cameras, T_world_cam), options)
    # pixels the mesh does not cover cost as much as a clearly wrong depth
    depth = DepthLoss(DepthNoise(0.002, 0.0, 0.0), kind="huber", delta=3.0)
    vertices = start.vertices
    scene = Scene([Instance(start)])
    for weight, levels, iterations in ((3.0, 3, 30), (0.3, 2, 40), (0.03, 1, 60)):
        terms = {
            "depth": Term(depth, "depth", 0.3),
            "outline": Term(Pyramid(L2(), levels), "silhouette", 10.0),
        }
        shape = MeshRegularizer(Mesh(start.vertices, start.faces), laplacian=10.0, edge=0.1, fold=0.3)
        parameters = renderer.parameters(scene, cameras, T_world_cam, requires_grad=("vertices",))
        parameters.vertices.assign(vertices.astype(np.float32))
        smooth = {"shape": (lambda p, shape=shape: shape(p.vertices), weight)}
        fit = ImageFit(
            renderer, scene, parameters, Objective(terms), seen, options=options, regularizers=smooth
        )
        vertices = lbfgs(fit, {"vertices": fit.block("vertices", scale=2e-3)}, iterations=iterations).values[
            "vertices"
        ]
    before, after = distances(start.vertices, true), distances(vertices, true)
    return {
        "start mean mm": 1e3 * float(before.mean()),
        "mean mm": 1e3 * float(after.mean()),
        "p95 mm": 1e3 * float(np.percentile(after, 95)),
        "faces turned over": float(turned_over(vertices, start.faces)),
        "smallest edge over largest start edge": shortest(vertices, start.faces) / longest(start),
    }


def ball(rings: int, segments: int) -> Mesh:
    """Sphere of latitude rings around the z axis, outward faces."""
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(segments) / segments
    grid = np.stack(
        [
            np.sin(theta)[:, None] * np.cos(phi),
            np.sin(theta)[:, None] * np.sin(phi),
            np.cos(theta)[:, None] * np.ones(segments),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = RADIUS * np.concatenate([[[0, 0, 1]], grid, [[0, 0, -1]]])
    faces = []
    last = len(vertices) - 1
    for j in range(segments):
        k = (j + 1) % segments
        faces += [[0, 1 + j, 1 + k], [last, last - segments + k, last - segments + j]]
        for i in range(rings - 2):
            a, b = 1 + i * segments, 1 + (i + 1) * segments
            faces += [[a + j, b + j, b + k], [a + j, b + k, a + k]]
    return Mesh(vertices, np.array(faces, np.int32))


def deformed(mesh: Mesh) -> Mesh:
    """A body that is stretched, bent and dented."""
    p = mesh.vertices / RADIUS
    x, y, z = p.T
    r = (
        1.0
        + 0.18 * np.sin(2.0 * x + 1.0) * np.cos(1.5 * y)
        - 0.25 * np.exp(-8.0 * ((x - 0.6) ** 2 + (z - 0.6) ** 2))
    )
    moved = RADIUS * np.stack([1.15 * r * x, 0.9 * r * y + 0.12 * z**2, r * z], axis=1)
    return Mesh(moved, mesh.faces)


def distances(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Distance of points to the surface of a mesh [m], sampled densely."""
    from scipy.spatial import cKDTree

    corners = mesh.vertices[mesh.faces]
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=(len(mesh.faces), 60))
    return cKDTree(np.einsum("fsk,fkd->fsd", weights, corners).reshape(-1, 3)).query(points)[0]


def turned_over(vertices: np.ndarray, faces: np.ndarray) -> int:
    """Faces whose normal points against the mean of the normals of the faces around them."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    n = np.cross(b - a, c - a)
    at_vertex = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(at_vertex, faces[:, i], n)
    around = at_vertex[faces].sum(axis=1) - 3 * n
    return int(np.sum(np.sum(around * n, axis=1) <= 0))


def shortest(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Shortest edge [m]."""
    return float(
        min(np.linalg.norm(vertices[faces[:, i]] - vertices[faces[:, i - 1]], axis=1).min() for i in range(3))
    )


def longest(mesh: Mesh) -> float:
    """Longest edge [m]."""
    v, f = mesh.vertices, mesh.faces
    return float(max(np.linalg.norm(v[f[:, i]] - v[f[:, i - 1]], axis=1).max() for i in range(3)))


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
