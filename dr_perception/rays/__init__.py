"""The ray caster, the reference of the renderer: shadows, and gradients at edges by sampling them.

Names are imported when they are first used, so that nothing is compiled for a name.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULE_OF = {
    "Background": "caster",
    "EdgeSampler": "edge_sampling",
    "Lighting": "caster",
    "RayCaster": "caster",
    "RayImages": "caster",
    "SamplingConfig": "edge_sampling",
    "SceneGradient": "edge_sampling",
    "ray_caster": "scene",
    "render_rays": "scene",
}

__all__ = [
    "Background",
    "EdgeSampler",
    "Lighting",
    "RayCaster",
    "RayImages",
    "SamplingConfig",
    "SceneGradient",
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
