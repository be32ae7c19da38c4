"""Measured outlines against synthetic edges whose place is known to a small part of a pixel."""

import numpy as np
import pytest
import warp as wp
from row_cases import contour_of, images_of, poses_at
from scipy.special import ndtr

from dr_perception.geometry import Camera
from dr_perception.measure.contour_lines import HIDDEN_LINE, NO_OUTLINE, ContourLine, LineSearch
from dr_perception.measure.region_lines import NUM_BINS, measure_lines_by_region
from dr_perception.measure.step_lines import StepWindow, measure_lines_by_step, sharpen_lines
from dr_perception.view import contour

SIZE, FOCAL = 64, 100.0
CAMERA = Camera(SIZE, SIZE, FOCAL, FOCAL, 31.5, 31.5)
INNER, OUTER = np.array([190.0, 70.0, 60.0]), np.array([60.0, 90.0, 140.0])


def edge_image(angle, position, blur=0.3, inner=INNER, outer=OUTER, noise=0.0, seed=0):
    """RGB image of a straight edge at a signed distance [px] from the middle, inner colour on the near side.

    Each pixel is the mean over its area of a step blurred by a Gaussian [px].
    """
    normal = np.array([np.cos(angle), np.sin(angle)])
    fine = (np.arange(8) + 0.5) / 8.0 - 0.5
    coordinates = (np.arange(SIZE)[:, None] + fine).reshape(-1) - 31.5
    distance = coordinates[None, :] * normal[0] + coordinates[:, None] * normal[1] - position
    share = ndtr(-distance / max(blur, 1e-6)).reshape(SIZE, 8, SIZE, 8).mean(axis=(1, 3))
    image = outer + share[..., None] * (inner - outer)
    image += np.random.default_rng(seed).normal(0.0, noise, image.shape) if noise else 0.0
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def search(**settings):
    made = LineSearch()
    defaults = {
        "reach": 10, "step_px": 1.0, "sharpness": 0.3, "prior_sigma_px": 6.0,
        "occlusion_m": 0.02, "floor_px": 0.0, "inner_floor_px": 0.0, "color_sigma": 2.0,
    }  # fmt: skip
    for key, value in {**defaults, **settings}.items():
        setattr(made, key, value)
    return made


def window(half, level):
    made = StepWindow()
    made.half, made.level = half, level
    return made


def measure(kernel, image, angle, extra, settings, along=(0.0,), kind=0, depth=None):
    """Lines of contour points at the middle, moved along the edge by pixels; the model is at 1 m."""
    n = len(along)
    normal, tangent = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    points = np.column_stack([np.outer(along, tangent) / FOCAL, np.ones(n)])
    contour = contour_of(point=points, outward=np.tile([*normal, 0.0], (n, 1)), kind=np.full(n, kind))
    lines = wp.zeros((1, n), dtype=ContourLine, device="cpu")
    images = images_of(CAMERA, image, 0.0 if depth is None else depth)
    inputs = [contour, poses_at(np.eye(4)), images, *extra, settings]
    wp.launch(kernel, (1, n), inputs, [lines], device="cpu")
    return lines.numpy()[0]


NARROW = window(1, 3)
ALONG = np.linspace(-8.0, 8.0, 33)
ANGLES = [0.0, 0.4, np.pi / 4, 1.2, np.pi / 2, 2.5, 4.0, 5.6]


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize(("half_window", "blur", "reach"), [(1, 0.3, 0.4), (2, 0.5, 1.0), (3, 0.9, 1.5)])
def test_steps_are_found_without_bias(angle: float, half_window: int, blur: float, reach: float) -> None:
    for position in np.linspace(-reach, reach, 7):
        image = edge_image(angle, position, blur)
        lines = measure(measure_lines_by_step, image, angle, [window(half_window, 3)], search(), ALONG)
        assert (lines["variance"] > 0.0).all()
        assert abs(lines["offset"].mean() - position) < 0.05
        assert np.abs(lines["offset"] - position).max() < 0.15


def test_the_result_does_not_depend_on_contrast_or_colours() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        inner, outer = rng.uniform(20, 235, (2, 3))
        if np.linalg.norm(inner - outer) < 40:
            continue
        image = edge_image(0.7, 0.3, 0.4, inner, outer)
        lines = measure(measure_lines_by_step, image, 0.7, [window(2, 3)], search(), ALONG)
        assert abs(lines["offset"].mean() - 0.3) < 0.05


