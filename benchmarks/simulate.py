"""Noisy RGB-D frames of one model before a table, and the least error that their depth noise allows.

The images come from ray casting (Open3D), not from this project's rasteriser. The noise of depth is that of
a stereo camera: along the axis it grows with the square of the depth, sideways a depth belongs to a place a
fraction of a pixel off, both are correlated between neighbouring pixels, and depths come in whole
millimetres. References: Barron and Malik, "Intrinsic scene properties from a single RGB-D image", CVPR 2013
(sideways shifts); Nguyen, Izadi and Lovell, "Modeling Kinect sensor noise", 3DIMPVT 2012 (growth with the
square).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse.linalg import LinearOperator, cg

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import make_transform, random_rotation
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.hypothesis.search_config import FitConfig
from dr_perception.measure.config import (
    ColorConfig,
    ContourConfig,
    DepthConfig,
    RegistrationConfig,
    SensorConfig,
)

Array = NDArray[np.float64]
CAMERA = Camera(width=640, height=480, fx=600.0, fy=600.0, cx=319.5, cy=239.5)
_STEP_M = 1e-3
_PLAIN = np.array([200.0, 70.0, 50.0])
_SUPERSAMPLES = 2
_TRUNCATE = 4.0
_OUTLINE_SHARED_PX = 6.5
"""What `outline_noise.py` measures on these images: within 26 pixels 3.6 to 8.5, their mean."""


@dataclass(frozen=True)
class Noise:
    """Depth and colour noise."""

    sigma_per_m2: float = 0.0025
    """Standard deviation of a depth of one metre [m]."""
    lateral_px: float = 0.4
    """Standard deviation of the place of a depth."""
    correlation_px: float = 1.0
    """Width of the Gaussian filter that the correlated part comes from."""
    white_share: float = 0.3
    """Share of the variance that is independent from pixel to pixel."""
    color_sigma: float = 4.0
    """Standard deviation of a colour channel, of 255."""

    @property
    def shared_px2(self) -> float:
        """Pixels that carry the information of one independent depth: the integral of the autocorrelation."""
        return self.white_share + (1.0 - self.white_share) * 4.0 * np.pi * self.correlation_px**2

    def fit_config(self) -> FitConfig:
        """Settings of a fit that was told this noise, and that the model has no errors."""
        sensor = SensorConfig(
            depth=DepthConfig(sigma_per_m2=self.sigma_per_m2, shared_px2=self.shared_px2),
            registration=RegistrationConfig(lateral_px=self.lateral_px),
            contour=ContourConfig(shared_px=_OUTLINE_SHARED_PX),
            color=ColorConfig(channel_sigma=self.color_sigma),
        )
        return FitConfig(sensor=sensor, body=BodyConfig(floor_m=0.0, floor_rad=0.0))


class Simulator:
    """Frames of one model at random poses."""

    def __init__(self, model: ObjectModel, noise: Noise, rng: np.random.Generator) -> None:
        """Build the ray-casting scene in the model's frame."""
        import open3d as o3d

        self.model, self.noise, self._rng = model, noise, rng
        self._o3d = o3d
        self._scene = o3d.t.geometry.RaycastingScene()
        vertices = model.mesh.vertices.astype(np.float32)
        self._scene.add_triangles(
            o3d.core.Tensor(vertices), o3d.core.Tensor(model.mesh.faces.astype(np.uint32))
        )

    def pose(self) -> Array:
        """A random pose in full view, half a metre to nine tenths away."""
        z = self._rng.uniform(0.5, 0.9)
        xy = self._rng.uniform(-0.15, 0.15, 2) * z
        R = random_rotation(self._rng)
        return make_transform(R, np.array([*xy, z]) - R @ self.model.center)

    def frame(self, T_cam_obj: Array, color: bool = True) -> tuple[Frame, Array]:
        """A noisy frame and the bound of a pose from its depth.

        Args:
            T_cam_obj: Pose (4, 4).
            color: Whether the frame has a colour image.

        Returns:
            The frame, and the Fisher information (6, 6) of the object's depths about the centre of the
            model, tangent order (v, w).
        """
        center = T_cam_obj[:3, :3] @ self.model.center + T_cam_obj[:3, 3]
        box = self._box(center)
        wall = center[2] + self.model.radius_m + self._rng.uniform(0.02, 0.3)
        z, normals, _ = self._cast(T_cam_obj, box, 1)
        hit = np.isfinite(z)
        information = self._information(z, normals, hit, box, center)
        depth = np.full((CAMERA.height, CAMERA.width), wall)
        x0, y0, x1, y1 = box
        depth[y0:y1, x0:x1][hit] = z[hit]
        measured = np.round(self._disturb(depth) / _STEP_M).astype(np.uint16)
        image = self._color(T_cam_obj, box) if color else None
        return Frame(color=image, depth=measured, camera=CAMERA, depth_scale_m=_STEP_M), information

    def _box(self, center: Array) -> tuple[int, int, int, int]:
        u, v = CAMERA.project(center)
        r = self.model.radius_m * CAMERA.fx / (center[2] - self.model.radius_m) + 3.0
        x0, x1 = (int(np.clip(u + s * r, 0, CAMERA.width)) for s in (-1, 1))
        y0, y1 = (int(np.clip(v + s * r, 0, CAMERA.height)) for s in (-1, 1))
        return x0, y0, x1, y1

    def _cast(self, T: Array, box: tuple[int, int, int, int], times: int) -> tuple[Array, Array, Array]:
        """Depth (h, w), inf where there is none, unit normals in the camera's frame and colours (h, w, 3).

        ``times`` is the number of rays a pixel and axis.
        """
        x0, y0, x1, y1 = box
        offsets = (np.arange(times) + 0.5) / times - 0.5
        u = (np.arange(x0, x1)[:, None] + offsets).ravel()
        v = (np.arange(y0, y1)[:, None] + offsets).ravel()
        uu, vv = np.meshgrid((u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy)
        rays = np.stack([uu, vv, np.ones_like(uu)], axis=-1) @ T[:3, :3]
        origin = np.broadcast_to(-T[:3, :3].T @ T[:3, 3], rays.shape)
        cast = self._scene.cast_rays(
            self._o3d.core.Tensor(np.concatenate([origin, rays], axis=-1).astype(np.float32))
        )
        normals = cast["primitive_normals"].numpy().astype(np.float64) @ T[:3, :3].T
        albedo = self._albedo(cast["primitive_ids"].numpy(), cast["primitive_uvs"].numpy())
        return cast["t_hit"].numpy().astype(np.float64), normals, albedo

    def _albedo(self, face: NDArray[np.uint32], uv: NDArray[np.float32]) -> Array:
        """Colours (h, w, 3) of the model at hits, 0 to 255; a model without any is of one colour."""
        mesh = self.model.mesh
        hit = face < len(mesh.faces)
        colors = np.broadcast_to(_PLAIN, (*face.shape, 3)).copy()
        weights = np.column_stack([1.0 - uv[hit].sum(axis=1), uv[hit]])
        if mesh.texture is not None and mesh.corner_uv is not None:
            at = np.einsum("nk,nkd->nd", weights, mesh.corner_uv[face[hit]])
            height, width = mesh.texture.shape[:2]
            x = np.clip(np.mod(at[:, 0], 1.0) * width, 0, width - 1).astype(int)
            y = np.clip(np.mod(1.0 - at[:, 1], 1.0) * height, 0, height - 1).astype(int)
            colors[hit] = mesh.texture[y, x]
        elif mesh.vertex_colors is not None:
            corners = mesh.vertex_colors[mesh.faces[face[hit]]].astype(np.float64)
            colors[hit] = np.einsum("nk,nkd->nd", weights, corners)
        return colors

    def _field(self, shape: tuple[int, int]) -> Array:
        """Correlated noise of variance one."""
        n = self.noise
        white = self._rng.standard_normal(shape)
        smooth = gaussian_filter(
            self._rng.standard_normal(shape), n.correlation_px, mode="wrap", truncate=_TRUNCATE
        )
        smooth /= np.sqrt(_filter_power(n.correlation_px))
        return np.sqrt(n.white_share) * white + np.sqrt(1.0 - n.white_share) * smooth

    def _disturb(self, depth: Array) -> Array:
        n, shape = self.noise, depth.shape
        v, u = np.indices(shape, dtype=np.float64)
        place = [v + n.lateral_px * self._field(shape), u + n.lateral_px * self._field(shape)]
        # Nearest within a surface would add steps; linear within, and no mixing over depth edges.
        linear = map_coordinates(depth, place, order=1, mode="nearest")
        nearest = map_coordinates(depth, place, order=0, mode="nearest")
        moved = np.where(np.abs(linear - nearest) < 0.01, linear, nearest)
        return moved + n.sigma_per_m2 * moved**2 * self._field(shape)

    def _color(self, T: Array, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Image of the lit model in its own colours before a blurred random pattern."""
        rng, n = self._rng, self.noise
        shape = (CAMERA.height, CAMERA.width)
        pattern = gaussian_filter(rng.standard_normal((*shape, 3)), (6.0, 6.0, 0.0))
        image = np.array([110.0, 120.0, 95.0]) + 25.0 * pattern / pattern.std()
        z, normals, albedo = self._cast(T, box, _SUPERSAMPLES)
        light = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
        shade = 0.35 + 0.65 * np.clip(normals @ light, 0.0, 1.0)
        body = shade[..., None] * albedo
        x0, y0, x1, y1 = box
        cover = np.isfinite(z).astype(np.float64)[..., None]
        share, mixed = average(cover), average(cover * body)
        image[y0:y1, x0:x1] = (1.0 - share) * image[y0:y1, x0:x1] + mixed
        image = gaussian_filter(image, (0.5, 0.5, 0.0)) + rng.normal(0.0, n.color_sigma, image.shape)
        return np.clip(np.round(image), 0, 255).astype(np.uint8)

    def _information(
        self, z: Array, normals: Array, hit: NDArray[np.bool_], box: tuple[int, int, int, int], center: Array
    ) -> Array:
        """``J^T S^-1 J`` over the depths of the object, with the covariance that the noise has."""
        n = self.noise
        vv, uu = np.nonzero(hit)
        rays = CAMERA.rays()[vv + box[1], uu + box[0]].astype(np.float64)
        d = np.column_stack([rays, np.ones(len(rays))])
        points, normal = d * z[hit][:, None], normals[hit]
        slant = np.sum(normal * d, axis=1)
        sine2 = np.maximum(1.0 - slant**2 / np.sum(d * d, axis=1), 0.0)
        along = (n.sigma_per_m2 * points[:, 2] ** 2) ** 2 + _STEP_M**2 / 12.0
        sigma = np.sqrt(slant**2 * along + sine2 * (n.lateral_px * points[:, 2] / CAMERA.fx) ** 2)
        J = np.column_stack([normal, np.cross(points - center, normal)]) / sigma[:, None]
        return J.T @ _whiten(J, hit, n)


def average(values: Array) -> Array:
    """Mean over the rays of each pixel."""
    h, w, c = values.shape
    k = _SUPERSAMPLES
    return values.reshape(h // k, k, w // k, k, c).mean(axis=(1, 3))


def _filter_power(sigma: float) -> float:
    """Sum of the squared weights of the two-dimensional Gaussian filter."""
    pulse = np.zeros(8 * int(np.ceil(sigma)) + 9)
    pulse[len(pulse) // 2] = 1.0
    return float(np.sum(gaussian_filter(pulse, sigma, truncate=_TRUNCATE) ** 2)) ** 2


def _whiten(J: Array, hit: NDArray[np.bool_], noise: Noise) -> Array:
    """Solve ``C X = J`` (N, 6) for the correlation ``C`` of the noise at the pixels hit.

    By conjugate gradients, since ``C`` is two passes of the filter that made the noise.
    """
    power = _filter_power(noise.correlation_px)

    def correlate(x: Array) -> Array:
        grid = np.zeros(hit.shape)
        grid[hit] = x.ravel()
        for _ in range(2):
            grid = gaussian_filter(grid, noise.correlation_px, mode="constant", truncate=_TRUNCATE)
        return noise.white_share * x.ravel() + (1.0 - noise.white_share) / power * grid[hit]

    operator = LinearOperator((len(J), len(J)), matvec=correlate, dtype=np.float64)
    return np.column_stack([cg(operator, column, rtol=1e-4, maxiter=200)[0] for column in J.T])
