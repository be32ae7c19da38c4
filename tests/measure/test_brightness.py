"""Brightness of an image at a place, whether a place is seen, and the light that explains it."""

import numpy as np
import pytest
import warp as wp

from dr_perception.geometry import Camera
from dr_perception.geometry.camera_warp import CameraParams, camera_params
from dr_perception.measure.brightness import (
    Light,
    LightSquare,
    eliminate,
    is_measured_at,
    is_visible_at,
    is_well_inside,
    light_gain,
    luma_at,
    shade_basis,
    solve_light,
)

CAMERA = Camera(40, 30, 50.0, 50.0, 19.5, 14.5)


@wp.kernel(enable_backward=False)
def look(
    image: wp.array2d[wp.vec3ub],
    depth: wp.array2d[float],
    lens: wp.array[CameraParams],
    places: wp.array[wp.vec2],
    z: float,
    margin_m: float,
    # output
    luma: wp.array[float],
    seen: wp.array[wp.vec3i],
):
    i = wp.tid()
    uv = places[i]
    p = wp.vec3(0.0, 0.0, z)
    inside = is_well_inside(uv, lens[0])
    if inside:
        luma[i] = luma_at(image, uv[0], uv[1])
    visible = is_visible_at(p, uv, lens[0], depth, margin_m)
    measured = is_measured_at(p, uv, lens[0], depth, margin_m)
    seen[i] = wp.vec3i(int(inside), int(visible), int(measured))


def looked(places, color=None, depth=0.0, z=1.0, margin_m=0.02):
    """Brightness (N,) and whether places are inside, visible and measured (N, 3)."""
    shape = (CAMERA.height, CAMERA.width)
    color = np.zeros((*shape, 3), np.uint8) if color is None else color
    depth = np.broadcast_to(np.asarray(depth, np.float32), shape)
    luma = wp.zeros(len(places), dtype=float, device="cpu")
    seen = wp.zeros(len(places), dtype=wp.vec3i, device="cpu")
    inputs = [
        wp.array(color, dtype=wp.vec3ub, device="cpu"),
        wp.array(np.ascontiguousarray(depth), dtype=float, device="cpu"),
        wp.array([camera_params(CAMERA)], dtype=CameraParams, device="cpu"),
        wp.array(np.asarray(places, np.float32), dtype=wp.vec2, device="cpu"),
    ]
    wp.launch(look, len(places), [*inputs, z, margin_m], [luma, seen], device="cpu")
    return luma.numpy(), seen.numpy()


def test_brightness_is_bilinear_luma() -> None:
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (CAMERA.height, CAMERA.width, 3)).astype(np.uint8)
    luma = color @ np.array([0.299, 0.587, 0.114])
    places = np.array([[10.0, 12.0], [10.25, 12.0], [10.0, 12.75], [20.6, 7.3]])
    expected = []
    for u, v in places:
        x, y = int(u), int(v)
        rows = luma[y : y + 2, x : x + 2] @ [1.0 - (u - x), u - x]
        expected.append(rows @ [1.0 - (v - y), v - y])
    np.testing.assert_allclose(looked(places, color)[0], expected, rtol=1e-5)


def test_places_keep_three_pixels_from_the_border() -> None:
    places = [[3.0, 3.0], [2.9, 10.0], [10.0, 2.9], [36.0, 26.0], [36.1, 10.0], [10.0, 26.1]]
    seen = looked(places)[1]
    assert seen[:, 0].tolist() == [1, 0, 0, 1, 0, 0]
    assert seen[:, 1].tolist() == [1, 0, 0, 1, 0, 0], "what is not inside is not visible either"


@pytest.mark.parametrize(
    ("depth", "visible", "measured"),
    [(0.0, 1, 0), (1.0, 1, 1), (0.985, 1, 1), (0.975, 0, 0), (1.015, 1, 1), (1.5, 1, 0)],
)
def test_what_is_visible_may_be_unmeasured_or_farther_and_what_is_measured_agrees(
    depth: float, visible: int, measured: int
) -> None:
    assert looked([[20.0, 15.0]], depth=depth)[1][0].tolist() == [1, visible, measured]


