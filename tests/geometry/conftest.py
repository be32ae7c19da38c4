"""Small meshes and cameras the geometry tests share."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.geometry import Camera, Mesh

BOX_FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip

LENSES: dict[str, tuple[str, tuple[float, ...]]] = {
    "pinhole": ("plumb_bob", ()),
    "zeros": ("plumb_bob", (0.0, 0.0, 0.0, 0.0, 0.0)),
    "barrel": ("plumb_bob", (-0.28, 0.09, 0.0006, -0.0004)),
    "pincushion": ("plumb_bob", (0.12, -0.02, -0.001, 0.0008, 0.01)),
    "rational": ("rational_polynomial", (0.62, -2.7, 0.0007, -0.0002, 1.55, 0.49, -2.5, 1.48)),
    "fisheye": ("equidistant", (0.02, -0.01, 0.003, -0.001)),
    "ideal fisheye": ("equidistant", (0.0, 0.0, 0.0, 0.0)),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def box() -> Mesh:
    """A closed box of 0.1 x 0.2 x 0.3 m with a corner at the origin."""
    corners = np.array([[x, y, z] for x in (0, 0.1) for y in (0, 0.2) for z in (0, 0.3)])
    return Mesh(corners, BOX_FACES)


@pytest.fixture
def soup(box: Mesh) -> Mesh:
    """The same box as an STL file would give it: three vertices of its own for every face."""
    return Mesh(box.vertices[box.faces].reshape(-1, 3), np.arange(36).reshape(-1, 3))


@pytest.fixture(params=list(LENSES))
def camera(request: pytest.FixtureRequest) -> Camera:
    model, coefficients = LENSES[request.param]
    return Camera(640, 480, 601.0, 598.0, 322.5, 236.0, coefficients, model)
