"""Colour rows and the light that they assume, against rays that meet a lit plane."""

import numpy as np
import pytest
import warp as wp
from row_cases import NO_CUTOFF, POSE, central_differences, images_of, poses_at, surface_of, unpack

from dr_perception.device import evidence as ne
from dr_perception.geometry import Camera, transform_points
from dr_perception.measure.brightness import Light
from dr_perception.measure.color import ColorNoise, accumulate_color, fit_light
from dr_perception.measure.modalities import COLOR, MODALITIES

CAMERA = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
POINT = np.array([0.03, -0.02, 0.05])
NORMAL = np.array([0.35, -0.2, -0.9]) / np.linalg.norm([0.35, -0.2, -0.9])
"""Of the surface, in the camera's frame."""
GRADIENT = np.cross(NORMAL, [0.3, 0.9, 0.2]) * 3000.0
"""Of brightness, in the surface, in the camera's frame [levels/m]."""
BRIGHTNESS = 110.0
LIGHT = np.array([0.8, 0.1, -0.05, -0.2, 0.03])
GAIN = LIGHT[0] + LIGHT[1:4] @ NORMAL
SIGMA, LATERAL_PX = 5.0, 0.6
IN_OBJ = POSE[:3, :3].T


def color_noise(**fields):
    noise = ColorNoise()
    values = {
        "sigma": SIGMA, "lateral_px": LATERAL_PX, "cutoff": NO_CUTOFF, "shared_px2": 1.0, "spacing_px": 1.0,
        "hidden_m": 0.02,
    }  # fmt: skip
    for name, value in {**values, **fields}.items():
        setattr(noise, name, value)
    return noise


def images(value=0, depth=0.0):
    """Images that are grey: of one value and one depth each, or of arrays (H, W)."""
    return images_of(CAMERA, np.asarray(value, np.uint8)[..., None], depth)


def color_rows(count=1, seen=images, zoom=1.0, light=LIGHT, active=1, lanes=1, noise=None, **sample):
    """(H, g, sums) of ``count`` equal samples before images."""
    fields = {
        "point": POINT, "normal": IN_OBJ @ NORMAL, "brightness": BRIGHTNESS, "gradient": IN_OBJ @ GRADIENT,
    }  # fmt: skip
    repeated = {k: [v] * count for k, v in {**fields, **sample}.items()}
    surface = surface_of(zoom * CAMERA.fx, **repeated)
    total = wp.zeros((1, len(MODALITIES), ne.NUM_SUMS), dtype=float, device="cpu")
    lights = wp.array(np.asarray(light, np.float32)[None], dtype=Light, device="cpu")
    inputs = [surface, lights, poses_at(POSE, active), seen(), noise or color_noise(), lanes]
    wp.launch(accumulate_color, (1, lanes), inputs, [total], device="cpu")
    return unpack(total, COLOR)


def brightness_seen(T):
    """Of the true surface, lit, where a point of the model at a pose (4, 4) is seen."""
    p = transform_points(T, POINT)
    true = transform_points(POSE, POINT)
    met = p * (NORMAL @ true) / (NORMAL @ p)
    return GAIN * (BRIGHTNESS + GRADIENT @ (met - true)) + 255.0 * LIGHT[4]


def expected_row():
    """Derivative (6,) and variance of the row."""
    J = central_differences(brightness_seen)
    sideways = LATERAL_PX * transform_points(POSE, POINT)[2] / CAMERA.fx
    return J, SIGMA**2 + sideways**2 * J[:3] @ J[:3]


def test_color_row_is_the_derivative_of_the_brightness_along_the_viewing_ray() -> None:
    J, variance = expected_row()
    seen = 100
    residual = brightness_seen(POSE) - seen
    assert 5.0 < abs(residual) < 40.0  # enough to see, and little beside the cut-off
    H, g, sums = color_rows(seen=lambda: images(seen), noise=color_noise(shared_px2=2.0))
    scale = 1.0 / (2.0 * variance)
    np.testing.assert_allclose(H, scale * np.outer(J, J), rtol=1e-2, atol=1e-4 * scale * np.abs(J).max() ** 2)
    np.testing.assert_allclose(g, scale * J * residual, rtol=1e-2, atol=1e-3 * scale * np.abs(g).max())
    p = transform_points(POSE, POINT)
    assert abs(J[:3] @ p) < 1e-3 * np.linalg.norm(J[:3]) * np.linalg.norm(p), "or the test has no projection"
    assert sums[int(ne.ROWS)] == sums[int(ne.INLIERS)] == 1.0
    assert sums[int(ne.CHI2)] == pytest.approx(residual**2 / variance, rel=1e-2)


def test_the_place_of_a_pattern_is_uncertain_where_its_brightness_changes() -> None:
    J, variance = expected_row()
    assert variance > 1.5 * SIGMA**2  # or the test would not see it
    for lateral, expected in ((LATERAL_PX, variance), (0.0, SIGMA**2)):
        H, _, _ = color_rows(seen=lambda: images(100), noise=color_noise(lateral_px=lateral))
        assert H[0, 0] == pytest.approx(J[0] ** 2 / expected, rel=5e-3)


def test_color_rows_say_what_they_explain() -> None:
    expected = round(brightness_seen(POSE))
    noise = color_noise(cutoff=3.0, shared_px2=2.0)
    worst = 3.0**2 / (3.0 * 2.0)
    _, _, right = color_rows(4, lambda: images(expected), noise=noise)
    _, _, wrong = color_rows(4, lambda: images(255), noise=noise)
    assert right[int(ne.GAIN)] == pytest.approx(4 * worst, rel=1e-2)
    assert wrong[int(ne.GAIN)] == pytest.approx(0.0, abs=1e-5)
    assert wrong[int(ne.COST)] == pytest.approx(4 * worst, rel=1e-5)
    assert (right[int(ne.INLIERS)], wrong[int(ne.INLIERS)]) == (4, 0) and not wrong[:27].any()
    assert wrong[int(ne.CHI2)] == 0.0


