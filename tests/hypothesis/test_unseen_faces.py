"""What screens poses and finds alternatives takes no side of a model's surface that nobody ever saw."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import warp as wp

from dr_perception.body.nearest import Surface
from dr_perception.geometry import Mesh, ObjectModel, make_transform, seen_part
from dr_perception.hypothesis import judge_kernels as k
from dr_perception.hypothesis.lookalikes import Lookalikes
from dr_perception.hypothesis.pairs import pair_arrays
from dr_perception.hypothesis.pool import Judge
from dr_perception.hypothesis.rank import odds_of, promise, shares_of
from dr_perception.hypothesis.region import Where, region_of
from dr_perception.hypothesis.scene import prepare_scene
from dr_perception.hypothesis.tables import search_arrays, search_model
from dr_perception.hypothesis.turn_table import unroll
from dr_perception.measure.config import DepthConfig

_spec = importlib.util.spec_from_file_location("search_scenes", Path(__file__).with_name("search_scenes.py"))
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

CPU = wp.get_device("cpu")
PUSH_M = 0.02
TRUTH = scenes.pose(0.01, -0.02, 0.5, (1.5, 0.3, 0.2))


@cache
def pebble() -> ObjectModel:
    """A closed body of about 10 cm that no turn maps onto itself, in small faces."""
    rows, columns = 48, 72
    theta = np.linspace(0.0, np.pi, rows + 1)[1:-1, None]
    phi = np.arange(columns) * 2.0 * np.pi / columns
    radius = 0.05 * (1.0 + 0.15 * np.cos(theta) + 0.2 * np.sin(theta) ** 2 * np.cos(2.0 * phi + 0.5))
    radius = radius * (1.0 + 0.06 * np.sin(3.0 * phi) * np.sin(theta))
    d = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0.0 * phi], -1)
    body = (radius[..., None] * d).reshape(-1, 3)
    vertices = np.concatenate([body, [[0.0, 0.0, 0.0575], [0.0, 0.0, -0.0425]]])
    i = np.arange(columns)
    j = (i + 1) % columns
    faces = [np.column_stack([np.full(columns, len(body)), i, j])]
    for r in columns * np.arange(rows - 2):
        faces += [np.column_stack([r + i, r + columns + i, r + j])]
        faces += [np.column_stack([r + j, r + columns + i, r + columns + j])]
    last = columns * (rows - 2)
    faces += [np.column_stack([last + i, np.full(columns, len(body) + 1), last + j])]
    colors = np.clip(128.0 + 2000.0 * vertices, 0, 255).astype(np.uint8)
    return ObjectModel("pebble", Mesh(vertices, np.concatenate(faces), colors))


@cache
def guessed(marked: bool) -> ObjectModel:
    """The pebble with a wrong guess for its half at x > 0."""
    mesh = pebble().mesh
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    push = PUSH_M * np.clip(mesh.vertices[:, :1] / 0.01, 0.0, 1.0)
    unseen = mesh.vertices[mesh.faces, 0].max(axis=1) > 0.0
    marks = unseen if marked else None
    return ObjectModel(
        "pebble", Mesh(mesh.vertices + push * outward, mesh.faces, mesh.vertex_colors, unseen_faces=marks)
    )


def judged(model: ObjectModel, T: np.ndarray, true: ObjectModel | None = None) -> np.ndarray:
    """Features of a pose (4, 4) of the model's frame in a frame of the true pebble, whose mask is known."""
    frame, (mask,) = scenes.render([(true or pebble(), TRUTH)])
    scene = prepare_scene(model, frame, region_of(model, frame, Where(mask=mask)), DepthConfig(), CPU)
    judge = Judge(search_model(model, 1e-3, CPU), scene.images, scene.object_points, CPU)
    centre = make_transform(np.eye(3), model.center)
    return judge.judge((T @ centre)[None], 0.03 * model.diameter_m)


