"""The turn of a can is read off its label; what nothing shows stays as the guess has it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dr_perception.fitting.fit_pose import fit_pose
from dr_perception.geometry import Mesh, ObjectModel
from dr_perception.geometry.se3 import exp_so3, make_transform
from dr_perception.hypothesis.spin import spin_by_color, turn_evidence
from dr_perception.hypothesis.turn_table import NUM_AZIMUTHS, unroll

_spec = importlib.util.spec_from_file_location("search_scenes", Path(__file__).with_name("search_scenes.py"))
assert _spec is not None and _spec.loader is not None
scenes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scenes)

SEGMENTS, ROWS = 72, 8
AXIS = np.array([0.0, 0.0, 1.0])
TRUTH = scenes.pose(0.02, -0.01, 0.5, (2.0, 0.2, -0.3))


def can(label: np.ndarray, radius: float = 0.035, height: float = 0.08) -> ObjectModel:
    """A closed can with the colours (SEGMENTS, 3) of its label around, and grey lids."""
    phi = 2.0 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    ring = np.column_stack([radius * np.cos(phi), radius * np.sin(phi)])
    z = np.linspace(-height / 2, height / 2, ROWS)
    wall = np.concatenate([np.column_stack([ring, np.full(SEGMENTS, level)]) for level in z])
    lids = np.concatenate([wall[:SEGMENTS], wall[-SEGMENTS:], [[0, 0, -height / 2], [0, 0, height / 2]]])
    i = np.arange(SEGMENTS)
    j = (i + 1) % SEGMENTS
    rows = SEGMENTS * np.arange(ROWS - 1)[:, None]
    corners = [rows + i, rows + j, rows + SEGMENTS + j, rows + SEGMENTS + i]
    a, b, c, d = (np.broadcast_to(k, (ROWS - 1, SEGMENTS)).ravel() for k in corners)
    low, high, middle = len(wall), len(wall) + SEGMENTS, np.full(SEGMENTS, len(wall) + 2 * SEGMENTS)
    faces = [np.column_stack([a, b, c]), np.column_stack([a, c, d])]
    faces += [np.column_stack([low + j, low + i, middle]), np.column_stack([high + i, high + j, middle + 1])]
    colors = np.concatenate([np.tile(label, (ROWS, 1)), np.full((len(lids), 3), 120)]).astype(np.uint8)
    vertices = np.concatenate([wall, lids])
    return ObjectModel("can", Mesh(vertices, np.concatenate(faces).astype(np.int32), colors))


def stripes() -> np.ndarray:
    """A label of eight patches of different widths and colours."""
    rng = np.random.default_rng(5)
    ends = np.sort(rng.choice(np.arange(4, SEGMENTS - 4), 7, replace=False))
    return rng.integers(30, 230, (8, 3))[np.searchsorted(ends, np.arange(SEGMENTS), side="right")]


MODEL = can(stripes())
FRAME, _ = scenes.render([(MODEL, TRUTH)])
TABLE = unroll(MODEL.mesh, MODEL.center, MODEL.diameter_m, AXIS, -MODEL.center)


def turned(degrees: float) -> np.ndarray:
    return TRUTH @ make_transform(exp_so3(np.radians(degrees) * AXIS), np.zeros(3))


def turn_of(T: np.ndarray) -> float:
    """Turn about the axis against the truth in degrees."""
    relative = TRUTH[:3, :3].T @ T[:3, :3]
    return float(np.degrees(np.arctan2(relative[1, 0], relative[0, 0])))


def centred(T: np.ndarray) -> np.ndarray:
    return T @ make_transform(np.eye(3), MODEL.center)


def spin(frame, T, table=TABLE, **more):
    return spin_by_color(table, frame.camera, frame.color, frame.depth, centred(T), 0.006, **more)


def mirroring(frame):
    """The frame with a lid that mirrors something bright to one side and something dark to the other."""
    rays = frame.camera.rays()
    p = np.concatenate([rays * frame.depth[..., None], frame.depth[..., None]], axis=-1)
    in_can = (p - TRUTH[:3, 3]) @ TRUTH[:3, :3]
    on_lid = (np.abs(np.abs(in_can[..., 2]) - 0.04) < 0.003) & (np.hypot(*in_can[..., :2].T).T < 0.034)
    assert on_lid.sum() > 200
    color = frame.color.copy()
    bright = np.where(in_can[..., 0] > 0.3 * in_can[..., 1], 255, 0).astype(np.uint8)
    color[on_lid] = bright[on_lid][:, None]
    return replace(frame, color=color)


@pytest.mark.parametrize("degrees", [-120.0, -28.0, -6.0, 0.0, 6.0, 28.0, 120.0])
def test_a_turned_can_is_turned_back(degrees):
    assert abs(turn_of(spin(FRAME, turned(degrees)))) < 1.5


def test_a_lid_that_mirrors_the_light_does_not_turn_it():
    assert abs(turn_of(spin(mirroring(FRAME), turned(12.0)))) < 1.5


def test_brightness_and_contrast_of_the_image_do_not_matter():
    dim = replace(FRAME, color=(0.4 * FRAME.color + 60.0).astype(np.uint8))
    assert abs(turn_of(spin(dim, turned(12.0)))) < 1.5


def test_a_plain_can_keeps_its_turn():
    plain = can(np.full((SEGMENTS, 3), 150))
    table = unroll(plain.mesh, plain.center, plain.diameter_m, AXIS, -plain.center)
    frame, _ = scenes.render([(plain, TRUTH)])
    T = turned(9.0)
    # Without a belief noise decides between turns that are all alike; the weakest belief stops that.
    assert np.allclose(spin(frame, T, table, sigma_rad=1.0), centred(T))
    evidence = turn_evidence(table, frame.camera, frame.color, frame.depth, centred(T), 0.006)
    assert evidence.shape == (NUM_AZIMUTHS,) and np.ptp(evidence) < 1.0


def test_a_hidden_label_says_nothing():
    near = replace(FRAME, depth=np.full_like(FRAME.depth, 0.2))
    assert np.all(turn_evidence(TABLE, near.camera, near.color, near.depth, centred(TRUTH), 0.006) == 0.0)


def test_a_model_without_colours_has_no_table():
    bare = Mesh(MODEL.mesh.vertices, MODEL.mesh.faces)
    assert unroll(bare, MODEL.center, MODEL.diameter_m, AXIS, -MODEL.center) is None


@pytest.mark.parametrize("degrees", [-20.0, 4.0, 20.0])
def test_a_fit_finds_the_turn_of_a_can(degrees):
    guess = turned(degrees)
    guess[:3, 3] += [0.005, -0.006, 0.005]
    fit = fit_pose(MODEL, mirroring(FRAME), guess)
    assert abs(turn_of(fit.T_cam_obj)) < 2.0


def test_a_ball_keeps_the_attitude_of_the_guess():
    import open3d as o3d

    sphere = o3d.geometry.TriangleMesh.create_sphere(0.04, 60)
    vertices, faces = np.asarray(sphere.vertices), np.asarray(sphere.triangles).astype(np.int32)
    ball = ObjectModel("ball", Mesh(vertices, faces, np.full((len(vertices), 3), 170, np.uint8)))
    place = scenes.pose(0.0, 0.01, 0.5, (0.0, 0.0, 0.0))
    frame, _ = scenes.render([(ball, place)])
    guess = scenes.pose(0.006, 0.005, 0.495, (0.05, -0.04, 0.06))
    fit = fit_pose(ball, frame, guess)
    assert np.linalg.norm(fit.T_cam_obj[:3, 3] - place[:3, 3]) < 1.5e-3
    assert scenes.angle_between(fit.T_cam_obj[:3, :3], guess[:3, :3]) < np.radians(10.0)
