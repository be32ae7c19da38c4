"""Whatever is wrong with an argument is said in one sentence: what it is, what it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose, torus

import dr_perception as drp
from dr_perception.geometry import Camera, Mesh
from dr_perception.render import (
    Images,
    Instance,
    Lights,
    Material,
    Renderer,
    RenderOptions,
    Scene,
    SceneParameters,
)
from dr_perception.render.torch_bridge import render_torch

MESH = box()
OTHER = Camera(CAMERA.width + 1, CAMERA.height, CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)


def scene(mesh: Mesh = MESH, **fields: Any) -> Scene:
    return Scene([Instance(mesh, pose())], **fields)


def parameters(of: Scene | None = None, names: tuple[str, ...] = ("pose",)) -> SceneParameters:
    return Renderer().parameters(of or scene(), CAMERA, requires_grad=names)


def made(**options: Any) -> SceneParameters:
    return Renderer().parameters(scene(), CAMERA, **options)


SHEARED = np.eye(4)
SHEARED[0, 1] = 0.5

PARAMETERS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a string for names": (
        lambda: made(requires_grad="pose"),
        TypeError,
        r"requires_grad must be a collection of names, got 'pose': write \('pose',\)",
    ),
    "None for names": (
        lambda: made(requires_grad=None),
        TypeError,
        "requires_grad must be a collection of names, got None",
    ),
    "unknown names": (
        lambda: made(requires_grad=("poses",)),
        ValueError,
        r"requires_grad has unknown names \['poses'\], expected names out of \['vertices', 'pose'",
    ),
    "a list for a scene": (
        lambda: Renderer().parameters([Instance(MESH)], CAMERA),
        TypeError,
        "scene must be Scene, got list: Scene",
    ),
    "no camera": (
        lambda: Renderer().parameters(scene(), None),
        TypeError,
        "cameras must be a Camera or a sequence of them, got NoneType",
    ),
    "no camera among cameras": (
        lambda: Renderer().parameters(scene(), [CAMERA, None]),
        TypeError,
        r"cameras\[1\] must be Camera, got NoneType",
    ),
    "no cameras": (
        lambda: Renderer().parameters(scene(), []),
        ValueError,
        r"cameras of one render need images of one size, got \[\]",
    ),
    "cameras of two sizes": (
        lambda: Renderer().parameters(scene(), [CAMERA, OTHER]),
        ValueError,
        r"need images of one size, got \[\(96, 72\), \(97, 72\)\]",
    ),
    "a background of another size": (
        lambda: Renderer().parameters(scene(background=np.zeros((10, 10, 3))), CAMERA),
        ValueError,
        r"the background must have shape \(3,\) or \(72, 96, 3\), as the images have, got \(10, 10, 3\)",
    ),
    "NaN among poses": (
        lambda: made(poses=np.full((1, 1, 4, 4), np.nan)),
        ValueError,
        r"poses\[0, 0\] must be finite",
    ),
    "a sheared hypothesis": (
        lambda: made(poses=np.stack([pose(), SHEARED])[:, None]),
        ValueError,
        r"poses\[1, 0\] must be a rigid transform",
    ),
    "poses of one instance": (
        lambda: made(poses=pose()),
        ValueError,
        r"poses must have shape \(H, 1, 4, 4\), got \(4, 4\)",
    ),
    "a camera pose of another shape": (
        lambda: made(T_world_cam=np.eye(3)),
        ValueError,
        r"T_world_cam must have shape \(4, 4\) or \(1, 4, 4\), got \(3, 3\)",
    ),
    "words for memory": (
        lambda: Renderer(memory_budget_mb="big"),
        TypeError,
        "memory_budget_mb must be int or float, got str",
    ),
}


def drawn(p: object = None, of: object = None, **arguments: Any) -> Images:
    return Renderer().render(scene() if of is None else of, parameters() if p is None else p, **arguments)


def assigned(name: str, value: float) -> SceneParameters:
    p = parameters()
    array = getattr(p, name).numpy().copy()
    array.reshape(-1)[7 % array.size] = value
    getattr(p, name).assign(array)
    return p


def half(p: SceneParameters) -> SceneParameters:
    return replace(p, vertices=wp.zeros(4, dtype=wp.vec3, requires_grad=True))


def smaller() -> Images:
    return Renderer().render(scene(), parameters(), RenderOptions(crop=(0, 0, 10, 10)))


RENDERS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a list for a scene": (lambda: drawn(of=[Instance(MESH)]), TypeError, "scene must be Scene, got list"),
    "no parameters": (
        lambda: Renderer().render(scene(), None),
        TypeError,
        "parameters must be SceneParameters or Camera, got NoneType",
    ),
    "channels for options": (
        lambda: drawn(options=("depth",)),
        TypeError,
        "options must be RenderOptions, got tuple",
    ),
    "parameters of more instances": (
        lambda: drawn(of=Scene([Instance(MESH, pose())] * 2)),
        ValueError,
        "the parameters have 1 instances, the scene has 2",
    ),
    "parameters of another mesh": (
        lambda: drawn(of=scene(torus())),
        ValueError,
        "instance 0 has a mesh of 8 vertices and 12 faces there, another one of 640 vertices and 1280 faces",
    ),
    "parameters of a mesh of the same size": (
        lambda: drawn(of=scene(box((0.1, 0.1, 0.1)))),
        ValueError,
        "the parameters are another scene's: instance 0",
    ),
    "parameters of other shared meshes": (
        lambda: drawn(
            parameters(Scene([Instance(MESH, pose())] * 2)),
            Scene([Instance(MESH, pose()), Instance(MESH, pose(), Material(crease_angle_rad=0.1))]),
        ),
        ValueError,
        "the parameters are another scene's, where other instances share a mesh",
    ),
    "vertices of another number": (
        lambda: drawn(half(parameters())),
        ValueError,
        r"vertices of the parameters must be 3 float32 of shape \(8,\), got 3 float32 of \(4,\)",
    ),
    "vertices of another type": (
        lambda: drawn(replace(parameters(), vertices=wp.zeros(8, dtype=wp.vec3d))),
        ValueError,
        r"must be 3 float32 of shape \(8,\), got 3 float64 of \(8,\)",
    ),
    "vertices of the host": (
        lambda: drawn(replace(parameters(), vertices=np.zeros((8, 3)))),
        TypeError,
        "vertices must be array, got ndarray",
    ),
    "an array without the gradient asked for": (
        lambda: drawn(replace(parameters(), pose=wp.zeros((1, 1), dtype=wp.spatial_vector))),
        ValueError,
        "pose is to have a gradient, but was made without requires_grad=True",
    ),
    "NaN in a pose": (
        lambda: drawn(assigned("pose", np.nan)),
        ValueError,
        r"pose must be finite, got nan at \(0, 0, 1\) \(1 such\)",
    ),
    "NaN in a base pose": (
        lambda: drawn(assigned("t_world_obj", np.nan)),
        ValueError,
        r"t_world_obj must be finite, got nan at \(0, 0, 1\)",
    ),
    "NaN in a vertex": (
        lambda: drawn(assigned("vertices", np.nan)),
        ValueError,
        r"vertices must be finite, got nan at \(2, 1\) \(1 such\)",
    ),
    "infinity in a vertex": (
        lambda: drawn(assigned("vertices", np.inf)),
        ValueError,
        r"vertices must be finite, got inf at \(2, 1\)",
    ),
    "NaN in a camera pose": (
        lambda: drawn(assigned("camera_pose", np.nan)),
        ValueError,
        r"camera_pose must be finite, got nan at \(0, 1\)",
    ),
    "NaN in a focal length": (
        lambda: drawn(focal(np.nan)),
        ValueError,
        r"intrinsics must be finite, got nan at \(0, 0\)",
    ),
    "images of another size": (
        lambda: drawn(out=smaller()),
        ValueError,
        r"out.color must have shape \(1, 72, 96\) on cpu, got \(1, 10, 10\) on cpu",
    ),
    "other images": (
        lambda: drawn(out=drawn(options=RenderOptions(("depth",)))),
        ValueError,
        r"out must have the images \['color', 'depth'.*\] that are drawn, got \['depth'\]",
    ),
    "images without gradients": (
        lambda: drawn(out=Renderer().render(scene(), CAMERA)),
        ValueError,
        r"out.color must have a gradient, as \['pose'\] have",
    ),
    "a number for images": (lambda: drawn(out=1), TypeError, "out must be Images, got int"),
    "a crop beyond the image": (
        lambda: drawn(options=RenderOptions(crop=(90, 0, 10, 5))),
        ValueError,
        "crop",
    ),
    "a captured camera": (
        lambda: Renderer().capture(scene(), CAMERA),
        TypeError,
        "parameters of a captured render must be SceneParameters, got Camera",
    ),
    "a number for a loss": (
        lambda: Renderer().capture(scene(), parameters(), loss=3.0),
        TypeError,
        "loss must be a function of the images, got float",
    ),
    "the short form, of a mesh": (
        lambda: drp.render(MESH, CAMERA),
        TypeError,
        "scene must be Scene, got Mesh",
    ),
    "the short form, without camera": (
        lambda: drp.render(scene(), None),
        TypeError,
        "cameras must be a Camera or a sequence of them, got NoneType",
    ),
}


def focal(value: float) -> SceneParameters:
    p = parameters()
    row = p.intrinsics.numpy().copy()
    row[0, 0] = value
    p.intrinsics.assign(row)
    return p


CASES = {
    f"{kind}: {name}": case
    for kind, cases in (("parameters", PARAMETERS), ("render", RENDERS))
    for name, case in cases.items()
}


@pytest.mark.parametrize(("call", "error", "message"), list(CASES.values()), ids=list(CASES))
def test_one_sentence_says_what_is_wrong(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        call()
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ({}, ValueError, r"tensors must map at least one name out of \['pose'\] to a tensor, got none"),
        (None, ValueError, r"tensors must map at least one name out of \['pose'\] to a tensor, got NoneType"),
        ({"albedo": 1}, ValueError, r"parameter 'albedo' was not asked for gradients, expected one of"),
        ({"pose": 1}, TypeError, r"tensor 'pose' must be a torch\.Tensor, got int"),
    ],
)
def test_tensors_are_checked_before_torch_is_needed(
    tensors: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        render_torch(Renderer(), scene(), parameters(), tensors)


def test_a_captured_render_says_what_is_not_finite() -> None:
    p = parameters()
    captured = Renderer().capture(scene(), p, RenderOptions(("silhouette",)))
    before = captured.draw().silhouette.numpy().copy()
    value = p.pose.numpy().copy()
    value[0, 0, 2] = np.nan
    p.pose.assign(value)
    with pytest.raises(ValueError, match=r"pose must be finite, got nan at \(0, 0, 2\)"):
        captured.draw()
    p.pose.zero_()
    np.testing.assert_array_equal(captured.draw().silhouette.numpy(), before)


def test_parameters_serve_scenes_that_differ_in_what_they_hold_themselves() -> None:
    """Poses, materials and lights are those of the parameters; a copy of the mesh is as good as the mesh."""
    other = Scene(
        [Instance(Mesh(MESH.vertices, MESH.faces), np.eye(4), Material(roughness=0.2))],
        Lights(directions=(), colors=()),
    )
    renderer, p = Renderer(), parameters()
    expected = renderer.render(scene(), p).numpy()
    for name, image in renderer.render(other, p).numpy().items():
        np.testing.assert_array_equal(image, expected[name])


def test_what_was_wrong_once_may_be_right_then() -> None:
    renderer, p = Renderer(), assigned("vertices", np.nan)
    with pytest.raises(ValueError, match="vertices must be finite"):
        renderer.render(scene(), p)
    p.vertices.assign(MESH.vertices.astype(np.float32))
    assert renderer.render(scene(), p).numpy()["silhouette"].max() == 1.0
