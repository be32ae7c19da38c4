"""Brightness learned of a surface: what is taken over and left out, and when a pattern is worth comparing."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from row_cases import images_of, poses_at, surface_of

from dr_perception.geometry import Camera, make_transform
from dr_perception.measure.learned_brightness_kernels import (
    Learning,
    LearningRules,
    Texels,
    assess_pattern,
    learn_texels,
    slope_texels,
)

CAMERA = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.6]))
LIGHT = np.array([0.8, 0.0, 0.0, 0.0, 0.04], np.float32)
LEAST_CONTRAST, HIDDEN_M, PARTS = 8.0, 0.02, 3
FRONT = [0.0, 0.0, -1.0]


def images(color, depth=0.6):
    return images_of(CAMERA, np.asarray(color).astype(np.uint8)[..., None], depth)


def rules(parts=PARTS) -> LearningRules:
    made = LearningRules()
    made.margin_m, made.least_contrast, made.parts = HIDDEN_M, LEAST_CONTRAST, parts
    return made


def state(**fields):
    host = np.zeros(1, dtype=Learning.numpy_dtype())
    for name, value in {"light": LIGHT, "contrast": 400.0, "part": 0, **fields}.items():
        host[name] = value
    return wp.array(host, dtype=Learning, device="cpu")


def texels(points, normals=None, brightness=np.nan, sightings=0.0) -> Texels:
    points = np.asarray(points, np.float32)
    n = len(points)
    made = Texels()
    made.points = wp.array(points, dtype=wp.vec3, device="cpu")
    made.normals = wp.array(
        np.broadcast_to(normals or FRONT, (n, 3)).astype(np.float32), dtype=wp.vec3, device="cpu"
    )
    made.brightness = wp.array(
        np.broadcast_to(brightness, n).astype(np.float32).copy(), dtype=float, device="cpu"
    )
    made.sightings = wp.array(
        np.broadcast_to(sightings, n).astype(np.float32).copy(), dtype=float, device="cpu"
    )
    return made


def learned(made: Texels, seen, states=None, parts=PARTS) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and sightings after a frame."""
    inputs = [poses_at(T), seen, rules(parts), states or state()]
    wp.launch(learn_texels, len(made.points), inputs, [made], device="cpu")
    return made.brightness.numpy(), made.sightings.numpy()


def places(n: int) -> np.ndarray:
    """Points of a plane at the object's origin, all in view."""
    x, y = np.meshgrid(np.linspace(-0.15, 0.15, n), np.linspace(-0.1, 0.1, n))
    return np.column_stack([x.ravel(), y.ravel(), np.zeros(n * n)])


def test_texels_take_the_brightness_seen_freed_of_the_light() -> None:
    value = 120
    brightness, sightings = learned(texels(places(3)), images(value))
    np.testing.assert_allclose(brightness, (value - 255.0 * LIGHT[4]) / LIGHT[0], rtol=1e-3)
    assert (sightings == 1.0).all()


def test_texels_are_the_mean_of_what_was_seen_and_the_newest_never_weighs_less_than_a_thirtieth() -> None:
    seen = (100.0 - 255.0 * LIGHT[4]) / LIGHT[0]
    brightness, sightings = learned(texels(places(1), brightness=50.0, sightings=3.0), images(100))
    assert sightings[0] == 4.0 and brightness[0] == pytest.approx(50.0 + (seen - 50.0) / 4.0, rel=1e-3)
    brightness, sightings = learned(texels(places(1), brightness=50.0, sightings=30.0), images(100))
    assert sightings[0] == 30.0 and brightness[0] == pytest.approx(50.0 + (seen - 50.0) / 30.0, rel=1e-3)


def test_of_those_that_are_known_a_frame_teaches_one_part() -> None:
    _, sightings = learned(texels(places(3), brightness=50.0, sightings=2.0), images(100), state(part=1))
    np.testing.assert_array_equal(sightings, np.where(np.arange(9) % PARTS == 1, 3.0, 2.0))


