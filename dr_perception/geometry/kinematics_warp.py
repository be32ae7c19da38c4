"""Kinematic trees on the device: poses of links, and gradients of joint values from tangents of the links.

The twins of `dr_perception.geometry.kinematics`, batched over hypotheses. The way back is written by hand: a
joint's value gets what its axis takes up of the forces and torques on all links beyond it (the transposed
geometric Jacobian; Craig 2005, section 5.9).
"""

import warp as wp

from dr_perception.geometry.se3_warp import exp_so3, retract_rotation

wp.set_module_options({"max_unroll": 1})

FIXED = wp.constant(0)
REVOLUTE = wp.constant(1)
PRISMATIC = wp.constant(2)
vec6 = wp.types.vector(length=6, dtype=wp.float32)


@wp.struct
class TreeArrays:
    """A tree of L links on the device; of the root only the place counts.

    parents: index of the parent link (L,), -1 for the root. kinds: `FIXED`, `REVOLUTE` or `PRISMATIC` (L,).
    values: index of the joint value (L,). gains, offsets: the joint moves by gain times value plus offset
    (L,). R, t: frame of the joint in the parent link (L,). axes: unit directions in it (L,).
    """

    parents: wp.array[int]
    kinds: wp.array[int]
    values: wp.array[int]
    gains: wp.array[float]
    offsets: wp.array[float]
    R: wp.array[wp.mat33]
    t: wp.array[wp.vec3]
    axes: wp.array[wp.vec3]


@wp.struct
class LinkArrays:
    """Poses of the links (H, L) in the frame of the base's parent, and axes of their joints there."""

    R: wp.array2d[wp.mat33]
    t: wp.array2d[wp.vec3]
    axes: wp.array2d[wp.vec3]
    origins: wp.array2d[wp.vec3]


@wp.kernel(enable_backward=False)
def pose_links(
    tree: TreeArrays,
    q: wp.array2d[float],
    R_base: wp.array[wp.mat33],
    t_base: wp.array[wp.vec3],
    base: wp.array[vec6],
    # output
    links: LinkArrays,
):
    """Poses of all links at joint values (H, n), the root at base poses (H,) moved by tangents (H,)."""
    h = wp.tid()
    x = base[h]
    links.R[h, 0] = retract_rotation(wp.vec3(x[3], x[4], x[5]), R_base[h])
    links.t[h, 0] = t_base[h] + wp.vec3(x[0], x[1], x[2])
    for k in range(1, tree.parents.shape[0]):
        parent = tree.parents[k]
        R = links.R[h, parent] * tree.R[k]
        t = links.t[h, parent] + links.R[h, parent] * tree.t[k]
        axis = R * tree.axes[k]
        links.axes[h, k] = axis
        links.origins[h, k] = t
        if tree.kinds[k] != FIXED:
            value = tree.gains[k] * q[h, tree.values[k]] + tree.offsets[k]
            if tree.kinds[k] == PRISMATIC:
                t = t + value * axis
            else:
                R = R * exp_so3(value * tree.axes[k])
        links.R[h, k] = R
        links.t[h, k] = t


@wp.kernel(enable_backward=False)
def place_links(
    links: LinkArrays,
    link_of: wp.array[int],
    # output
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
    tangents: wp.array2d[vec6],
):
    """Give instances (H, I) the poses of their links; those of none (-1) stay."""
    h, i = wp.tid()
    link = link_of[i]
    if link >= 0:
        R[h, i] = links.R[h, link]
        t[h, i] = links.t[h, link]
        tangents[h, i] = vec6()


@wp.func
def left_jacobian(w: wp.vec3) -> wp.mat33:
    """Left Jacobian of SO(3), ``exp(w + d) = exp(J d) exp(w)`` to first order (Sola et al. 2018, eq. 145)."""
    squared = wp.dot(w, w)
    a = 0.5 - squared / 24.0
    b = 1.0 / 6.0 - squared / 120.0
    if squared > 1.0e-4:
        angle = wp.sqrt(squared)
        a = (1.0 - wp.cos(angle)) / squared
        b = (angle - wp.sin(angle)) / (squared * angle)
    K = wp.skew(w)
    return wp.identity(n=3, dtype=wp.float32) + a * K + b * (K * K)


@wp.kernel(enable_backward=False)
def pull_to_joints(
    tree: TreeArrays,
    links: LinkArrays,
    link_of: wp.array[int],
    base: wp.array[vec6],
    g_tangents: wp.array2d[vec6],
    # output
    g_q: wp.array2d[float],
    g_base: wp.array[vec6],
):
    """Add the gradients of joint values (H, n) and base tangents (H,) from those of the instances (H, I)."""
    h = wp.tid()
    force = wp.vec3()
    torque = wp.vec3()
    for i in range(link_of.shape[0]):
        link = link_of[i]
        if link < 0:
            continue
        g = g_tangents[h, i]
        v = wp.vec3(g[0], g[1], g[2])
        w = wp.vec3(g[3], g[4], g[5])
        p = links.t[h, link]
        force += v
        torque += w + wp.cross(p - links.t[h, 0], v)
        k = link
        while k > 0:
            if tree.kinds[k] != FIXED:
                taken = wp.dot(links.axes[h, k], v)
                if tree.kinds[k] == REVOLUTE:
                    taken = wp.dot(links.axes[h, k], w + wp.cross(p - links.origins[h, k], v))
                g_q[h, tree.values[k]] = g_q[h, tree.values[k]] + tree.gains[k] * taken
            k = tree.parents[k]
    x = base[h]
    turned = wp.transpose(left_jacobian(wp.vec3(x[3], x[4], x[5]))) * torque
    g_base[h] = g_base[h] + vec6(force[0], force[1], force[2], turned[0], turned[1], turned[2])
