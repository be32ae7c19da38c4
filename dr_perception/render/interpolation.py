"""From a pixel's ray to the point it sees.

Barycentric coordinates recomputed from the vertices of a fixed face.

The face seen at a pixel is held fixed, and everything else is a smooth function of vertices and ray, so the
derivative inside
a surface is exact. What is missing, the motion of the boundaries between faces, is added by `antialias`.
"""

import warp as wp


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
