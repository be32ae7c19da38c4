"""Columns of consider parameters against central differences of residuals in worlds that have the error."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from row_cases import contour_of, images_of, poses_at, structs, surface_of

from dr_perception.geometry import Camera, make_transform, transform_points
from dr_perception.geometry.se3 import exp_so3
from dr_perception.measure.brightness import Light
from dr_perception.measure.color import ColorNoise
from dr_perception.measure.consider import (
    NAMES,
    NUM_CROSS,
    NUM_PARAMETERS,
    Circumstances,
    consider_color,
    consider_depth,
    consider_lines,
    octant_of,
)
from dr_perception.measure.considered import Sums
from dr_perception.measure.contour_lines import ContourLine
from dr_perception.measure.depth import DepthNoise, DepthPoint
from dr_perception.measure.line_rows import LineNoise

CAMERA = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
POSE = make_transform(exp_so3(np.array([0.2, -0.3, 0.1])), np.array([0.05, -0.03, 0.6]))
CENTER = np.array([0.01, -0.02, 0.015])
POINT = np.array([0.03, -0.02, -0.05])
NORMAL = np.array([0.35, -0.2, -0.9]) / np.linalg.norm([0.35, -0.2, -0.9])
VELOCITY = np.array([0.2, -0.1, 0.3, 0.5, -1.0, 0.7])
SIGMA2 = 4.0e-6
STEPS = dict.fromkeys(NAMES, 1e-4) | {"depth_shift_u": 1e-2, "depth_shift_v": 1e-2, "outline_offset": 1e-2}
SIGHT = {"model_scale", "focal_length", "outline_offset", "surface_1"}
OCTANT = 1  # POINT is right of the centre along x alone


def one(**fields):
    """Fields of one sample."""
    return {name: [value] for name, value in fields.items()}


def at_center():
    """The pose of the model's centre."""
    T = POSE.copy()
    T[:3, 3] += POSE[:3, :3] @ CENTER
    return poses_at(T)


def about(fitted: int = 1, theta=0.0, xi=0.0):
    made = np.zeros(1, dtype=Circumstances.numpy_dtype())
    made["center"], made["velocity"] = CENTER, VELOCITY
    made["fitted"], made["theta"], made["xi"] = fitted, theta, xi
    return wp.array(made, dtype=Circumstances, device="cpu")


def depth_sums(residual_m: float, cutoff: float = 1e6, **known) -> Sums:
    """Sums of one depth sample whose measurement lies that far along its normal."""
    noise = DepthNoise()
    noise.cutoff, noise.shared_px2, noise.spacing_px = cutoff, 1.0, 1.0
    surface = surface_of(CAMERA.fx, **one(point=POINT - CENTER, normal=POSE[:3, :3].T @ NORMAL))
    measured = transform_points(POSE, POINT) + residual_m * NORMAL
    points = structs(DepthPoint, **one(point=measured, variance=SIGMA2))
    sums = wp.zeros((1, NUM_CROSS), dtype=float, device="cpu")
    inputs = [surface, points, at_center(), images_of(CAMERA), noise, about(**known)]
    wp.launch(consider_depth, 1, inputs, [sums], device="cpu")
    return Sums.unpack(sums.numpy()[0])


def depth_residual(name: str, error: float) -> float:
    """Along the assumed normal, of what a sensor with an error measures of the true surface.

    The truth is a model with the error at the same pose; the sensor reads its point with the sensor's error,
    and the reader, who knows of neither, makes a point of the reading.
    """
    point_obj = POINT * (1.0 + (error if name == "model_scale" else 0.0))
    p = transform_points(POSE, point_obj)
    if name == f"surface_{OCTANT}":
        p = p + error * NORMAL
    if name == "depth_delay":
        w, arm = VELOCITY[3:], p - transform_points(POSE, CENTER)
        p = p - error * (VELOCITY[:3] + np.cross(w, arm))
    focal = np.array([CAMERA.fx, CAMERA.fy])
    middle = np.array([CAMERA.cx, CAMERA.cy])
    true_focal = focal * (1.0 + (error if name == "focal_length" else 0.0))
    pixel = true_focal * p[:2] / p[2] + middle
    pixel += [error if name == "depth_shift_u" else 0.0, error if name == "depth_shift_v" else 0.0]
    z = p[2] * (1.0 + (error if name == "depth_scale" else 0.0)) + (error if name == "depth_bias" else 0.0)
    read = np.array([*((pixel - middle) / focal * z), z])
    return float(NORMAL @ (read - transform_points(POSE, POINT)))


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_depth_are_what_each_error_does_to_a_residual(name: str) -> None:
    sums = depth_sums(0.0)
    weight = 1.0 / SIGMA2
    j = NAMES.index(name)
    # H_xt = w J K, and the translation part of J is the normal.
    column = sums.H_xt[:3, j] @ NORMAL / weight
    step = STEPS[name]
    expected = (depth_residual(name, step) - depth_residual(name, -step)) / (2.0 * step)
    assert column == pytest.approx(expected, rel=2e-4, abs=1e-6)
    assert sums.H_tt[j, j] == pytest.approx(weight * expected**2, rel=1e-3, abs=1e-3)


