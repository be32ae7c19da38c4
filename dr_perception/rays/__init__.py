"""The ray caster, the reference of the renderer: shadows, and gradients at edges by sampling them.

`cast` draws the renderer's own scenes, on the tape; `RayCaster` and `EdgeSampler` cast at meshes alone.

Names are imported when they are first used, so that nothing is compiled for a name.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULE_OF = {
    "Background": "caster",
    "CastOptions": "casting",
    "EdgeSampler": "edge_sampling",
    "Lighting": "caster",
    "RayCaster": "caster",
    "RayImages": "caster",
    "SamplingConfig": "edge_sampling",
    "SceneGradient": "edge_sampling",
    "cast": "casting",
    "ray_caster": "scene",
    "render_rays": "scene",
}

__all__ = [
    "Background",
    "CastOptions",
    "EdgeSampler",
    "Lighting",
    "RayCaster",
    "RayImages",
    "SamplingConfig",
    "SceneGradient",
    "cast",
    "ray_caster",
    "render_rays",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
