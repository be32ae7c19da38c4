"""Values that can be worked out by hand, bad input, and objectives of several terms."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from dr_perception.losses import (
    L1,
    L2,
    DepthLoss,
    DepthNoise,
    GradientOrientation,
    MultiView,
    NormalLoss,
    Objective,
    Pyramid,
    SilhouetteCrossEntropy,
    SilhouetteIoU,
    Term,
)


def _image(values: np.ndarray) -> wp.array:
    return wp.array(np.asarray(values, np.float32), dtype=wp.float32, requires_grad=True)


def test_iou_of_binary_masks_is_the_jaccard_index() -> None:
    a, b = np.zeros((10, 10), np.float32), np.zeros((10, 10), np.float32)
    a[:, :6], b[:, 4:] = 1.0, 1.0
    value, _ = SilhouetteIoU().value_and_gradient(a, b)
    assert value == pytest.approx(1.0 - 20.0 / 100.0)


def test_iou_is_averaged_over_views_and_empty_views_cost_nothing() -> None:
    a, b = np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 4), np.float32)
    a[0], b[0] = 1.0, 1.0
    a[1] = 1.0
    assert SilhouetteIoU().value_and_gradient(a, b)[0] == pytest.approx(1.0 / 3.0)


def test_depth_loss_is_in_sigmas_and_ignores_missing_measurements() -> None:
    noise = DepthNoise(constant=0.01, linear=0.0, quadratic=0.0)
    reference = np.array([[1.0, 0.0, np.nan, np.inf]], np.float32)
    image = np.array([[1.02, 1.0, 1.0, 1.0]], np.float32)
    value, gradient = DepthLoss(noise, kind="l1").value_and_gradient(image, reference)
    assert value == pytest.approx(2.0, rel=1e-5)
    np.testing.assert_allclose(gradient, [[100.0, 0.0, 0.0, 0.0]], rtol=1e-5)


def test_an_occluder_in_front_of_the_model_pulls_nothing() -> None:
    loss = DepthLoss(DepthNoise(0.01, 0.0, 0.0), kind="l2", occluder_sigmas=5.0)
    value, gradient = loss.value_and_gradient(np.full((1, 1), 1.0), np.full((1, 1), 0.5))
    assert gradient[0, 0] == 0.0
    assert value == pytest.approx(12.5)
    behind, gradient = loss.value_and_gradient(np.full((1, 1), 0.5), np.full((1, 1), 1.0))
    assert gradient[0, 0] < 0.0 and behind > value


def test_uncovered_pixels_cost_what_was_asked() -> None:
    loss = DepthLoss(DepthNoise(0.01, 0.0, 0.0), missing_cost=3.0)
    value, _ = loss.value_and_gradient(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]))
    assert value == pytest.approx(1.5)


def test_weights_select_pixels() -> None:
    image, reference = np.array([[1.0, 5.0]]), np.zeros((1, 2))
    assert L1(np.array([[1, 0]])).value_and_gradient(image, reference)[0] == pytest.approx(1.0)
    assert L1(np.array([[1, 3]])).value_and_gradient(image, reference)[0] == pytest.approx(4.0)


def test_sums_keep_their_digits_over_large_images() -> None:
    image = np.full((1, 1000, 1000), 0.1, np.float32)
    value, _ = L2().value_and_gradient(image, np.zeros_like(image))
    assert value == pytest.approx(0.5 * float(np.float32(0.1)) ** 2, rel=1e-6)


def test_orientation_ignores_a_brightness_offset() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0.2, 0.5, (20, 20)).astype(np.float32)
    shifted, _ = GradientOrientation().value_and_gradient(image + 0.25, image)
    other, _ = GradientOrientation().value_and_gradient(rng.uniform(0.2, 0.5, (20, 20)), image)
    assert shifted < 1e-6 < 0.1 < other


def test_pyramid_pulls_from_further_away_than_its_finest_level() -> None:
    """Two bars that do not overlap: plain differences do not know their distance, the pyramid does."""

    def bar(x: int) -> np.ndarray:
        image = np.zeros((32, 32), np.float32)
        image[:, x : x + 2] = 1.0
        return image

    near, far = bar(10), bar(22)
    reference = bar(6)
    flat, deep = L2(), Pyramid(L2(), levels=5)
    assert flat.value_and_gradient(near, reference)[0] == pytest.approx(
        flat.value_and_gradient(far, reference)[0]
    )
    assert deep.value_and_gradient(near, reference)[0] < deep.value_and_gradient(far, reference)[0]


def test_objective_reports_named_terms_and_their_sum() -> None:
    depth = _image(np.full((1, 4, 4), 1.01))
    coverage = _image(np.full((1, 4, 4), 0.5))
    terms = {
        "depth": Term(DepthLoss(DepthNoise(0.01, 0.0, 0.0), kind="l2"), "depth", 2.0),
        "outline": Term(L1(), "silhouette", 4.0),
    }
    tape = wp.Tape()
    with tape:
        value = Objective(terms)(
            {"depth": depth, "silhouette": coverage},
            {"depth": _image(np.ones((1, 4, 4))), "silhouette": _image(np.ones((1, 4, 4)))},
        )
    tape.backward(loss=value.total)
    report = value.report()
    assert report["depth"] == pytest.approx(1.0, rel=1e-4)
    assert report["outline"] == pytest.approx(2.0)
    assert report["total"] == pytest.approx(report["depth"] + report["outline"])
    np.testing.assert_allclose(coverage.grad.numpy(), -4.0 / 16.0, rtol=1e-6)
    assert np.all(depth.grad.numpy() > 0)


def test_multi_view_weighs_views_of_different_sizes() -> None:
    images = [_image(np.ones((4, 4))), _image(np.ones((8, 2)))]
    references = [_image(np.zeros((4, 4))), _image(np.full((8, 2), 3.0))]
    assert float(MultiView(L1())(images, references).numpy()[0]) == pytest.approx(1.5)
    assert float(MultiView(L1(), [1.0, 10.0])(images, references).numpy()[0]) == pytest.approx(21.0)
    with pytest.raises(ValueError, match="references"):
        MultiView(L1())(images, references[:1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(np.array([[-1.0]])), "not negative"),
        (lambda: L1(np.zeros((2, 2))), "all weights are zero"),
        (lambda: DepthLoss(kind="cubic"), "cubic"),
        (lambda: DepthNoise(0.0, 0.0, 0.0), "one positive"),
        (lambda: SilhouetteCrossEntropy(margin=0.7), "0.7"),
        (lambda: Pyramid(L2(), levels=0), "got 0"),
        (lambda: Objective({}), "at least one term"),
        (lambda: Objective({"a": Term(L2(), "depth", float("nan"))}), "'a'"),
    ],
)
def test_bad_parameters_are_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "image", "reference", "message"),
    [
        (L2(), np.zeros((4, 4)), np.zeros((4, 5)), r"\(4, 5\)"),
        (L2(), np.zeros((0, 4)), np.zeros((0, 4)), "no pixels"),
        (NormalLoss(), np.zeros((4, 4)), np.zeros((4, 4)), "vec3"),
        (DepthLoss(), np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3)), "float32 depth"),
        (GradientOrientation(), np.zeros((2, 2)), np.zeros((2, 2)), "no pixel"),
        (Pyramid(L2(), levels=4), np.zeros((4, 4)), np.zeros((4, 4)), "too many"),
        (L2(np.ones((3, 3))), np.zeros((4, 4)), np.zeros((4, 4)), r"\(3, 3\)"),
    ],
)
def test_bad_images_are_named(loss, image, reference, message) -> None:
    with pytest.raises(ValueError, match=message):
        loss.value_and_gradient(image, reference)


def test_a_missing_image_is_named() -> None:
    with pytest.raises(ValueError, match="'shape' needs the image 'silhouette'"):
        Objective({"shape": Term(L2(), "silhouette")})({"depth": _image(np.zeros((2, 2)))}, {})
