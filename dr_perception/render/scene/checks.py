"""What comes from outside is told in one sentence what is wrong with it: the value, and what was expected."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.camera import Camera

if TYPE_CHECKING:
    from dr_perception.render.scene.images import Images
    from dr_perception.render.scene.parameters import SceneParameters
    from dr_perception.render.scene.topology import SceneTopology

__all__ = [
    "check_cameras",
    "check_finite",
    "check_images",
    "check_names",
    "check_parameters",
    "check_type",
    "check_vector",
]


def check_type(value: object, kinds: type | tuple[type, ...], what: str, hint: str = "") -> None:
    """Refuse what is of another type.

    Raises:
        TypeError: Says what it is, and what it should have been.
    """
    if not isinstance(value, kinds):
        names = [kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]
        raise TypeError(f"{what} must be {' or '.join(names)}, got {type(value).__name__}{hint}")


def check_vector(
    values: ArrayLike, shape: tuple[int, ...], what: str, low: float | None = None
) -> NDArray[np.float64]:
    """Numbers of a shape.

    Raises:
        ValueError: No numbers, another shape, not finite, or below ``low``.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers of shape {shape}, got {values!r}") from error
    if array.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, got {array.tolist()}")
    if low is not None and array.size and array.min() < low:
        raise ValueError(f"{what} must be at least {low:g}, got {array.min():g}")
    return array


def check_names(names: Collection[str], known: Sequence[str], what: str) -> None:
    """Refuse a single string, and names that are not known.

    Raises:
        TypeError: A string, or no collection.
        ValueError: Unknown names.
    """
    if isinstance(names, str) or not isinstance(names, Collection):
        hint = f": write ({names!r},)" if isinstance(names, str) else ""
        raise TypeError(f"{what} must be a collection of names, got {names!r}{hint}")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{what} has unknown names {unknown}, expected names out of {list(known)}")


def check_cameras(cameras: Camera | Sequence[Camera]) -> list[Camera]:
    """One or more cameras with images of one size.

    Raises:
        TypeError: Something else.
        ValueError: None, or sizes differ.
    """
    if isinstance(cameras, Camera):
        return [cameras]
    if not isinstance(cameras, Sequence):
        raise TypeError(f"cameras must be a Camera or a sequence of them, got {type(cameras).__name__}")
    for k, camera in enumerate(cameras):
        check_type(camera, Camera, f"cameras[{k}]")
    sizes = {(c.width, c.height) for c in cameras}
    if len(sizes) != 1:
        raise ValueError(f"cameras of one render need images of one size, got {sorted(sizes)}")
    return list(cameras)


def check_parameters(p: SceneParameters, topology: SceneTopology, device: wp.Device) -> None:
    """Whether parameters are those of a scene, on a device, with arrays that belong together.

    Raises:
        ValueError: They are another scene's, elsewhere, or an array has another shape or type than the others
            ask for.
    """
    _check_same_meshes(p.topology, topology)
    for name, (dtype, shape) in _expected(p).items():
        array = getattr(p, name)
        check_type(array, wp.array, name)
        if not _is_alike(array.dtype, dtype) or array.shape != shape:
            expected = f"{_type_name(dtype)} of shape {shape}"
            got = f"{_type_name(array.dtype)} of {array.shape}"
            raise ValueError(f"{name} of the parameters must be {expected}, got {got}")
        if array.device != device:
            raise ValueError(f"{name} of the parameters is on {array.device}, the renderer on {device}")
        if name in p.requires_grad and not array.requires_grad:
            raise ValueError(f"{name} is to have a gradient, but was made without requires_grad=True")


def _check_same_meshes(theirs: SceneTopology, mine: SceneTopology) -> None:
    if theirs is mine:
        return
    there, here = len(theirs.mesh_of_instance), len(mine.mesh_of_instance)
    if there != here:
        raise ValueError(f"the parameters have {there} instances, the scene has {here}")
    for k in range(here):
        a, b = (t.meshes[t.mesh_of_instance[k]] for t in (theirs, mine))
        if a is not b and not all(
            np.array_equal(getattr(a, name), getattr(b, name)) for name in ("vertices", "faces", "corner_uv")
        ):
            counts = [f"{len(m.vertices)} vertices and {len(m.faces)} faces" for m in (a, b)]
            raise ValueError(
                f"the parameters are another scene's: instance {k} has a mesh of {counts[0]} there, another "
                f"one of {counts[1]} in this scene"
            )
    if theirs.vertex_offset != mine.vertex_offset:
        raise ValueError("the parameters are another scene's, where other instances share a mesh")


