"""What the faces on both sides of a crossing show at its pieces, and how they move it.

At a fixed ray: a crossing is no line of either surface, which slides through the other.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams, project_jacobian
from dr_perception.raster.types import Viewport
from dr_perception.render.outline.piece import Piece
from dr_perception.render.shading.interpolation import face_on_ray, intersect, weights_on_ray
from dr_perception.render.shading.surface import ray_of, step_aside


@wp.func
def middle_ray(piece: Piece, rays: wp.array3d[wp.vec2], v: Viewport, camera: int) -> wp.vec3:
    """The ray (x, y, 1) of the middle of a piece, from those of its pixel and the neighbours."""
    x = piece.x + v.x0
    y = piece.y + v.y0
    right = (piece.middle[0] - float(piece.x)) * step_aside(rays, camera, x, y, 1, 0)
    down = (piece.middle[1] - float(piece.y)) * step_aside(rays, camera, x, y, 0, 1)
    return ray_of(rays, camera, x, y) + right + down


@wp.func
def inner_weights(d: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec3:
    """Barycentric coordinates of a ray in a face; rays beyond it meet its border.

    A piece that others cut has its middle elsewhere than the candidate whose faces it has.
    """
    hit = intersect(d, a, b, c)
    w = wp.vec3(wp.max(hit[0], 0.0), wp.max(hit[1], 0.0), wp.max(hit[2], 0.0))
    return w / (w[0] + w[1] + w[2])


@wp.func
def _per_pixel(cam: CameraParams, d: wp.vec3, plane: wp.vec3) -> wp.vec2:
    """Gradient of ``plane . d`` over the image, at the ray ``d`` [1/px]."""
    J = project_jacobian(cam, d)
    return wp.transpose(wp.inverse(wp.mat22(J[0, 0], J[0, 1], J[1, 0], J[1, 1]))) * wp.vec2(
        plane[0], plane[1]
    )


@wp.func
def add_crossing_motion(
    piece: Piece,
    gain: float,
    d: wp.vec3,
    cam: CameraParams,
    p_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    g_cam: wp.array2d[wp.vec3],
):
    """Send the gradient by the outward motion of a crossing to the vertices of both faces.

    The line lies where the inner face has the inverse depth of the outer one. Where the difference grows the
    line moves outwards, by the growth over its slope on the image.
    """
    inner = face_on_ray(piece.view, faces[piece.face], d, p_cam)
    outer = face_on_ray(piece.view, faces[piece.face_out], d, p_cam)
    plane = inner.n / wp.dot(inner.n, inner.a) - outer.n / wp.dot(outer.n, outer.a)
    slope = wp.length(_per_pixel(cam, d, plane))
    if gain == 0.0 or slope == 0.0:
        return
    g = gain * wp.length(piece.outward) / slope
    for side in range(2):
        s = inner
        f = faces[piece.face]
        if side == 1:
            s = outer
            f = faces[piece.face_out]
            g = -g
        # 1/z = n.d / n.a, and z changes by (w_i / n.d) n for a corner.
        inverse_z = s.n_d / wp.dot(s.n, s.a)
        row = (-g * inverse_z * inverse_z / s.n_d) * s.n
        w = weights_on_ray(s)
        for i in range(3):
            wp.atomic_add(g_cam, piece.view, f[i], w[i] * row)
