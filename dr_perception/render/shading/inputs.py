"""What kernels of several stages read, bundled by thing: built once for a workspace, passed as one argument.

A struct costs a CPU kernel nothing. Adjoints that Warp derives add to the gradients of its arrays
(``array.grad``): `graded` gives a struct such gradients.
"""

from collections.abc import Mapping
from typing import Any

import warp as wp

from dr_perception.raster.types import Viewport


@wp.struct
class Surfaces:
    """All faces in the camera frames."""

    p_cam: wp.array2d[wp.vec3]
    """Vertices of every view [m], (views, V)."""
    n_cam: wp.array2d[wp.vec3]
    """Shading normals of every view."""
    faces: wp.array[wp.vec3i]
    neighbors: wp.array[wp.vec3i]
    face_instance: wp.array[int]
    normal_index: wp.array[wp.vec3i]
    """Normal of each corner."""
    corner_vertex: wp.array[wp.vec3i]
    """Vertex of the meshes at each corner."""
    corner_uv: wp.array2d[wp.vec2]


@wp.struct
class Seen:
    """What the centres of the pixels show, and through which cameras."""

    face_index: wp.array3d[int]
    depth: wp.array3d[float]
    rays: wp.array3d[wp.vec2]
    viewports: wp.array[Viewport]
    boxes: wp.array[wp.vec4i]
    """Pixels of each view outside of which nothing is seen."""
    first_view: int
    """Which view of the render is the first one here; they are hypotheses x cameras."""
    intrinsics: wp.array2d[float]
    models: wp.array[int]
    """Kind of lens of each camera."""


@wp.struct
class Looks:
    """Colours of the meshes' vertices, and materials of the instances."""

    vertex_colors: wp.array[wp.vec3]
    textures: wp.array[wp.vec3i]
    texels: wp.array[wp.vec3]
    albedo: wp.array[wp.vec3]
    roughness: wp.array[float]
    metallic: wp.array[float]
    specular: wp.array[float]


@wp.struct
class ImageGradients:
    """Gradients of a loss with respect to blended images; those without one are empty."""

    silhouette: wp.array3d[float]
    depth: wp.array3d[float]
    color: wp.array3d[wp.vec3]
    normal: wp.array3d[wp.vec3]


@wp.struct
class Pulled:
    """What gradients of the outline are added to."""

    depth_sample: wp.array3d[float]
    """Depth at the centres of pixels, empty if it has no gradient."""
    cam: wp.array2d[wp.vec3]
    """Vertices in camera coordinates."""
    intrinsics: wp.array2d[float]
    """Empty if they have none."""


@wp.struct
class Poses:
    """Poses of the instances in every view, and what their gradients are added to."""

    R_cam_obj: wp.array2d[wp.mat33]
    t_cam_obj: wp.array2d[wp.vec3]
    R_grad: wp.array2d[wp.mat33]
    t_grad: wp.array2d[wp.vec3]


@wp.struct
class Lighting:
    """What shines on a scene, in the frames of the cameras."""

    ambient: wp.array[wp.vec3]
    light_cam: wp.array2d[wp.vec3]
    """Direction of each light for each camera."""
    light_colors: wp.array[wp.vec3]
    harmonics: wp.array[wp.vec3]
    R_world_cam: wp.array[wp.mat33]
    background: wp.array3d[wp.vec3]


def struct_of(kind: Any, values: list[Any]) -> Any:
    """A Warp struct of values in the order of its fields."""
    made = kind()
    for field, value in zip(kind.vars, values, strict=True):
        setattr(made, field, value)
    return made


def with_grad(array: wp.array, grad: wp.array | None) -> wp.array:
    """The same array with another gradient, or none."""
    return wp.array(
        ptr=array.ptr, shape=array.shape, strides=array.strides, dtype=array.dtype, device=array.device,
        grad=grad,
    )  # fmt: skip


def graded(kind: Any, values: list[Any], grads: Mapping[str, wp.array | None]) -> list[Any]:
    """Values of a struct's fields, whose arrays have the named gradients and no others."""
    return [
        with_grad(value, grads.get(field)) if isinstance(value, wp.array) else value
        for field, value in zip(kind.vars, values, strict=True)
    ]
