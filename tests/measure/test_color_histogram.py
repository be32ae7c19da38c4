"""Colour statistics: which pixels are counted for object and background, and how they fade."""

import numpy as np
import pytest
from row_cases import contour_of, surface_of

from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.geometry import Camera, Frame
from dr_perception.measure.color_histogram import ColorHistograms
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.measure.region_lines import NUM_BINS
from dr_perception.view.contour import INNER, OPEN, OUTER

SIZE = 64
CAMERA = Camera(SIZE, SIZE, 100.0, 100.0, 31.5, 31.5)
RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 200, 40)
EDGE = 31.5
"""Column at which the object ends."""


def bin_of(color) -> int:
    r, g, b = (c // 16 for c in color)
    return (r * 16 + g) * 16 + b


class View:
    """Samples of one object at 1 m: surface left of the edge, contour on it, as a `ModelView` holds them."""

    def __init__(self, kind=int(OUTER)) -> None:
        rows = (np.linspace(10.0, 50.0, 9) - 31.5) / 100.0
        inside = np.column_stack([np.full(9, -0.1), rows, np.ones(9)])
        self.surface = surface_of(point=inside)
        self.contour = contour_of(
            point=np.column_stack([np.zeros(9), rows, np.ones(9)]),
            outward=np.tile([1.0, 0.0, 0.0], (9, 1)),
            kind=np.full(9, kind),
        )


def frame(inner=RED, outer=BLUE, depth=1.0) -> Frame:
    color = np.zeros((SIZE, SIZE, 3), np.uint8)
    color[:, :32], color[:, 32:] = inner, outer
    return Frame(color, np.broadcast_to(np.asarray(depth, np.float32), (SIZE, SIZE)).copy(), CAMERA, 0)


def histograms(view=None):
    """Histograms that know nothing, and what to show them."""
    buffers = FrameBuffers(CAMERA)
    poses = PoseArrays(1, "cpu")
    poses.set(np.eye(4)[None])
    made = ColorHistograms(view or View(), poses, buffers, 1)

    def learn(shown: Frame, rate: float = 1.0) -> np.ndarray:
        buffers.begin(shown)
        buffers.upload((0, 0, SIZE, SIZE))
        made.learn(rate)
        return made.log_ratio.numpy()[0].copy()

    return made, learn


def test_colours_of_surface_and_surroundings_are_told_apart() -> None:
    _, learn = histograms()
    ratio = learn(frame())
    assert ratio[bin_of(RED)] == pytest.approx(3.0) and ratio[bin_of(BLUE)] == pytest.approx(-3.0)
    assert np.count_nonzero(ratio) == 2
    assert ratio.shape == (NUM_BINS,)


def test_edges_inside_the_outline_do_not_count_as_background() -> None:
    """Beyond an edge of the object before itself lies the object."""
    _, learn = histograms(View(int(INNER)))
    ratio = learn(frame())
    assert ratio[bin_of(RED)] == pytest.approx(3.0)
    assert ratio[bin_of(BLUE)] == 0.0


def test_open_edges_count_unless_the_object_goes_on_beyond_them() -> None:
    ends = np.full((SIZE, SIZE), 1.0)
    ends[:, 32:] = 1.5
    assert histograms(View(int(OPEN)))[1](frame(depth=ends))[bin_of(BLUE)] == pytest.approx(-3.0)
    assert histograms(View(int(OPEN)))[1](frame(depth=1.0))[bin_of(BLUE)] == 0.0


def test_background_is_counted_from_two_to_seventeen_pixels_outside() -> None:
    """The row's colours by their distance from the outline; blends near it and far things are left out."""
    _, learn = histograms()
    shown = frame()
    for k in range(32):
        shown.color[:, 32 + k] = (0, 8 * k, 0)
    ratio = learn(shown)
    # The pixel nearest to the edge, at 31.5 + k, is column 32 + k.
    seen = {k // 2 for k in range(2, 18)}
    for group in range(16):
        assert (ratio[bin_of((0, 16 * group, 0))] < 0.0) == (group in seen), group


def test_what_something_nearer_shows_is_not_counted() -> None:
    depth = np.full((SIZE, SIZE), 1.0)
    depth[32:] = 0.9
    for half in (slice(0, 32), slice(32, SIZE)):  # before the object, and before what surrounds it
        shown = frame(depth=depth)
        shown.color[32:, half] = GREEN
        ratio = histograms()[1](shown)
        assert ratio[bin_of(GREEN)] == 0.0 and ratio[bin_of(RED)] == pytest.approx(3.0)
    near = frame(depth=0.985)  # by less than two centimetres: noise, not another thing
    assert histograms()[1](near)[bin_of(RED)] == pytest.approx(3.0)
    assert histograms()[1](frame(depth=0.0))[bin_of(RED)] == pytest.approx(3.0)


def test_shares_count_and_not_pixels() -> None:
    """Half of the surface is green, and so is a quarter of what surrounds it."""
    shown = frame()
    shown.color[32:, :32] = GREEN  # samples at rows 35, 40, 45 and 50 of nine
    shown.color[:, 45:] = GREEN  # from 13 pixels out: 5 of the 16 that count
    ratio = histograms()[1](shown)
    assert ratio[bin_of(GREEN)] == pytest.approx(np.log((4 / 9 + 1e-4) / (5 / 16 + 1e-4)), abs=1e-3)


def test_old_colours_fade_by_the_rate() -> None:
    _, learn = histograms()
    learn(frame())
    ratio = learn(frame(inner=GREEN), rate=0.25)
    # What is red now is 3/4 of the object; what is green 1/4 and was nothing before.
    assert ratio[bin_of(GREEN)] == pytest.approx(3.0)
    mixed = learn(frame(inner=BLUE, outer=BLUE), rate=0.5)
    assert mixed[bin_of(BLUE)] == pytest.approx(np.log((0.5 + 1e-4) / (1.0 + 1e-4)), abs=1e-3)
    assert mixed[bin_of(GREEN)] == pytest.approx(3.0)
    fresh = learn(frame(inner=GREEN, outer=BLUE), rate=1.0)
    assert fresh[bin_of(RED)] == 0.0, "with a rate of 1 what was there before does not matter"
    assert fresh[bin_of(BLUE)] == pytest.approx(-3.0)


def test_histograms_can_be_handed_over_and_forgotten() -> None:
    first, learn = histograms()
    ratio = learn(frame())
    second, learn_on = histograms()
    second.take_over(first)
    np.testing.assert_array_equal(second.log_ratio.numpy()[0], ratio)
    np.testing.assert_array_equal(learn_on(frame(GREEN), 0.25), learn(frame(GREEN), 0.25))
    first.forget()
    assert not first.log_ratio.numpy().any()
    assert learn(frame(GREEN), 0.5)[bin_of(RED)] == 0.0


def test_without_a_colour_image_nothing_is_learned() -> None:
    _, learn = histograms()
    before = learn(frame())
    blind = Frame(None, np.ones((SIZE, SIZE), np.float32), CAMERA, 1)
    np.testing.assert_array_equal(learn(blind), before)
