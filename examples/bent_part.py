"""Find the shape of a part that was bent, from eight views of it and the mesh of the straight one.

A deformation graph carries the mesh; neighbouring nodes are to agree, which is as rigid as possible.

    python examples/bent_part.py
"""

from __future__ import annotations

import numpy as np
from common import pinhole, views_around
from scipy.spatial import cKDTree

from dr_perception import GraphMap, Instance, Lights, Mesh, Renderer, RenderOptions, Scene
from dr_perception.estimate.first_order import lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.mesh_measure import sample_surface
from dr_perception.losses import L2, Objective, Pyramid, Term

LENGTH_M = 0.1


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images smaller."""
    camera = pinhole(96, 72, 110.0) if small else pinhole(192, 144, 220.0)
    straight = _bar()
    bent = Mesh(_bent(straight.vertices), straight.faces, vertex_colors=straight.vertex_colors)
    lights = Lights(
        ambient=(0.4,) * 3, directions=[[0.3, -0.4, -0.8], [-0.5, 0.6, 0.4]], colors=[[0.4] * 3] * 2
    )
    views = views_around(8, 0.17, np.array([0.0, 0.0, 0.008]))
    renderer, options = Renderer(), RenderOptions(channels=("color", "silhouette"))
    target = Scene([Instance(bent)], lights)
    seen = renderer.render(target, renderer.parameters(target, [camera] * 8, views), options)

    scene = Scene([Instance(straight)], lights)
    parameters = renderer.parameters(scene, [camera] * 8, views, requires_grad=("vertices",))
    front = GraphMap(straight.vertices, 0.014)
    for levels, rigid in ((5, 300.0), (3, 100.0), (1, 30.0)):
        terms = {image: Term(Pyramid(L2(), levels), image) for image in ("color", "silhouette")}
        fit = ImageFit(
            renderer,
            scene,
            parameters,
            Objective(terms),
            seen,
            options=options,
            front=front,
            regularizers={"rigid": (front.rigidity, rigid)},
        )
        block = {"nodes": fit.block("nodes", np.repeat([0.002, 0.05], 3))}
        fit(lbfgs(fit, block, iterations=60 if small else 100).values)
    found = Mesh(parameters.vertices.numpy().astype(float), straight.faces)
    return {
        "start Chamfer mm": 1e3 * _chamfer(straight, bent),
        "Chamfer mm": 1e3 * _chamfer(found, bent),
        "farthest mm": 1e3 * float(np.linalg.norm(found.vertices - bent.vertices, axis=1).max()),
        "nodes": float(front.num_nodes),
    }


def _chamfer(a: Mesh, b: Mesh) -> float:
    """Mean of the distances from each surface to the other [m]."""
    rng = np.random.default_rng(0)
    p, q = (sample_surface(mesh, 300_000, rng)[0] for mesh in (a, b))
    return 0.5 * float(np.mean(cKDTree(q).query(p[::10])[0]) + np.mean(cKDTree(p).query(q[::10])[0]))


def _bent(p: np.ndarray) -> np.ndarray:
    """Along an arc of 60 degrees in x and z, and twisted a little."""
    angle = np.radians(60.0) * p[:, 0] / LENGTH_M
    radius = LENGTH_M / np.radians(60.0)
    y = p[:, 1] * np.cos(0.3 * angle) - p[:, 2] * np.sin(0.3 * angle)
    z = p[:, 1] * np.sin(0.3 * angle) + p[:, 2] * np.cos(0.3 * angle)
    return np.stack([(radius - z) * np.sin(angle), y, radius - (radius - z) * np.cos(angle)], axis=1)


def _bar(nx: int = 25, ny: int = 7, nz: int = 4) -> Mesh:
    """A bar of 100 x 24 x 10 mm with a chequered surface."""
    size, shape = np.array([LENGTH_M, 0.024, 0.010]), (nx, ny, nz)
    parts, faces, first = [], [], 0
    for axis in range(3):
        u, v = ((axis + 1) % 3, (axis + 2) % 3)
        n, m = shape[u], shape[v]
        a, b = np.meshgrid(np.linspace(-0.5, 0.5, n), np.linspace(-0.5, 0.5, m), indexing="ij")
        i, j = np.meshgrid(np.arange(n - 1), np.arange(m - 1), indexing="ij")
        k = (i * m + j).ravel()
        quads = np.stack([k, k + m, k + m + 1, k, k + m + 1, k + 1], axis=1).reshape(-1, 3)
        for side in (-0.5, 0.5):
            p = np.empty((n * m, 3))
            p[:, axis], p[:, u], p[:, v] = side, a.ravel(), b.ravel()
            parts.append(p * size)
            faces.append((quads if side > 0 else quads[:, ::-1]) + first)
            first += n * m
    vertices = np.concatenate(parts)
    cells = np.floor(vertices / 0.008 + 0.5).astype(int).sum(axis=1) % 2
    colors = np.where(cells[:, None], [225, 215, 190], [70, 95, 140]).astype(np.uint8)
    return Mesh(vertices, np.concatenate(faces), vertex_colors=colors)


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4f}")
