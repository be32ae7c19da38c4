"""Splines in front of the renderer: the poses of the spline, and gradients of its knots."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose

from dr_perception.geometry.se3 import make_transform, random_rotation, retract
from dr_perception.geometry.splines import spline_poses
from dr_perception.render import Instance, Renderer, Scene
from dr_perception.render.maps import SplineMap

STAMPS = np.array([0.05, 0.4, 0.9, 1.3])
SCENE = Scene([Instance(box(), pose())])


def knots(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    T = [make_transform(random_rotation(rng), np.array([0.0, 0.0, 0.4]))]
    for _ in range(5):
        T.append(retract(T[-1], rng.normal(size=6) * [0.02, 0.02, 0.02, 0.6, 0.6, 0.6]))
    return np.array(T)


def made(moves: str) -> tuple[SplineMap, object]:
    front = SplineMap(knots(), STAMPS, period=0.5, moves=moves)
    renderer, n = Renderer(), len(STAMPS)
    if moves == "camera":
        return front, renderer.parameters(SCENE, [CAMERA] * n, requires_grad=("camera_pose",))
    poses = np.tile(pose(), (n, 1, 1, 1))
    return front, renderer.parameters(SCENE, CAMERA, poses=poses, requires_grad=("pose",))


@pytest.mark.parametrize("moves", ["camera", "object"])
def test_poses_are_those_of_the_spline(moves: str) -> None:
    front, p = made(moves)
    xi = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32) * 0.1
    front.theta["knots"].assign(xi)
    front.fill(p)
    expected, _ = spline_poses(retract(knots(), xi), STAMPS, period=0.5)
    R, t = (p.R_world_cam, p.t_world_cam) if moves == "camera" else (p.R_world_obj, p.t_world_obj)
    np.testing.assert_allclose(R.numpy().reshape(-1, 3, 3), expected[:, :3, :3], atol=3e-6)
    np.testing.assert_allclose(t.numpy().reshape(-1, 3), expected[:, :3, 3], atol=1e-6)
    np.testing.assert_allclose(front.poses()[0], expected, atol=1e-6)
    assert front.poses([0.2])[1].shape == (1, 6)


@pytest.mark.parametrize("moves", ["camera", "object"])
@pytest.mark.parametrize("moved", [False, True])
def test_gradients_of_knots_are_those_of_the_poses_in_double_precision(moves: str, moved: bool) -> None:
    rng = np.random.default_rng(2)
    front, p = made(moves)
    xi = 0.3 * rng.normal(size=(6, 6)) if moved else np.zeros((6, 6))
    front.theta["knots"].assign(xi.astype(np.float32))
    tangent = p.camera_pose if moves == "camera" else p.pose
    with wp.Tape() as tape:
        front.fill(p)
    g = rng.normal(size=(len(STAMPS), 6)).astype(np.float32)
    tape.backward(grads={tangent: wp.array(g.reshape(*tangent.shape, 6), dtype=tangent.dtype)})
    at = spline_poses(retract(knots(), xi), STAMPS, period=0.5)[0]

    def value(x: np.ndarray) -> float:
        T = spline_poses(retract(knots(), x), STAMPS, period=0.5)[0]
        w = 0.5 * np.stack(
            [
                (T @ np.linalg.inv(at))[:, b, c] - (T @ np.linalg.inv(at))[:, c, b]
                for b, c in ((2, 1), (0, 2), (1, 0))
            ],
            axis=1,
        )
        return float(np.sum(g[:, :3] * (T - at)[:, :3, 3]) + np.sum(g[:, 3:] * w))

    expected = np.zeros((6, 6))
    for index in np.ndindex(6, 6):
        step = np.zeros((6, 6))
        step[index] = 1e-6
        expected[index] = (value(xi + step) - value(xi - step)) / 2e-6
    np.testing.assert_allclose(front.theta["knots"].grad.numpy(), expected, rtol=2e-3, atol=2e-4)


def test_bad_splines_are_refused() -> None:
    for make, text in (
        (lambda: SplineMap(np.eye(4), STAMPS), r"knots must have shape \(K, 4, 4\), got \(4, 4\)"),
        (lambda: SplineMap(knots(), STAMPS, moves="lens"), "moves must be 'camera' or 'object', got 'lens'"),
        (lambda: SplineMap(knots(), [99.0]), "stamps must lie from"),
        (lambda: SplineMap(2 * knots(), STAMPS), r"knots\[0\]"),
    ):
        with pytest.raises(ValueError, match=text):
            make()
    front, _ = made("camera")
    with pytest.raises(ValueError, match=r"orientations of 'camera_pose' must be .* of shape \(1,\)"):
        front.fill(Renderer().parameters(SCENE, CAMERA, requires_grad=("camera_pose",)))
