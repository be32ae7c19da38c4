"""Which error of model, calibration or sensor is named, from sums as frames with that error give them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dr_perception.estimate.finding import Finding
from dr_perception.geometry import Camera, Frame
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.hypothesis.errors import error_model
from dr_perception.measure.config import SensorConfig
from dr_perception.measure.consider import NAMES, NUM_PARAMETERS
from dr_perception.measure.considered import Considered, Sums
from dr_perception.tracking.diagnosis import Diagnosis, row_variance

SIGMA_M = 0.002
ROWS = 400
NO_PRIOR = np.zeros((6, 6))
WHOLE = (200.0, 0.0)
"""Contour points of a frame, and those beyond which the object goes on."""
INDEX = {name: k for k, name in enumerate(NAMES)}
MODEL = error_model(SensorConfig(), BodyConfig())


def surface(rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Depth rows of a body of a decimetre: Jacobians (N, 6), columns (N, T) and points (N, 3) [m]."""
    arms = rng.uniform(-0.05, 0.05, (ROWS, 3))
    normals = rng.normal(size=(ROWS, 3)) * [1.0, 1.0, 0.7]
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    center = np.array([*rng.uniform(-0.15, 0.15, 2), rng.uniform(0.4, 0.8)])
    p = center + arms
    velocity = rng.normal(size=3) * 0.3
    K = np.zeros((ROWS, NUM_PARAMETERS))
    a = normals
    K[:, INDEX["model_scale"]] = np.einsum("ni,ni->n", a, arms)
    K[:, INDEX["focal_length"]] = np.einsum("ni,ni->n", a[:, :2], p[:, :2])
    K[:, INDEX["depth_bias"]] = np.einsum("ni,ni->n", a, p) / p[:, 2]
    K[:, INDEX["depth_scale"]] = np.einsum("ni,ni->n", a, p)
    K[:, INDEX["depth_shift_u"]] = a[:, 0] * p[:, 2] / 600.0
    K[:, INDEX["depth_shift_v"]] = a[:, 1] * p[:, 2] / 600.0
    K[:, INDEX["depth_delay"]] = -a @ velocity
    octant = (arms > 0.0) @ np.array([1, 2, 4])
    K[np.arange(ROWS), INDEX["surface_0"] + octant] = 1.0
    return np.hstack([a, np.cross(arms, a)]), K, p


