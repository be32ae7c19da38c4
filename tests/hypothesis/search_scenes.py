"""Synthetic frames for tests of fits and searches, ray cast by Open3D (not by this project)."""

from __future__ import annotations

import numpy as np

from dr_perception.geometry import Camera, Frame, Mesh, ObjectModel, Symmetries
from dr_perception.geometry.se3 import angle_between, exp_so3, make_transform

CAMERA = Camera(width=320, height=240, fx=300.0, fy=300.0, cx=159.5, cy=119.5)
_LIGHT = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])


def bracket() -> ObjectModel:
    """An L-shaped prism with arms of 100 and 70 mm: no turn maps it onto itself.

    Its vertices have colours.
    """
    outline = np.array([(0, 0), (100, 0), (100, 30), (30, 30), (30, 70), (0, 70)]) * 1e-3
    vertices = np.array([(x, y, z) for z in (0.0, 0.04) for x, y in outline])
    cap = np.array([(0, 2, 1), (0, 3, 2), (0, 4, 3), (0, 5, 4)])
    sides = [f for i in range(6) for f in _quad(i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6)]
    faces = np.concatenate([cap, cap[:, ::-1] + 6, sides]).astype(np.int32)
    colors = np.random.default_rng(3).integers(40, 220, (12, 3)).astype(np.uint8)
    return ObjectModel("bracket", Mesh(vertices, faces, vertex_colors=colors))


def brick(symmetric: bool = True) -> ObjectModel:
    """A grey brick of 110 x 70 x 45 mm with its three half turns declared."""
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for q in quads for f in _quad(*q)], np.int32)
    turns = np.stack([np.diag([*signs, 1.0]) for signs in ((1, -1, -1), (-1, 1, -1), (-1, -1, 1))])
    mesh = Mesh(
        corner * np.array([0.055, 0.035, 0.0225]), faces, vertex_colors=np.full((8, 3), 150, np.uint8)
    )
    return ObjectModel("brick", mesh, Symmetries(turns if symmetric else np.zeros((0, 4, 4))))


def _quad(a: int, b: int, c: int, d: int) -> list[tuple[int, int, int]]:
    return [(a, b, c), (a, c, d)]


def pose(x: float, y: float, z: float, w: tuple[float, float, float]) -> np.ndarray:
    """Pose from a translation [m] and a rotation vector [rad]."""
    return make_transform(exp_so3(np.array(w)), np.array([x, y, z]))


def render(
    placed: list[tuple[ObjectModel, np.ndarray]], table: bool = True, noise_m: float = 5e-4
) -> tuple[Frame, list[np.ndarray]]:
    """A frame of objects before a slanted table, and their visible masks."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    meshes = [
        (m.mesh.vertices @ T[:3, :3].T + T[:3, 3], m.mesh.faces, m.mesh.vertex_colors) for m, T in placed
    ]
    if table:
        plane = np.array([(-2, -1.0, 1.2), (2, -1.0, 1.2), (2, 1.0, 0.6), (-2, 1.0, 0.6)], float)
        meshes.append((plane, np.array([(0, 1, 2), (0, 2, 3)]), np.full((4, 3), (90, 60, 50), np.uint8)))
    for vertices, faces, _ in meshes:
        scene.add_triangles(
            o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32))
        )
    rays = np.concatenate([np.zeros((240, 320, 3)), CAMERA.rays(), np.ones((240, 320, 1))], axis=-1)
    hit = scene.cast_rays(o3d.core.Tensor(rays.astype(np.float32)))
    which, face = hit["geometry_ids"].numpy().astype(int), hit["primitive_ids"].numpy().astype(int)
    rng = np.random.default_rng(0)
    depth = hit["t_hit"].numpy().astype(np.float32)
    depth = np.where(np.isfinite(depth), depth + rng.normal(0, noise_m, depth.shape).astype(np.float32), 0.0)
    color = np.full((240, 320, 3), 30.0)
    uv = hit["primitive_uvs"].numpy()
    weights = np.concatenate([1 - uv.sum(axis=-1, keepdims=True), uv], axis=-1)
    shade = 0.35 + 0.65 * np.abs(hit["primitive_normals"].numpy() @ _LIGHT)
    for i, (_, faces, colors) in enumerate(meshes):
        at = which == i
        color[at] = (
            np.einsum("nk,nkc->nc", weights[at], colors[faces[face[at]]].astype(float)) * shade[at][:, None]
        )
    color = np.clip(color + rng.normal(0, 3, color.shape), 0, 255).astype(np.uint8)
    frame = Frame(color=color, depth=depth.astype(np.float32), camera=CAMERA)
    return frame, [which == i for i in range(len(placed))]


def distance(model: ObjectModel, T: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Millimetres between centres and degrees between attitudes, to the nearest pose that looks the same."""
    closest = model.symmetries.closest(T, truth)
    offset = (T - closest)[:3, :3] @ model.center + (T - closest)[:3, 3]
    return 1e3 * float(np.linalg.norm(offset)), float(np.degrees(angle_between(T[:3, :3], closest[:3, :3])))
