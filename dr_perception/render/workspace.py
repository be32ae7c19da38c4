"""Device buffers of the renderer.

Arrays that stay with a scene, and scratch arrays that stay with an image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import warp as wp

from dr_perception.raster.blocks import SeenVertices
from dr_perception.raster.project import IdealCamera
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import Viewport
from dr_perception.render.contents import Contents
from dr_perception.render.outline.piece import Candidate, Piece
from dr_perception.render.scene.images import Images
from dr_perception.render.scene.topology import SceneTopology
from dr_perception.render.scene.vertex_stage import Extent, vec6
from dr_perception.render.shading.inputs import graded, struct_of

__all__ = ["SceneArrays", "Workspace", "bytes_per_view", "vec6"]


class SceneArrays:
    """The topology of a scene on a device; names as in `SceneTopology`."""

    def __init__(self, topology: SceneTopology, device: wp.Device) -> None:
        """Upload."""

        def upload(values: np.ndarray, dtype: object) -> wp.array:
            return wp.array(values, dtype=dtype, device=device)

        self.topology = topology
        self.faces = upload(topology.faces, wp.vec3i)
        self.face_instance = upload(topology.face_instance, wp.int32)
        self.neighbors = upload(topology.neighbors, wp.vec3i)
        self.vertex_source = upload(topology.vertex_source, wp.int32)
        self.corner_vertex = upload(topology.corner_vertex, wp.vec3i)
        self.member_start = upload(topology.member_start, wp.int32)
        self.members = upload(topology.members, wp.int32)
        self.vertex_instance = upload(topology.vertex_instance, wp.int32)
        self.normal_index = upload(topology.normal_index, wp.vec3i)
        self.normal_source = upload(topology.normal_source, wp.int32)
        self.normal_instance = upload(topology.normal_instance, wp.int32)
        self.mesh_faces = upload(topology.mesh_faces, wp.vec3i)
        self.group_start = upload(topology.group_start, wp.int32)
        self.group_faces = upload(topology.group_faces, wp.int32)
        self.edges = upload(topology.edges, wp.vec4i)
        self.opposite = upload(topology.opposite, wp.vec2i)
        self.flags = upload(topology.flags, wp.int32)
        self.corner_uv = upload(topology.corner_uv, wp.vec2)
        self.num_faces = len(topology.faces)
        self.num_vertices = len(topology.vertex_source)
        self.num_normals = len(topology.normal_source)
        self.num_mesh_normals = len(topology.group_start) - 1
        self.num_places = max(len(topology.member_start) - 1, 0)
        """Places of all meshes; 0 if each of their vertices is one."""
        self.num_edges = len(topology.edges)
        self.num_instances = len(topology.mesh_of_instance)
        self._device = device

    @cached_property
    def mesh_face(self) -> wp.array:
        """Face of its instance's mesh that each face is, (F,)."""
        return wp.array(self.topology.in_mesh[0], dtype=wp.int32, device=self._device)

    @cached_property
    def mesh_weights(self) -> wp.array:
        """Barycentric coordinates there of the corners of each face, ``wp.vec3`` (F, 3)."""
        return wp.array(self.topology.in_mesh[1], dtype=wp.vec3, device=self._device)


@dataclass(frozen=True)
class WorkspaceKey:
    """What fixes the sizes of a workspace."""

    views: int
    cameras: int
    width: int
    height: int
    image_width: int
    image_height: int
    lights: int
    blends: bool
    """Whether it is for images of the user's own: they do not take the buffers of the render before."""


def bytes_per_view(arrays: SceneArrays, width: int, height: int) -> int:
    """Scratch memory that one view needs, with all channels and their gradients [bytes]."""
    pixel = 8 + 4 + 4 + 4 + 4 + 12 + 12 + 4 + 4 + 4
    vertex = 12 + 8 + 8 + 12
    return (
        width * height * pixel
        + arrays.num_vertices * vertex
        + arrays.num_faces
        + arrays.num_normals * 24
        + piece_room(width, height) * 352
    )


def _differs(old: Any, new: Any) -> bool:
    return old is not new and (not isinstance(new, int) or old != new)


def piece_room(width: int, height: int) -> int:
    """Outline pieces that a view has room for at first."""
    return 1024 + 8 * (width + height)


