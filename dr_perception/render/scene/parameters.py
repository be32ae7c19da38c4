"""The device arrays that a render is differentiable with respect to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.camera_warp import camera_params
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.se3 import check_transform
from dr_perception.render.scene.checks import check_cameras, check_names
from dr_perception.render.scene.intrinsics import NUM_INTRINSICS
from dr_perception.render.scene.sampling import Extent, extent_of
from dr_perception.render.scene.scene import Scene
from dr_perception.render.scene.topology import SceneTopology
from dr_perception.render.scene.vertex_stage import vec6
from dr_perception.render.shading.texture import srgb_to_linear

DIFFERENTIABLE = (
    "vertices",
    "pose",
    "camera_pose",
    "intrinsics",
    "vertex_colors",
    "attributes",
    "texels",
    "albedo",
    "roughness",
    "metallic",
    "specular",
    "ambient",
    "light_directions",
    "light_colors",
    "harmonics",
)
"""Names of the parameters that can have gradients."""


@dataclass(frozen=True, eq=False)
class SceneParameters:
    """Everything that makes the picture, as Warp arrays; H hypotheses, C cameras, I instances.

    Arrays named in `DIFFERENTIABLE` carry gradients if they were asked for. ``pose`` and ``camera_pose`` are
    tangent vectors
    (v, w) about the base poses, zero at first: ``t' = t + v``, ``R' = exp(w) R`` along the axes of the scene.
    """

    vertices: wp.array
    """Vertices of all distinct meshes in their object frames [m], ``wp.vec3`` (V,)."""
    pose: wp.array
    """Tangent vectors of the instances, (H, I) of 6."""
    R_world_obj: wp.array
    """Base orientations, (H, I)."""
    t_world_obj: wp.array
    """Base positions [m], (H, I)."""
    camera_pose: wp.array
    """Tangent vectors of the cameras, (C,) of 6."""
    R_world_cam: wp.array
    """Base orientations of the cameras, (C,)."""
    t_world_cam: wp.array
    """Base positions of the cameras [m], (C,)."""
    intrinsics: wp.array
    """fx, fy, cx, cy [px] and eight coefficients of each camera, float (C, 12)."""
    camera_models: wp.array
    """Distortion model of each camera, int (C,)."""
    vertex_colors: wp.array
    """Linear RGB of all vertices, (V,); white where a mesh has none."""
    attributes: wp.array
    """`Mesh.vertex_attributes` of all vertices, float (V, n); zero where a mesh has none."""
    texels: wp.array
    """Linear RGB of the textures, row by row, one after the other."""
    textures: wp.array
    """First texel, rows and columns of each instance's texture, ``wp.vec3i`` (I,); zero rows: none."""
    albedo: wp.array
    roughness: wp.array
    metallic: wp.array
    specular: wp.array
    """Material of each instance, (I,)."""
    ambient: wp.array
    """(1,) linear RGB."""
    light_directions: wp.array
    light_colors: wp.array
    """(L,)."""
    harmonics: wp.array
    """(9,) linear RGB, or empty."""
    background: wp.array
    """Linear RGB, (1, 1, 1) or (1, H, W)."""
    image_size: tuple[int, int]
    """Width and height of the cameras' images [px]."""
    requires_grad: frozenset[str]
    """Names of the parameters that have gradients."""
    topology: SceneTopology
    """That of the scene that they were made for."""
    extent: Extent
    """How large its parts are on the images, where they were at first."""

    @property
    def num_views(self) -> int:
        """Hypotheses times cameras."""
        return self.pose.shape[0] * self.intrinsics.shape[0]

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for name in self.requires_grad:
            getattr(self, name).grad.zero_()

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all gradients by name."""
        return {name: getattr(self, name).grad.numpy().copy() for name in sorted(self.requires_grad)}


def make_parameters(
    scene: Scene,
    topology: SceneTopology,
    cameras: Camera | Sequence[Camera],
    T_world_cam: ArrayLike | None = None,
    poses: ArrayLike | None = None,
    requires_grad: Collection[str] = (),
    device: wp.DeviceLike = None,
) -> SceneParameters:
    """Upload a scene.

    Args:
        scene: What to draw.
        topology: Its topology.
        cameras: One or C cameras with images of one size.
        T_world_cam: Their poses, shape (4, 4) or (C, 4, 4); None: the scene frame.
        poses: T_world_obj of every instance in H hypotheses, shape (H, I, 4, 4); None: those of the scene, H
        = 1.
        requires_grad: Names out of `DIFFERENTIABLE`.
        device: Where to.

    Raises:
        TypeError: Names or cameras of another type.
        ValueError: Unknown names, shapes that do not fit, cameras of different size, a background of another
            size, poses that are not rigid.
    """
    check_names(requires_grad, DIFFERENTIABLE, "requires_grad")
    cameras = check_cameras(cameras)
    width, height = cameras[0].width, cameras[0].height
    T_cam = _camera_poses(T_world_cam, len(cameras))
    T_obj = _instance_poses(scene, poses)
    texels, textures = _texels(topology)
    colors = [_vertex_colors(m) for m in topology.meshes]
    materials = [i.material for i in scene.instances]
    harmonics = np.zeros((0, 3)) if scene.lights.harmonics is None else scene.lights.harmonics
    count = len(materials)
    background = np.asarray(scene.background, dtype=np.float32)
    if background.ndim == 3 and background.shape[:2] != (height, width):
        raise ValueError(
            f"the background must have shape (3,) or ({height}, {width}, 3), as the images have, "
            f"got {background.shape}"
        )
    arrays: dict[str, tuple[ArrayLike, object, tuple[int, ...]]] = {
        "vertices": (_rows([m.vertices for m in topology.meshes]), wp.vec3, (-1, 3)),
        "pose": (np.zeros((*T_obj.shape[:2], 6)), vec6, (*T_obj.shape[:2], 6)),
        "R_world_obj": (T_obj[..., :3, :3], wp.mat33, (*T_obj.shape[:2], 3, 3)),
        "t_world_obj": (T_obj[..., :3, 3], wp.vec3, (*T_obj.shape[:2], 3)),
        "camera_pose": (np.zeros((len(cameras), 6)), vec6, (-1, 6)),
        "R_world_cam": (T_cam[:, :3, :3], wp.mat33, (-1, 3, 3)),
        "t_world_cam": (T_cam[:, :3, 3], wp.vec3, (-1, 3)),
        "intrinsics": (np.array([_row(c) for c in cameras]), wp.float32, (-1, NUM_INTRINSICS)),
        "vertex_colors": (_rows(colors), wp.vec3, (-1, 3)),
        "attributes": (_attributes(topology), wp.float32, ()),
        "texels": (texels, wp.vec3, (-1, 3)),
        "albedo": (np.array([m.albedo for m in materials]), wp.vec3, (count, 3)),
        "roughness": ([m.roughness for m in materials], wp.float32, (count,)),
        "metallic": ([m.metallic for m in materials], wp.float32, (count,)),
        "specular": ([m.specular for m in materials], wp.float32, (count,)),
        "ambient": (np.array([scene.lights.ambient]), wp.vec3, (1, 3)),
        "light_directions": (scene.lights.directions, wp.vec3, (-1, 3)),
        "light_colors": (scene.lights.colors, wp.vec3, (-1, 3)),
        "harmonics": (harmonics, wp.vec3, (-1, 3)),
        "background": (
            background[None] if background.ndim == 3 else background[None, None, None],
            wp.vec3,
            (),
        ),
    }
    made = {}
    for name, (values, dtype, shape) in arrays.items():
        data = np.ascontiguousarray(np.asarray(values, dtype=np.float32))
        data = data.reshape(shape) if shape else data
        made[name] = wp.array(data, dtype=dtype, device=device, requires_grad=name in requires_grad)
    return SceneParameters(
        **made,
        camera_models=wp.array([camera_params(c).model for c in cameras], dtype=int, device=device),
        textures=wp.array(textures, dtype=wp.vec3i, device=device),
        image_size=(width, height),
        topology=topology,
        requires_grad=frozenset(requires_grad),
        extent=extent_of(topology, cameras, T_cam, T_obj) if requires_grad else Extent(),
    )


def _rows(parts: list[NDArray]) -> NDArray:
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _row(camera: Camera) -> list[float]:
    return [camera.fx, camera.fy, camera.cx, camera.cy, *np.asarray(camera_params(camera).k).tolist()]


def _camera_poses(T_world_cam: ArrayLike | None, count: int) -> NDArray[np.float64]:
    if T_world_cam is None:
        return np.tile(np.eye(4), (count, 1, 1))
    T = np.asarray(T_world_cam, dtype=np.float64)
    T = np.broadcast_to(T, (count, 4, 4)) if T.shape == (4, 4) else T
    if T.shape != (count, 4, 4):
        raise ValueError(f"T_world_cam must have shape (4, 4) or ({count}, 4, 4), got {T.shape}")
    return np.stack([check_transform(t, "T_world_cam") for t in T])


def _instance_poses(scene: Scene, poses: ArrayLike | None) -> NDArray[np.float64]:
    count = len(scene.instances)
    if poses is None:
        return np.array([i.T_world_obj for i in scene.instances]).reshape(1, count, 4, 4)
    T = np.asarray(poses, dtype=np.float64)
    if T.ndim != 4 or T.shape[1:] != (count, 4, 4) or len(T) == 0:
        raise ValueError(f"poses must have shape (H, {count}, 4, 4), got {T.shape}")
    rigid = [check_transform(T[h, i], f"poses[{h}, {i}]") for h in range(len(T)) for i in range(count)]
    return np.array(rigid).reshape(T.shape)


def _vertex_colors(mesh: Mesh) -> NDArray[np.float32]:
    if mesh.vertex_colors is None or mesh.texture is not None:
        return np.ones((len(mesh.vertices), 3), np.float32)
    return srgb_to_linear(mesh.vertex_colors)


def _attributes(topology: SceneTopology) -> NDArray[np.float32]:
    given = [m.vertex_attributes for m in topology.meshes if m.vertex_attributes is not None]
    widths = {a.shape[1] for a in given} or {0}
    if len(widths) > 1:
        raise ValueError(
            f"meshes of one scene must have equally many vertex_attributes or none, got {sorted(widths)}"
        )
    width = widths.pop()
    parts = [
        np.zeros((len(m.vertices), width), np.float32) if m.vertex_attributes is None else m.vertex_attributes
        for m in topology.meshes
    ]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def _texels(topology: SceneTopology) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """All textures in a row, and where each instance's is."""
    parts, places, start = [], [], 0
    for mesh in topology.meshes:
        if mesh.texture is None:
            places.append((0, 0, 0))
            continue
        places.append((start, *mesh.texture.shape[:2]))
        parts.append(srgb_to_linear(mesh.texture).reshape(-1, 3))
        start += len(parts[-1])
    textures = np.array([places[k] for k in topology.mesh_of_instance], dtype=np.int32).reshape(-1, 3)
    return (np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)), textures
