"""Kernels of what the surface has at a pixel's centre: samples for shaders of the user's own.

`sample_surface` finds face and weights once for a pixel. Every other kernel interpolates one thing with them,
and its adjoint is the one that Warp derives: it adds to the gradient of the weights, which that of
`sample_surface` brings to vertices and rays.
"""

import warp as wp

from dr_perception.render.shading.inputs import Seen, Surfaces
from dr_perception.render.shading.interpolation import intersect, mix
from dr_perception.render.shading.surface import ray_of


@wp.kernel
def sample_surface(
    seen: Seen,
    mesh: Surfaces,
    factor: int,
    # output
    face: wp.array3d[int],
    weights: wp.array3d[wp.vec3],
):
    """Face seen at every pixel, -1 without one, and barycentric coordinates there, right in perspective.

    Of ``factor`` x ``factor`` samples a pixel it is the one nearest to its centre.
    """
    view, y, x = wp.tid()
    fine_y = y * factor + factor / 2
    fine_x = x * factor + factor / 2
    found = seen.face_index[view, fine_y, fine_x]
    face[view, y, x] = found
    if found < 0:
        weights[view, y, x] = wp.vec3(0.0, 0.0, 0.0)
        return
    v = seen.viewports[view]
    d = ray_of(seen.rays, (view + seen.first_view) % seen.rays.shape[0], fine_x + v.x0, fine_y + v.y0)
    f = mesh.faces[found]
    hit = intersect(d, mesh.p_cam[view, f[0]], mesh.p_cam[view, f[1]], mesh.p_cam[view, f[2]])
    weights[view, y, x] = wp.vec3(hit[0], hit[1], hit[2])


@wp.kernel
def sample_position(
    face: wp.array3d[int],
    weights: wp.array3d[wp.vec3],
    p_cam: wp.array2d[wp.vec3],
    faces: wp.array[wp.vec3i],
    # output
    position: wp.array3d[wp.vec3],
):
    """Surface point in the camera frame [m]."""
    view, y, x = wp.tid()
    k = face[view, y, x]
    if k < 0:
        position[view, y, x] = wp.vec3(0.0, 0.0, 0.0)
        return
    f = faces[k]
    position[view, y, x] = mix(weights[view, y, x], p_cam[view, f[0]], p_cam[view, f[1]], p_cam[view, f[2]])


@wp.kernel
def sample_corners_2(
    face: wp.array3d[int],
    weights: wp.array3d[wp.vec3],
    values: wp.array2d[wp.vec2],
    # output
    image: wp.array3d[wp.vec2],
):
    """Two numbers that the corners of the faces have."""
    view, y, x = wp.tid()
    k = face[view, y, x]
    if k < 0:
        image[view, y, x] = wp.vec2(0.0, 0.0)
        return
    w = weights[view, y, x]
    image[view, y, x] = w[0] * values[k, 0] + w[1] * values[k, 1] + w[2] * values[k, 2]


@wp.kernel
def sample_corners_3(
    face: wp.array3d[int],
    weights: wp.array3d[wp.vec3],
    values: wp.array2d[wp.vec3],
    # output
    image: wp.array3d[wp.vec3],
):
    """Three numbers that the corners of the faces have."""
    view, y, x = wp.tid()
    k = face[view, y, x]
    if k < 0:
        image[view, y, x] = wp.vec3(0.0, 0.0, 0.0)
        return
    image[view, y, x] = mix(weights[view, y, x], values[k, 0], values[k, 1], values[k, 2])


@wp.kernel
def sample_vertices(
    face: wp.array3d[int],
    weights: wp.array3d[wp.vec3],
    corner_vertex: wp.array[wp.vec3i],
    values: wp.array2d[float],
    # output
    image: wp.array4d[float],
):
    """Any number of numbers that the vertices of the meshes have."""
    view, y, x = wp.tid()
    k = face[view, y, x]
    if k < 0:
        for i in range(values.shape[1]):
            image[view, y, x, i] = 0.0
        return
    w = weights[view, y, x]
    v = corner_vertex[k]
    for i in range(values.shape[1]):
        image[view, y, x, i] = w[0] * values[v[0], i] + w[1] * values[v[1], i] + w[2] * values[v[2], i]


@wp.kernel(enable_backward=False)
def sample_index(
    face: wp.array3d[int],
    weights: wp.array3d[wp.vec3],
    values: wp.array[int],
    # output
    image: wp.array3d[int],
):
    """A whole number that the faces have; -1 without one."""
    view, y, x = wp.tid()
    k = face[view, y, x]
    image[view, y, x] = -1
    if k >= 0:
        image[view, y, x] = values[k]
