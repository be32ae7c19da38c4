"""Ray caster on Warp's BVH: exact visibility, shadows and pixel integrals for what a rasteriser cannot do.

It is the slow, trustworthy sibling of the raster renderer and the reference its gradients are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.device.threads import separate_threads
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.camera_warp import CameraParams, camera_params
from dr_perception.geometry.mesh import Mesh, validate_mesh, vertex_normals
from dr_perception.geometry.mesh_surface import MeshSurface, mesh_surface
from dr_perception.geometry.se3 import check_transform
from dr_perception.rays.hits import (
    RayGeometry,
    cast_rays,
    cast_samples,
    majority_instance,
    test_segments,
)
from dr_perception.rays.patterns import pixel_pattern
from dr_perception.rays.shading import RayLights, RaySurfaces, integrate_samples, pose_arrays

_MAX_DEPTH_M = 1.0e4


@dataclass(frozen=True)
class Lighting:
    """Ambient and directional light in the camera frame.

    Attributes:
        ambient: Linear RGB radiance that reaches every point.
        directions: Vectors towards the lights, shape (L, 3); normalised on use.
        colors: Linear RGB of each light, shape (L, 3).
        shadows: Whether surfaces block directional light.
    """

    ambient: tuple[float, float, float] = (1.0, 1.0, 1.0)
    directions: ArrayLike = field(default_factory=lambda: np.zeros((0, 3)))
    colors: ArrayLike = field(default_factory=lambda: np.zeros((0, 3)))
    shadows: bool = True


@dataclass(frozen=True)
class Background:
    """What samples that hit nothing contribute: a depth [m] and a linear RGB colour."""

    depth_m: float = 0.0
    color: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class RayImages:
    """Pixel averages over the samples of each view; Warp arrays of shape (views, height, width).

    Attributes:
        depth: float32 [m], uncovered samples at the depth of the background. Divide by ``silhouette`` for the
            mean depth of the covered part when that depth is 0.
        silhouette: float32, covered share of the pixel.
        color: vec3, linear RGB over the background.
        normal: vec3, mean of unit normals in the camera frame, not normalised; 0 where uncovered.
        instance: int32 index of the instance that most samples of the pixel hit, -1 for the background.
        sample_instance: int32 (views, height, width, samples), what each sample hit; with ``sample_face`` it
            is the visibility that derivatives hold fixed.
        sample_face: int32 (views, height, width, samples), face of its surface (`RayCaster.distinct_meshes`).
    """

    depth: wp.array
    silhouette: wp.array
    color: wp.array
    normal: wp.array
    instance: wp.array
    sample_instance: wp.array
    sample_face: wp.array


@dataclass(frozen=True)
class Visibility:
    """What the samples of every pixel hit, held fixed while images are differentiated.

    Attributes:
        instance: int32 (views, height, width, samples), -1 where nothing was hit.
        face: int32 of the same shape, index in the mesh of the instance.
        offsets: vec2 (samples,), the sample pattern in the unit square.
        shift: Seed of the per-pixel shifts of the pattern, -1 for none.
    """

    instance: wp.array
    face: wp.array
    offsets: wp.array
    shift: int


class RayCaster:
    """Casts rays at posed instances of meshes.

    Args:
        meshes: Mesh of each instance; the same object may appear several times and shares its BVH.
        smooth: Whether shading and normal images interpolate vertex normals (held fixed in derivatives).
        lighting: Lights; unlit albedo by default.
        background: What uncovered samples see.
        albedo: Linear RGB factor of each instance, shape (instances, 3); ones when None. Textures are not
            read.
        device: Warp device.

    Raises:
        ValueError: When there is no mesh or one is not valid.
    """

    def __init__(
        self,
        meshes: Sequence[Mesh],
        *,
        smooth: bool = False,
        lighting: Lighting | None = None,
        background: Background | None = None,
        albedo: ArrayLike | None = None,
        device: str | None = None,
    ) -> None:
        if not meshes:
            raise ValueError("RayCaster: expected at least one mesh, got none")
        separate_threads()
        self.device = wp.get_device(device)
        self.meshes = list(meshes)
        self.background = background or Background()
        unique = list({id(mesh): mesh for mesh in meshes}.values())
        for number, mesh in enumerate(unique):
            validate_mesh(mesh, f"meshes[{number}]")
        self.mesh_surfaces = [mesh_surface(mesh) for mesh in unique]
        self._slot = np.array([next(i for i, m in enumerate(unique) if m is mesh) for mesh in meshes])
        self._unique = [_drawn(*pair) for pair in zip(unique, self.mesh_surfaces, strict=True)]
        self._bvh = [self._build(mesh) for mesh in self._unique]
        self.surfaces = self._upload(smooth, albedo)
        self.lights = self._upload_lights(lighting or Lighting())
        self.geometry = RayGeometry()
        self.geometry.mesh_ids = self._array([self._bvh[i].id for i in self._slot], wp.uint64)

    @property
    def casts_shadows(self) -> bool:
        """Whether surfaces block light that comes from somewhere."""
        return bool(self.lights.shadows) and len(self.lights.directions) > 0

    @property
    def vertex_offsets(self) -> NDArray[np.int64]:
        """First row of each distinct mesh among the concatenated vertices, and the total, shape (M + 1,)."""
        return np.concatenate([[0], np.cumsum([len(mesh.vertices) for mesh in self._unique])])

    @property
    def distinct_meshes(self) -> list[Mesh]:
        """The meshes without repetition, in the order of `vertex_offsets`, with their surfaces as faces."""
        return list(self._unique)

    @property
    def instance_slots(self) -> NDArray[np.int64]:
        """Index of each instance's mesh among `distinct_meshes`, shape (I,)."""
        return self._slot.copy()

    def pose_buffers(
        self, T_cam_inst: ArrayLike, tangent: wp.array | None = None
    ) -> tuple[wp.array, wp.array]:
        """Rotations and translations on the device, indexed [view, instance].

        Args:
            T_cam_inst: Poses, shape (views, instances, 4, 4), or (instances, 4, 4) for one view.
            tangent: Optional (views, instances, 6) array (v, w); a tape then differentiates with respect to
                it.
        """
        poses = np.asarray(T_cam_inst, dtype=np.float64)
        poses = poses[None] if poses.ndim == 3 else poses
        if poses.ndim != 4 or poses.shape[1:] != (len(self.meshes), 4, 4):
            expected = f"(views, {len(self.meshes)}, 4, 4)"
            raise ValueError(f"T_cam_inst: expected shape {expected}, got {poses.shape}")
        for view, row in enumerate(poses):
            for k, T in enumerate(row):
                check_transform(T, f"T_cam_inst[{view}, {k}]")
        base_R, base_t = self._array(poses[..., :3, :3], wp.mat33), self._array(poses[..., :3, 3], wp.vec3)
        if tangent is None:
            return base_R, base_t
        R = wp.zeros(base_R.shape, dtype=wp.mat33, device=self.device, requires_grad=True)
        t = wp.zeros(base_t.shape, dtype=wp.vec3, device=self.device, requires_grad=True)
        inputs = [base_R, base_t, tangent]
        wp.launch(pose_arrays, dim=base_R.shape, inputs=inputs, outputs=[R, t], device=self.device)
        return R, t

    def camera_buffer(
        self, cameras: Camera | Sequence[Camera], views: int, requires_grad: bool = False
    ) -> wp.array:
        """Cameras on the device, one per view (a single one serves all)."""
        listed = [cameras] * views if isinstance(cameras, Camera) else list(cameras)
        sizes = {(c.width, c.height) for c in listed}
        if len(listed) != views or len(sizes) != 1:
            raise ValueError(
                f"expected {views} cameras of one image size, got {len(listed)} of sizes {sorted(sizes)}"
            )
        rows = [camera_params(c) for c in listed]
        return wp.array(rows, dtype=CameraParams, device=self.device, requires_grad=requires_grad)

    def render(
        self,
        cameras: Camera | Sequence[Camera],
        T_cam_inst: ArrayLike,
        *,
        samples: int = 1,
        pattern: str = "grid",
        seed: int = 0,
    ) -> RayImages:
        """Render all views.

        Args:
            cameras: Camera of all views, or one per view, of one image size.
            T_cam_inst: Poses, shape (views, instances, 4, 4) or (instances, 4, 4).
            samples: Samples per pixel.
            pattern: One of `patterns.PIXEL_PATTERNS`. All but ``"grid"`` shift the pattern anew per
                pixel.
            seed: Seed of the random patterns.
        """
        R, t = self.pose_buffers(T_cam_inst)
        buffer = self.camera_buffer(cameras, R.shape[0])
        first = cameras if isinstance(cameras, Camera) else cameras[0]
        visible = self.visibility(R, t, buffer, (first.height, first.width), samples, pattern, seed)
        return self.integrate(R, t, buffer, visible)

    def visibility(
        self,
        R: wp.array,
        t: wp.array,
        cameras: wp.array,
        size: tuple[int, int],
        samples: int = 1,
        pattern: str = "grid",
        seed: int = 0,
    ) -> Visibility:
        """Cast the samples of all pixels of images of ``size`` = (height, width)."""
        offsets = self._array(pixel_pattern(pattern, samples, np.random.default_rng(seed)), wp.vec2)
        shift = -1 if pattern == "grid" else int(seed)
        shape = (R.shape[0], size[0], size[1], samples)
        instance = wp.empty(shape, dtype=wp.int32, device=self.device)
        face = wp.empty(shape, dtype=wp.int32, device=self.device)
        inputs = [self.posed(R, t), cameras, offsets, shift, _MAX_DEPTH_M]
        wp.launch(cast_samples, dim=shape, inputs=inputs, outputs=[instance, face], device=self.device)
        return Visibility(instance, face, offsets, shift)

    def integrate(self, R: wp.array, t: wp.array, cameras: wp.array, visible: Visibility) -> RayImages:
        """Average the samples at fixed visibility; on a tape, the interior derivative of the images."""
        shape = visible.instance.shape[:3]
        new = {"device": self.device, "requires_grad": True}
        depth = wp.zeros(shape, dtype=wp.float32, **new)
        silhouette = wp.zeros(shape, dtype=wp.float32, **new)
        normal, color = wp.zeros(shape, dtype=wp.vec3, **new), wp.zeros(shape, dtype=wp.vec3, **new)
        inputs = [self.posed(R, t), R, t, self.surfaces, self.lights, cameras, visible.offsets, visible.shift]
        inputs += [visible.instance, visible.face, self.background.depth_m, wp.vec3(*self.background.color)]
        outputs = [depth, silhouette, normal, color]
        wp.launch(
            integrate_samples, dim=visible.instance.shape, inputs=inputs, outputs=outputs, device=self.device
        )
        majority = wp.empty(shape, dtype=wp.int32, device=self.device)
        wp.launch(
            majority_instance, dim=shape, inputs=[visible.instance], outputs=[majority], device=self.device
        )
        return RayImages(depth, silhouette, color, normal, majority, visible.instance, visible.face)

    def cast(
        self, T_cam_inst: ArrayLike, origins: ArrayLike, directions: ArrayLike, max_distance_m: float = 1e3
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """Nearest hits of free rays.

        Args:
            T_cam_inst: Poses of one view, shape (instances, 4, 4).
            origins: Starts in the camera frame [m], shape (N, 3).
            directions: Directions, shape (N, 3); normalised on use.
            max_distance_m: How far to look.

        Returns:
            Instance (-1 for none), face, and distance [m], each of shape (N,).
        """
        starts, along = _points(origins, "origins"), _points(directions, "directions")
        lengths = np.linalg.norm(along, axis=1, keepdims=True)
        if len(starts) != len(along) or np.any(lengths == 0):
            raise ValueError(
                f"expected as many non-zero directions as origins, got {len(along)} for {len(starts)}"
            )
        R, t = self.pose_buffers(T_cam_inst)
        out = [wp.empty(len(starts), dtype=d, device=self.device) for d in (wp.int32, wp.int32, wp.float32)]
        inputs = [self.posed(R, t), 0, self._array(starts, wp.vec3), self._array(along / lengths, wp.vec3)]
        wp.launch(
            cast_rays, dim=len(starts), inputs=[*inputs, max_distance_m], outputs=out, device=self.device
        )
        return out[0].numpy(), out[1].numpy(), out[2].numpy()

    def occluded(
        self, T_cam_inst: ArrayLike, starts: ArrayLike, ends: ArrayLike, margin_m: float = 1e-4
    ) -> NDArray[np.bool_]:
        """Whether something lies strictly between pairs of points, ``margin_m`` away from both ends.

        Args:
            T_cam_inst: Poses of one view, shape (instances, 4, 4).
            starts: Points in the camera frame [m], shape (N, 3).
            ends: Points in the camera frame [m], shape (N, 3).
            margin_m: Distance from the ends that does not count, so that a surface does not hide itself.
        """
        first, last = _points(starts, "starts"), _points(ends, "ends")
        if len(first) != len(last):
            raise ValueError(f"expected as many ends as starts, got {len(last)} for {len(first)}")
        R, t = self.pose_buffers(T_cam_inst)
        blocked = wp.empty(len(first), dtype=wp.int32, device=self.device)
        inputs = [self.posed(R, t), 0, self._array(first, wp.vec3), self._array(last, wp.vec3), margin_m]
        wp.launch(test_segments, dim=len(first), inputs=inputs, outputs=[blocked], device=self.device)
        return blocked.numpy() != 0

    def posed(self, R: wp.array, t: wp.array) -> RayGeometry:
        """The geometry struct of kernels, at given poses."""
        geometry = RayGeometry()
        geometry.mesh_ids, geometry.R_cam_inst, geometry.t_cam_inst = self.geometry.mesh_ids, R, t
        return geometry

    def set_vertices(self, vertices: ArrayLike) -> None:
        """Move the vertices of all distinct meshes and refit their BVHs.

        Args:
            vertices: Concatenated positions in the mesh frames [m], shape (total, 3), order of
                `vertex_offsets`.
        """
        moved = _points(vertices, "vertices")
        if len(moved) != self.vertex_offsets[-1]:
            raise ValueError(f"expected {self.vertex_offsets[-1]} vertices, got {len(moved)}")
        self.surfaces.vertices.assign(moved.astype(np.float32))
        for bvh, first, last in zip(
            self._bvh, self.vertex_offsets[:-1], self.vertex_offsets[1:], strict=True
        ):
            bvh.points.assign(moved[first:last].astype(np.float32))
            bvh.refit()

    def _build(self, mesh: Mesh) -> wp.Mesh:
        points = self._array(mesh.vertices, wp.vec3)
        return wp.Mesh(points=points, indices=self._array(mesh.faces.ravel(), wp.int32))

    def _upload(self, smooth: bool, albedo: ArrayLike | None) -> RaySurfaces:
        face_offsets = np.concatenate([[0], np.cumsum([len(mesh.faces) for mesh in self._unique])])
        s = RaySurfaces()
        s.first_vertex = self._array(self.vertex_offsets[:-1][self._slot], wp.int32)
        s.first_face = self._array(face_offsets[:-1][self._slot], wp.int32)
        s.smooth = self._array(np.full(len(self.meshes), int(smooth)), wp.int32)
        s.faces = self._array(np.concatenate([mesh.faces for mesh in self._unique]), wp.vec3i)
        s.vertices = self._array(np.concatenate([m.vertices for m in self._unique]), wp.vec3, True)
        s.normals = self._array(np.concatenate([_normals(m) for m in self.mesh_surfaces]), wp.vec3)
        s.colors = self._array(np.concatenate([_albedo(m) for m in self._unique]), wp.vec3, True)
        factors = np.ones((len(self.meshes), 3)) if albedo is None else np.asarray(albedo, dtype=np.float64)
        if factors.shape != (len(self.meshes), 3) or not np.all(factors >= 0):
            raise ValueError(
                f"albedo: expected {len(self.meshes)} non-negative RGB rows, got {factors.tolist()}"
            )
        s.albedo = self._array(factors, wp.vec3)
        return s

    def _upload_lights(self, lighting: Lighting) -> RayLights:
        directions = np.asarray(lighting.directions, dtype=np.float64).reshape(-1, 3)
        colors = np.asarray(lighting.colors, dtype=np.float64).reshape(-1, 3)
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        if len(directions) != len(colors) or np.any(lengths == 0):
            raise ValueError(
                f"expected one colour per non-zero direction, got {len(colors)} for {len(directions)}"
            )
        lights = RayLights()
        lights.ambient = wp.vec3(*(float(v) for v in lighting.ambient))
        lights.directions = self._array(directions / np.where(lengths > 0, lengths, 1.0), wp.vec3)
        lights.colors = self._array(colors, wp.vec3)
        lights.shadows = int(lighting.shadows)
        return lights

    def _array(self, values: ArrayLike, dtype: type, requires_grad: bool = False) -> wp.array:
        return wp.array(np.asarray(values), dtype=dtype, device=self.device, requires_grad=requires_grad)


def _points(values: ArrayLike, name: str) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{name}: expected shape (N, 3), got {points.shape}")
    if not np.all(np.isfinite(points)):
        raise ValueError(
            f"{name}: expected finite numbers, got {points[~np.isfinite(points).all(axis=1)][0]}"
        )
    return points


def _drawn(mesh: Mesh, surface: MeshSurface) -> Mesh:
    """A mesh with its vertices and the faces of its surface."""
    faces = mesh.faces.reshape(-1)[surface.corner]
    if np.array_equal(faces, mesh.faces):
        return mesh
    return Mesh(mesh.vertices, faces, mesh.vertex_colors)


def _normals(surface: MeshSurface) -> NDArray[np.float64]:
    """Normals of a mesh's vertices, those of their places; zero for vertices of no face, shape (V, 3)."""
    normals = vertex_normals(Mesh(surface.positions, surface.faces))
    return np.where(surface.place[:, None] < 0, 0.0, normals[surface.place])


def _albedo(mesh: Mesh) -> NDArray[np.float64]:
    """Linear RGB of the vertices from their sRGB colours (IEC 61966-2-1), white without colours."""
    if mesh.vertex_colors is None:
        return np.ones((len(mesh.vertices), 3))
    encoded = mesh.vertex_colors / 255.0
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
