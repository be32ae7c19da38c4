"""From a pixel's ray to the point it sees: barycentric coordinates and slopes of a fixed face.

The face seen at a pixel is held fixed, and everything else is a smooth function of vertices and ray, so the
derivative inside a surface is exact. What is missing, the motion of the boundaries between faces, is added by
`antialias`.
"""

import warp as wp

EDGE_ON = wp.constant(1.0e-6)
"""Squared cosine between normal and ray below which a face carries no usable slope (0.06 degrees)."""


@wp.func
def intersect(d: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec4:
    """Barycentric coordinates in space (perspective-correct) and depth along z of a ray and a face.

    Moeller and Trumbore 1997. Works on the differences of the corners, which keeps single precision for small
    faces far away.

    Args:
        d: Ray (x, y, 1).
        a: First corner in the camera frame [m].
        b: Second corner.
        c: Third corner.
    """
    e1 = b - a
    e2 = c - a
    p = wp.cross(d, e2)
    det = wp.dot(e1, p)
    # No early return: it would send the four numbers through memory.
    edge_on = wp.abs(det) < 1.0e-20
    inverse = 1.0 / wp.where(edge_on, 1.0, det)
    q = wp.cross(e1, a)
    u = wp.where(edge_on, 0.0, -wp.dot(a, p) * inverse)
    v = wp.where(edge_on, 0.0, wp.dot(d, q) * inverse)
    return wp.vec4(1.0 - u - v, u, v, wp.where(edge_on, a[2], wp.dot(e2, q) * inverse))


@wp.struct
class FaceOnRay:
    """A face and the ray of a pixel that sees it, in the camera frame."""

    a: wp.vec3
    """First corner."""
    e1: wp.vec3
    """From the first to the second corner."""
    e2: wp.vec3
    """From the first to the third corner."""
    d: wp.vec3
    """The ray (x, y, 1)."""
    n: wp.vec3
    """Normal, twice as long as the face's area."""
    n_d: float
    """``n.d``."""


@wp.func
def face_on_ray(view: int, corners: wp.vec3i, d: wp.vec3, p_cam: wp.array2d[wp.vec3]) -> FaceOnRay:
    """Look at a face along a ray."""
    s = FaceOnRay()
    s.a = p_cam[view, corners[0]]
    s.e1 = p_cam[view, corners[1]] - s.a
    s.e2 = p_cam[view, corners[2]] - s.a
    s.d = d
    s.n = wp.cross(s.e1, s.e2)
    s.n_d = wp.dot(s.n, d)
    return s


@wp.func
def steeper_than(s: FaceOnRay, squared_cosine: float) -> bool:
    """Whether the squared cosine between normal and ray is less than a number."""
    return s.n_d * s.n_d < squared_cosine * wp.dot(s.n, s.n) * wp.dot(s.d, s.d)


@wp.func
def weights_on_ray(s: FaceOnRay) -> wp.vec3:
    """Barycentric coordinates where the ray meets the face, as `intersect`."""
    inverse = 1.0 / s.n_d
    b = wp.dot(s.a, wp.cross(s.d, s.e2)) * inverse
    c = -wp.dot(s.d, wp.cross(s.e1, s.a)) * inverse
    return wp.vec3(1.0 - b - c, b, c)


@wp.func
def depth_on_ray(s: FaceOnRay) -> float:
    """Depth along z where the ray meets the face [m]."""
    return wp.dot(s.n, s.a) / s.n_d


@wp.func
def plane_depth(d: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> float:
    """Depth at which a ray (x, y, 1) meets the plane of a face.

    Not positive when it does not in front of the camera.
    """
    n = wp.cross(b - a, c - a)
    s = wp.dot(n, d)
    z = float(0.0)
    if wp.abs(s) > 1.0e-20:
        z = wp.dot(n, a) / s
    return z


@wp.func
def mix(w: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec3:
    """Weighted sum of three corner values."""
    return w[0] * a + w[1] * b + w[2] * c
