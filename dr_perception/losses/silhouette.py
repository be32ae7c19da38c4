"""Silhouette losses: soft intersection over union, and cross-entropy."""

import numpy as np
import warp as wp

from dr_perception.losses.base import Loss, WeightMap, check_pair, chunks, flat_floats, new_sums, ratio
from dr_perception.losses.reduction import CHUNK, weight_at


@wp.kernel
def overlap_sums(
    image: wp.array[wp.float32],
    reference: wp.array[wp.float32],
    weights: wp.array[wp.float32],
    pixels_per_view: int,
    threads: int,
    # output
    intersection: wp.array[wp.float64],
    union_: wp.array[wp.float64],
):
    """Add up soft intersection and soft union of every view."""
    view, tid = wp.tid()
    both = wp.float64(0.0)
    either = wp.float64(0.0)
    for k in range(CHUNK):
        j = tid + k * threads
        if j < pixels_per_view:
            i = view * pixels_per_view + j
            w = weight_at(weights, i)
            product = image[i] * reference[i]
            both += wp.float64(w * product)
            either += wp.float64(w * (image[i] + reference[i] - product))
    wp.atomic_add(intersection, view, both)
    wp.atomic_add(union_, view, either)


@wp.kernel
def mean_one_minus_iou(
    intersection: wp.array[wp.float64],
    union_: wp.array[wp.float64],
    # output
    value: wp.array[wp.float64],
):
    """Average one minus intersection over union over the views."""
    view = wp.tid()
    if union_[view] > wp.float64(0.0):
        share = wp.float64(1.0) / wp.float64(intersection.shape[0])
        wp.atomic_add(value, 0, share * (wp.float64(1.0) - intersection[view] / union_[view]))


@wp.kernel
def cross_entropy_sums(
    image: wp.array[wp.float32],
    reference: wp.array[wp.float32],
    weights: wp.array[wp.float32],
    margin: float,
    threads: int,
    # output
    sums: wp.array[wp.float64],
):
    """Add up binary cross-entropies, and the weights."""
    tid = wp.tid()
    cost = wp.float64(0.0)
    mass = wp.float64(0.0)
    for k in range(CHUNK):
        i = tid + k * threads
        if i < image.shape[0]:
            w = weight_at(weights, i)
            p = margin + (1.0 - 2.0 * margin) * image[i]
            m = reference[i]
            cost -= wp.float64(w * (m * wp.log(p) + (1.0 - m) * wp.log(1.0 - p)))
            mass += wp.float64(w)
    wp.atomic_add(sums, 0, cost)
    wp.atomic_add(sums, 1, mass)


def _check_scalar(image: wp.array, what: str) -> None:
    if image.dtype != wp.float32:
        raise ValueError(f"{what}: expected a float32 coverage image, got {image.dtype}")
    if image.ndim not in (2, 3):
        raise ValueError(
            f"{what}: expected shape (height, width) or (views, height, width), got {tuple(image.shape)}"
        )


class SilhouetteIoU(Loss):
    """One minus the soft intersection over union of two coverage images in [0, 1], averaged over views.

    For binary masks it is exactly one minus the Jaccard index; for fractional coverage the intersection is
    the product and the union the probabilistic sum (Rahman and Wang 2016). It does not depend on how much
    background the image has, which the mean of squared differences does. A view in which both are empty
    counts as 0.

    Args:
        weight: Optional mask or weights of the pixel shape.
    """

    def __init__(self, weight: np.ndarray | None = None) -> None:
        self._weights = WeightMap(weight, "SilhouetteIoU")

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return 1 - IoU, shape (1,) float64."""
        check_pair(image, reference, "SilhouetteIoU")
        _check_scalar(image, "SilhouetteIoU")
        views = image.shape[0] if image.ndim == 3 else 1
        pixels = image.size // views
        intersection, union_ = new_sums(image, views), new_sums(image, views)
        threads = chunks(pixels)
        inputs = [flat_floats(image), flat_floats(reference), self._weights.for_image(image), pixels, threads]
        outputs = [intersection, union_]
        wp.launch(overlap_sums, dim=(views, threads), inputs=inputs, outputs=outputs, device=image.device)
        value = new_sums(image, 1)
        wp.launch(mean_one_minus_iou, dim=views, inputs=outputs, outputs=[value], device=image.device)
        return value


class SilhouetteCrossEntropy(Loss):
    """Mean binary cross-entropy of a coverage image in [0, 1] against a mask (or probabilities).

    Coverage is mapped to [margin, 1 - margin] first, so a saturated wrong pixel has a large but finite cost
    and keeps its derivative. The minimum over a hard mask is -log(1 - margin), not 0.

    Args:
        weight: Optional mask or weights of the pixel shape.
        margin: How far from certain the rendered coverage is taken to be, in (0, 0.5).
    """

    def __init__(self, weight: np.ndarray | None = None, *, margin: float = 0.01) -> None:
        if not 0.0 < margin < 0.5:
            raise ValueError(f"SilhouetteCrossEntropy: margin must lie in (0, 0.5), got {margin!r}")
        self.margin = float(margin)
        self._weights = WeightMap(weight, "SilhouetteCrossEntropy")

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the mean cross-entropy [nat], shape (1,) float64."""
        check_pair(image, reference, "SilhouetteCrossEntropy")
        _check_scalar(image, "SilhouetteCrossEntropy")
        sums = new_sums(image)
        threads = chunks(image.size)
        inputs = [
            flat_floats(image),
            flat_floats(reference),
            self._weights.for_image(image),
            self.margin,
            threads,
        ]
        wp.launch(cross_entropy_sums, dim=threads, inputs=inputs, outputs=[sums], device=image.device)
        return ratio(sums)
