"""Graphs of the camera modes and of rigs: covariances, wrong measurements, what is kept between frames."""

from __future__ import annotations

import numpy as np
import pytest

from dr_perception.estimate.chain import PoseLink
from dr_perception.estimate.factors import Belief
from dr_perception.estimate.graph import Graph, Solution, Stopping
from dr_perception.estimate.tangent import block_diagonal
from dr_perception.geometry.se3 import invert, local, make_transform, perturb, random_rotation, retract
from dr_perception.tracking.config import CameraConfig
from dr_perception.tracking.rig import Rig
from dr_perception.tracking.sightings import camera_block, object_block, sightings, with_floor
from dr_perception.tracking.world_belief import WorldBelief

SIGMA = np.repeat([3e-4, 4e-3], 3)
INFORMATION = np.diag(SIGMA**-2.0)
SETTINGS = CameraConfig()
CAMERA = camera_block("moving")
NAMES = ("a", "b", "c")
BLOCKS = [object_block(name) for name in NAMES]


def scene(rng, cameras=1, objects=3):
    """Poses of cameras about the origin and of objects before them, and exact measurements."""
    X = np.stack([perturb(np.eye(4), 0.1, 0.2, rng) for _ in range(cameras)])
    offsets = rng.uniform(-0.15, 0.15, (objects, 3)) + np.array([0.0, 0.0, 0.7])
    O = np.stack([make_transform(random_rotation(rng), t) for t in offsets])
    return X, O, invert(X)[:, None] @ O


def noisy(T, rng):
    return np.array([[retract(t, rng.normal(size=6) * SIGMA) for t in row] for row in T])


def solved(camera: Belief, objects: Belief, T, information) -> Solution:
    """One frame of a moving camera, as the tracker sets it up."""
    prior = Belief.independent([camera, objects])
    seen = sightings(PoseLink((CAMERA,), inverse=True), NAMES, T, information, SETTINGS)
    return Graph(prior.mean.layout, [seen, prior]).solve(prior.mean, Stopping(1e-9))


def known(O, information=INFORMATION) -> Belief:
    return Belief.of_poses(
        dict(zip(BLOCKS, O, strict=True)), block_diagonal(np.stack([information] * len(O)))
    )


def test_covariances_are_true_to_the_errors() -> None:
    rng = np.random.default_rng(4)
    normalised = []
    for _ in range(200):
        X, O, T = scene(rng)
        believed = np.stack([retract(o, rng.normal(size=6) * SIGMA) for o in O])
        camera = Belief.of_pose(CAMERA, X[0], np.eye(6))
        found = solved(camera, known(believed), noisy(T, rng)[0], np.stack([INFORMATION] * 3))
        e = local(X[0], found.values.pose(CAMERA))
        normalised.append(e @ np.linalg.solve(found.covariance([CAMERA]), e))
    assert 5.3 < np.mean(normalised) < 6.7  # chi-square of 6 degrees, mean of 200


@pytest.mark.parametrize("wrong", range(3))
def test_one_wrong_object_does_not_pull_the_camera_along(wrong: int) -> None:
    """From a start as far off as its prior allows, and not worse than from any start an object implies."""
    rng = np.random.default_rng(6)
    for _ in range(10):
        X, O, T = scene(rng)
        T = noisy(T, rng)[0]
        T[wrong] = perturb(T[wrong], 0.08, 0.6, rng)
        start = perturb(X[0], 0.03, 0.1, rng)
        camera = Belief.of_pose(CAMERA, start, np.eye(6) / 0.05**2)
        information = np.stack([INFORMATION] * 3)
        found = solved(camera, known(O, 100.0 * INFORMATION), T, information)
        e = local(X[0], found.values.pose(CAMERA))
        assert e @ np.linalg.solve(found.covariance([CAMERA]), e) < 30.0
        assert np.linalg.norm(e[:3]) < 8e-3
        assert found.chi2[0].argmax() == wrong and found.chi2[0][wrong] > SETTINGS.outlier_chi2
        for i in range(3):
            implied = Belief.of_pose(CAMERA, O[i] @ invert(T[i]), np.eye(6)).mean
            values = found.graph.factors[1].mean
            begin = type(values)(values.layout, np.concatenate([implied.T, values.T[1:]]), values.x)
            other = found.graph.solve(begin, Stopping(1e-9))
            assert found.linearised.objective < other.linearised.objective + 1e-3


