"""What users of a framework that is not installed are told."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from render_cases import CAMERA, box, pose

from dr_perception.render import Renderer, Scene
from dr_perception.render.jax_bridge import render_jax
from dr_perception.render.torch_bridge import render_torch


@pytest.mark.frameworks
@pytest.mark.parametrize(("name", "render"), [("torch", render_torch), ("jax", render_jax)])
def test_the_command_that_installs_it_is_named(name: str, render, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    renderer, scene = Renderer("cpu"), Scene.of(box(), pose())
    parameters = renderer.parameters(scene, CAMERA, requires_grad=("pose",))
    with pytest.raises(ModuleNotFoundError, match=rf"pip install dr_perception\[{name}\]"):
        render(renderer, scene, parameters, {"pose": _tensor()})


def _tensor() -> SimpleNamespace:
    """What a framework that is not there cannot have made: as far as arguments are checked, a tensor."""
    cpu = SimpleNamespace(type="cpu")
    return SimpleNamespace(shape=(1, 1, 6), device=cpu, detach=None, is_floating_point=lambda: True)
