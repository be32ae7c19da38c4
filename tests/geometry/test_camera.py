"""The camera against OpenCV, against itself and against bad calibrations."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_perception.geometry import Camera, distortion

PLAIN = {"width": 640, "height": 480, "fx": 600.0, "fy": 600.0, "cx": 319.5, "cy": 239.5}


def points_in_view(camera: Camera, rng: np.random.Generator, n: int = 300) -> np.ndarray:
    uv = rng.uniform((-0.5, -0.5), (camera.width - 0.5, camera.height - 0.5), (n, 2))
    return camera.unproject(uv, rng.uniform(0.2, 3.0, n))


def opencv_project(camera: Camera, p: np.ndarray) -> np.ndarray:
    zero, coefficients = np.zeros(3), np.array(camera.distortion or (0.0, 0.0, 0.0, 0.0))
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(p[:, None], zero, zero, camera.K, coefficients)[0][:, 0]
    return cv2.projectPoints(p[:, None], zero, zero, camera.K, coefficients)[0][:, 0]


def test_projection_agrees_with_opencv(camera: Camera, rng: np.random.Generator) -> None:
    p = points_in_view(camera, rng)
    np.testing.assert_allclose(camera.project(p), opencv_project(camera, p), atol=1e-9)


def test_projection_of_the_optical_axis_is_the_principal_point(camera: Camera) -> None:
    np.testing.assert_allclose(camera.project([0.0, 0.0, 1.0]), [camera.cx, camera.cy])


def test_unproject_inverts_project_over_the_whole_image(camera: Camera, rng: np.random.Generator) -> None:
    uv = rng.uniform((-0.5, -0.5), (camera.width - 0.5, camera.height - 0.5), (500, 2))
    depth = rng.uniform(0.1, 5.0, 500)
    p = camera.unproject(uv, depth)
    np.testing.assert_allclose(p[:, 2], depth)
    np.testing.assert_allclose(camera.project(p), uv, atol=1e-6)


@given(st.floats(-0.3, 0.3), st.floats(-0.05, 0.05), st.floats(-2e-3, 2e-3), st.floats(-2e-3, 2e-3))
def test_undistort_inverts_distort_for_any_moderate_lens(k1: float, k2: float, p1: float, p2: float) -> None:
    lens = (k1, k2, p1, p2)
    radius = min(0.9 * distortion.valid_radius("plumb_bob", lens), 0.8)
    angle = np.linspace(0, 2 * np.pi, 17)
    xn = radius * np.linspace(0, 1, 9)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    back = distortion.undistort("plumb_bob", lens, distortion.distort("plumb_bob", lens, xn))
    np.testing.assert_allclose(back, xn, atol=1e-9)  # 1e-6 px at a focal length of 1,000 px


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 60.0, 85.0, 89.0, 89.9])
def test_equidistant_lens_sees_up_to_ninety_degrees(degrees: float) -> None:
    camera = Camera(2000, 2000, 600.0, 600.0, 999.5, 999.5, (0.01, -0.002, 0.0005, -0.0001), "equidistant")
    theta = np.radians(degrees)
    p = np.array([np.sin(theta), 0.0, np.cos(theta)])
    uv = camera.project(p)
    t2 = theta * theta
    k1, k2, k3, k4 = camera.distortion
    radius = theta * (1 + k1 * t2 + k2 * t2**2 + k3 * t2**3 + k4 * t2**4)
    np.testing.assert_allclose(uv, [999.5 + 600.0 * radius, 999.5], atol=1e-9)
    np.testing.assert_allclose(camera.unproject(uv, p[2]), p, atol=1e-9)


def test_points_not_in_front_have_no_pixel(camera: Camera) -> None:
    assert np.all(np.isnan(camera.project([[0.1, 0.0, 0.0], [0.1, 0.0, -1.0]])))


def test_points_beyond_the_fold_of_the_lens_do_not_come_back_into_the_image() -> None:
    camera = Camera(**PLAIN, distortion=(-0.4, 0.0, 0.0, 0.0))
    limit = distortion.valid_radius("plumb_bob", camera.distortion)
    assert limit == pytest.approx(np.sqrt(1 / 1.2))  # 1 + 3 k1 r^2 = 0
    assert np.all(np.isfinite(camera.project([0.99 * limit, 0.0, 1.0])))
    assert np.all(np.isnan(camera.project([1.01 * limit, 0.0, 1.0])))


def test_pixels_no_ray_reaches_are_nan() -> None:
    camera = Camera(**PLAIN, distortion=(-0.9, 0.0, 0.0, 0.0))
    rays = camera.rays()
    assert np.isnan(rays[0, 0]).all()
    assert np.isfinite(rays[240, 320]).all()


def test_project_jacobian_agrees_with_central_differences(camera: Camera, rng: np.random.Generator) -> None:
    p = points_in_view(camera, rng, 50)
    h = 1e-6
    steps = h * np.eye(3)
    numeric = np.stack([(camera.project(p + s) - camera.project(p - s)) / (2 * h) for s in steps], axis=-1)
    np.testing.assert_allclose(camera.project_jacobian(p), numeric, rtol=1e-6, atol=1e-5)


def test_project_jacobian_on_the_axis_is_finite(camera: Camera) -> None:
    expected = [[camera.fx / 2, 0, 0], [0, camera.fy / 2, 0]]
    np.testing.assert_allclose(camera.project_jacobian([0.0, 0.0, 2.0]), expected, atol=1e-9)


def test_rays_are_the_directions_of_pixel_centres(camera: Camera) -> None:
    rays = camera.rays()
    assert rays.shape == (camera.height, camera.width, 2)
    assert rays.dtype == np.float32
    v, u = np.array([[0, 17, 479], [0, 500, 639]])
    p = np.concatenate([rays[v, u].astype(np.float64), np.ones((3, 1))], axis=1)
    np.testing.assert_allclose(camera.project(p), np.stack([u, v], axis=1), atol=2e-4)


def test_rays_are_shared_between_equal_cameras_and_read_only() -> None:
    table = Camera(**PLAIN).rays()
    assert Camera(**PLAIN).rays() is table
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 0.0


def test_batches_keep_their_shape(camera: Camera) -> None:
    p = np.ones((2, 3, 4, 3))
    assert camera.project(p).shape == (2, 3, 4, 2)
    assert camera.project_jacobian(p).shape == (2, 3, 4, 2, 3)
    assert camera.unproject(np.zeros((2, 3, 2)), 1.0).shape == (2, 3, 3)


def test_scaling_keeps_the_corners_of_the_image(camera: Camera) -> None:
    half = camera.scaled(0.5)
    assert (half.width, half.height) == (320, 240)
    for fraction in (0.0, 0.3, 1.0):
        full_uv = np.array([fraction * camera.width - 0.5, fraction * camera.height - 0.5])
        half_uv = np.array([fraction * half.width - 0.5, fraction * half.height - 0.5])
        np.testing.assert_allclose(half.unproject(half_uv, 1.0), camera.unproject(full_uv, 1.0), atol=1e-9)


def test_a_crop_sees_the_same_rays(camera: Camera) -> None:
    crop = camera.cropped(500, 300, 100, 90)
    assert (crop.width, crop.height) == (100, 90)
    np.testing.assert_allclose(crop.rays(), camera.rays()[300:390, 500:600], atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, 1e-6])
def test_scaling_to_nothing_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Camera(**PLAIN).scaled(factor)


def test_matrix_round_trip(camera: Camera) -> None:
    again = Camera.from_matrix(
        camera.K, camera.width, camera.height, camera.distortion, camera.distortion_model
    )
    assert again == camera
    assert hash(again) == hash(camera)


@pytest.mark.parametrize(
    "K", [np.eye(4), [[600, 1, 320], [0, 600, 240], [0, 0, 1]], [[600, 0, 320], [0, 600, 240], [0, 0, 2]]]
)
def test_matrices_that_are_no_calibration_are_refused(K: Any) -> None:
    with pytest.raises(ValueError, match="K must"):
        Camera.from_matrix(K, 640, 480)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width must be a positive whole number of pixels, got 0"),
        ({"height": 480.5}, "height must be a positive whole number of pixels, got 480.5"),
        ({"fx": 0.0}, "fx must be a positive focal length in pixels, got 0.0"),
        ({"fy": -600.0}, "fy must be a positive focal length in pixels, got -600.0"),
        ({"fx": np.nan}, "fx must be finite, got nan"),
        ({"cy": np.inf}, "cy must be finite, got inf"),
        ({"cx": 5000.0}, "cx = 5000.0 px is far outside an image of 640x480"),
        (
            {"distortion": (0.1, 0.2)},
            r"plumb_bob takes 0 or 4 or 5 distortion coefficients, got 2: \(0.1, 0.2\)",
        ),
        (
            {"distortion": (0.1,) * 5, "distortion_model": "rational_polynomial"},
            "rational_polynomial takes 0 or 8",
        ),
        ({"distortion_model": "equidistant"}, "equidistant takes 4 distortion coefficients, got 0"),
        ({"distortion": (0.1, np.nan, 0, 0)}, "distortion coefficients must be finite"),
        ({"distortion_model": "fish"}, "distortion_model must be one of plumb_bob, .* got 'fish'"),
        (
            {"distortion": (0.1,) * 12, "distortion_model": "rational_polynomial"},
            "thin-prism and tilt terms .* not supported",
        ),
    ],
)
def test_bad_calibrations_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Camera(**{**PLAIN, **change})


def test_long_rational_lists_are_cut_when_their_tail_is_zero() -> None:
    lens = (0.1, 0.2, 0.0, 0.0, 0.3, 0.1, 0.1, 0.1)
    assert (
        Camera(**PLAIN, distortion=(*lens, 0, 0, 0, 0), distortion_model="rational_polynomial").distortion
        == lens
    )


def test_validate_image_names_both_sizes_and_the_camera() -> None:
    with pytest.raises(ValueError, match=r"the depth image is 320x240 but its camera .* 640x480 .*fx=600.0"):
        Camera(**PLAIN).validate_image(np.zeros((240, 320)), "depth image")
    Camera(**PLAIN).validate_image(np.zeros((480, 640)), "depth image")