def test_the_floor_adds_an_independent_error() -> None:
    H = np.diag(SIGMA**-2.0)
    H[3, 3] = 0.0
    floored = with_floor(H, 1e-4, 5e-4)
    variances = 1.0 / np.delete(np.diag(floored), 3)
    expected = np.delete(SIGMA**2 + np.repeat([1e-4, 5e-4], 3) ** 2, 3)
    np.testing.assert_allclose(variances, expected, rtol=1e-9)
    assert floored[3, 3] == 0.0


def world(static: bool, O, memory_frames: float = 4.0) -> WorldBelief:
    belief = WorldBelief(static, memory_frames)
    for name, T in zip(NAMES, O, strict=True):
        belief.begin(name, T, INFORMATION)
    return belief


def frame(belief: WorldBelief, X, T, information) -> Solution:
    return solved(Belief.of_pose(CAMERA, X, np.eye(6)), belief.prior(), T, information)


def test_a_frame_without_measurements_teaches_nothing() -> None:
    rng = np.random.default_rng(8)
    X, O, T = scene(rng)
    belief = world(True, O)
    before = belief.prior().quadratic.H
    for _ in range(5):
        belief.learn(frame(belief, X[0], T[0], np.zeros((3, 6, 6))))
    np.testing.assert_allclose(belief.prior().quadratic.H, before)
    np.testing.assert_allclose(belief.poses, O, atol=1e-9)


def test_where_the_world_is_stays_as_uncertain_as_at_the_start() -> None:
    """However long the objects are seen; how they lie to each other becomes known, up to the memory."""
    rng = np.random.default_rng(9)
    X, O, T = scene(rng)
    belief = world(True, O)
    common = np.zeros((18, 6))
    for k in range(3):
        common[6 * k : 6 * k + 3, :3] = common[6 * k + 3 : 6 * k + 6, 3:] = np.eye(3)
        common[6 * k : 6 * k + 3, 3:] = np.cross(np.eye(3), O[k, :3, 3]).T
    at_first = common.T @ belief.prior().quadratic.H[0] @ common
    sizes = []
    for _ in range(40):
        belief.learn(frame(belief, X[0], T[0], np.stack([INFORMATION] * 3)))
        sizes.append(np.trace(belief.prior().quadratic.H[0]))
    H = belief.prior().quadratic.H[0]
    np.testing.assert_allclose(common.T @ H @ common, at_first, rtol=1e-3, atol=1e-4 * np.abs(at_first).max())
    assert sizes[1] > 1.2 * sizes[0] and sizes[-1] == pytest.approx(sizes[-2], rel=1e-3)


def test_the_anchor_is_not_counted_again() -> None:
    """Two objects measured 6 sigma nearer to each other than they were anchored approach that distance.

    In the limit of a long memory the anchors keep their one vote.
    """
    X, O, T = scene(np.random.default_rng(10))
    shift = np.zeros(6)
    shift[0] = 6.0 * SIGMA[0]
    T[0, 0] = retract(T[0, 0], np.concatenate([X[0, :3, :3].T @ shift[:3], np.zeros(3)]))
    belief = world(True, O, memory_frames=1e6)
    for _ in range(29):
        found = frame(belief, X[0], T[0], np.stack([INFORMATION] * 3))
        belief.learn(found)
    # All frames and one anchor each, as one problem: the frames' common camera is free in each.
    once = world(True, O)
    all_frames = frame(once, X[0], T[0], 29.0 * np.stack([INFORMATION] * 3))
    np.testing.assert_allclose(found.values.T[1:, :3, 3], all_frames.values.T[1:, :3, 3], atol=1e-6)


def test_an_object_is_dropped_and_begun_anew() -> None:
    rng = np.random.default_rng(11)
    X, O, T = scene(rng)
    for static in (True, False):
        belief = world(static, O)
        belief.learn(frame(belief, X[0], T[0], np.stack([INFORMATION] * 3)))
        moved = perturb(O[1], 0.1, 0.5, rng)
        belief.begin("b", moved, INFORMATION)
        assert belief.names == ("a", "c", "b")
        np.testing.assert_array_equal(belief.poses[2], moved)
        H = belief.prior().quadratic.H[0]
        np.testing.assert_allclose(H[12:, 12:], INFORMATION)
        assert not H[:12, 12:].any() and np.abs(H[:6, 6:12]).max() > 1e3
        belief.drop("a")
        assert belief.names == ("c", "b") and belief.poses.shape == (2, 4, 4)