@pytest.mark.parametrize(("zoom", "rows"), [(1.0, 8.0), (2.0, 32.0), (0.2, 1.0)])
def test_color_samples_share_information_by_their_distance_in_the_image(zoom: float, rows: float) -> None:
    alone, shared = color_rows(3)[0], color_rows(3, zoom=zoom, noise=color_noise(shared_px2=8.0))[0]
    np.testing.assert_allclose(shared, alone / rows, rtol=1e-5)


def test_the_sum_of_color_rows_does_not_depend_on_how_many_threads_share_it() -> None:
    np.testing.assert_allclose(color_rows(7, lanes=3)[2], color_rows(7)[2], rtol=1e-5)


Z = float(transform_points(POSE, POINT)[2])


@pytest.mark.parametrize(("depth", "rows"), [(0.0, 1), (Z, 1), (Z - 0.015, 1), (Z - 0.025, 0), (Z + 0.5, 1)])
def test_what_something_nearer_hides_gives_no_color_row(depth: float, rows: int) -> None:
    assert color_rows(seen=lambda: images(0, depth))[2][int(ne.ROWS)] == rows


@pytest.mark.parametrize(
    "sample",
    [
        {"gradient": [np.nan] * 3},
        {"normal": IN_OBJ @ -NORMAL},
        # Seen at 84 degrees from the normal: its sine of 0.1 is less than the 0.2 that is looked at.
        {"normal": IN_OBJ @ [0.995, 0.0, -0.1]},
        {"point": IN_OBJ @ (np.array([0.4, 0.0, 0.6]) - POSE[:3, 3])},
        {"point": IN_OBJ @ (np.array([0.0, 0.0, -0.6]) - POSE[:3, 3])},
    ],
    ids=["unknown", "facing away", "steep", "outside", "behind"],
)
def test_what_is_not_known_or_not_seen_gives_no_color_row(sample) -> None:
    assert color_rows()[2][int(ne.ROWS)] == 1
    assert not color_rows(**sample)[2].any()


def test_without_light_or_at_rest_there_are_no_color_rows() -> None:
    assert not color_rows(light=np.zeros(5))[2].any()
    assert not color_rows(active=0)[2].any()


def lit_samples(count=120, wrong=0, seed=0, light=LIGHT, depth=None):
    """Samples and images of a pattern under a light, the first ``wrong`` of them overexposed."""
    rng = np.random.default_rng(seed)
    across = np.stack(np.meshgrid(np.arange(12, 148, 8), np.arange(12, 108, 8)), axis=-1).reshape(-1, 2)
    pixels = across[rng.permutation(len(across))[:count]]
    rays = np.column_stack([(pixels - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy], np.ones(count)])
    normals = rng.normal(size=(count, 3)) * [0.5, 0.5, 0.1] - [0.0, 0.0, 1.0]
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    brightness = rng.uniform(30.0, 200.0, count)
    value = brightness * (light[0] + normals @ light[1:4]) + 255.0 * light[4]
    value[:wrong] = 255.0
    color = np.zeros((CAMERA.height, CAMERA.width))
    for (x, y), v in zip(pixels, value, strict=True):
        color[y - 1 : y + 2, x - 1 : x + 2] = np.rint(v)
    points = (0.6 * rays - POSE[:3, 3]) @ POSE[:3, :3]
    surface = surface_of(point=points, normal=normals @ POSE[:3, :3], brightness=brightness)
    return surface, images(color, 0.0 if depth is None else depth)


def fitted(surface, seen, refits=0, enabled=1, noise=None):
    lights = wp.zeros(1, dtype=Light, device="cpu")
    inputs = [surface, poses_at(POSE), seen, noise or color_noise(cutoff=3.0)]
    inputs.append(wp.array([enabled], dtype=int, device="cpu"))
    outputs = [wp.zeros(surface.samples.shape, dtype=float, device="cpu"), lights]
    for k in range(1 + refits):
        wp.launch(fit_light, 1, [*inputs, int(k > 0)], outputs, device="cpu")
    return lights.numpy()[0]


def off(light) -> float:
    """Levels by which a light is off, root mean square over surfaces that face the camera."""
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(200, 3)) * [0.5, 0.5, 0.1] - [0.0, 0.0, 1.0]
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    brightness = rng.uniform(30.0, 200.0, 200)[:, None]
    basis = np.hstack([brightness, brightness * normals, np.full((200, 1), 255.0)])
    return float(np.sqrt(np.mean((basis @ (light - LIGHT)) ** 2)))


def test_the_light_of_a_frame_is_found() -> None:
    assert off(fitted(*lit_samples())) < 1.5


def test_what_a_light_does_not_explain_does_not_bend_it_when_fitted_again() -> None:
    samples, seen = lit_samples(wrong=8)
    noise = color_noise(sigma=12.0, cutoff=3.0)
    bent = off(fitted(samples, seen, noise=noise))
    assert bent > 4.0
    assert off(fitted(samples, seen, refits=1, noise=noise)) < 0.5 * bent


@pytest.mark.parametrize(("count", "some"), [(38, False), (48, True)])
def test_few_samples_give_no_light(count: int, some: bool) -> None:
    assert fitted(*lit_samples(count)).any() == some


def test_hidden_or_unwanted_samples_give_no_light() -> None:
    assert fitted(*lit_samples(depth=0.6)).any()
    assert not fitted(*lit_samples(depth=0.5)).any()
    assert not fitted(*lit_samples(), enabled=0).any()
