"""Whether a mesh passes through itself: pairs of its faces of which an edge of one pierces the other."""

import numpy as np
import warp as wp
from numpy.typing import NDArray


@wp.func
def _pierces(p: wp.vec3, q: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> bool:
    """Whether a segment p-q passes through the inside of a triangle."""
    n = wp.cross(b - a, c - a)
    if wp.dot(n, p - a) * wp.dot(n, q - a) >= 0.0:
        return False
    d = q - p
    ab = wp.dot(d, wp.cross(a - p, b - p))
    bc = wp.dot(d, wp.cross(b - p, c - p))
    ca = wp.dot(d, wp.cross(c - p, a - p))
    return (ab > 0.0 and bc > 0.0 and ca > 0.0) or (ab < 0.0 and bc < 0.0 and ca < 0.0)


@wp.func
def _has(f: wp.vec3i, vertex: int) -> bool:
    return f[0] == vertex or f[1] == vertex or f[2] == vertex


@wp.func
def _any_edge_pierces(f: wp.vec3i, g: wp.vec3i, positions: wp.array[wp.vec3]) -> bool:
    """Whether an edge of one face passes through another that has neither of its ends as a corner."""
    found = bool(False)
    for i in range(3):
        first = f[i]
        second = f[(i + 1) % 3]
        if not _has(g, first) and not _has(g, second):
            if _pierces(
                positions[first], positions[second], positions[g[0]], positions[g[1]], positions[g[2]]
            ):
                found = True
    return found


@wp.kernel(enable_backward=False)
def _count_pierced(
    bvh: wp.uint64,
    lower: wp.array[wp.vec3],
    upper: wp.array[wp.vec3],
    positions: wp.array[wp.vec3],
    faces: wp.array[wp.vec3i],
    # output
    count: wp.array[int],
):
    """Count the faces that are pierced by edges of others, at least one if there are any."""
    i = wp.tid()
    if count[0] > 0:
        return
    query = wp.bvh_query_aabb(bvh, lower[i], upper[i])
    j = wp.int32(0)
    while wp.bvh_query_next(query, j):
        if j != i and _any_edge_pierces(faces[j], faces[i], positions):
            wp.atomic_add(count, 0, 1)
            return


def passes_through_itself(positions: NDArray[np.floating], faces: NDArray[np.integer]) -> bool:
    """Whether a welded surface passes through itself.

    Faces that only touch, or lie in one plane, do not count.

    Args:
        positions: Places, shape (V, 3) [m].
        faces: Their indices, shape (F, 3).
    """
    corners = positions[faces].astype(np.float32)
    lower, upper = (wp.array(f(corners, axis=1), dtype=wp.vec3, device="cpu") for f in (np.min, np.max))
    places = wp.array(positions.astype(np.float32), dtype=wp.vec3, device="cpu")
    indices = wp.array(faces.astype(np.int32), dtype=wp.vec3i, device="cpu")
    count = wp.zeros(1, dtype=int, device="cpu")
    bvh = wp.Bvh(lower, upper)
    arguments = [bvh.id, lower, upper, places, indices, count]
    wp.launch(_count_pierced, len(faces), arguments, device="cpu", record_tape=False)
    return bool(count.numpy()[0])
