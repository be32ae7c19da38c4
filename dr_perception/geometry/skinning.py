"""Linear blend skinning on the device: bones move vertices by weights; with the way back to the bones.

A vertex lies at the weighted mean of where each bone would carry it (Magnenat-Thalmann et al. 1988). The way
back is written by hand: what a vertex gets pulls at each bone by its weight, as a force at the place where
that bone alone would have put it.
"""

import warp as wp

wp.set_module_options({"max_unroll": 1})

vec6 = wp.types.vector(length=6, dtype=wp.float32)


@wp.struct
class Skin:
    """Vertices of a mesh in its rest pose and what moves them.

    rest: places of the vertices (V,) [m]. bones, weights: up to four bones of each (V,); a bone of -1 is
    none. R_rest, t_rest: poses of the bones when the mesh rests (B,).
    """

    rest: wp.array[wp.vec3]
    bones: wp.array[wp.vec4i]
    weights: wp.array[wp.vec4]
    R_rest: wp.array[wp.mat33]
    t_rest: wp.array[wp.vec3]


@wp.func
def carried(skin: Skin, R: wp.array2d[wp.mat33], t: wp.array2d[wp.vec3], bone: int, p: wp.vec3) -> wp.vec3:
    """Where a bone carries a point that lies at ``p`` at rest."""
    return R[0, bone] * (wp.transpose(skin.R_rest[bone]) * (p - skin.t_rest[bone])) + t[0, bone]


@wp.kernel(enable_backward=False)
def skin_vertices(
    skin: Skin,
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
    first: int,
    # output
    vertices: wp.array[wp.vec3],
):
    """Vertices from the ``first`` on under poses of the bones (1, B)."""
    i = wp.tid()
    p = skin.rest[i]
    total = wp.vec3()
    for k in range(4):
        bone = skin.bones[i][k]
        if bone >= 0:
            total += skin.weights[i][k] * carried(skin, R, t, bone, p)
    vertices[first + i] = total


@wp.kernel(enable_backward=False)
def pull_to_bones(
    skin: Skin,
    R: wp.array2d[wp.mat33],
    t: wp.array2d[wp.vec3],
    first: int,
    g_vertices: wp.array[wp.vec3],
    # output
    g_bones: wp.array2d[vec6],
):
    """Add the gradients of the bones' tangents (v, w) (1, B) from those of the vertices."""
    i = wp.tid()
    g = g_vertices[first + i]
    if wp.dot(g, g) == 0.0:
        return
    p = skin.rest[i]
    for k in range(4):
        bone = skin.bones[i][k]
        if bone >= 0:
            f = skin.weights[i][k] * g
            w = wp.cross(carried(skin, R, t, bone, p) - t[0, bone], f)
            wp.atomic_add(g_bones, 0, bone, vec6(f[0], f[1], f[2], w[0], w[1], w[2]))
