"""Whatever is wrong with a fit to images is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose

from dr_perception.fitting.image_fit import ImageFit
from dr_perception.losses import L2, Objective, Term
from dr_perception.render import Instance, Renderer, RenderOptions, Scene, SceneParameters

SCENE = Scene([Instance(box(), pose())])


def parameters(names: tuple[str, ...] = ("pose",)) -> SceneParameters:
    return Renderer().parameters(SCENE, CAMERA, requires_grad=names)


SILHOUETTE = Objective({"mask": Term(L2(), "silhouette")})


def fit(p: SceneParameters | None = None, objective: Any = SILHOUETTE, **arguments: Any) -> ImageFit:
    masks = {"silhouette": wp.zeros((1, CAMERA.height, CAMERA.width), dtype=float)}
    return ImageFit(Renderer(), SCENE, parameters() if p is None else p, objective, masks, **arguments)


SOFT = Objective({"reach": Term(L2(), "soft_silhouette")})
CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a loss for an objective": (
        lambda: fit(objective=L2()),
        TypeError,
        "objective of an ImageFit must be Objective, got L2",
    ),
    "a camera for parameters": (
        lambda: fit(CAMERA),
        TypeError,
        "parameters of an ImageFit must be SceneParameters, got Camera",
    ),
    "nothing to optimise": (
        lambda: fit(parameters(names=())),
        ValueError,
        "ImageFit needs parameters made with requires_grad, got none",
    ),
    "an image that is not drawn": (
        lambda: fit(options=RenderOptions(("depth",))),
        ValueError,
        r"the objective looks at \['silhouette'\], but options draw only \['depth'\]",
    ),
    "a soft silhouette of no width": (
        lambda: fit(objective=SOFT),
        ValueError,
        "the objective looks at the soft silhouette: pass options with soft_silhouette_px",
    ),
    "a cost without weight": (
        lambda: fit(regularizers={"flat": len}),
        TypeError,
        "regularizer 'flat' must be a cost and its weight, got <built-in",
    ),
    "a weight of NaN": (
        lambda: fit(regularizers={"flat": (len, np.nan)}),
        ValueError,
        "the weight of regularizer 'flat' must be finite, got nan",
    ),
    "an unknown block": (
        lambda: fit().block("poses"),
        ValueError,
        r"'poses' is not optimised, expected one of \['pose'\]",
    ),
    "values of an unknown block": (
        lambda: fit()({"albedo": np.ones((1, 3))}),
        ValueError,
        r"block 'albedo' is not optimised, expected names out of \['pose'\]",
    ),
    "values of another shape": (
        lambda: fit()({"pose": np.eye(4)}),
        ValueError,
        r"block 'pose' must have shape \(1, 1, 4, 4\), got \(4, 4\)",
    ),
    "values of NaN": (
        lambda: fit()({"pose": np.full((1, 1, 4, 4), np.nan)}),
        ValueError,
        "R_world_obj must be finite, got nan",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), list(CASES.values()), ids=list(CASES))
def test_one_sentence_says_what_is_wrong(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        call()
    assert type(raised.value) is error
