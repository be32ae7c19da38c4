"""A box in front of a small camera."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.geometry import se3
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel


@pytest.fixture
def camera() -> Camera:
    return Camera(width=160, height=120, fx=150.0, fy=150.0, cx=79.5, cy=59.5)


@pytest.fixture
def model() -> ObjectModel:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * 0.1
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], dtype=np.int32)
    return ObjectModel("box", Mesh(corners, faces, None, None, None))


@pytest.fixture
def T_cam_box() -> np.ndarray:
    return se3.make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