def line_sums(residual_px: float, cutoff: float = 1e6, **known) -> Sums:
    """Sums of one outline that was found that far out."""
    noise = LineNoise()
    noise.cutoff, noise.shared_px, noise.spacing_px = cutoff, 1.0, 1.0
    p = transform_points(POSE, POINT)
    contour = contour_of(CAMERA.fx, **one(point=POINT - CENTER, outward=POSE[:3, :3].T @ outward()))
    found = one(center=CAMERA.project(p), normal=line_normal(), offset=residual_px, variance=0.04)
    line = structs(ContourLine, **found)
    sums = wp.zeros((1, NUM_CROSS), dtype=float, device="cpu")
    inputs = [contour, line, at_center(), images_of(CAMERA), noise, about(**known)]
    wp.launch(consider_lines, 1, inputs, [sums], device="cpu")
    return Sums.unpack(sums.numpy()[0])


def line_normal() -> np.ndarray:
    return np.array([np.cos(0.7), np.sin(0.7)])


def outward() -> np.ndarray:
    return np.array([0.6, 0.7, 0.2]) / np.linalg.norm([0.6, 0.7, 0.2])


def line_residual(name: str, error: float) -> float:
    """Along the line's normal [px], of where the true outline with an error is seen."""
    p = transform_points(POSE, POINT * (1.0 + (error if name == "model_scale" else 0.0)))
    if name == f"surface_{OCTANT}":
        p = p + error * outward()
    focal = np.array([CAMERA.fx, CAMERA.fy]) * (1.0 + (error if name == "focal_length" else 0.0))
    pixel = focal * p[:2] / p[2] + [CAMERA.cx, CAMERA.cy]
    offset = line_normal() @ (pixel - CAMERA.project(transform_points(POSE, POINT)))
    return float(offset + (error if name == "outline_offset" else 0.0))


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_outlines_are_what_each_error_does_to_a_residual(name: str) -> None:
    sums, weight, j, step = line_sums(0.0), 1.0 / 0.04, NAMES.index(name), STEPS[name]
    expected = (line_residual(name, step) - line_residual(name, -step)) / (2.0 * step)
    assert sums.H_tt[j, j] == pytest.approx(weight * expected**2, rel=1e-3, abs=1e-3)
    assert (name in SIGHT) == (expected != 0.0)
    # The sign, by the residual of an outline that was seen farther out.
    found = line_sums(0.5)
    assert found.g_t[j] == pytest.approx(weight * expected * 0.5, rel=1e-3, abs=1e-4)


def test_residuals_pull_parameters_and_are_counted() -> None:
    residual = 1.5e-3
    none, some = depth_sums(0.0), depth_sums(residual)
    weight = 1.0 / SIGMA2
    J = some.H_xt[:3].T @ NORMAL / weight
    np.testing.assert_allclose(some.g_t, weight * residual * J, rtol=2e-3, atol=1e-2)
    assert some.chi2 == pytest.approx(residual**2 / SIGMA2, rel=1e-3)
    assert none.chi2 == pytest.approx(0.0, abs=1e-4) and some.rows == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(some.H[:3, :3], weight * np.outer(NORMAL, NORMAL), rtol=1e-3, atol=1.0)


