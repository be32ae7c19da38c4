"""Synthetic frames by ray casting: objects before a wall, antialiased colour, noisy depth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry import Camera, Frame, Mesh, ObjectModel, exp_so3, make_transform, retract, weld

CAMERA = Camera(320, 240, 300.0, 301.0, 158.2, 121.3)
PERIOD_NS = 33_333_333
WALL_M = 0.9
SUPERSAMPLING = 4
LIGHT = np.array([-0.4, -0.6, -0.7]) / np.linalg.norm([-0.4, -0.6, -0.7])
COLORS = np.array([[200, 60, 50], [60, 170, 80], [70, 90, 210], [210, 180, 60]], dtype=float)


def _from_open3d(*parts) -> Mesh:
    vertices, faces, first = [], [], 0
    for part in parts:
        vertices.append(np.asarray(part.vertices))
        faces.append(np.asarray(part.triangles) + first)
        first += len(vertices[-1])
    mesh = weld(Mesh(np.concatenate(vertices), np.concatenate(faces).astype(np.int32)))
    return Mesh(mesh.vertices, mesh.faces)


@cache
def make_model(name: str) -> ObjectModel:
    """A box-like, a mug-like or a cylindrical object of about a decimetre, its origin off its centre."""
    import open3d as o3d

    make = o3d.geometry.TriangleMesh
    if name.startswith("box"):
        body = make.create_box(0.11, 0.075, 0.05)
        return ObjectModel(name, _from_open3d(body))
    body = make.create_cylinder(0.035, 0.1, resolution=64, split=8)
    if name.startswith("cylinder"):
        return ObjectModel(name, _from_open3d(body))
    handle = make.create_torus(0.027, 0.007, 32, 16)
    handle.rotate(make.get_rotation_matrix_from_xyz((np.pi / 2, 0.0, 0.0)), center=(0, 0, 0))
    handle.translate((0.04, 0.0, 0.0))
    return ObjectModel(name, _from_open3d(body, handle))


def poses(name: str, count: int, speed: float = 1.0) -> NDArray[np.float64]:
    """Smooth motion (count, 4, 4): some millimetres and about a degree a frame."""
    start = make_transform(exp_so3(np.array([0.9, 0.5, 0.3])), np.array([-0.02, 0.0, 0.45]))
    if name.startswith("mug"):
        start = make_transform(exp_so3(np.array([1.3, 0.2, 0.4])), np.array([0.0, 0.01, 0.45]))
    s = speed * np.arange(count) / 30.0
    xi = np.stack(
        [
            0.06 * np.sin(2.0 * s),
            0.03 * np.sin(3.0 * s),
            0.05 * np.sin(1.5 * s),
            0.4 * np.sin(s),
            0.5 * np.sin(1.3 * s),
            0.3 * s,
        ],
        axis=1,
    )
    return np.stack([retract(start, x) for x in xi])


def _wall_color(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth colours of the wall by viewing direction."""
    x, y = directions[..., 0], directions[..., 1]
    waves = [np.sin(9 * x + 4 * y), np.sin(7 * y - 5 * x + 1), np.sin(6 * x + 8 * y + 2)]
    return 120.0 + 25.0 * np.stack(waves, axis=-1)


class Scene:
    """Posed meshes before a wall, seen by a camera."""

    def __init__(self, camera: Camera, parts: Mapping[str, tuple[Mesh, NDArray[np.float64]]]) -> None:
        import open3d as o3d

        self._o3d = o3d
        self.camera = camera
        self._scene = o3d.t.geometry.RaycastingScene()
        for mesh, T in parts.values():
            p = mesh.vertices @ T[:3, :3].T + T[:3, 3]
            self._scene.add_triangles(
                o3d.core.Tensor(p.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
            )

    def cast(self, uv: NDArray[np.float64]) -> tuple[NDArray, NDArray, NDArray]:
        """Colour (N, 3), depth (N,) and part index (N,), -1 for the wall, at pixel positions (N, 2)."""
        c = self.camera
        ideal = c.undistort((uv - [c.cx, c.cy]) / [c.fx, c.fy])
        d = np.concatenate([ideal, np.ones((len(ideal), 1))], axis=-1)
        rays = np.concatenate([np.zeros_like(d), d], axis=-1).astype(np.float32)
        hit = self._scene.cast_rays(self._o3d.core.Tensor(rays))
        t = hit["t_hit"].numpy().astype(np.float64)
        part = hit["geometry_ids"].numpy().astype(np.int64)
        wall = t >= WALL_M
        part[wall] = -1
        normal = hit["primitive_normals"].numpy()
        facing = -np.sign((normal * d).sum(-1, keepdims=True))
        shade = 0.45 + 0.55 * np.clip((facing * normal) @ LIGHT, 0.0, 1.0)
        color = np.where(wall[:, None], _wall_color(d), COLORS[part % len(COLORS)] * shade[:, None])
        return color, np.where(wall, WALL_M, t), part


def render(
    parts: Mapping[str, tuple[Mesh, NDArray[np.float64]]],
    *,
    camera: Camera = CAMERA,
    stamp_ns: int = 0,
    seed: int = 0,
    depth_noise: float = 0.002,
    color_noise: float = 2.0,
) -> Frame:
    """Frame of posed meshes; depth noise in 1/m (sigma = noise z^2), colour noise in grey levels."""
    scene = Scene(camera, parts)
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    color, depth, part = scene.cast(np.stack([u, v], axis=-1).reshape(-1, 2))
    color = color.reshape(camera.height, camera.width, 3)
    depth, part = depth.reshape(u.shape), part.reshape(u.shape)
    _antialias(scene, color, depth, part)
    rng = np.random.default_rng(seed)
    color = color + rng.normal(0.0, color_noise, color.shape)
    depth = depth + rng.normal(0.0, depth_noise, depth.shape) * depth**2
    return Frame(
        color=np.clip(np.rint(color), 0, 255).astype(np.uint8),
        depth=depth.astype(np.float32),
        camera=camera,
        stamp_ns=stamp_ns,
    )


def _antialias(scene: Scene, color: NDArray, depth: NDArray, part: NDArray) -> None:
    """Average sub-samples at the pixels where what is seen changes."""
    edge = np.zeros(part.shape, dtype=bool)
    for axis in (0, 1):
        step = (np.diff(part, axis=axis) != 0) | (np.abs(np.diff(depth, axis=axis)) > 0.01)
        first = [slice(None)] * 2
        second = [slice(None)] * 2
        first[axis], second[axis] = slice(0, -1), slice(1, None)
        edge[tuple(first)] |= step
        edge[tuple(second)] |= step
    y, x = np.nonzero(edge)
    fine = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING - 0.5
    offsets = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    uv = (np.stack([x, y], axis=-1)[:, None] + offsets).reshape(-1, 2)
    color[y, x] = scene.cast(uv)[0].reshape(len(x), -1, 3).mean(axis=1)


def pose_error(T: NDArray[np.float64], truth: NDArray[np.float64], model: ObjectModel) -> tuple[float, float]:
    """Error of the model's centre [mm] and of the rotation [deg]."""
    shift = (T - truth)[:3] @ np.append(model.center, 1.0)
    cosine = 0.5 * (np.trace(T[:3, :3] @ truth[:3, :3].T) - 1.0)
    return float(1e3 * np.linalg.norm(shift)), float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