def outline(rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Rows of outlines: half a pixel each, at 600 pixels a radian, scaled to the noise of a depth."""
    arms = rng.uniform(-0.05, 0.05, (ROWS, 3))
    angle = rng.uniform(0.0, 2.0 * np.pi, ROWS)
    a = 600.0 / 0.6 * np.column_stack([np.cos(angle), np.sin(angle), np.zeros(ROWS)])
    K = np.zeros((ROWS, NUM_PARAMETERS))
    K[:, INDEX["model_scale"]] = np.einsum("ni,ni->n", a, arms)
    K[:, INDEX["focal_length"]] = np.einsum("ni,ni->n", a[:, :2], arms[:, :2])
    K[:, INDEX["outline_offset"]] = 1.0
    scale = SIGMA_M / 0.5
    return scale * np.hstack([a, np.cross(arms, a)]), scale * K


def frame(rng: np.random.Generator, theta: NDArray, noise: float = 1.0) -> Considered:
    """Sums of a frame in a world with errors ``theta`` (T,), its noise ``noise`` times what rows claim."""
    (J, K, _), (J_line, K_line) = surface(rng), outline(rng)
    J, K = np.vstack([J, J_line]), np.vstack([K, K_line])
    r = K @ theta + noise * SIGMA_M * rng.normal(size=len(J))
    r -= J @ np.linalg.lstsq(J, r, rcond=None)[0]  # the pose was fitted to these rows
    w = SIGMA_M**-2
    chi2 = w * float(r @ r)
    sums = Sums(w * J.T @ J, w * J.T @ r, w * J.T @ K, w * K.T @ K, w * K.T @ r, chi2, float(len(r)))
    return Considered(sums, sums)


def usual(rng: np.random.Generator) -> NDArray:
    """Errors (T,) as a calibrated camera and a true model have them."""
    return MODEL.usual * rng.normal(size=NUM_PARAMETERS)


def taken_out(diagnosis: Diagnosis) -> NDArray:
    """Errors (T,) that the next frame does not show any more."""
    diagnosis.registration.corrected(
        Frame(None, np.ones((2, 2), np.float32), Camera(2, 2, 1.0, 1.0, 0.5, 0.5))
    )
    return diagnosis.registration.taken_out.copy()


def diagnosed(
    error: dict[str, float], frames: int = 12, seed: int = 0, noise: float = 1.0, contour=WHOLE
) -> tuple[Diagnosis, NDArray]:
    """A diagnosis after frames of one body with usual errors but for those given, and the last covariance."""
    rng = np.random.default_rng(seed)
    theta = usual(rng)
    for name, value in error.items():
        theta[INDEX[name]] = value
    diagnosis = Diagnosis(SensorConfig(), BodyConfig())
    added = np.zeros((6, 6))
    for _ in range(frames):
        left = theta - taken_out(diagnosis)
        added = diagnosis.add("mug", frame(rng, left, noise), NO_PRIOR, contour).second_moment
    return diagnosis, added


def test_what_is_right_has_no_finding_and_a_small_covariance() -> None:
    sizes = []
    for seed in range(10):
        diagnosis, added = diagnosed({}, seed=seed)
        assert diagnosis.findings == ()
        assert not diagnosis.has_doubts
        np.testing.assert_allclose(added, added.T, atol=1e-18)
        assert np.linalg.eigvalsh(added).min() > -1e-15
        sizes.append(np.sqrt(np.diag(added)))
    # A usual bias and scale of depth at 0.8 m are 0.5 mm along the optical axis.
    assert (np.max(sizes, axis=0) < [3e-4, 3e-4, 1.5e-3, 4e-3, 4e-3, 4e-3]).all()
    assert (np.median(sizes, axis=0) < [5e-5, 5e-5, 1e-3, 1.5e-3, 1.5e-3, 1.5e-3]).all()
    # Before anything was measured the prior of gross errors speaks.
    rng = np.random.default_rng(0)
    untold = Diagnosis(SensorConfig(), BodyConfig()).of_pose("mug", frame(rng, usual(rng)).used, NO_PRIOR)
    untold = untold.second_moment
    assert np.trace(untold[:3, :3]) > 20.0 * np.trace(diagnosed({})[1][:3, :3])


ERRORS = {
    "model_scale": (0.04, "mug", "%", 100.0),
    "focal_length": (-0.03, "camera", "%", 100.0),
    "depth_bias": (0.006, "depth", "mm", 1000.0),
    "depth_scale": (-0.03, "depth", "%", 100.0),
    "depth_delay": (0.02, "depth", "ms", 1000.0),
}


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", list(ERRORS))
def test_an_error_is_named_with_its_value(name: str, sign: float) -> None:
    value, subject, unit, factor = ERRORS[name]
    diagnosis, _ = diagnosed({name: sign * value})
    (finding,) = diagnosis.findings
    assert name in finding.kind.split("|")
    assert diagnosis.has_doubts
    if finding.kind == name:
        assert finding.subject == subject
        check_value(finding, sign * value)
        check_text(finding, unit, factor)


def check_value(finding: Finding, value: float) -> None:
    assert abs(finding.value - value) < max(4.0 * finding.sigma, 0.05 * abs(value))
    assert 0.0 < finding.sigma < 0.3 * abs(value)


def check_text(finding: Finding, unit: str, factor: float) -> None:
    """The text states the value and its sigma, and their unit."""
    found = re.search(r"([-\d.]+) \+- ([\d.]+) (%|mm|px|ms)", finding.text)
    assert found is not None, finding.text
    assert found[3] == unit
    assert float(found[1]) == pytest.approx(factor * finding.value, abs=0.006)
    assert float(found[2]) == pytest.approx(factor * finding.sigma, abs=0.006)


@pytest.mark.parametrize(("name", "value"), [("depth_shift_u", 4.0), ("depth_shift_v", -5.0)])
def test_a_shift_of_the_depth_is_named_with_the_value_of_its_larger_part(name: str, value: float) -> None:
    diagnosis, _ = diagnosed({name: value})
    (finding,) = diagnosis.findings
    assert finding.kind == "depth_shift" and finding.subject == "depth"
    check_value(finding, value)
    check_text(finding, "px", 1.0)
    np.testing.assert_allclose(taken_out(diagnosis)[INDEX[name]], value, atol=0.76)
    assert np.count_nonzero(taken_out(diagnosis)) == 1


def test_what_is_taken_out_of_the_frames_moves_no_pose_any_more() -> None:
    """The covariance of a pose holds what is left of the shift, not what is known of it."""
    rng = np.random.default_rng(2)
    diagnosis, added = diagnosed({"depth_shift_u": 4.0})
    diagnosis.registration.taken_out[:] = 0.0
    uncorrected = diagnosis.of_pose("mug", frame(rng, usual(rng)).used, NO_PRIOR).second_moment
    assert added[0, 0] < 0.1 * uncorrected[0, 0]
    # Outliers among the rows of a corrected frame are told by what is left in them.
    taken_out(diagnosis)
    left = diagnosis.estimate("mug")
    assert left is not None and abs(left[INDEX["depth_shift_u"]]) < 0.8


def test_rows_that_were_weighed_without_an_error_fade_once_it_is_known() -> None:
    """While an error is unknown, rows show 0.6 of it here; noise of the estimate takes nothing away."""
    rng = np.random.default_rng(3)
    theta = usual(rng)
    theta[INDEX["model_scale"]] = 0.04
    diagnosis = Diagnosis(SensorConfig(), BodyConfig())
    for _ in range(12):
        at = diagnosis.estimate("mug")
        diagnosis.add("mug", frame(rng, theta if at is not None else 0.6 * theta), NO_PRIOR, WHOLE, at)
    (finding,) = diagnosis.findings
    assert finding.value == pytest.approx(0.04, rel=0.05)
    assert diagnosis._said["mug"].rows > 0.8 * 11 * (2 * ROWS - 6)


def test_errors_that_the_images_do_not_tell_apart_are_named_together() -> None:
    """Seen at rest a delay is nothing; depths too large by a share are, at one distance, a bias."""
    rng = np.random.default_rng(1)
    theta = usual(rng)
    theta[INDEX["depth_bias"]] = 0.006
    diagnosis = Diagnosis(SensorConfig(), BodyConfig())
    one = frame(rng, theta)
    diagnosis.add("mug", one, NO_PRIOR, WHOLE)
    for finding in diagnosis.findings:
        kinds = finding.kind.split("|")
        assert "depth_bias" in kinds
        if len(kinds) > 1:
            assert "do not tell" in finding.text and all(kind in finding.text for kind in kinds[1:])


def test_the_covariance_holds_what_an_error_does_to_the_pose() -> None:
    theta = usual(np.random.default_rng(0))  # as those of `diagnosed`
    theta[INDEX["depth_bias"]] = 0.006
    J, K, _ = surface(np.random.default_rng(3))
    w = SIGMA_M**-2
    sums = Sums(
        w * J.T @ J, np.zeros(6), w * J.T @ K, w * K.T @ K, np.zeros(NUM_PARAMETERS), float(ROWS), float(ROWS)
    )
    off = np.linalg.lstsq(J, K @ theta, rcond=None)[0]
    diagnosis, _ = diagnosed({"depth_bias": 0.006})
    added = diagnosis.of_pose("mug", sums, NO_PRIOR).second_moment
    share = off @ np.linalg.solve(added + 1e-12 * np.eye(6), off)
    assert 0.05 < share < 6.0
    clean, _ = diagnosed({})
    unaware = clean.of_pose("mug", sums, NO_PRIOR).second_moment
    assert off @ np.linalg.solve(unaware + 1e-12 * np.eye(6), off) > 20.0
    # A prior that holds the pose keeps errors from moving it.
    held = diagnosis.of_pose("mug", sums, 1e4 * sums.H).second_moment
    assert np.trace(held) < 1e-4 * np.trace(added)


def test_residuals_that_no_error_explains_are_blamed_on_the_model() -> None:
    diagnosis, wide = diagnosed({}, noise=1.5)
    (finding,) = diagnosis.findings
    assert (finding.kind, finding.subject) == ("model_wrong", "mug")
    assert finding.value == pytest.approx(1.5**2, rel=0.1)
    assert finding.sigma == pytest.approx(np.sqrt(2.0 / (12 * (2 * ROWS - 6))), rel=1e-6)
    assert f"{np.sqrt(finding.value):.1f} times" in finding.text
    assert np.trace(wide) > 10.0 * np.trace(diagnosed({})[1])


def test_a_model_beyond_whose_edge_the_object_goes_on_is_incomplete() -> None:
    diagnosis, _ = diagnosed({}, contour=(200.0, 30.0))
    (finding,) = diagnosis.findings
    assert (finding.kind, finding.subject) == ("model_incomplete", "mug")
    assert finding.value == pytest.approx(0.15)
    assert finding.sigma == pytest.approx(np.sqrt(0.15 * 0.85 / (12 * 200.0)))
    assert "15 %" in finding.text
    assert diagnosed({}, contour=(200.0, 6.0))[0].findings == ()  # three of a hundred: noise of depths
    assert diagnosed({}, contour=(3.0, 0.5))[0].findings == ()  # too few to say
    both, _ = diagnosed({}, noise=1.5, contour=(200.0, 30.0))
    assert [f.kind for f in both.findings] == ["model_incomplete", "model_wrong"]


def test_noise_that_is_as_claimed_or_few_rows_are_no_reason_to_doubt_the_model() -> None:
    assert diagnosed({}, noise=1.05)[0].findings == ()
    rng = np.random.default_rng(5)
    one = frame(rng, usual(rng), noise=2.0).far
    few = Sums(*(s / 20.0 for s in (one.H, one.g, one.H_xt, one.H_tt, one.g_t, one.chi2, one.rows)))
    diagnosis = Diagnosis(SensorConfig(), BodyConfig())
    diagnosis.add("mug", Considered(few, few), NO_PRIOR, WHOLE)
    assert not any("model_wrong" in f.kind for f in diagnosis.findings)


def several(subject_of: Callable[[str], dict[str, float]], names=("mug", "box"), frames=10) -> Diagnosis:
    """A diagnosis of several bodies before one camera; ``subject_of`` gives errors by body or "camera"."""
    rng = np.random.default_rng(7)
    camera = {**subject_of("camera")}
    thetas = {}
    shared = usual(rng)
    for name in names:
        theta = usual(rng)
        theta[1:7] = shared[1:7]
        for key, value in {**subject_of(name), **camera}.items():
            theta[INDEX[key]] = value
        thetas[name] = theta
    diagnosis = Diagnosis(SensorConfig(), BodyConfig())
    for _ in range(frames):
        for name in names:
            left = thetas[name] - taken_out(diagnosis)
            diagnosis.add(name, frame(rng, left), NO_PRIOR, WHOLE)
    return diagnosis


def test_bodies_share_a_camera_and_not_their_size() -> None:
    one = several(lambda who: {"model_scale": 0.04} if who == "box" else {})
    (finding,) = one.findings
    assert (finding.kind, finding.subject) == ("model_scale", "box")
    check_value(finding, 0.04)
    both = several(lambda who: {"focal_length": 0.02} if who == "camera" else {})
    (finding,) = both.findings
    assert (finding.kind, finding.subject) == ("focal_length", "camera")
    check_value(finding, 0.02)


def test_what_is_wrong_with_all_models_alike_is_said_of_the_models() -> None:
    """One source, read in the wrong unit or scaled by its maker, is more probable than two accidents."""
    same = several(lambda who: {} if who == "camera" else {"model_scale": 0.04})
    (finding,) = same.findings
    assert finding.subject == "models" and "model_scale" in finding.kind.split("|")
    assert finding.text.startswith("of all models: ")
    check_value(finding, 0.04)


def test_what_one_body_says_of_the_camera_serves_another() -> None:
    diagnosis = several(lambda who: {"depth_shift_u": 4.0} if who == "camera" else {}, names=("mug",))
    rng = np.random.default_rng(9)
    theta = usual(rng)
    diagnosis.registration.taken_out[:] = 0.0  # nothing was taken out of the frame below
    theta[INDEX["depth_shift_u"]] = 4.0
    rest = Sums(*(0.0 * s for s in frame(rng, theta).far.__dict__.values()))
    assert isinstance(rest, Sums)
    used = frame(rng, theta).used
    told = diagnosis.add("box", Considered(used, rest), NO_PRIOR, WHOLE).second_moment
    # What moves the box, of which nothing was measured, is the shift alone.
    toward = np.linalg.solve(used.H, used.H_xt[:, INDEX["depth_shift_u"]])
    share = 4.0 * toward @ np.linalg.solve(told + 1e-12 * np.eye(6), 4.0 * toward)
    assert 0.05 < share < 6.0


def test_what_was_said_of_an_object_is_forgotten_with_it() -> None:
    diagnosis = several(lambda who: {"model_scale": 0.04} if who == "box" else {})
    diagnosis.forget("box")
    rng = np.random.default_rng(11)
    diagnosis.add("mug", frame(rng, usual(rng)), NO_PRIOR, WHOLE)
    assert diagnosis.findings == ()
    wrong, _ = diagnosed({}, noise=1.5)
    assert wrong.findings
    wrong.forget("mug")
    assert wrong.findings == () and not wrong.has_doubts


def test_a_body_that_was_never_measured_has_the_errors_that_settings_expect() -> None:
    rng = np.random.default_rng(13)
    used = frame(rng, usual(rng)).used
    added = Diagnosis(SensorConfig(), BodyConfig()).of_pose("mug", used, NO_PRIOR).second_moment
    A = np.linalg.solve(used.H, used.H_xt)
    M = MODEL.second_moment()
    left = np.trace((used.H_tt - used.H_xt.T @ A) @ M) / used.rows
    expected = A @ M @ A.T + 0.07 * left * row_variance(used)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(added / scale, expected / scale, atol=1e-4)


def test_settings_reach_the_parameters_that_they_are_named_for() -> None:
    sensor, body = SensorConfig(), BodyConfig()
    expected = {
        "model_scale": (body.usual_scale, body.gross_scale),
        "focal_length": (sensor.usual.focal_length, sensor.gross.focal_length),
        "depth_bias": (sensor.usual.depth_bias_m, sensor.gross.depth_bias_m),
        "depth_scale": (sensor.usual.depth_scale, sensor.gross.depth_scale),
        "depth_shift_u": (sensor.usual.depth_shift_px, sensor.gross.depth_shift_px),
        "depth_shift_v": (sensor.usual.depth_shift_px, sensor.gross.depth_shift_px),
        "depth_delay": (sensor.usual.depth_delay_s, sensor.gross.depth_delay_s),
        "outline_offset": (sensor.usual.outline_px, sensor.gross.outline_px),
        "surface_3": (body.usual_surface_m, body.gross_surface_m),
    }
    for name, values in expected.items():
        assert (MODEL.usual[INDEX[name]], MODEL.gross[INDEX[name]]) == values
    shared = [NAMES[k] for k in MODEL.shared]
    assert shared == [
        "focal_length",
        "depth_bias",
        "depth_scale",
        "depth_shift_u",
        "depth_shift_v",
        "depth_delay",
    ]


def test_a_single_row_is_as_uncertain_as_the_mean_of_them() -> None:
    H = np.diag([4.0e8, 1.0e8, 1.0e8, 2.0e6, 1.0e6, 0.0])
    nothing = np.zeros((NUM_PARAMETERS, NUM_PARAMETERS))
    sums = Sums(H, np.zeros(6), nothing[:6], nothing, nothing[0], 0.0, 100.0)
    variances = np.diag(row_variance(sums))
    np.testing.assert_allclose(variances, [5.0e-7] * 3 + [1.0e-4] * 3)
    blind = Sums(0.0 * H, np.zeros(6), nothing[:6], nothing, nothing[0], 0.0, 100.0)
    np.testing.assert_allclose(np.diag(row_variance(blind)), [0.01] * 3 + [1.0] * 3)


def test_a_model_is_called_mirrored_when_three_frames_say_so() -> None:
    diagnosis = Diagnosis(SensorConfig(), BodyConfig())
    rng = np.random.default_rng(17)

    def told(*log_ratios: float) -> list[str]:
        diagnosis.forget("mug")
        theta = usual(rng)
        for log_ratio in log_ratios:
            diagnosis.add("mug", frame(rng, theta), NO_PRIOR, WHOLE)
            diagnosis.compare_mirrored("mug", log_ratio)
        diagnosis.add("mug", frame(rng, theta), NO_PRIOR, WHOLE)
        return [finding.kind for finding in diagnosis.findings]

    assert told(30.0, 30.0) == []
    assert told(30.0, 30.0, 30.0) == ["model_mirrored"]
    assert told(*[3.0] * 20) == [], "what is weak in every frame stays so"
    assert told(30.0, 30.0, -30.0, 30.0) == []
    assert told(-30.0, *[30.0] * 40) == ["model_mirrored"]
