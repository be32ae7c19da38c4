"""The differentiable renderer: scenes of posed models to images, with gradients; see docs/renderer.md.

Names are imported when they are first used, so that parts of the renderer can be had without compiling the
others.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

_MODULE_OF = {
    "CHANNELS": "scene.images",
    "DIFFERENTIABLE": "scene.parameters",
    "CapturedRender": "captured",
    "Images": "scene.images",
    "Instance": "scene.scene",
    "Lights": "scene.scene",
    "Maps": "scene.maps",
    "Material": "scene.scene",
    "ParameterMap": "scene.maps",
    "RenderOptions": "scene.images",
    "Renderer": "renderer",
    "Scene": "scene.scene",
    "SceneParameters": "scene.parameters",
    "TiedIntrinsics": "scene.maps",
    "fill_camera_poses": "scene.maps",
    "fill_poses": "scene.maps",
    "render": "renderer",
}

__all__ = [
    "CHANNELS",
    "DIFFERENTIABLE",
    "CapturedRender",
    "Images",
    "Instance",
    "Lights",
    "Maps",
    "Material",
    "ParameterMap",
    "RenderOptions",
    "Renderer",
    "Scene",
    "SceneParameters",
    "TiedIntrinsics",
    "fill_camera_poses",
    "fill_poses",
    "render",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


class _CallableModule(types.ModuleType):
    """Lets ``dr_perception.render`` be both this package and the function, whichever is imported first."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `dr_perception.render.renderer.render`."""
        return __getattr__("render")(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