@pytest.mark.parametrize(
    ("normals", "depth"),
    [
        ([0.0, 0.0, 1.0], 0.6),
        ([0.95, 0.0, -0.31], 0.6),
        (FRONT, 0.57),
        (FRONT, 0.63),
        (FRONT, 0.0),
        ([0.0, 0.0, 0.0], 0.6),
    ],
    ids=["facing away", "steep", "hidden", "through", "unmeasured", "unused"],
)
def test_what_is_not_seen_well_teaches_nothing(normals, depth: float) -> None:
    brightness, sightings = learned(texels(np.zeros((2, 3)), normals), images(100, depth))
    assert np.isnan(brightness).all() and not sightings.any()


def test_nothing_is_learned_while_shading_explains_what_is_seen_or_where_it_is_dark() -> None:
    plain = state(contrast=0.4 * LEAST_CONTRAST**2)
    assert not learned(texels(places(2)), images(100), plain)[1].any()
    assert learned(texels(places(2)), images(100), state(contrast=0.6 * LEAST_CONTRAST**2))[1].all()
    shadow = state(light=[0.8, 0.0, 0.0, 0.7, 0.04])  # 0.1 where the surface faces the camera
    assert not learned(texels(places(2)), images(100), shadow)[1].any()


def assessed(pattern, known, states=None, depth=0.6, seen=None):
    """State and verdict after a frame of samples whose surface shows ``pattern`` [levels]."""
    points = places(10)
    pixels = np.rint(points[:, :2] / 0.6 * 150.0 + [79.5, 59.5]).astype(int)
    points[:, :2] = (pixels - [79.5, 59.5]) * 0.6 / 150.0
    color = np.zeros((CAMERA.height, CAMERA.width))
    shown = pattern if seen is None else seen
    for (x, y), value in zip(pixels, LIGHT[0] * shown + 255.0 * LIGHT[4], strict=True):
        color[y - 1 : y + 2, x - 1 : x + 2] = np.rint(value)
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(100, 3)) * [0.2, 0.2, 0.0] + FRONT
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    brightness = np.where(np.arange(100) < known, pattern, np.nan)
    surface = surface_of(point=points, normal=normals, brightness=brightness)
    states = wp.zeros(1, dtype=Learning, device="cpu") if states is None else states
    enabled = wp.zeros(1, dtype=int, device="cpu")
    inputs = [surface, poses_at(T), images(color, depth), rules()]
    wp.launch(assess_pattern, 1, inputs, [states, enabled], device="cpu")
    return states, int(enabled.numpy()[0])


PATTERN = np.random.default_rng(2).uniform(60.0, 200.0, 100)


def test_a_pattern_that_explains_what_is_seen_is_worth_comparing() -> None:
    states, enabled = assessed(PATTERN, 100)
    found = states.numpy()[0]
    spread = LIGHT[0] ** 2 * np.var(PATTERN)
    assert enabled == 1 and found["frames"] == 1
    assert found["plain"] == pytest.approx(spread, rel=0.25)
    assert found["contrast"] == pytest.approx(found["plain"], rel=1e-5)
    assert found["left"] < 0.01 * found["plain"]
    # What all surfaces that face the camera show is as much the one as the other.
    assert found["light"][0] - found["light"][3] == pytest.approx(LIGHT[0], abs=0.03)
    assert found["light"][4] == pytest.approx(LIGHT[4], abs=0.02)


def test_a_pattern_that_is_not_there_or_an_even_surface_is_not() -> None:
    other = np.random.default_rng(3).permutation(PATTERN)
    states, enabled = assessed(PATTERN, 100, seen=other)
    assert enabled == 0 and states.numpy()[0]["left"] > 0.5 * states.numpy()[0]["plain"]
    even = np.full(100, 120.0)
    states, enabled = assessed(even, 100)
    assert enabled == 0 and states.numpy()[0]["plain"] < LEAST_CONTRAST**2


