"""The surface of a mesh is the same however its arrays are written."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from render_cases import box, torus

from dr_perception.geometry import Mesh, edges_of_faces, face_areas, mesh_surface
from dr_perception.geometry.mesh_surface import MeshSurface
from dr_perception.geometry.mesh_winding import turn_outwards, wrongly_turned

MESHES = {"box": box(), "torus": torus(rows=9, columns=7)}


def volume(surface: MeshSurface) -> float:
    a, b, c = (surface.positions[surface.faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6.0


def is_closed(surface: MeshSurface) -> bool:
    return bool((edges_of_faces(surface.faces, surface.positions).faces >= 0).all())


def triangles(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Corners of faces, in an order that depends on where they are only."""
    corners = np.round(positions[faces], 9) + 0.0
    first = [min(range(3), key=lambda i: tuple(t[i])) for t in corners]
    turned = np.array([np.roll(t, -i, axis=0) for t, i in zip(corners, first, strict=True)]).reshape(-1, 9)
    return turned[np.lexsort(turned.T)]


def moved(mesh: Mesh, offset: tuple[float, float, float], scale: float = 1.0, turned: bool = False) -> Mesh:
    return Mesh(mesh.vertices * scale + offset, mesh.faces[:, ::-1] if turned else mesh.faces)


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = np.concatenate([m.faces + k for m, k in zip(meshes, starts, strict=False)])
    return Mesh(np.concatenate([m.vertices for m in meshes]), faces)


def test_the_surface_of_a_welded_mesh_is_the_mesh() -> None:
    mesh = torus()
    surface = mesh_surface(mesh)
    assert surface.is_plain
    assert np.array_equal(surface.positions, mesh.vertices)
    assert np.array_equal(surface.faces, mesh.faces)
    assert np.array_equal(surface.corner, np.arange(3 * len(mesh.faces)).reshape(-1, 3))


@given(
    name=st.sampled_from(list(MESHES)),
    seed=st.integers(0, 10_000),
    split=st.floats(0.0, 1.0),
    repeated=st.integers(0, 12),
    turned=st.floats(0.0, 0.4),
    flat=st.integers(0, 5),
)
def test_the_surface_depends_on_no_way_of_writing_it(
    name: str, seed: int, split: float, repeated: int, turned: float, flat: int
) -> None:
    mesh, rng = MESHES[name], np.random.default_rng(seed)
    corner = mesh.faces.copy()
    own = rng.random(corner.shape) < split
    corner[own] = len(mesh.vertices) + np.arange(own.sum())
    vertices = np.concatenate([mesh.vertices, mesh.vertices[mesh.faces[own]]])
    faces = np.concatenate([corner, rng.permutation(corner)[:repeated]])
    over = np.flatnonzero(rng.random(len(mesh.faces)) < turned)
    faces[over] = faces[over][:, ::-1]
    lines = rng.integers(0, len(vertices), (flat, 2))
    faces = np.concatenate([faces, lines[:, [0, 1, 1]]])
    order = rng.permutation(len(vertices))
    faces = np.argsort(order)[faces]
    found = mesh_surface(Mesh(vertices[order], faces))
    plain = mesh_surface(mesh)
    assert np.array_equal(triangles(found.positions, found.faces), triangles(plain.positions, plain.faces))
    assert is_closed(found)


def test_places_are_the_mean_of_their_vertices() -> None:
    mesh = box()
    vertices = np.vstack([mesh.vertices, mesh.vertices[0] + [4e-8, 0, 0]])
    faces = mesh.faces.copy()
    faces[0][faces[0] == 0] = 8
    surface = mesh_surface(Mesh(vertices, faces))
    assert surface.place[8] == surface.place[0]
    np.testing.assert_allclose(surface.positions[surface.place[0]], vertices[[0, 8]].mean(axis=0), rtol=1e-14)


def test_what_belongs_to_corners_stays_with_them() -> None:
    mesh = box()
    uv = np.random.default_rng(0).random((12, 3, 2)).astype(np.float32)
    faces = mesh.faces.copy()
    faces[4], uv[4] = faces[4][::-1], uv[4][::-1]
    surface = mesh_surface(Mesh(mesh.vertices, np.vstack([[[0, 0, 1]], faces])))
    found = surface.corners(np.concatenate([np.zeros((1, 3, 2), np.float32), uv]))
    at = {(v, tuple(t)) for v, t in zip(faces.reshape(-1), uv.reshape(-1, 2), strict=True)}
    assert {(v, tuple(t)) for v, t in zip(surface.faces.reshape(-1), found.reshape(-1, 2), strict=True)} == at