def test_the_world_has_no_scale() -> None:
    """Model and depths larger by the same share, at a pose as much farther away, are the same images."""
    scale, depth_scale = NAMES.index("model_scale"), NAMES.index("depth_scale")
    center, origin = transform_points(POSE, CENTER), POSE[:3, 3]
    for sums in (depth_sums(2e-3), line_sums(0.3)):
        theta = np.zeros(NUM_PARAMETERS)
        theta[scale], theta[depth_scale] = 1.0, -1.0
        xi = np.array([*origin, 0.0, 0.0, 0.0])
        assert np.allclose(center - origin, POSE[:3, :3] @ CENTER)
        moved = sums.H_xt @ theta + sums.H @ xi
        size = np.abs(sums.H_xt[:, scale]).max()
        np.testing.assert_allclose(moved / size, 0.0, atol=2e-5)


def test_what_all_lines_share_is_no_outlier_where_errors_are_estimated() -> None:
    plain, widened = line_sums(4.0, cutoff=3.0), line_sums(4.0, cutoff=3.0, fitted=0)
    assert plain.H_tt.max() == 0.0
    assert widened.H_tt.max() > 0.0


LEVELS = 0.8
"""Gain of the light: a level of the surface is so much in the image."""
PATTERN = np.cross(NORMAL, [0.3, 0.9, 0.2]) * 2000.0
"""Gradient of brightness in the surface, in the camera's frame [levels/m]."""
BRIGHTNESS, COLOR_SIGMA = 100.0, 5.0


def color_sums(
    value: int, cutoff: float = 1e6, light: float = LEVELS, shared_px2: float = 1.0, **known
) -> Sums:
    """Sums of one sample of a pattern before an image of one brightness."""
    noise = ColorNoise()
    noise.sigma, noise.lateral_px, noise.cutoff, noise.hidden_m = COLOR_SIGMA, 0.0, cutoff, 0.02
    noise.shared_px2, noise.spacing_px = shared_px2, 1.0
    to_obj = POSE[:3, :3].T
    pattern = one(brightness=BRIGHTNESS, gradient=to_obj @ PATTERN)
    surface = surface_of(CAMERA.fx, **one(point=POINT - CENTER, normal=to_obj @ NORMAL), **pattern)
    lights = wp.array(np.array([[light, 0, 0, 0, 0]], np.float32), dtype=Light, device="cpu")
    sums = wp.zeros((1, NUM_CROSS), dtype=float, device="cpu")
    inputs = [surface, lights, at_center(), images_of(CAMERA, value), noise, about(**known)]
    wp.launch(consider_color, 1, inputs, [sums], device="cpu")
    return Sums.unpack(sums.numpy()[0])


def color_residual(name: str, error: float) -> float:
    """By how much less bright the model's point is seen in a world with an error [levels]."""
    p = transform_points(POSE, POINT)
    true = transform_points(POSE, POINT * (1.0 + (error if name == "model_scale" else 0.0)))
    if name == "focal_length":
        true = true * [1.0 + error, 1.0 + error, 1.0]
    met = p * (NORMAL @ true) / (NORMAL @ p)
    return float(LEVELS * PATTERN @ (true - met))


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_patterns_are_what_each_error_does_to_a_residual(name: str) -> None:
    sums, weight, j, step = color_sums(80), COLOR_SIGMA**-2, NAMES.index(name), STEPS[name]
    expected = (color_residual(name, step) - color_residual(name, -step)) / (2.0 * step)
    assert (name in {"model_scale", "focal_length"}) == (expected != 0.0)
    assert sums.H_tt[j, j] == pytest.approx(weight * expected**2, rel=2e-3, abs=1e-3)
    darker = color_sums(70)  # ten levels less than is expected
    assert darker.g_t[j] == pytest.approx(weight * expected * 10.0, rel=1e-2, abs=1e-3)
    J = darker.g / (weight * 10.0)
    np.testing.assert_allclose(darker.H_xt[:, j], weight * J * expected, rtol=1e-2, atol=0.5)