def test_the_nearest_pixel_says_what_hides() -> None:
    depth = np.full((CAMERA.height, CAMERA.width), 1.0)
    depth[15, 20] = 0.5
    seen = looked([[20.4, 15.4], [19.6, 14.6], [20.6, 15.0], [20.0, 15.6]], depth=depth)[1]
    assert seen[:, 1].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("shift", [(2, 0), (-2, 0), (0, 2), (0, -2), (0, 0)])
def test_a_surface_is_measured_where_its_surroundings_are(shift) -> None:
    depth = np.full((CAMERA.height, CAMERA.width), 1.0)
    depth[15 + shift[1], 20 + shift[0]] = 1.2
    assert looked([[20.0, 15.0]], depth=depth)[1][0, 2] == 0
    assert looked([[25.0, 15.0]], depth=depth)[1][0, 2] == 1


def test_nothing_is_seen_behind_the_camera() -> None:
    assert looked([[20.0, 15.0]], depth=0.0, z=-1.0)[1][0].tolist() == [1, 0, 0]
    assert looked([[20.0, 15.0]], depth=-1.0, z=-1.0)[1][0].tolist() == [1, 0, 0]


@wp.kernel(enable_backward=False)
def solve(
    A: wp.array[LightSquare],
    b: wp.array[Light],
    # output
    plain: wp.array[Light],
    light: wp.array[Light],
):
    plain[0] = eliminate(A[0], b[0])
    light[0] = solve_light(A[0], b[0])


def solved(A, b):
    outputs = [wp.zeros(1, dtype=Light, device="cpu") for _ in range(2)]
    inputs = [wp.array(A[None].astype(np.float32), dtype=LightSquare, device="cpu")]
    inputs.append(wp.array(b[None].astype(np.float32), dtype=Light, device="cpu"))
    wp.launch(solve, 1, inputs, outputs, device="cpu")
    return [out.numpy()[0] for out in outputs]


def test_elimination_solves_a_positive_definite_system() -> None:
    rng = np.random.default_rng(3)
    J = rng.normal(size=(20, 5))
    A, b = J.T @ J, rng.normal(size=5)
    np.testing.assert_allclose(solved(A, b)[0], np.linalg.solve(A, b), rtol=1e-4, atol=1e-5)


def test_directions_that_are_not_lit_stay_dark() -> None:
    """All surfaces face one way: what their normal does and what is the same everywhere are one."""
    rng = np.random.default_rng(4)
    brightness = rng.uniform(30.0, 200.0, 300)[:, None]
    basis = np.hstack([brightness, np.zeros((300, 2)), -brightness, np.full((300, 1), 255.0)])
    value = 0.9 * brightness[:, 0] + 10.0
    light = solved(basis.T @ basis, basis.T @ value)[1]
    assert (light[1], light[2]) == (0.0, 0.0)
    np.testing.assert_allclose(basis @ light, value, atol=0.5)
    assert abs(light[0]) < 1.0 and abs(light[3]) < 1.0


@wp.kernel(enable_backward=False)
def shade(
    lights: wp.array[Light],
    normals: wp.array[wp.vec3],
    brightness: wp.array[float],
    # output
    basis: wp.array[Light],
    gains: wp.array[float],
):
    i = wp.tid()
    basis[i] = shade_basis(brightness[i], normals[i])
    gains[i] = light_gain(lights[0], normals[i])


def test_brightness_is_a_gain_of_the_surface_and_an_offset() -> None:
    rng = np.random.default_rng(5)
    light, normals, brightness = rng.normal(size=5), rng.normal(size=(6, 3)), rng.uniform(0, 255, 6)
    basis = wp.zeros(6, dtype=Light, device="cpu")
    gains = wp.zeros(6, dtype=float, device="cpu")
    inputs = [
        wp.array(light[None].astype(np.float32), dtype=Light, device="cpu"),
        wp.array(normals.astype(np.float32), dtype=wp.vec3, device="cpu"),
        wp.array(brightness.astype(np.float32), dtype=float, device="cpu"),
    ]
    wp.launch(shade, 6, inputs, [basis, gains], device="cpu")
    gain = light[0] + normals @ light[1:4]
    np.testing.assert_allclose(gains.numpy(), gain, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(basis.numpy() @ light, gain * brightness + 255.0 * light[4], rtol=1e-4)
