"""Points on the visible surface, read from a z-buffer on a regular grid of pixels."""

import warp as wp

from dr_perception.body.appearance import BakedBrightness, brightness_at, gradient_at, texels_around
from dr_perception.body.model_mesh import ModelMesh, is_unseen
from dr_perception.device.poses import Poses, pose_of
from dr_perception.raster.project import IdealCamera
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import Viewport
from dr_perception.raster.zbuffer import key_face, key_inverse_z


@wp.struct
class SurfaceSample:
    """A visible point of the model with its smooth normal, in the model's frame, and brightness, 0 to 255.

    The gradient of brightness lies in the surface [levels/m], in the model's frame. Either is NaN where it is
    not known.
    """

    point: wp.vec3
    normal: wp.vec3
    brightness: float
    gradient: wp.vec3


@wp.struct
class VisibleSurface:
    """Samples (P, N) of the surfaces that renders show, whose cameras stand in ``cameras`` (P,).

    ``count`` (P,) says how many were found, of which only N have room.
    """

    samples: wp.array2d[SurfaceSample]
    count: wp.array[int]
    cameras: wp.array[IdealCamera]


@wp.struct
class SampleGrid:
    """Which pixels are taken.

    stride: every so-many-th. reach: distance in pixels that they keep from outlines and steps in depth.
    max_relative_step: difference of inverse depth over that distance, relative, above which it is a step.
    """

    stride: int
    reach: int
    max_relative_step: float


@wp.func
def surface_size(surface: VisibleSurface, problem: int) -> int:
    """Number of samples of a problem."""
    return wp.min(surface.count[problem], surface.samples.shape[1])


@wp.func
def _is_own(key: wp.uint64, num_faces: int) -> bool:
    """Whether a pixel shows a face of the mesh itself."""
    face = key_face(key)
    return face >= 0 and face < num_faces


@wp.func
def _is_interior(
    keys: wp.array3d[wp.uint64],
    view: int,
    x: int,
    y: int,
    grid: SampleGrid,
    num_faces: int,
    viewport: Viewport,
    inverse_z: float,
) -> bool:
    """Whether pixels at a distance in four directions see the same surface, without a step in depth.

    Inverse depth is linear on a plane however steep it is seen, so what differs by as much to both sides is a
    slope and no step. Seen from near, most of an object is steep.
    """
    reach = grid.reach
    if x < reach or y < reach or x >= viewport.width - reach or y >= viewport.height - reach:
        return False
    inside = bool(True)
    for axis in range(2):
        dx = wp.where(axis == 0, reach, 0)
        dy = reach - dx
        before = keys[view, y - dy, x - dx]
        after = keys[view, y + dy, x + dx]
        if not (_is_own(before, num_faces) and _is_own(after, num_faces)):
            inside = False
        else:
            a = key_inverse_z(before) - inverse_z
            b = key_inverse_z(after) - inverse_z
            limit = grid.max_relative_step * inverse_z
            if wp.max(wp.abs(a), wp.abs(b)) > limit and wp.abs(a + b) > limit:
                inside = False
    return inside


@wp.func
def _barycentric(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec3:
    """Barycentric coordinates of a point in the plane of a triangle, kept inside it."""
    normal = wp.cross(b - a, c - a)
    scale = 1.0 / wp.max(wp.dot(normal, normal), 1.0e-30)
    u = wp.clamp(wp.dot(wp.cross(c - b, p - b), normal) * scale, 0.0, 1.0)
    v = wp.clamp(wp.dot(wp.cross(a - c, p - c), normal) * scale, 0.0, 1.0)
    return wp.vec3(u, v, wp.max(1.0 - u - v, 0.0))


@wp.kernel(enable_backward=False)
def sample_surface_grid(
    mesh: ModelMesh,
    baked: BakedBrightness,
    poses: Poses,
    renders: Renders,
    grid: SampleGrid,
    # output
    surface: VisibleSurface,
    covered: wp.array[int],
):
    """Append the point seen at every pixel of a grid that is not next to an outline or step in depth.

    ``covered`` counts all grid pixels on the model, those next to outlines included. Faces that nobody ever
    saw hide what is behind them, but neither cover nor yield anything: where they are is a guess. Faces of
    other meshes in the z-buffer have indices from those of the mesh on.
    """
    view, gy, gx = wp.tid()
    v = renders.viewports[view]
    x = gx * grid.stride + grid.stride // 2
    y = gy * grid.stride + grid.stride // 2
    if x >= v.width or y >= v.height:
        return
    key = renders.keys[view, y, x]
    face = key_face(key)
    num_faces = mesh.faces.shape[0]
    if face < 0 or face >= num_faces:
        return
    if is_unseen(mesh, face):
        return
    wp.atomic_add(covered, view, 1)
    if not _is_interior(renders.keys, view, x, y, grid, num_faces, v, key_inverse_z(key)):
        return
    slot = wp.atomic_add(surface.count, view, 1)
    if slot >= surface.samples.shape[1]:
        return
    camera = renders.cameras[view]
    ray = wp.vec3((float(x + v.x0) - camera.cx) / camera.fx, (float(y + v.y0) - camera.cy) / camera.fy, 1.0)
    pose = pose_of(poses, view)
    plane = mesh.planes[face]
    normal = wp.vec3(plane[0], plane[1], plane[2])
    # Intersection of the viewing ray with the face's plane, in the model's frame.
    origin = -(wp.transpose(pose.R) * pose.t)
    direction = wp.transpose(pose.R) * ray
    s = (plane[3] - wp.dot(normal, origin)) / wp.dot(normal, direction)
    out = SurfaceSample()
    out.point = origin + s * direction
    corner = mesh.faces[face]
    a = mesh.vertices[corner[0]]
    weights = _barycentric(out.point, a, mesh.vertices[corner[1]], mesh.vertices[corner[2]])
    out.normal = wp.normalize(
        weights[0] * mesh.corner_normals[3 * face]
        + weights[1] * mesh.corner_normals[3 * face + 1]
        + weights[2] * mesh.corner_normals[3 * face + 2]
    )
    if baked.layout.shape[0] > 0:
        at = texels_around(baked, face, weights)
        out.brightness = brightness_at(baked, at)
        out.gradient = gradient_at(baked, at)
    surface.samples[view, slot] = out