def test_patterns_are_weighed_as_the_solver_weighs_them() -> None:
    assert color_sums(70).rows == pytest.approx(1.0, rel=1e-4)
    assert color_sums(70).chi2 == pytest.approx((10.0 / COLOR_SIGMA) ** 2, rel=1e-3)
    assert color_sums(70, shared_px2=4.0).rows == pytest.approx(0.25, rel=1e-4)
    weight = (1.0 - (2.0 / 3.0) ** 2) ** 2
    assert color_sums(70, cutoff=3.0, fitted=0).rows == pytest.approx(weight, rel=1e-3)
    assert color_sums(160, cutoff=3.0).rows == 0.0
    assert color_sums(70, light=0.0).rows == 0.0


def one_sigma() -> dict[str, tuple[object, float]]:
    """Sums of one row by kind, as functions of its residual, and a standard deviation of it."""
    return {
        "depth": (depth_sums, SIGMA2**0.5),
        "line": (line_sums, 0.2),
        "color": (lambda off, **known: color_sums(80 - round(off), **known), COLOR_SIGMA),
    }


@pytest.mark.parametrize("kind", ["depth", "line", "color"])
def test_a_fitted_pose_is_held_by_the_slope_of_the_pull(kind: str) -> None:
    sums, sigma = one_sigma()[kind]
    for r, free in ((0.0, 1.0), (1.0, None), (1.4, None), (2.0, 0.0)):
        share = (1.0 - r**2 / 9.0) * (1.0 - 5.0 * r**2 / 9.0)
        found = sums(r * sigma, cutoff=3.0).rows
        assert found == pytest.approx(max(share, 0.0) if free is None else free, abs=0.03)


@pytest.mark.parametrize("kind", ["depth", "line", "color"])
def test_outliers_are_told_by_what_known_errors_leave_of_a_residual(kind: str) -> None:
    """A residual of two sigmas that a scale explains, or a motion that goes with it, is no outlier."""
    sums, sigma = one_sigma()[kind]
    plain = sums(2.0 * sigma, cutoff=3.0, fitted=0)
    # Where errors are estimated a line counts by the scatter of all, here of itself.
    squares = 1.2533**-2 if kind == "line" else 4.0
    assert plain.rows == pytest.approx((1.0 - squares / 9.0) ** 2, abs=0.03)
    scale = NAMES.index("model_scale")
    column = sums(0.0).H_xt[:, scale] @ sums(0.0).H[:, 0] / (sums(0.0).H[:, 0] @ sums(0.0).H[:, 0])
    J = np.array([sums(0.0).H[0, 0], *sums(0.0).H[0, 1:]]) / np.sqrt(sums(0.0).H[0, 0]) * sigma
    theta = np.zeros(len(NAMES))
    theta[scale] = 2.0 * sigma / (column * J[0])
    explained = sums(2.0 * sigma, cutoff=3.0, fitted=0, theta=theta)
    assert explained.rows == pytest.approx(1.0, abs=0.03)
    assert explained.chi2 == pytest.approx(4.0, rel=0.1), "the residual itself stays"
    for kept in (slice(0, 3), slice(3, 6)):  # by moving alone, or by turning alone
        xi = np.zeros(6)
        xi[kept] = 2.0 * sigma * J[kept] / (J[kept] @ J[kept])
        assert sums(2.0 * sigma, cutoff=3.0, fitted=0, xi=xi).rows == pytest.approx(1.0, abs=0.03)
    twice = max(1.0 - 4.0 * squares / 9.0, 0.0) ** 2
    for wrong in ({"theta": -theta}, {"xi": -xi}):
        assert sums(2.0 * sigma, cutoff=3.0, fitted=0, **wrong).rows == pytest.approx(twice, abs=0.03)


@wp.kernel(enable_backward=False)
def find_octants(
    points: wp.array[wp.vec3],
    # output
    octants: wp.array[int],
):
    i = wp.tid()
    octants[i] = octant_of(points[i])


def test_every_octant_has_a_number_of_its_own() -> None:
    signs = np.array([[1 if k & bit else -1 for bit in (1, 2, 4)] for k in range(8)])
    points = signs * np.array([0.01, 0.02, 0.03])
    found = wp.zeros(8, dtype=int, device="cpu")
    wp.launch(find_octants, 8, [wp.array(points, dtype=wp.vec3, device="cpu")], [found], device="cpu")
    assert found.numpy().tolist() == list(range(8))