def test_at_the_right_pose_the_guess_is_neither_for_nor_against() -> None:
    true, marked, unmarked = (judged(m, TRUTH)[0] for m in (pebble(), guessed(True), guessed(False)))
    # The mask: points of the half that nobody saw are left out, the others lie on the model.
    assert 0.25 * true[k.POINTS] < marked[k.POINTS] < 0.8 * true[k.POINTS]
    assert marked[k.POINTS_AGREE] > 0.85 * marked[k.POINTS]
    assert unmarked[k.POINTS_AGREE] < 0.8 * unmarked[k.POINTS]
    # The surface: only what was seen is looked at, and nothing is seen through it.
    assert 0 < marked[k.TESTED] and marked[k.BEYOND] <= 1 < unmarked[k.BEYOND]
    assert marked[k.CLOSE] > 0.95 * marked[k.MEASURED]
    # The outline.
    assert 5 < marked[k.EDGE_TESTED] < 0.9 * unmarked[k.EDGE_TESTED]
    assert marked[k.EDGE_SEEN] > 0.9 * marked[k.EDGE_TESTED]
    odds = [odds_of(f[None]) for f in (true, marked, unmarked)]
    for name in ("agreeing", "covered"):
        assert odds[1][name][0] > odds[2][name][0] + 0.5, name
    for name in ("agreeing", "covered", "ends", "unhidden", "on_mask", "within"):
        assert odds[1][name][0] > odds[0][name][0] - 1.2, name  # fewer samples say less


def test_a_guess_that_is_right_by_chance_is_not_for_a_pose_either() -> None:
    right = judged(guessed(True), TRUTH, true=guessed(False))[0]
    assert 0 < right[k.POINTS_AGREE] <= right[k.POINTS]
    assert right[k.POINTS] < 0.8 * judged(guessed(False), TRUTH, true=guessed(False))[0, k.POINTS]


def test_a_pose_that_shows_the_guess_alone_says_nothing() -> None:
    """Turned to the camera, the half that nobody saw meets neither surface nor mask nor outline."""
    away = scenes.pose(0.0, 0.0, 0.5, (0.0, 0.0, 0.0))
    away[:3, :3] = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])  # x towards the camera
    features = judged(guessed(True), away)
    for name in (k.TESTED, k.MEASURED, k.BEYOND, k.HIDDEN, k.OFF_MASK, k.EDGE_TESTED, k.EDGE_IN_MASK):
        assert features[0, name] == 0.0, name
    odds = odds_of(features)
    for name in ("agreeing", "unhidden", "on_mask", "within", "ends", "in_view"):
        assert odds[name][0] == 0.0, name
    assert np.isfinite(promise(shares_of(features))).all()
    assert judged(guessed(False), away)[0, k.TESTED] > 100


def test_views_and_votes_come_from_what_was_seen() -> None:
    model = guessed(True)
    tables = search_arrays(model, 1e-3)
    shown = np.concatenate([p[:n] for p, n in zip(tables["points"], tables["counts"], strict=True)])
    lines = np.concatenate([p[:n] for p, n in zip(tables["contour"], tables["contour_counts"], strict=True)])
    votes = pair_arrays(model)["points"]
    seen = Surface(seen_part(model.mesh))
    for points in (shown, lines, votes):
        assert len(points) > 100
        assert seen.nearest(points + model.center).distance_m.max() < 1e-3
    assert (tables["counts"] == 0).any(), "some views show the guess alone"


def test_poses_are_told_apart_by_points_that_were_seen_in_their_own_colors() -> None:
    model = guessed(True)
    looks = Lookalikes.of(model, search_model(model, 1e-3, CPU))
    points = looks.points + model.center
    assert Surface(seen_part(model.mesh)).nearest(points).distance_m.max() < 1e-3
    painted = np.clip(128.0 + 2000.0 * points, 0.0, 255.0) / 255.0
    assert np.abs(looks.colors - painted).mean() < 0.02


