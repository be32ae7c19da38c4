"""The mesh of a model as kernels take it."""

import warp as wp


@wp.struct
class ModelMesh:
    """Arrays of a mesh, which `dr_perception.body.model_buffers.ModelBuffers` owns and explains."""

    vertices: wp.array[wp.vec3]
    faces: wp.array[wp.vec3i]
    edges: wp.array[wp.vec4i]
    planes: wp.array[wp.vec4]
    corner_normals: wp.array[wp.vec3]
