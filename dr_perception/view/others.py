"""Other objects that may hide the one a view shows.

All views of a frame share the camera's place and axes and differ in their zoom alone. So an object's vertices
are moved to the camera once a frame, whatever number of views draw it, and a view draws any objects by one
launch that reads from a list which. Neither buffers nor recordings exist for pairs of objects.
"""

from collections.abc import Sequence

import numpy as np
import warp as wp

from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.device.device_array import SharedArray
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import capture, record
from dr_perception.raster.project import IdealCamera
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import DEFAULT_NEAR_M, Viewport
from dr_perception.raster.zbuffer import corners_of, draw_triangle, fill_clipped, on_screen

_AT_ONCE = 8
"""Objects that one launch draws; more take several launches. More than this seldom lie before one object."""
_CUDA_LANES = 1024


@wp.struct
class PosedMesh:
    """Vertices in the camera frame [m] and the faces between them; ``cull`` leaves back faces out."""

    p_cam: wp.array[wp.vec3]
    faces: wp.array[wp.vec3i]
    cull: int


@wp.kernel(enable_backward=False)
def place_vertices(
    vertices_obj: wp.array[wp.vec3],
    R_cam_obj: wp.array2d[wp.mat33],
    t_cam_obj: wp.array2d[wp.vec3],
    # output
    p_cam: wp.array[wp.vec3],
):
    """Move every vertex to the camera."""
    i = wp.tid()
    p_cam[i] = R_cam_obj[0, 0] * vertices_obj[i] + t_cam_obj[0, 0]


@wp.func
def _draw_face(
    mesh: PosedMesh,
    i: int,
    face_index: int,
    view: int,
    camera: IdealCamera,
    viewport: Viewport,
    near: float,
    keys: wp.array3d[wp.uint64],
):
    face = mesh.faces[i]
    p = mesh.p_cam[face[0]]
    q = mesh.p_cam[face[1]]
    r = mesh.p_cam[face[2]]
    corners = corners_of(p, q, r)
    if p[2] > near and q[2] > near and r[2] > near:
        draw_triangle(on_screen(camera, corners), face_index, view, viewport, mesh.cull, keys)
    elif p[2] > near or q[2] > near or r[2] > near:
        fill_clipped(corners, face_index, view, camera, viewport, near, mesh.cull, keys)


@wp.kernel(enable_backward=False)
def draw_listed(
    meshes: wp.array[PosedMesh],
    count: wp.array[int],
    near: float,
    first_face: int,
    lanes: int,
    # output
    renders: Renders,
):
    """Draw the first ``count`` meshes into every view's z-buffer; faces are counted from ``first_face``."""
    view, lane = wp.tid()
    camera = renders.cameras[view]
    viewport = renders.viewports[view]
    for k in range(count[0]):
        mesh = meshes[k]
        for i in range(lane, mesh.faces.shape[0], lanes):
            _draw_face(mesh, i, first_face + i, view, camera, viewport, near, renders.keys)


class PosedBody:
    """A body at the first of some poses, for the views of other objects to draw.

    Attributes:
        entry: The body as an entry of a list of `PosedMesh`.
    """

    def __init__(self, buffers: ModelBuffers, poses: PoseArrays) -> None:
        """Allocate the moved vertices; nothing is moved yet."""
        device = buffers.device
        self._p_cam = wp.zeros(buffers.num_vertices, dtype=wp.vec3, device=device)
        self._faces = buffers.faces
        mesh = PosedMesh()
        mesh.p_cam, mesh.faces, mesh.cull = self._p_cam, self._faces, int(buffers.closed)
        self.entry: np.void = wp.array([mesh], dtype=PosedMesh, device="cpu").numpy()[0].copy()
        inputs = [buffers.vertices, poses.R.array, poses.t.array]
        launch = record(place_vertices, buffers.num_vertices, inputs, [self._p_cam], device)
        self.place = capture([launch], device)
        """Moves the vertices to the pose; to be called before views draw the body there."""


class OtherBodies:
    """Draws posed bodies into the z-buffers of one batch of views."""

    def __init__(self, renders: Renders, first_face: int) -> None:
        """Record the drawing into the z-buffers of renders, whose own faces end before ``first_face``."""
        device, views = renders.keys.device, renders.keys.shape[0]
        self._meshes = SharedArray(_AT_ONCE, PosedMesh, device)
        self._count = SharedArray(1, int, device)
        lanes = _CUDA_LANES if device.is_cuda else 1
        inputs = [self._meshes.array, self._count.array, DEFAULT_NEAR_M, first_face, lanes]
        launch = record(draw_listed, (views, lanes), inputs, [renders], device)
        self._draw = capture([launch], device)

    def draw(self, bodies: Sequence[PosedBody]) -> None:
        """Draw bodies where they were placed; they must live until the device is done."""
        for first in range(0, len(bodies), _AT_ONCE):
            some = bodies[first : first + _AT_ONCE]
            for k, body in enumerate(some):
                self._meshes.host[k] = body.entry
            self._count.host[0] = len(some)
            self._meshes.push()
            self._count.push()
            self._draw()
