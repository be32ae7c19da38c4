"""A shift of the depth image that is certain is taken out of the frames, and poses come right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import CAMERA, PERIOD_NS, make_model, pose_error, poses, render

from dr_perception.estimate.consider import Component
from dr_perception.estimate.mixture import Weighted
from dr_perception.geometry import Frame
from dr_perception.measure.consider import NAMES, NUM_PARAMETERS
from dr_perception.tracking import Status, Tracker, TrackerConfig
from dr_perception.tracking.registration import Registration, shifted_back

U, V = NAMES.index("depth_shift_u"), NAMES.index("depth_shift_v")


def known(u_px: float, v_px: float, sigma_px: float) -> Weighted:
    """One component with a shift known to a standard deviation."""
    mean = np.zeros((1, NUM_PARAMETERS))
    mean[0, [U, V]] = u_px, v_px
    variance = np.zeros(NUM_PARAMETERS)
    variance[[U, V]] = sigma_px**2
    return Weighted(np.ones(1), Component(np.zeros(1), mean, np.diag(variance)[None]))


def taken_out(registration: Registration) -> list[float]:
    """Columns and rows that are taken out of the next frame."""
    registration.corrected(Frame(None, np.ones((CAMERA.height, CAMERA.width), np.float32), CAMERA))
    return registration.taken_out[[U, V]].tolist()


@pytest.mark.parametrize(("u_px", "v_px"), [(0, 0), (3, 0), (-2, 5), (4, -7), (9, 9), (-12, 0)])
def test_a_depth_image_moves_back_and_nothing_is_made_up_at_its_edges(u_px: int, v_px: int) -> None:
    depth = np.random.default_rng(0).uniform(0.5, 1.0, (7, 9)).astype(np.float32)
    back = shifted_back(depth, u_px, v_px)
    assert back.dtype == depth.dtype
    for y in range(7):
        for x in range(9):
            inside = 0 <= y + v_px < 7 and 0 <= x + u_px < 9
            assert back[y, x] == (depth[y + v_px, x + u_px] if inside else 0.0)


def test_only_a_shift_that_is_certain_is_taken_out_and_by_whole_pixels() -> None:
    registration = Registration()
    registration.learn(known(6.0, 0.0, 2.0))
    registration.learn(known(0.7, -0.7, 0.01))
    assert taken_out(registration) == [0.0, 0.0]
    registration.learn(known(6.4, -0.7, 0.2))
    assert not registration.taken_out.any()  # the newest frame still shows it
    assert taken_out(registration) == [6.0, 0.0]
    registration.learn(known(6.6, -2.2, 0.2))  # less than a pixel from what is taken out, and one more
    assert taken_out(registration) == [6.0, -2.0]
    # A shift of 8 px or none, as likely as each other, is not one of 4.
    both = known(8.0, 0.0, 0.1)
    mean = np.concatenate([both.components.mean, np.zeros((1, NUM_PARAMETERS))])
    covariance = np.repeat(both.components.covariance, 2, axis=0)
    undecided = Weighted(np.array([0.5, 0.5]), Component(np.zeros(2), mean, covariance))
    fresh = Registration()
    fresh.learn(undecided)
    assert taken_out(fresh) == [0.0, 0.0]


def test_frames_stay_as_they_are_while_nothing_is_known() -> None:
    frame = Frame(None, np.ones((CAMERA.height, CAMERA.width), np.float32), CAMERA)
    registration = Registration()
    assert registration.corrected(frame) is frame
    registration.learn(known(2.0, 0.0, 0.1))
    assert registration.corrected(frame).depth[:, -2:].max() == 0.0
    color = Frame(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), None, CAMERA)
    assert registration.corrected(color) is color


def test_poses_come_right_with_a_depth_image_that_is_not_registered() -> None:
    model, T = make_model("mug"), poses("mug", 40)
    frames = [render({"mug": (model.mesh, T[i])}, stamp_ns=i * PERIOD_NS, seed=i) for i in range(40)]
    shifted = [replace(f, depth=shifted_back(f.depth, -6, 2)) for f in frames]
    tracker = Tracker({"mug": model}, TrackerConfig(threads=1))
    tracker.start(shifted[0], {"mug": T[0]})
    results = [tracker.track(frame) for frame in shifted[1:]]
    errors = [
        pose_error(r.objects["mug"].T_cam_obj, t, model)[0] for r, t in zip(results, T[1:], strict=True)
    ]
    assert results[-1].objects["mug"].status is Status.TRACKING
    assert np.median(errors[:3]) > 4.0 and np.median(errors[-10:]) < 1.0
    (finding,) = [f for f in results[-1].diagnosis if "depth_shift" in f.kind]
    assert abs(finding.value - 6.0) < 0.5 or abs(finding.value + 2.0) < 0.5
