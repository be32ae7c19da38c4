"""Tables from the disk are those that were made, to the bit, and so are the poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import warp as wp

from dr_perception.body.prepared import body_arrays, texel_arrays
from dr_perception.body.store import Store
from dr_perception.geometry import Mesh, ObjectModel
from dr_perception.hypothesis.pairs import pair_arrays, pair_model
from dr_perception.hypothesis.tables import search_arrays, search_model

MAKERS = {
    "body": lambda m, store: body_arrays(m, 1e-3, store),
    "texels": lambda m, store: texel_arrays(m, 1e-3, store),
    "search": lambda m, store: search_arrays(m, 1e-3, store),
    "pairs": pair_arrays,
}


@pytest.fixture(scope="module")
def model() -> ObjectModel:
    """A coloured body of revolution, which has every table there is."""
    phi, z = np.meshgrid(np.arange(48) * 2.0 * np.pi / 48, np.linspace(-0.06, 0.06, 13))
    x, y = 0.035 * np.cos(phi), 0.035 * np.sin(phi)
    ends = [[0.0, 0.0, -0.06], [0.0, 0.0, 0.06]]
    vertices = np.concatenate([np.stack([x, y, z], axis=-1).reshape(-1, 3), ends])
    k, n = np.arange(48), np.roll(np.arange(48), -1)
    faces = [np.stack([48 * r + a, 48 * (r + s) + b, 48 * (r + t) + c], 1)
             for r in range(12) for a, s, b, t, c in ((k, 0, n, 1, k), (n, 0 + 1, n, 1, k))]  # fmt: skip
    faces += [np.stack([np.full(48, 624), n, k], 1), np.stack([np.full(48, 625), 576 + k, 576 + n], 1)]
    colors = np.random.default_rng(0).integers(0, 256, (len(vertices), 3)).astype(np.uint8)
    return ObjectModel("can", Mesh(vertices, np.concatenate(faces).astype(np.int32), vertex_colors=colors))


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_read_is_what_was_made(kind: str, model: ObjectModel, tmp_path: Path) -> None:
    off, disk = Store(None), Store(tmp_path)
    made, written = MAKERS[kind](model, off), MAKERS[kind](model, disk)
    assert any(path.name.startswith(kind) for path in tmp_path.iterdir())
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    read = MAKERS[kind](model, disk)
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before, "it was made again"
    assert set(made) == set(written) <= set(read)
    for name, array in made.items():
        assert array.dtype == read[name].dtype and array.shape == read[name].shape
        assert np.array_equal(array, read[name], equal_nan=array.dtype.kind == "f"), name
    if kind == "search":
        assert {"colors", "axis", "label_colors"} <= set(read)


def test_instances_use_the_same_tables(model: ObjectModel) -> None:
    device = wp.get_device("cpu")
    second = model.with_name("second")
    assert search_model(model, 1e-3, device) is search_model(second, 1e-3, device)
    assert pair_model(model, device) is pair_model(second, device)
