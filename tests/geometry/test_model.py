"""Object models and the room's public face."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from dr_perception import geometry
from dr_perception.geometry import Mesh, ObjectModel, Symmetries


def test_sizes_follow_from_the_mesh(box: Mesh) -> None:
    model = ObjectModel("box", box)
    assert model.diameter_m == pytest.approx(np.sqrt(0.14))
    assert model.radius_m == pytest.approx(np.sqrt(0.14) / 2)
    np.testing.assert_allclose(model.center, (0.05, 0.1, 0.15), atol=1e-12)


def test_an_unstated_symmetry_is_none(box: Mesh) -> None:
    assert not ObjectModel("box", box).symmetries.is_symmetric


def test_another_name_shares_everything_else(box: Mesh) -> None:
    model = ObjectModel("box", box, object_id=5)
    second = model.with_name("box_2")
    assert (second.name, second.object_id) == ("box_2", 5)
    assert second.mesh is model.mesh


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"name": " "}, ValueError, "needs a name, got ' '"),
        ({"mesh": np.zeros((3, 3))}, TypeError, "mesh of 'box' must be a Mesh, got ndarray"),
        ({"symmetries": None}, TypeError, "symmetries of 'box' must be Symmetries, got NoneType"),
    ],
)
def test_bad_models_are_refused(
    box: Mesh, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ObjectModel(**{"name": "box", "mesh": box, "symmetries": Symmetries.none(), **fields})


def test_public_names_exist_and_are_sorted() -> None:
    assert geometry.__all__ == sorted(geometry.__all__)
    assert all(hasattr(geometry, name) for name in geometry.__all__)


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = "import sys, dr_perception.geometry; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "dr_perception.geometry.camera" in loaded
    assert not {"warp", "open3d", "scipy.spatial", "cv2", "matplotlib", "torch", "rclpy"} & set(loaded)


def test_instances_share_the_mesh_and_what_was_measured_of_it(box: Mesh) -> None:
    model = ObjectModel("box", box)
    center = model.center
    second = model.with_name("box_2")
    assert second.mesh is model.mesh and second.symmetries is model.symmetries
    assert second.center is center
    other = dataclasses.replace(second, mesh=Mesh(2.0 * box.vertices, box.faces))
    assert other.diameter_m == pytest.approx(2.0 * model.diameter_m)