def test_of_equal_faces_the_first_is_kept() -> None:
    mesh = box()
    surface = mesh_surface(Mesh(mesh.vertices, np.vstack([mesh.faces, mesh.faces[:, ::-1]])))
    assert np.array_equal(surface.corner[:, 0] // 3, np.arange(12))


@pytest.mark.parametrize("mesh", list(MESHES.values()), ids=list(MESHES))
def test_inside_out_is_decided_by_the_volume(mesh: Mesh) -> None:
    surface = mesh_surface(moved(mesh, (0.3, 0.2, 0.1), turned=True))
    assert volume(surface) == pytest.approx(volume(mesh_surface(moved(mesh, (0.3, 0.2, 0.1)))))
    assert volume(surface) > 0.0


def test_each_part_is_turned_for_itself_and_a_hollow_stays() -> None:
    cube = box((0.1, 0.1, 0.1))
    hollow, core = moved(cube, (0, 0, 0), 0.8, turned=True), moved(cube, (0, 0, 0), 0.5, turned=True)
    beside = moved(cube, (0.3, 0, 0), turned=True)
    one = volume(mesh_surface(cube))
    assert volume(mesh_surface(joined(cube, beside))) == pytest.approx(2 * one)
    assert volume(mesh_surface(joined(cube, hollow))) == pytest.approx((1 - 0.8**3) * one)
    # What lies in a hollow is a body again.
    assert volume(mesh_surface(joined(cube, hollow, core))) == pytest.approx((1 - 0.8**3 + 0.5**3) * one)


def test_an_open_part_is_turned_as_most_of_it_is() -> None:
    mesh = box()
    faces = mesh.faces[2:].copy()
    faces[:3] = faces[:3][:, ::-1]
    found = mesh_surface(Mesh(mesh.vertices, faces))
    assert np.array_equal(triangles(found.positions, found.faces), triangles(mesh.vertices, mesh.faces[2:]))


def test_what_cannot_be_turned_one_way_stays() -> None:
    n = 8
    angle = np.arange(n) * 2 * np.pi / n
    out = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], 1)
    across = np.cos(angle / 2)[:, None] * out + np.sin(angle / 2)[:, None] * [0, 0, 1]
    vertices = np.concatenate([out - 0.3 * across, out + 0.3 * across])
    low, high = np.arange(n), np.arange(n) + n
    next_low, next_high = np.roll(low, -1), np.roll(high, -1)
    next_low[-1], next_high[-1] = high[0], low[0]
    faces = np.concatenate([np.stack([low, next_low, high], 1), np.stack([next_low, next_high, high], 1)])
    assert np.array_equal(mesh_surface(Mesh(vertices, faces)).faces, faces)


def with_sliver(at: float = 0.3, height: float = 0.0, points: int = 1) -> Mesh:
    """A box with points on an edge that the faces on one side know, and slivers where the others do not."""
    mesh = box()
    a, b = mesh.faces[0][:2]
    beyond = next(f for f in mesh.faces[1:] if {a, b} <= set(f.tolist()))
    on = [mesh.vertices[a] + (at + k * 0.1) * (mesh.vertices[b] - mesh.vertices[a]) for k in range(points)]
    chain = [a, *(8 + k for k in range(points)), b]
    third = mesh.faces[0][2]
    small = [[p, q, third] for p, q in pairwise(chain)]
    slivers = [[a, q, p] for p, q in pairwise(chain[1:])]
    assert len(beyond) == 3
    out = np.array([height, 0.0, 0.0])
    return Mesh(np.vstack([mesh.vertices, on + out]), np.vstack([small, mesh.faces[1:], slivers]))


@pytest.mark.parametrize("points", [1, 2, 5])
@pytest.mark.parametrize("order", [1, -1])
def test_slivers_leave_no_gap(points: int, order: int) -> None:
    mesh = with_sliver(points=points)
    surface = mesh_surface(Mesh(mesh.vertices, mesh.faces[::order]))
    assert len(surface.faces) == 12 + 2 * points
    assert is_closed(surface)
    assert volume(surface) == pytest.approx(volume(mesh_surface(box())))
    assert face_areas(Mesh(surface.positions, surface.faces)).min() > 1e-6


@pytest.mark.parametrize(("height", "stays"), [(5e-7, False), (-5e-7, False), (5e-6, True)])
def test_slivers_go_as_far_as_rounding_may_have_made_them(height: float, stays: bool) -> None:
    surface = mesh_surface(with_sliver(height=height))
    assert is_closed(surface)
    assert len(surface.faces) == 14
    assert (face_areas(Mesh(surface.positions, surface.faces)).min() < 1e-6) == stays