def test_objects_that_move_lose_information() -> None:
    X, O, T = scene(np.random.default_rng(12))
    belief = world(False, O)
    found = frame(belief, X[0], T[0], np.stack([INFORMATION] * 3))
    belief.learn(found)
    spread = np.stack([np.diag(SIGMA**2) * k for k in (1.0, 2.0, 3.0)])
    ahead = np.stack([retract(o, SIGMA) for o in O])
    belief.predict(ahead, spread)
    expected = found.covariance(BLOCKS) + block_diagonal(spread)
    np.testing.assert_allclose(np.linalg.inv(belief.prior().quadratic.H[0]), expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(belief.poses, ahead)


def fused(rig: Rig, O, T, information):
    predicted = np.stack([retract(o, SIGMA) for o in O]), np.stack([np.eye(6)] * len(O))
    return rig.fuse(NAMES, predicted, (T, information), SETTINGS)


def test_known_extrinsics_stay() -> None:
    rng = np.random.default_rng(13)
    X, O, T = scene(rng, cameras=2)
    rig = Rig({"left": X[0], "right": X[1]}, 0.0, 0.0)
    found = fused(rig, O, noisy(T, rng), np.stack([[INFORMATION] * 3] * 2))
    rig.learn(found.solution)
    np.testing.assert_array_equal(rig.T_rig_cam, X)
    assert rig.covariance.shape == (2, 6, 6) and not rig.covariance.any()
    sigma = np.sqrt(found.object_covariance.diagonal(axis1=1, axis2=2))
    assert (sigma[:, 3:] < 0.72 * SIGMA[3:]).all()
    e = local(O, found.T_rig_obj)
    assert (np.abs(e) < 4.0 * sigma).all()


def test_extrinsics_come_from_what_both_cameras_see() -> None:
    """Exact measurements bring an error within the prior back; the first camera does not move."""
    rng = np.random.default_rng(14)
    X, O, T = scene(rng, cameras=3)
    wrong = [X[0], perturb(X[1], 0.004, 0.01, rng), perturb(X[2], 0.004, 0.01, rng)]
    rig = Rig(dict(zip(("first", "second", "third"), wrong, strict=True)), 0.004, 0.01)
    before = rig.covariance
    np.testing.assert_allclose(before[1:], np.stack([np.diag(np.repeat([0.004, 0.01], 3) ** 2)] * 2))
    assert not before[0].any()
    for _ in range(20):
        found = fused(rig, O, T, np.stack([[INFORMATION] * 3] * 3))
        rig.learn(found.solution)
    np.testing.assert_array_equal(rig.T_rig_cam[0], X[0])
    np.testing.assert_allclose(rig.T_rig_cam, X, atol=2e-4)
    after = rig.covariance
    assert all(np.trace(a) < 0.2 * np.trace(b) for a, b in zip(after[1:], before[1:], strict=True))
    np.testing.assert_allclose(found.T_cam_obj, T, atol=1e-3)
    assert found.chi2.shape == (3, 3) and found.covariance.shape == (3, 3, 6, 6)


def test_what_no_camera_sees_is_as_predicted() -> None:
    X, O, T = scene(np.random.default_rng(16), cameras=2)
    spread = np.stack([np.diag(SIGMA**2) * k for k in (1.0, 2.0, 3.0)])
    rig = Rig({"left": X[0], "right": X[1]}, 1e-3, 1e-3)
    found = rig.fuse(NAMES, (O, spread), (T, np.zeros((2, 3, 6, 6))), SETTINGS)
    np.testing.assert_allclose(found.object_covariance, spread, rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(found.T_rig_obj, O)
    rig.learn(found.solution)
    np.testing.assert_allclose(rig.covariance[1], 1e-6 * np.eye(6), rtol=1e-6, atol=1e-14)


def test_a_camera_that_sees_nothing_is_told_by_the_others() -> None:
    rng = np.random.default_rng(15)
    X, O, T = scene(rng, cameras=2)
    information = np.stack([[INFORMATION] * 3, [np.zeros((6, 6))] * 3])
    for sigma in (0.0, 1e-3):
        found = fused(Rig({"left": X[0], "right": X[1]}, sigma, sigma), O, T, information)
        np.testing.assert_allclose(found.T_cam_obj[1], T[1], atol=1e-6)
        assert not found.chi2[1].any()
        seen, told = (np.trace(found.covariance[c, 0]) for c in (0, 1))
        assert told == pytest.approx(seen, rel=0.05) if sigma == 0.0 else told > seen