def test_before_enough_is_known_the_light_is_that_of_an_even_surface() -> None:
    states, enabled = assessed(PATTERN, 30)
    found = states.numpy()[0]
    assert enabled == 0 and found["frames"] == 0 and found["plain"] == 0.0
    assert found["light"][4] == 0.0, "an offset cannot be told from shade"
    # An even surface of 128 levels is as bright as the mean of what is seen.
    mean = np.mean(LIGHT[0] * PATTERN + 255.0 * LIGHT[4])
    assert 128.0 * (found["light"][0] - found["light"][3]) == pytest.approx(mean, rel=0.05)
    assert found["contrast"] > 0.0


def test_what_was_compared_is_remembered_over_frames() -> None:
    states, _ = assessed(PATTERN, 100)
    first = states.numpy()[0]["plain"]
    even = np.full(100, 120.0)
    states, _ = assessed(PATTERN, 100, states, seen=even)
    second = states.numpy()[0]
    assert second["frames"] == 2 and second["part"] == 2
    assert second["plain"] == pytest.approx(0.5 * first, rel=0.05)  # the mean of two
    assert second["contrast"] == pytest.approx(0.7 * first, rel=0.05)


def test_what_something_hides_is_not_assessed() -> None:
    states, enabled = assessed(PATTERN, 100, depth=0.5)
    assert enabled == 0 and states.numpy()[0]["contrast"] == 0.0


def sloped(brightness, sightings, left=0.0, gradient=np.nan, part=0, index=0) -> np.ndarray:
    """Gradient [levels/m] of texel ``index`` of four in a cross about the first, a millimetre apart."""
    neighbour = np.tile([1, 2, 3, 4], (5, 1)).astype(np.int32)
    weight = np.zeros((5, 4, 3), np.float32)
    weight[:, :, :2] = [[500.0, 0], [-500.0, 0], [0, 500.0], [0, -500.0]]
    made = texels(np.zeros((5, 3)), brightness=brightness, sightings=sightings)
    out = wp.array(np.full((5, 3), gradient, np.float32), dtype=wp.vec3, device="cpu")
    inputs = [
        wp.array(neighbour, dtype=int, device="cpu"),
        wp.array(weight, dtype=wp.vec3, device="cpu"),
        rules(),
        state(left=left, part=part),
        made,
    ]
    wp.launch(slope_texels, 5, inputs, [out], device="cpu")
    return out.numpy()[index]


def test_a_strong_slope_is_the_difference_of_neighbours() -> None:
    # 40 levels over 2 mm along x: 20,000 a metre; noise of 4 levels takes 4 % of its square.
    g = sloped([100.0, 120.0, 80.0, 100.0, 100.0], 2.0)
    scatter = (4 * 500.0**2) / 2.0
    assert g[0] == pytest.approx(20_000.0 * (1.0 - 16.0 * scatter / 20_000.0**2), rel=1e-4)
    assert g[1] == g[2] == 0.0


def test_a_slope_that_noise_explains_is_none() -> None:
    assert not sloped([100.0, 101.0, 99.0, 100.0, 100.0], 2.0).any()
    noisy = sloped([100.0, 120.0, 80.0, 100.0, 100.0], 2.0, left=300.0)
    calm = sloped([100.0, 120.0, 80.0, 100.0, 100.0], 2.0)
    assert 0.0 < noisy[0] < 0.7 * calm[0]
    once = sloped([100.0, 120.0, 80.0, 100.0, 100.0], 1.0)
    often = sloped([100.0, 120.0, 80.0, 100.0, 100.0], 20.0)
    assert once[0] < calm[0] == often[0]


def test_unknown_neighbours_are_left_out_and_known_gradients_wait_for_their_turn() -> None:
    half = sloped([100.0, 120.0, np.nan, 100.0, 100.0], 5.0)
    assert half[0] == pytest.approx(
        10_000.0 * (1 - 16 * (3 * 500.0**2 + 500.0**2) / 2 / 10_000.0**2), rel=1e-3
    )
    assert np.isnan(sloped([100.0] * 5, 0.0)).all(), "what was never seen has none"
    assert (sloped([100.0, 120.0, 80.0, 100.0, 100.0], 2.0, gradient=7.0, part=1) == 7.0).all()
    assert sloped([100.0, 120.0, 80.0, 100.0, 100.0], 2.0, gradient=7.0, part=0)[0] > 1000.0