def test_slivers_do_not_carry_texture_over_a_seam() -> None:
    plain = with_sliver()
    uv = np.zeros((len(plain.faces), 3, 2), np.float32)
    texture = np.zeros((4, 4, 3), np.uint8)
    looks = Mesh(plain.vertices, plain.faces, corner_uv=uv, texture=texture)
    assert is_closed(mesh_surface(looks))
    uv[-1] = 0.5  # of the sliver
    torn = mesh_surface(Mesh(plain.vertices, plain.faces, corner_uv=uv, texture=texture))
    assert not is_closed(torn)
    assert set(np.unique(torn.corners(uv))) == {0.0}


def test_a_face_that_sticks_out_as_a_line_is_left_out() -> None:
    mesh = box()
    corner = mesh.vertices[0]
    lines = Mesh(np.vstack([mesh.vertices, 2 * corner, 3 * corner]), np.vstack([mesh.faces, [[0, 8, 9]]]))
    surface = mesh_surface(lines)
    assert np.array_equal(surface.faces, mesh.faces)
    assert surface.place[8:].tolist() == [-1, -1]


def test_a_mesh_of_lines_has_no_surface() -> None:
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 1e-7, 0]])
    with pytest.raises(ValueError, match="the mesh has no surface: all 1 faces are degenerate"):
        mesh_surface(Mesh(line, np.array([[0, 1, 2]])))


def test_bodies_that_touch_along_an_edge_keep_their_own_faces() -> None:
    cube = box((0.1, 0.1, 0.1))
    surface = mesh_surface(joined(cube, moved(cube, (0.1, 0.1, 0.0))))
    found = edges_of_faces(surface.faces, surface.positions)
    assert len(surface.positions) == 14
    assert is_closed(surface)
    body = surface.corner[:, 0] // 36
    assert np.array_equal(body[found.faces[:, 0]], body[found.faces[:, 1]])


def test_bodies_that_stand_on_each_other_keep_their_own_faces() -> None:
    """The faces between them lie on each other but are divided otherwise: there is no material between."""
    cube = box((0.1, 0.1, 0.1))
    turned = cube.vertices[:, [1, 0, 2]] * [-1, 1, -1]
    above = moved(Mesh(turned, cube.faces[:, ::-1]), (0, 0, 0.1), turned=True)
    rolled = [Mesh(above.vertices, np.roll(above.faces, k, axis=0)) for k in range(12)]
    for bodies in ((above, cube), *((cube, body) for body in rolled)):
        surface = mesh_surface(joined(*bodies))
        found = edges_of_faces(surface.faces, surface.positions)
        body = surface.corner[:, 0] // 36
        assert len(surface.faces) == 24 and is_closed(surface)
        assert volume(surface) == pytest.approx(2e-3)
        assert np.array_equal(body[found.faces[:, 0]], body[found.faces[:, 1]])


def test_edges_of_more_faces_are_open_without_positions() -> None:
    cube = box((0.1, 0.1, 0.1))
    surface = mesh_surface(joined(cube, moved(cube, (0.1, 0.1, 0.0))))
    assert (edges_of_faces(surface.faces).faces[:, 1] < 0).sum() == 4


def test_sheets_that_meet_keep_what_finds_no_partner_open() -> None:
    """Three half planes at one edge, turned so that two of them bound material and the third nothing."""
    vertices = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0.5], [-1, 1, 0.5], [-1, -1, 0.5]])
    faces = np.array([[0, 1, 3], [1, 0, 2], [0, 1, 4]], dtype=np.int32)
    found = edges_of_faces(faces, vertices)
    middle = (found.vertices == [0, 1]).all(axis=1)
    assert sorted(map(tuple, found.faces[middle].tolist())) == [(0, 1), (2, -1)]


def test_models_are_turned_with_their_texture() -> None:
    mesh = box()
    uv = np.random.default_rng(0).random((12, 3, 2)).astype(np.float32)
    texture = np.zeros((4, 4, 3), np.uint8)
    whole = Mesh(mesh.vertices, mesh.faces, corner_uv=uv, texture=texture)
    assert turn_outwards(whole) is whole
    faces, wrong_uv = mesh.faces.copy(), uv.copy()
    faces[[2, 5]], wrong_uv[[2, 5]] = faces[[2, 5], ::-1], uv[[2, 5], ::-1]
    found = turn_outwards(Mesh(mesh.vertices, faces, corner_uv=wrong_uv, texture=texture))
    assert found.corner_uv is not None
    assert np.array_equal(found.faces, mesh.faces)
    assert np.array_equal(found.corner_uv, uv)


def test_faces_on_each_other_enclose_no_volume_to_turn_by() -> None:
    vertices = np.random.default_rng(2).normal(size=(3, 3)) + 5.0
    pair = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.int32)
    for order in (pair, pair[::-1]):
        assert not wrongly_turned(vertices, order).any()