@pytest.mark.parametrize("noise", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("half_window", [1, 3])
def test_reported_variance_is_true_to_the_error(noise: float, half_window: int) -> None:
    normalised = []
    for seed in range(20):
        angle, position = 0.3 * seed, 0.02 * (seed - 10)
        image = edge_image(angle, position, 0.4, noise=noise, seed=seed)
        settings = search(color_sigma=noise)
        lines = measure(
            measure_lines_by_step, image, angle, [window(half_window, 3)], settings, np.linspace(-12, 12, 7)
        )
        good = lines["variance"] > 0.0
        assert good.mean() > 0.8
        normalised.append((lines["offset"] - position)[good] / np.sqrt(lines["variance"][good]))
    assert 0.5 < np.std(np.concatenate(normalised)) < 1.5


def ramped(image, angle, per_px):
    """The image with levels added to it that grow along the normal beyond the edge."""
    coordinates = np.arange(SIZE) - 31.5
    distance = coordinates[None, :] * np.cos(angle) + coordinates[:, None] * np.sin(angle)
    ramp = per_px * np.clip(distance, 0.0, 8.0)
    return np.clip(np.rint(image + ramp[..., None]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("per_px", [-6.0, 6.0, 10.0])
def test_what_a_slope_of_the_background_shifts_is_in_the_variance(per_px: float) -> None:
    angle, inner, outer = 0.7, np.array([120.0, 120.0, 120.0]), np.array([60.0, 60.0, 60.0])
    even = edge_image(angle, 0.0, 0.4, inner, outer)
    level, sloped = (
        measure(measure_lines_by_step, image, angle, [window(1, 3)], search(), ALONG)
        for image in (even, ramped(even, angle, per_px))
    )
    shift = np.abs(sloped["offset"].mean())
    assert shift > 3.0 * np.sqrt(level["variance"].mean())  # or there would be nothing to count
    sigma = np.sqrt(sloped["variance"].mean())
    assert 0.5 * shift < sigma < 3.0 * shift


def test_edges_inside_the_outline_are_known_less_well() -> None:
    image = edge_image(0.7, 0.2, 0.4)
    outer, inner = (
        measure(
            measure_lines_by_step, image, 0.7, [window(1, 3)], search(inner_floor_px=0.5), ALONG, int(kind)
        )
        for kind in (contour.OUTER, contour.INNER)
    )
    np.testing.assert_allclose(inner["variance"], outer["variance"] + 0.25, rtol=1e-4)
    np.testing.assert_array_equal(inner["offset"], outer["offset"])


def test_an_edge_beyond_the_window_or_too_faint_is_no_measurement() -> None:
    flat = edge_image(0.5, 0.0, inner=OUTER + 5.0)
    far = edge_image(0.5, 9.0)
    for image in (flat, far):
        lines = measure(measure_lines_by_step, image, 0.5, [window(1, 3)], search(color_sigma=6.0), ALONG)
        assert not lines["variance"].any()


@pytest.mark.parametrize("kernel", [measure_lines_by_step, measure_lines_by_region])
def test_points_behind_something_nearer_are_marked_hidden(kernel) -> None:
    depth = np.full((SIZE, SIZE), 1.5)
    depth[32:] = 0.9
    extra = (
        [window(1, 3)]
        if kernel is measure_lines_by_step
        else [wp.zeros((1, NUM_BINS), dtype=float, device="cpu")]
    )
    lines = measure(kernel, edge_image(0.0, 0.0), 0.0, extra, search(), [-10.0, 10.0], depth=depth)
    assert lines["variance"][0] >= 0.0 and lines["variance"][1] < 0.0


def learned(inner, outer):
    """Log ratios (1, bins) of an object and a background of one colour each."""
    ratio = np.zeros((1, NUM_BINS), dtype=np.float32)
    for color, value in ((inner, 3.0), (outer, -3.0)):
        r, g, b = (color.astype(int) >> 4).tolist()
        ratio[0, (r << 8) + (g << 4) + b] = value
    return wp.array(ratio, dtype=float, device="cpu")


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("step_px", [1.0, 2.0])
def test_regions_reach_far_and_find_the_boundary(angle: float, step_px: float) -> None:
    settings = search(step_px=step_px, prior_sigma_px=6.0 * step_px, floor_px=0.5 * step_px, sharpness=1.0)
    for position in (-8.0, -3.3, 0.0, 0.4, 5.2, 8.0):
        image = edge_image(angle, position, 0.1)
        extra = [learned(INNER, OUTER)]
        lines = measure(measure_lines_by_region, image, angle, extra, settings, ALONG)
        good = lines["variance"] > 0.0
        assert good.mean() > 0.9
        assert abs(lines["offset"][good].mean() - position) < 0.3 + 0.5 * step_px
        assert (
            np.abs(lines["offset"][good] - position) < 3.0 * np.sqrt(lines["variance"][good])
        ).mean() > 0.9


def test_regions_without_knowledge_say_nothing() -> None:
    extra = [wp.zeros((1, NUM_BINS), dtype=float, device="cpu")]
    lines = measure(measure_lines_by_region, edge_image(0.3, 2.0), 0.3, extra, search(floor_px=0.5), ALONG)
    assert not lines["variance"].any()


def test_regions_are_not_measured_at_outlines_inside_the_model() -> None:
    extra = [learned(INNER, OUTER)]
    lines = measure(measure_lines_by_region, edge_image(0.3, 2.0), 0.3, extra, search(), ALONG, kind=1)
    assert not lines["variance"].any()


@pytest.mark.parametrize("position", [-6.0, -2.5, 0.4, 3.7, 6.3])
def test_lines_found_by_region_are_sharpened_where_they_were_found(position: float) -> None:
    angle, noise = 0.4, 3.0
    image = edge_image(angle, position, 0.4, noise=noise)
    log_ratio = np.zeros((1, NUM_BINS), np.float32)
    for color, sign in ((INNER, 1.0), (OUTER, -1.0)):
        for around in np.stack(np.meshgrid(*[[-16, 0, 16]] * 3), axis=-1).reshape(-1, 3):
            r, g, b = np.clip((color + around) // 16, 0, 15).astype(int)
            log_ratio[0, (r * 16 + g) * 16 + b] = sign * 2.0
    settings = search(color_sigma=noise, floor_px=0.1)
    by_region = measure(
        measure_lines_by_region,
        image,
        angle,
        [wp.array(log_ratio, dtype=float, device="cpu")],
        settings,
        ALONG,
    )
    n = len(ALONG)
    lines = wp.array(by_region[None], dtype=ContourLine, device="cpu")
    near = np.zeros((1, n), dtype=ContourLine.numpy_dtype())
    near[0, 0] = np.array((by_region["center"][0], by_region["normal"][0], 0.25, 0.01), dtype=near.dtype)
    inputs = [contour_of(kind=np.zeros(n)), wp.array(near, dtype=ContourLine, device="cpu")]
    inputs += [images_of(CAMERA, image), window(2, 3), settings]
    wp.launch(sharpen_lines, (1, n), inputs, [lines], device="cpu")
    first = lines.numpy()[0][0]
    assert first["variance"] == np.float32(0.01), "what was measured near the contour point stays"
    if abs(position) < 2.0:
        assert first["offset"] == pytest.approx(position, abs=0.15), "but for a second look"
    elif abs(position) > 5.0:
        assert first["offset"] == 0.25, "where there is no step there is nothing to look at"
    sharp, by_region = lines.numpy()[0][1:], by_region[1:]
    good = sharp["variance"] > 0.0
    assert good.mean() > 0.9
    assert abs(np.mean(sharp["offset"][good]) - position) < 0.1
    assert np.std(sharp["offset"][good]) < np.std(by_region["offset"][good])
    assert (sharp["variance"][good] < by_region["variance"][good]).all()


@pytest.mark.parametrize("kernel", [measure_lines_by_step, measure_lines_by_region])
def test_points_outside_the_image_are_as_unknown_as_hidden_ones(kernel) -> None:
    extra = (
        [window(1, 3)]
        if kernel is measure_lines_by_step
        else [wp.zeros((1, NUM_BINS), dtype=float, device="cpu")]
    )
    lines = measure(kernel, edge_image(0.0, 0.0), 0.0, extra, search(), [-30.0, -33.0, 33.0])
    assert (lines["variance"] < 0.0).tolist() == [False, True, True]
    assert (lines["variance"][1:] == float(HIDDEN_LINE)).all()


def open_lines(kind, depth):
    extra = [window(1, 3)]
    image = edge_image(0.0, 0.0)
    return measure(measure_lines_by_step, image, 0.0, extra, search(), ALONG, int(kind), depth)["variance"]


def test_an_open_edge_beyond_which_the_surface_goes_on_is_no_outline() -> None:
    level, ends, far = (np.full((SIZE, SIZE), 1.0) for _ in range(3))
    ends[:, 34:] = 1.2  # something else beyond the edge
    far[:, 34:] = 1.015  # by more than noise, and less than what would hide
    near = 2.0 - far
    assert (open_lines(contour.OPEN, level) == float(NO_OUTLINE)).all()
    assert (open_lines(contour.OPEN, ends) > 0.0).all()
    assert (open_lines(contour.OPEN, far) > 0.0).all()
    assert (open_lines(contour.OPEN, near) > 0.0).all()
    for kind in (contour.OUTER, contour.INNER):
        assert (open_lines(kind, level) > 0.0).all()
    assert (open_lines(contour.OPEN, np.zeros((SIZE, SIZE))) > 0.0).all(), "where nothing is measured"


@pytest.mark.parametrize("seen", [slice(34, 36), slice(37, 39)], ids=["near", "far"])
def test_a_surface_goes_on_where_it_is_seen_near_and_farther_out(seen: slice) -> None:
    """Depth bleeds over an edge by some pixels, and another thing may stand beside it at the same depth."""
    depth = np.full((SIZE, SIZE), 1.2)
    depth[:, :33] = 1.0
    depth[:, seen] = 1.0
    assert (open_lines(contour.OPEN, depth) > 0.0).all()


def test_regions_are_measured_at_open_edges_as_at_others() -> None:
    extra = [learned(INNER, OUTER)]
    settings = search(floor_px=0.5, sharpness=1.0)
    open_, closed = (
        measure(measure_lines_by_region, edge_image(0.3, 2.0), 0.3, extra, settings, ALONG, int(kind))
        for kind in (contour.OPEN, contour.OUTER)
    )
    assert (closed["variance"] > 0.0).all()
    np.testing.assert_array_equal(open_, closed)