def test_where_to_look_is_told_by_the_whole_shape() -> None:
    marked, unmarked = (search_model(guessed(m), 1e-3, CPU) for m in (True, False))
    assert (marked.counts > 0).all()
    assert np.linalg.norm(marked.middles - unmarked.middles, axis=1).max() < 0.01


def sector(p: np.ndarray, period: float, half_width: float) -> np.ndarray:
    """Whether points (N, 3) lie within so many degrees of x, or of its turns by ``period`` degrees."""
    azimuth = np.degrees(np.arctan2(p[:, 1], p[:, 0]))
    return np.abs((azimuth + 0.5 * period) % period - 0.5 * period) < half_width


UNSEEN_OF_CAN = {
    "bottom": lambda p: p[:, 2] < -0.02,
    "side": lambda p: p[:, 0] > 0.0,
    "two sides": lambda p: sector(p, 180.0, 25.0) & (np.abs(p[:, 2]) < 0.0499),
    "all but four stripes and a lid": lambda p: ~sector(p, 90.0, 15.0) & (p[:, 2] < 0.0499),
}


def can(part: str, marked: bool) -> ObjectModel:
    """A can that is a wrong guess in part."""
    rows, columns = 40, 60
    phi = np.arange(columns) * 2.0 * np.pi / columns
    z = np.linspace(-0.05, 0.05, rows)
    ring = 0.03 * np.column_stack([np.cos(phi), np.sin(phi)])
    wall = np.concatenate([np.column_stack([ring, np.full(columns, level)]) for level in z])
    i = np.arange(columns)
    j = (i + 1) % columns
    faces = [np.column_stack([np.full(columns, len(wall)), j, i])]
    for r in columns * np.arange(rows - 1):
        faces += [
            np.column_stack([r + i, r + j, r + columns + j]),
            np.column_stack([r + i, r + columns + j, r + columns + i]),
        ]
    last = columns * (rows - 1)
    faces += [np.column_stack([last + i, last + j, np.full(columns, len(wall) + 1)])]
    vertices = np.concatenate([wall, [[0.0, 0.0, -0.05], [0.0, 0.0, 0.05]]])
    colors = np.random.default_rng(0).integers(30, 230, (columns, 3))
    colors = np.concatenate([np.tile(colors, (rows, 1)), np.full((2, 3), 120)]).astype(np.uint8)
    triangles = np.concatenate(faces)
    unseen = UNSEEN_OF_CAN[part](vertices[triangles].mean(axis=1))
    guess = np.setdiff1d(triangles[unseen], triangles[~unseen])
    vertices[guess] += [PUSH_M, 0.0, 0.0]
    return ObjectModel("can", Mesh(vertices, triangles, colors, unseen_faces=unseen if marked else None))


@pytest.mark.parametrize("part", ["bottom", "two sides"])
def test_a_body_of_revolution_stays_one_whatever_the_guess(part: str) -> None:
    assert "axis" not in search_arrays(can(part, False), 1e-3)
    direction, _ = search_arrays(can(part, True), 1e-3)["axis"]
    np.testing.assert_allclose(np.abs(direction), [0.0, 0.0, 1.0], atol=0.05)


@pytest.mark.parametrize("part", ["side", "all but four stripes and a lid"])
def test_of_what_was_hardly_seen_nobody_knows_whether_it_is_one_of_revolution(part: str) -> None:
    assert "axis" not in search_arrays(can(part, True), 1e-3)


def test_rings_of_a_label_that_nobody_saw_all_around_are_left_out() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    for part in ("bottom", "side"):
        model = can(part, True)
        table = unroll(model.mesh, model.center, model.diameter_m, axis, -model.center)
        assert table is not None
        heights = table.points[:, 2] + model.center[2]
        if part == "bottom":
            assert -0.025 < heights.min() and heights.max() > 0.045
        else:
            assert len(table.colors) == 0
