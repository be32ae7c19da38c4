"""Texels on the faces of a mesh: their layout, and gradients of what they hold."""

import numpy as np
import pytest
import warp as wp

from dr_perception.body.appearance import (
    Appearance,
    BakedBrightness,
    brightness_at,
    gradient_at,
    lay_texels,
    texels_around,
    upload,
)
from dr_perception.body.texel_gradient import gradient_stencil
from dr_perception.geometry import Mesh
from dr_perception.geometry.mesh import face_normals

SLOPE = np.array([900.0, -400.0, 1500.0])
"""Of a brightness that is linear in space [levels/m]."""


def strip() -> Mesh:
    """A slightly bent strip of long thin triangles beside two large ones."""
    x = np.array([0.0, 0.002, 0.004, 0.1])
    z = np.array([0.0, 0.0, 0.00005, 0.00005])
    low, high = (np.column_stack([x, np.full(4, y), z]) for y in (0.0, 0.1))
    quads = [(k, k + 1, k + 5, k + 4) for k in range(3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    return Mesh(np.concatenate([low, high]), np.array(faces, np.int32))


@wp.kernel(enable_backward=False)
def read(
    baked: BakedBrightness,
    face: wp.array[int],
    barycentric: wp.array[wp.vec3],
    # output
    brightness: wp.array[float],
    gradient: wp.array[wp.vec3],
):
    """Read texels at places on faces."""
    i = wp.tid()
    at = texels_around(baked, face[i], barycentric[i])
    brightness[i] = brightness_at(baked, at)
    gradient[i] = gradient_at(baked, at)


def read_at(appearance, face, barycentric):
    """Brightness (N,) and gradients (N, 3) at places on faces."""
    n = len(face)
    out = [wp.zeros(n, dtype=float, device="cpu"), wp.zeros(n, dtype=wp.vec3, device="cpu")]
    inputs = [
        upload(appearance, "cpu"),
        wp.array(face.astype(np.int32), dtype=int, device="cpu"),
        wp.array(barycentric.astype(np.float32), dtype=wp.vec3, device="cpu"),
    ]
    wp.launch(read, n, inputs, out, device="cpu")
    return tuple(one.numpy() for one in out)


@pytest.mark.parametrize("mesh", [strip()])
def test_texels_hold_a_linear_pattern_and_its_gradient_whatever_the_triangles(mesh: Mesh) -> None:
    grid = lay_texels(mesh, 0.14)
    values = (100.0 + grid.points @ SLOPE).astype(np.float32)
    stencil = gradient_stencil(grid.points, grid.normals, grid.used, grid.spacing_m)
    appearance = Appearance(grid, values, stencil.gradient(values))
    rng = np.random.default_rng(0)
    face = rng.integers(0, len(mesh.faces), 500)
    barycentric = rng.dirichlet(np.ones(3), 500)
    points = np.einsum("nk,nkc->nc", barycentric, mesh.vertices[mesh.faces[face]])
    brightness, gradient = read_at(appearance, face, barycentric)
    # Texels beyond the third side are moved onto it, which bends the pattern by less than one of them.
    assert np.abs(brightness - 100.0 - points @ SLOPE).max() < grid.spacing_m * np.linalg.norm(SLOPE)
    assert np.median(np.abs(brightness - 100.0 - points @ SLOPE)) < 0.05
    normals = face_normals(mesh)[face]
    along = SLOPE - (normals @ SLOPE)[:, None] * normals
    assert np.abs(gradient - along).max() < 0.12 * np.linalg.norm(SLOPE)
    assert np.median(np.linalg.norm(gradient - along, axis=1)) < 0.02 * np.linalg.norm(SLOPE)


def test_texels_are_as_dense_as_the_pattern_needs_and_no_denser() -> None:
    mesh = strip()
    grid = lay_texels(mesh, 0.14)
    area = 0.1 * 0.1
    assert len(grid.used) < 2.5 * area / grid.spacing_m**2
    corners = mesh.vertices[mesh.faces]
    for face in range(len(mesh.faces)):
        centre = corners[face].mean(axis=0)
        nearest = np.linalg.norm(grid.points[grid.face == face] - centre, axis=1).min()
        assert nearest < grid.spacing_m


def test_a_texel_that_is_not_known_makes_its_surroundings_unknown() -> None:
    grid = lay_texels(strip(), 0.14)
    values = np.full(len(grid.points), 50.0, np.float32)
    values[grid.layout[-1, 3]] = np.nan
    gradient = np.zeros((len(values), 3), np.float32)
    corner = np.eye(3)[grid.layout[-1, 2]]
    places = np.stack([0.999 * corner + 0.001 / 3.0, np.ones(3) / 3.0])
    brightness, _ = read_at(Appearance(grid, values, gradient), np.full(2, len(grid.layout) - 1), places)
    assert np.isnan(brightness[0]) and brightness[1] == pytest.approx(50.0)
