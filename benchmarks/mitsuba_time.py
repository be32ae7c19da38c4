"""Times of Mitsuba 3 on the scenes of `render.py`: depth, silhouette and colour, with gradients to the pose.

Depth is traced through pixel centres and differentiated inside surfaces only. Silhouette (a body that shines)
and colour (a Lambertian body under one lamp) are `direct_projective`: 4 samples a pixel, boundaries by
projective sampling (Zhang et al. 2023). The pose is a tangent vector of six numbers, chained to the vertices
in Dr.Jit. The forward pass leaves the object where it is; the backward pass moves it, as every step of a fit
does, which rebuilds its acceleration structure.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dr_perception.geometry import Camera, Mesh

LIBRARIES = ("/usr/lib/x86_64-linux-gnu/libLLVM-19.so", "/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1")
SAMPLES = 4


def load_mitsuba(variant: str = "llvm_ad_rgb", threads: int | None = None) -> Any:
    """Import Mitsuba, find its libLLVM, and choose a variant and a number of threads."""
    found = [path for path in LIBRARIES if Path(path).exists()]
    if "llvm" in variant and found:
        os.environ.setdefault("DRJIT_LIBLLVM_PATH", found[0])
    import drjit as dr
    import mitsuba as mi

    mi.set_variant(variant)
    mi.set_log_level(mi.LogLevel.Error)
    if threads is not None:
        dr.set_thread_count(threads)
    return mi


def write_ply(path: Path, mesh: Mesh) -> None:
    """Positions and faces of a mesh as an ASCII file."""
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    header = (
        f"ply\nformat ascii 1.0\nelement vertex {len(mesh.vertices)}\n{axes}element face {len(mesh.faces)}\n"
    )
    header += "property list uchar int vertex_indices\nend_header\n"
    rows = "".join(f"{x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in mesh.vertices)
    path.write_text(header + rows + "".join(f"3 {a} {b} {c}\n" for a, b, c in mesh.faces))


class MitsubaTimer:
    """One object in Mitsuba: `forward` draws it, `both` draws it and goes back to its pose."""

    def __init__(self, mi: Any, mesh: Mesh, T_cam_obj: np.ndarray, camera: Camera, image: str) -> None:
        """Load the scene for one image: ``"depth"``, ``"silhouette"`` or ``"color"``."""
        self.mi, self.image = mi, image
        lever = mesh.vertices @ T_cam_obj[:3, :3].T
        self.lever, self.origin = mi.Point3f(lever.T.astype(np.float32)), T_cam_obj[:3, 3]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mesh.ply"
            write_ply(path, Mesh(lever + self.origin, mesh.faces))
            self.scene = mi.load_dict(self._description(str(path), camera))
        self.parameters = mi.traverse(self.scene)
        self.key = next(k for k in self.parameters.keys() if k.endswith("vertex_positions"))
        self.rays = self._rays(camera) if image == "depth" else None

    def _description(self, path: str, camera: Camera) -> dict[str, Any]:
        mi = self.mi
        film = {"type": "hdrfilm", "width": camera.width, "height": camera.height, "rfilter": {"type": "box"}}
        film |= {"pixel_format": "luminance" if self.image == "silhouette" else "rgb"}
        fov = float(np.rad2deg(2 * np.arctan(camera.width / (2 * camera.fx))))
        to_world = mi.ScalarTransform4f().look_at(origin=[0, 0, 0], target=[0, 0, 1], up=[0, -1, 0])
        sensor = {"type": "perspective", "fov": fov, "fov_axis": "x", "to_world": to_world, "near_clip": 0.01}
        body: dict[str, Any] = {"type": "ply", "filename": path}
        scene: dict[str, Any] = {"type": "scene"}
        if self.image == "silhouette":
            body["emitter"] = {"type": "area", "radiance": {"type": "rgb", "value": 1.0}}
        else:
            body["bsdf"] = {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.7, 0.5, 0.3]}}
            lamp = {"type": "directional", "direction": [-0.3, 0.5, 0.8]}
            scene["lamp"] = lamp | {"irradiance": {"type": "rgb", "value": 3.0}}
        integrator = {"type": "direct_projective", "sppi": 0}
        sensor |= {"film": film, "sampler": {"type": "independent", "sample_count": SAMPLES}}
        return scene | {"sensor": sensor, "body": body, "integrator": integrator}

    def _rays(self, camera: Camera) -> Any:
        mi = self.mi
        directions = np.concatenate([camera.rays(), np.ones((camera.height, camera.width, 1))], axis=2)
        return mi.Ray3f(mi.Point3f(0.0), mi.Vector3f(directions.reshape(-1, 3).T.astype(np.float32)))

    def _draw(self, seed: int = 0) -> Any:
        if self.image != "depth":
            return self.mi.render(self.scene, self.parameters, spp=SAMPLES, seed=seed)
        import drjit as dr

        hit = self.scene.ray_intersect(self.rays)
        return dr.select(hit.is_valid(), hit.t, 0.0)

    def forward(self) -> None:
        """Draw, and wait for the image."""
        import drjit as dr

        dr.eval(self._draw())
        dr.sync_thread()

    def both(self) -> np.ndarray:
        """Move the object by a pose, draw, and pull a gradient of ones back to the pose."""
        import drjit as dr

        mi = self.mi
        v, w = mi.Vector3f(0.0), mi.Vector3f(0.0)
        dr.enable_grad(v, w)
        moved = self.lever + dr.cross(w, self.lever) + mi.Vector3f(*self.origin.tolist()) + v
        self.parameters[self.key] = dr.ravel(moved)
        self.parameters.update()
        dr.backward(dr.sum(self._draw(), axis=None))
        return np.concatenate([np.array(dr.grad(a)).reshape(-1) for a in (v, w)])


def time_mitsuba(
    mi: Any,
    mesh: Mesh,
    T_cam_obj: np.ndarray,
    camera: Camera,
    image: str,
    clock: Callable[[Callable[[], object]], float],
) -> tuple[float, float]:
    """Time of the forward pass, and of the forward with the backward pass to the pose [ms]."""
    timer = MitsubaTimer(mi, mesh, T_cam_obj, camera, image)
    return clock(timer.forward), clock(timer.both)
