"""Whatever is wrong with a scene or with options is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from render_cases import box, pose

from dr_perception.render import Instance, Lights, Material, RenderOptions, Scene

MESH = box()
SHEARED = np.eye(4)
SHEARED[0, 1] = 0.5


def scene(**fields: Any) -> Scene:
    return Scene([Instance(MESH, pose())], **fields)


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no sequence of instances": (
        lambda: Scene(Instance(MESH)),
        TypeError,
        r"instances of a scene must be Sequence, got Instance: Scene\(\[Instance\(model, T\), ...\]\)",
    ),
    "a mesh for an instance": (
        lambda: Scene([MESH]),
        TypeError,
        r"instances\[0\] of a scene must be Instance, got Mesh",
    ),
    "no lights": (lambda: scene(lights=None), TypeError, "lights of a scene must be Lights, got NoneType"),
    "a grey background": (
        lambda: scene(background=0.5),
        ValueError,
        r"background must have shape \(3,\) or \(H, W, 3\), got \(\)",
    ),
    "NaN in the background": (
        lambda: scene(background=(0, np.nan, 0)),
        ValueError,
        "background must be finite",
    ),
    "no model": (
        lambda: Instance("mug"),
        TypeError,
        "the model of an instance must be ObjectModel or Mesh, got str",
    ),
    "no material": (
        lambda: Instance(MESH, material=(1, 0, 0)),
        TypeError,
        "the material of mesh must be Material, got tuple",
    ),
    "no pose": (
        lambda: Instance(MESH, None),
        ValueError,
        r"T_world_obj of mesh must have shape \(4, 4\), got \(\)",
    ),
    "a sheared pose": (
        lambda: Instance(MESH, SHEARED),
        ValueError,
        "T_world_obj of mesh must be a rigid transform",
    ),
    "words for an albedo": (
        lambda: Material(albedo="red"),
        ValueError,
        r"albedo must be numbers of shape \(3,\), got 'red'",
    ),
    "no roughness": (
        lambda: Material(roughness=None),
        ValueError,
        "material roughness must be finite, got nan",
    ),
    "roughness of a list": (
        lambda: Material(roughness=[0.1]),
        ValueError,
        r"material roughness must have shape \(\), got \(1,\)",
    ),
    "metallic above one": (
        lambda: Material(metallic=1.5),
        ValueError,
        "material metallic must lie between 0 and 1, got 1.5",
    ),
    "lights without colours": (
        lambda: Lights(directions=np.eye(3)),
        ValueError,
        r"light colors must have shape \(3, 3\), got \(1, 3\)",
    ),
    "flat light": (
        lambda: Lights(directions=(1.0, 0.0)),
        ValueError,
        r"light directions must have shape \(1, 3\), got \(1, 2\)",
    ),
    "words for light": (
        lambda: Lights(ambient="dim"),
        ValueError,
        r"ambient light must be numbers of shape \(3,\), got 'dim'",
    ),
    "one channel as a string": (
        lambda: RenderOptions(channels="depth"),
        TypeError,
        r"channels must be a collection of names, got 'depth': write \('depth',\)",
    ),
    "an unknown channel": (
        lambda: RenderOptions(channels=("dept",)),
        ValueError,
        r"channels has unknown names \['dept'\], expected names out of \['depth'",
    ),
    "a crop of three": (
        lambda: RenderOptions(crop=(0, 0, 5)),
        ValueError,
        r"crop must be x0, y0, width, height in whole pixels, got \(0, 0, 5\)",
    ),
    "a crop of fractions": (
        lambda: RenderOptions(crop=(0, 0, 5.5, 5)),
        ValueError,
        "crop must be x0, y0, width, height in whole pixels",
    ),
    "near at the eye": (
        lambda: RenderOptions(near=0.0),
        ValueError,
        "near must be a positive distance in metres, got 0.0",
    ),
    "NaN for far": (
        lambda: RenderOptions(far_depth=float("nan")),
        ValueError,
        "far_depth must be a distance in metres, got nan",
    ),
    "half a sample": (
        lambda: RenderOptions(supersampling=1.5),
        ValueError,
        "supersampling must be a whole number from 1 on, got 1.5",
    ),
    "words for samples": (
        lambda: RenderOptions(supersampling="2"),
        ValueError,
        "supersampling must be a whole number from 1 on, got '2'",
    ),
    "negative softness": (
        lambda: RenderOptions(soft_silhouette_px=-1.0),
        ValueError,
        "soft_silhouette_px must be 0 or more, got -1.0",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), list(CASES.values()), ids=list(CASES))
def test_one_sentence_says_what_is_wrong(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        call()
    assert type(raised.value) is error