def _is_alike(a: Any, b: Any) -> bool:
    """Whether two types hold the same numbers in the same shape."""
    return a is b or (
        getattr(a, "_shape_", ()) == getattr(b, "_shape_", (0,))
        and getattr(a, "_wp_scalar_type_", None) is getattr(b, "_wp_scalar_type_", 0)
    )


def _type_name(dtype: Any) -> str:
    shape = getattr(dtype, "_shape_", None)
    name = getattr(dtype, "_wp_scalar_type_", dtype).__name__
    return name if shape is None else f"{'x'.join(map(str, shape))} {name}"


def _expected(p: SceneParameters) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Type and shape of each array, by the sizes of those that say how many there are."""
    hypotheses, cameras, lights = p.pose.shape[0], p.intrinsics.shape[0], p.light_directions.shape[0]
    instances, vertices = len(p.topology.mesh_of_instance), p.topology.vertex_offset[-1]
    poses = (hypotheses, instances)
    vec6 = wp.types.vector(length=6, dtype=wp.float32)
    return {
        "vertices": (wp.vec3, (vertices,)),
        "pose": (vec6, poses),
        "R_world_obj": (wp.mat33, poses),
        "t_world_obj": (wp.vec3, poses),
        "camera_pose": (vec6, (cameras,)),
        "R_world_cam": (wp.mat33, (cameras,)),
        "t_world_cam": (wp.vec3, (cameras,)),
        "intrinsics": (wp.float32, (cameras, p.intrinsics.shape[-1])),
        "camera_models": (wp.int32, (cameras,)),
        "vertex_colors": (wp.vec3, (vertices,)),
        "attributes": (wp.float32, (vertices, p.attributes.shape[-1])),
        "texels": (wp.vec3, p.texels.shape),
        "textures": (wp.vec3i, (instances,)),
        "albedo": (wp.vec3, (instances,)),
        **{name: (wp.float32, (instances,)) for name in ("roughness", "metallic", "specular")},
        "ambient": (wp.vec3, (1,)),
        "light_directions": (wp.vec3, (lights,)),
        "light_colors": (wp.vec3, (lights,)),
        "harmonics": (wp.vec3, (9,) if p.harmonics.shape[0] else (0,)),
        "background": (wp.vec3, p.background.shape),
    }


_PLACES = (
    "vertices",
    "pose",
    "R_world_obj",
    "t_world_obj",
    "camera_pose",
    "R_world_cam",
    "t_world_cam",
    "intrinsics",
)


def check_finite(p: SceneParameters) -> None:
    """Name the first number that is not finite of those that say where things are.

    Raises:
        ValueError: There is one.
    """
    for name in _PLACES:
        values = getattr(p, name).numpy()
        bad = ~np.isfinite(values)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(f"{name} must be finite, got {values[index]} at {index} ({int(bad.sum())} such)")


def check_images(
    out: Images, p: SceneParameters, expected: Mapping[str, tuple[Any, tuple[int, ...]]]
) -> None:
    """Whether images of an earlier call can be overwritten.

    Raises:
        ValueError: They are others than those that are drawn now, of another size, or without gradients that
            the parameters ask for.
    """
    there = set(out.arrays())
    if there != set(expected):
        raise ValueError(f"out must have the images {sorted(expected)} that are drawn, got {sorted(there)}")
    for name in sorted(there):
        image, (dtype, shape) = getattr(out, name), expected[name]
        if image.shape != shape or image.device != p.vertices.device:
            where = f"{image.shape} on {image.device}"
            raise ValueError(f"out.{name} must have shape {shape} on {p.vertices.device}, got {where}")
        if p.requires_grad and dtype is not wp.int32 and not image.requires_grad:
            raise ValueError(f"out.{name} must have a gradient, as {sorted(p.requires_grad)} have")
