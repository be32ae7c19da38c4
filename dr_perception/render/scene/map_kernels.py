"""Kernels of the maps that come with the renderer."""

import warp as wp

from dr_perception.render.scene.vertex_stage import vec6


@wp.kernel
def tie_rows(
    row: wp.array[float],
    # output
    rows: wp.array2d[float],
):
    """The same row for all."""
    i, j = wp.tid()
    rows[i, j] = row[j]


@wp.kernel(enable_backward=False)
def place(
    R: wp.array[wp.mat33],
    t: wp.array[wp.vec3],
    # output
    R_base: wp.array[wp.mat33],
    t_base: wp.array[wp.vec3],
    tangent: wp.array[vec6],
):
    """Poses as base poses, from which nothing moves."""
    i = wp.tid()
    R_base[i] = R[i]
    t_base[i] = t[i]
    tangent[i] = vec6()


@wp.kernel(enable_backward=False)
def pull_tangents(
    g_tangent: wp.array[vec6],
    R: wp.array[wp.mat33],
    # output
    g_R: wp.array[wp.mat33],
    g_t: wp.array[wp.vec3],
):
    """Gradients of poses from those of their tangents: ``<hat(w) R / 2, hat(d) R> = w . d`` for all turns."""
    i = wp.tid()
    g = g_tangent[i]
    g_R[i] = g_R[i] + 0.5 * wp.skew(wp.vec3(g[3], g[4], g[5])) * R[i]
    g_t[i] = g_t[i] + wp.vec3(g[0], g[1], g[2])
