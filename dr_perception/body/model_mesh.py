"""The mesh of a model as kernels take it."""

import warp as wp


@wp.struct
class ModelMesh:
    """Arrays of a mesh, which `dr_perception.body.model_buffers.ModelBuffers` owns.

    vertices: (V,), metres. faces: (F,), counter-clockwise seen from outside. edges: (E,), two vertices and
    the two faces of each; the second face is -1 where it is open. planes: (F,), outward unit normal n and
    offset d of each face's plane ``n . p = d``. corner_normals: (3 F,), outward unit normals at the corners
    of each face, smooth across edges that are not creases. unseen: (F,), 1 for faces that nobody ever saw;
    empty if there are none.
    """

    vertices: wp.array[wp.vec3]
    faces: wp.array[wp.vec3i]
    edges: wp.array[wp.vec4i]
    planes: wp.array[wp.vec4]
    corner_normals: wp.array[wp.vec3]
    unseen: wp.array[int]


@wp.func
def is_unseen(mesh: ModelMesh, face: int) -> bool:
    """Whether nobody ever saw a face: it hides what is behind it, but says nothing of the pose."""
    unseen = bool(False)
    if mesh.unseen.shape[0] > 0:
        unseen = mesh.unseen[face] != 0
    return unseen