class Workspace:
    """Scratch arrays for a number of views of one size; owned by a `Renderer`, reused by its renders."""

    def __init__(self, arrays: SceneArrays, key: WorkspaceKey, device: wp.Device) -> None:
        """Allocate what every render needs; the rest comes when it is first used."""
        views, v, n = key.views, max(arrays.num_vertices, 1), max(arrays.num_mesh_normals, 1)
        shape = (views, key.height, key.width)
        self.key = key
        self.device = device
        self.box: tuple[int, int, int, int] | None = None
        """Part of the image that `viewports` have."""
        self.contents = Contents()
        """What the arrays held that rays, places and normals were made of."""
        self.reshaped = False
        """Whether vertices may be elsewhere than in the meshes; that is what one assumes but on a CPU."""
        self.samples: tuple[object, Images] | None = None
        """Images of the samples of a supersampled render, and what they were made for."""
        self.token: object = None
        """Whose render the buffers hold: compared before a backward pass reuses them."""
        instances = max(arrays.num_instances, 1)
        self.R_cam_obj = wp.zeros((views, instances), dtype=wp.mat33, device=device)
        self.t_cam_obj = wp.zeros((views, instances), dtype=wp.vec3, device=device)
        self.R_world_cam = wp.zeros(key.cameras, dtype=wp.mat33, device=device)
        self.light_cam = wp.zeros((key.cameras, key.lights), dtype=wp.vec3, device=device)
        self.places: wp.array | None = None
        """Where the places are, if they are not the vertices themselves [m]."""
        if arrays.num_places:
            self.places = wp.zeros(arrays.num_places, dtype=wp.vec3, device=device)
        self.astray = wp.zeros(views, dtype=wp.int32, device=device)
        """Vertices of each view that are nowhere: not finite; on the CPU only, where nobody waits for it."""
        self._host_astray = self.astray.numpy() if device.is_cpu else np.zeros(views, np.int32)
        self.cull = wp.zeros(views, dtype=wp.int32, device=device)
        """1 in views that leave back faces out."""
        self.p_cam = wp.zeros((views, v), dtype=wp.vec3, device=device)
        self.screen = wp.zeros((views, v), dtype=wp.vec2, device=device)
        self.grid = wp.zeros((views, v), dtype=wp.vec2i, device=device)
        """Vertices on the sub-pixel grid."""
        self.normals = wp.zeros(n, dtype=wp.vec3, device=device)
        self.n_cam = wp.zeros((views, max(arrays.num_normals, 1)), dtype=wp.vec3, device=device)
        self.keys = wp.zeros(shape, dtype=wp.uint64, device=device)
        self.facing = wp.zeros((views, max(arrays.num_faces, 1)), dtype=wp.int8, device=device)
        """Which way faces are turned, as `raster.rasterize_scene` has it."""
        self.face_index = wp.zeros(shape, dtype=wp.int32, device=device)
        self.depth = wp.zeros(shape, dtype=wp.float32, device=device)
        self.ideal_cameras = wp.zeros(views, dtype=IdealCamera, device=device)
        self.viewports = wp.zeros(views, dtype=Viewport, device=device)
        self.rays = wp.zeros((key.cameras, key.image_height, key.image_width), dtype=wp.vec2, device=device)
        self.ideal_positions: wp.array | None = None
        self.nearest: wp.array | None = None
        """Nearest outline piece of every pixel, once a soft silhouette was drawn."""
        self.piece_count = wp.zeros(1, dtype=wp.int32, device=device)
        self.candidate_count = wp.zeros(1, dtype=wp.int32, device=device)
        self.heads = wp.zeros(shape, dtype=wp.int32, device=device)
        self._host_counts = [c.numpy() for c in (self.candidate_count, self.piece_count) if device.is_cpu]
        self.boxes = wp.zeros(views, dtype=wp.vec4i, device=device)
        """Pixels of each view outside of which nothing is seen: first column, row, last column, row."""
        self.captured_room = 1 << 30
        """Pieces that a captured graph looks at."""
        self.seen = struct_of(SeenVertices, [self.p_cam, self.screen, self.grid])
        self.renders = struct_of(Renders, [self.ideal_cameras, self.viewports, self.keys])
        self.extent = struct_of(Extent, [self.boxes, self.astray, self.cull])
        self._lazy: dict[str, wp.array] = {}
        self._bundles: dict[str, tuple[list[Any], Any]] = {}
        self._outgrown: list[wp.array] = []
        """Arrays that graphs which somebody else holds still point to."""
        self._allocate_pieces(views * piece_room(key.width, key.height))

    def grow_pieces(self) -> None:
        """Make room for the outline pieces that were found; what was there is lost."""
        if not self.contents.trusted:
            held = (*vars(self).values(), *self._lazy.values())
            self._outgrown += [array for array in held if isinstance(array, wp.array)]
        found = max(self._counts())
        self._allocate_pieces(found + found // 4)

    def _allocate_pieces(self, room: int) -> None:
        self.candidates = wp.zeros(room, dtype=Candidate, device=self.device)
        self.pieces = wp.zeros(room, dtype=Piece, device=self.device)
        self.first_piece = wp.zeros(room, dtype=wp.int32, device=self.device)
        """First piece of every candidate, or -1."""
        self.scalar_jumps = wp.zeros(room, dtype=wp.vec2, device=self.device)
        self.color_jumps = wp.zeros(room, dtype=wp.vec3, device=self.device)
        self.normal_jumps = wp.zeros(room, dtype=wp.vec3, device=self.device)
        """What each piece's share of its pixel changes by: far side less near side."""
        self.color_changes = wp.zeros(room, dtype=wp.vec3, device=self.device)
        self.color_near = wp.zeros(room, dtype=wp.vec3, device=self.device)
        """1 where the near side is that at the edge, 0 where it is what the centre of the pixel shows."""
        self.normal_changes = wp.zeros(room, dtype=wp.vec3, device=self.device)
        self._lazy = {}

    def _counts(self) -> tuple[int, int]:
        """Candidates and pieces of the last render, which the host waits for but on a CPU."""
        counts = self._host_counts or [c.numpy() for c in (self.candidate_count, self.piece_count)]
        return int(counts[0][0]), int(counts[1][0])

    def is_astray(self) -> bool:
        """Whether a vertex of the last render was not finite; False where the host does not know."""
        return bool(self._host_astray.any())

    def overflows(self) -> bool:
        """Whether the outline had more pieces than there was room for."""
        return max(self._counts()) > self.pieces.shape[0]

    def room(self, captured: bool) -> int:
        """Pieces to look at: all that there are, or may be."""
        if captured or not self.device.is_cpu:
            return min(self.captured_room, self.pieces.shape[0])
        return min(self._counts()[1], self.pieces.shape[0])

    def candidate_room(self, captured: bool) -> int:
        """The same for candidates."""
        if captured or not self.device.is_cpu:
            return min(self.captured_room, self.pieces.shape[0])
        return min(self._counts()[0], self.pieces.shape[0])

    def fit_captured_room(self) -> None:
        """Let graphs that are captured from now on look at no more pieces than there may well be."""
        if self.device.is_cpu:
            self.captured_room = 256 + 3 * max(self._counts()) // 2

    def outgrown(self) -> bool:
        """Whether a graph did not look at all pieces that there were."""
        return self.device.is_cpu and max(self._counts()) > min(self.captured_room, self.pieces.shape[0])

    def bundle(self, name: str, kind: Any, values: list[Any]) -> Any:
        """A Warp struct of arrays and numbers, in the order of its fields; the same as long as they are."""
        found = self._bundles.get(name)
        if found is None or any(map(_differs, found[0], values)):
            found = self._bundles[name] = values, struct_of(kind, values)
        return found[1]

    def graded(self, name: str, kind: Any, values: list[Any], grads: dict[str, wp.array | None]) -> Any:
        """The same, its arrays with the named gradients."""
        key = f"{name} with {' '.join(grads)}"
        found = self._bundles.get(key)
        told = [*values, *grads.values()]
        if found is None or any(map(_differs, found[0], told)):
            found = self._bundles[key] = told, struct_of(kind, graded(kind, values, grads))
        return found[1]

    def empty(self, kind: Any) -> Any:
        """A Warp struct without anything in it: where the gradients of its arrays are their own."""
        return self._bundles.setdefault(f"empty {kind.key}", ([], kind()))[1]

    def scratch(self, name: str, like: wp.array) -> wp.array:
        """A scratch array of the size of another, kept under a name."""
        return self.lazy(name, like.shape, like.dtype)

    def lazy(self, name: str, shape: tuple[int, ...], dtype: Any) -> wp.array:
        """A scratch array of a size, kept under a name."""
        found = self._lazy.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._lazy[name] = wp.zeros(shape, dtype=dtype, device=self.device)
        return found
