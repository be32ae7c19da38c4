"""Levels of detail, normals and colours of a body of which nobody ever saw one side."""

import numpy as np
from render_cases import centres_x, half_marked, torus

from dr_perception.body.appearance import bake, lay_texels
from dr_perception.body.blank_texels import lay_blank_texels
from dr_perception.body.lod import simplify
from dr_perception.body.model_buffers import corner_normals, mesh_arrays
from dr_perception.geometry import Mesh


def test_normals_of_faces_that_were_seen_do_not_bend_to_the_guess() -> None:
    mesh = torus()
    rng = np.random.default_rng(0)
    unseen = centres_x(mesh) > 0.0
    guessed = np.setdiff1d(mesh.faces[unseen], mesh.faces[~unseen])
    vertices = mesh.vertices.copy()
    vertices[guessed] += 0.002 * rng.normal(size=(len(guessed), 3))
    shaken = Mesh(vertices, mesh.faces, unseen_faces=unseen)
    np.testing.assert_array_equal(corner_normals(shaken)[~unseen], corner_normals(half_marked(mesh))[~unseen])
    inner = ~np.isin(mesh.faces, mesh.faces[unseen]).any(axis=1)
    np.testing.assert_array_equal(corner_normals(shaken)[inner], corner_normals(mesh)[inner])


def test_levels_of_detail_keep_the_marks_and_where_they_end() -> None:
    mesh = half_marked(torus())
    simple = simplify(mesh, 0.003)
    assert len(simple.faces) < 0.6 * len(mesh.faces)
    assert simple.unseen_faces is not None
    border = np.intersect1d(simple.faces[simple.unseen_faces], simple.faces[~simple.unseen_faces])
    edges_at = np.intersect1d(mesh.faces[mesh.unseen_faces], mesh.faces[~mesh.unseen_faces])
    assert len(border) > 10
    off = np.abs(simple.vertices[border][:, None] - mesh.vertices[edges_at]).max(axis=2).min(axis=1)
    assert off.max() < 0.006, "one edge of the original at most"
    x = centres_x(simple)
    clear = np.abs(x) > 0.01
    np.testing.assert_array_equal(simple.unseen_faces[clear], x[clear] > 0.0)
    assert simplify(torus(), 0.003).unseen_faces is None


def test_a_level_of_detail_never_loses_all_that_was_seen() -> None:
    mesh = torus()
    unseen = np.ones(len(mesh.faces), bool)
    unseen[:1] = False
    simple = simplify(Mesh(mesh.vertices, mesh.faces, unseen_faces=unseen), 0.02)
    assert simple.unseen_faces is not None and not simple.unseen_faces.all()


def test_unseen_faces_have_no_colours_and_learn_none() -> None:
    mesh = torus()
    colors = np.zeros((len(mesh.vertices), 3), np.uint8)
    colors[mesh.vertices[:, 0] > 0.0] = 255
    half = Mesh(mesh.vertices, mesh.faces, colors, unseen_faces=centres_x(mesh) > 0.0)
    geometry = Mesh(mesh.vertices, mesh.faces, unseen_faces=half.unseen_faces)
    assert half.unseen_faces is not None
    whole = bake(Mesh(mesh.vertices, mesh.faces, colors), geometry, 0.17)
    assert whole is not None
    used = np.zeros(len(whole.grid.face), bool)
    used[whole.grid.used] = True
    np.testing.assert_array_equal(np.unique(whole.grid.face[used]), np.flatnonzero(~half.unseen_faces))
    texels, grid = lay_blank_texels(mesh_arrays(half), 0.17), lay_texels(geometry, 0.17, 1.5)
    on_guess = half.unseen_faces[grid.face]
    assert on_guess.any() and not texels["normals"][on_guess].any()
    assert not on_guess[texels["neighbour"][grid.used]].any()


def test_colours_of_the_guess_do_not_run_over_its_border() -> None:
    mesh = torus()
    rng = np.random.default_rng(1)
    unseen = centres_x(mesh) > 0.0
    colors = rng.integers(0, 256, (len(mesh.vertices), 3)).astype(np.uint8)
    other = colors.copy()
    other[np.setdiff1d(mesh.faces[unseen], mesh.faces[~unseen])] = 255
    baked = []
    for each in (colors, other):
        half = Mesh(mesh.vertices, mesh.faces, each, unseen_faces=unseen)
        found = bake(half, Mesh(mesh.vertices, mesh.faces, unseen_faces=unseen), 0.17)
        assert found is not None
        baked.append(found)
    np.testing.assert_array_equal(baked[0].brightness, baked[1].brightness)
    np.testing.assert_array_equal(baked[0].gradient, baked[1].gradient)
