"""Deformation graphs: a few nodes that move and turn carry the vertices around them.

Sumner, Schmid and Pauly (2007), "Embedded deformation for shape manipulation": a vertex lies at the weighted
mean of where the nodes near it would carry it, and neighbouring nodes should agree about where each other is
(their eq. 7), which is as rigid as possible (Sorkine and Alexa 2007) with rotations as unknowns of their own.
"""

import warp as wp

from dr_perception.geometry.se3_warp import exp_so3

vec6 = wp.types.vector(length=6, dtype=wp.float32)


@wp.func
def node_moves(x: vec6, node: wp.vec3, p: wp.vec3) -> wp.vec3:
    """Where a node at ``node``, moved and turned by (v, w), carries a point ``p``."""
    R = exp_so3(wp.vec3(x[3], x[4], x[5]))
    return R * (p - node) + node + wp.vec3(x[0], x[1], x[2])


@wp.kernel
def deform(
    motions: wp.array[vec6],
    nodes: wp.array[wp.vec3],
    rest: wp.array[wp.vec3],
    chosen: wp.array[wp.vec4i],
    weights: wp.array[wp.vec4],
    first: int,
    # output
    vertices: wp.array[wp.vec3],
):
    """Vertices from the ``first`` on under motions of the nodes (N,)."""
    i = wp.tid()
    p = rest[i]
    a = chosen[i]
    w = weights[i]
    moved = w[0] * node_moves(motions[a[0]], nodes[a[0]], p)
    moved += w[1] * node_moves(motions[a[1]], nodes[a[1]], p)
    moved += w[2] * node_moves(motions[a[2]], nodes[a[2]], p)
    vertices[first + i] = moved + w[3] * node_moves(motions[a[3]], nodes[a[3]], p)


@wp.kernel
def add_disagreement(
    motions: wp.array[vec6],
    nodes: wp.array[wp.vec3],
    pairs: wp.array[wp.vec2i],
    scale: float,
    # output
    total: wp.array[wp.float64],
):
    """Add the squared distances between where a node is and where its neighbour would carry it, both ways."""
    k = wp.tid()
    a = pairs[k][0]
    b = pairs[k][1]
    x = motions[a]
    y = motions[b]
    there = node_moves(x, nodes[a], nodes[b]) - nodes[b] - wp.vec3(y[0], y[1], y[2])
    here = node_moves(y, nodes[b], nodes[a]) - nodes[a] - wp.vec3(x[0], x[1], x[2])
    wp.atomic_add(total, 0, wp.float64(scale * (wp.dot(there, there) + wp.dot(here, here))))
