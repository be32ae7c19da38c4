"""Level-of-detail meshes: fewer faces within a stated geometric error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.mesh_measure import sample_surface

_SURFACE_SAMPLES = 4000
_MIN_FACES = 64


def simplify(mesh: Mesh, max_error_m: float) -> Mesh:
    """Return a mesh of fewer faces that stays within a geometric error of the original.

    Quadric edge collapse (Garland and Heckbert 1997) halves the number of faces until the two-sided distance
    between the surfaces, measured at area-uniform samples (99.5th percentile), would exceed ``max_error_m``.
    Colours and textures are left out: the result serves visibility and geometry only.

    Args:
        mesh: Mesh in metres.
        max_error_m: Allowed distance between the surfaces in metres.

    Raises:
        ValueError: If ``max_error_m`` is not positive.
    """
    if not max_error_m > 0.0:
        raise ValueError(f"max_error_m must be positive, got {max_error_m}")
    best = Mesh(vertices=mesh.vertices, faces=mesh.faces)
    target = len(mesh.faces) // 2
    while target >= _MIN_FACES:
        candidate = _decimate(best, target)
        if len(candidate.faces) == 0 or surface_distance(mesh, candidate) > max_error_m:
            break
        best = candidate
        target = len(candidate.faces) // 2
    return best


def surface_distance(a: Mesh, b: Mesh) -> float:
    """Two-sided distance between surfaces in metres.

    99.5th percentile over samples of either on the other.
    """
    rng = np.random.default_rng(0)
    return max(_one_sided(a, b, rng), _one_sided(b, a, rng))


def _one_sided(source: Mesh, target: Mesh, rng: np.random.Generator) -> float:
    import open3d as o3d

    points = np.concatenate([sample_surface(source, _SURFACE_SAMPLES, rng)[0], _subset(source.vertices, rng)])
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(target.vertices.astype(np.float32)), o3d.core.Tensor(target.faces.astype(np.uint32))
    )
    distance = scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
    return float(np.percentile(distance, 99.5))


def _subset(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    if len(points) <= _SURFACE_SAMPLES:
        return points
    return points[rng.choice(len(points), _SURFACE_SAMPLES, replace=False)]


def _decimate(mesh: Mesh, target_faces: int) -> Mesh:
    import open3d as o3d

    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(np.array(mesh.vertices)), o3d.utility.Vector3iVector(np.array(mesh.faces))
    )
    # Quadrics weigh areas: work in units of the size of the mesh, in which they are well scaled.
    scale = float(np.ptp(mesh.vertices, axis=0).max())
    legacy.scale(1.0 / scale, center=(0.0, 0.0, 0.0))
    small = legacy.simplify_quadric_decimation(target_number_of_triangles=int(target_faces))
    small.remove_degenerate_triangles()
    small.remove_unreferenced_vertices()
    return Mesh(
        vertices=np.asarray(small.vertices) * scale, faces=np.asarray(small.triangles).astype(np.int32)
    )
