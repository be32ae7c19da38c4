"""Keys of prepared tables change with everything that the tables are made from, and with nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dr_perception.body import content
from dr_perception.body.content import content_key, model_key
from dr_perception.geometry import Mesh, ObjectModel, make_transform
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

ROOMS = ("geometry",)
V = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
F = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
COLORED = Mesh(V, F, vertex_colors=np.full((4, 3), 7, np.uint8))
UV = np.linspace(0.0, 1.0, 24, dtype=np.float32).reshape(4, 3, 2)
TEXTURED = Mesh(V, F, corner_uv=UV, texture=np.full((4, 4, 3), 9, np.uint8))
TURN = make_transform(np.diag([-1.0, -1.0, 1.0]), np.zeros(3))


def changed(array: np.ndarray) -> np.ndarray:
    """The array with its last element changed as little as its type allows."""
    out = array.copy()
    last = out.reshape(-1)[-1:]
    last[:] = np.nextafter(last, 10) if out.dtype.kind == "f" else last + 1
    return out


MODELS = {
    "bare": ObjectModel("m", Mesh(V, F)),
    "colored": ObjectModel("m", COLORED),
    "textured": ObjectModel("m", TEXTURED),
    "vertex": ObjectModel("m", Mesh(changed(V), F)),
    "scale": ObjectModel("m", Mesh(1e-3 * V, F)),
    "faces": ObjectModel("m", Mesh(V, F[[1, 0, 2, 3]])),
    "corner": ObjectModel("m", Mesh(V, np.roll(F, 1, axis=1))),
    "color": ObjectModel("m", replace(COLORED, vertex_colors=changed(COLORED.vertex_colors))),
    "texture": ObjectModel("m", replace(TEXTURED, texture=changed(TEXTURED.texture))),
    "shape of texture": ObjectModel("m", replace(TEXTURED, texture=TEXTURED.texture.reshape(2, 8, 3))),
    "uv": ObjectModel("m", replace(TEXTURED, corner_uv=changed(UV))),
    "discrete": ObjectModel("m", Mesh(V, F), Symmetries(TURN[None])),
    "continuous": ObjectModel("m", Mesh(V, F), Symmetries(continuous=(ContinuousSymmetry([0, 0, 1]),))),
    "offset": ObjectModel(
        "m", Mesh(V, F), Symmetries(continuous=(ContinuousSymmetry([0, 0, 1], [0.1, 0, 0]),))
    ),
}


def test_every_input_changes_the_key() -> None:
    keys = [model_key(model, (1e-3,), ROOMS) for model in MODELS.values()]
    keys += [
        model_key(MODELS["bare"], (2e-3,), ROOMS),
        model_key(MODELS["bare"], (1e-3,), ("geometry", "body")),
    ]
    assert len(set(keys)) == len(keys)


def test_only_content_counts() -> None:
    for model in MODELS.values():
        symmetries = Symmetries(model.symmetries.discrete.copy(), model.symmetries.continuous)
        mesh = Mesh(model.mesh.vertices.copy(), model.mesh.faces.copy())
        if model.mesh.texture is not None or model.mesh.vertex_colors is not None:
            mesh = replace(model.mesh)
        again = ObjectModel("other name", mesh, symmetries, object_id=5)
        assert again.mesh is not model.mesh
        assert model_key(again, (1e-3,), ROOMS) == model_key(model, (1e-3,), ROOMS)


def test_symmetries_count_where_they_matter_alone() -> None:
    bare, turned = MODELS["bare"], MODELS["discrete"]
    assert content_key(bare.mesh, (), ROOMS) == content_key(turned.mesh, (), ROOMS)


def test_changed_code_changes_the_key(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "package" / "room"
    room.mkdir(parents=True)
    source = room / "maker.py"
    keys = []
    for text in ("x = 1", "x = 2", "x = 1"):
        source.write_text(text)
        monkeypatch.setattr(content, "__file__", str(tmp_path / "package" / "body" / "content.py"))
        content.code_digest.cache_clear()
        keys.append(content_key(COLORED, (), ("room",)))
    content.code_digest.cache_clear()
    assert keys[0] == keys[2] != keys[1]
