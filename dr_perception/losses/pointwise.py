"""Losses that compare images number by number: L2, L1, Huber, Charbonnier."""

import numpy as np
import warp as wp

from dr_perception.losses.base import (
    Loss,
    WeightMap,
    channels_of,
    check_pair,
    chunks,
    flat_floats,
    new_sums,
    ratio,
)
from dr_perception.losses.reduction import CHUNK, weight_at
from dr_perception.losses.robust import ABSOLUTE, CHARBONNIER, HUBER, SQUARE, rho


@wp.kernel
def pointwise_sums(
    image: wp.array[wp.float32],
    reference: wp.array[wp.float32],
    weights: wp.array[wp.float32],
    channels: int,
    kind: int,
    delta: float,
    threads: int,
    # output
    sums: wp.array[wp.float64],
):
    """Add up weighted robust costs of differences, and the weights."""
    tid = wp.tid()
    cost = wp.float64(0.0)
    mass = wp.float64(0.0)
    for k in range(CHUNK):
        i = tid + k * threads
        if i < image.shape[0]:
            w = weight_at(weights, i // channels)
            cost += wp.float64(w * rho(kind, delta, image[i] - reference[i]))
            mass += wp.float64(w)
    wp.atomic_add(sums, 0, cost)
    wp.atomic_add(sums, 1, mass)


class PointwiseLoss(Loss):
    """Weighted mean over pixels and channels of a robust function of ``image - reference``.

    Use one of the subclasses. The images are float32 or vec3 arrays of any shape; both must be finite.

    Args:
        weight: Optional mask or weights of the pixel shape of the images; the mean is taken over the weights.
    """

    kind: int = int(SQUARE)

    def __init__(self, weight: np.ndarray | None = None, *, delta: float = 1.0) -> None:
        if not (np.isfinite(delta) and delta > 0):
            raise ValueError(f"{type(self).__name__}: delta must be a positive number, got {delta!r}")
        self.delta = float(delta)
        self._weights = WeightMap(weight, type(self).__name__)

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the mean cost, shape (1,) float64."""
        check_pair(image, reference, type(self).__name__)
        values = flat_floats(image)
        sums = new_sums(image)
        threads = chunks(values.size)
        inputs = [values, flat_floats(reference), self._weights.for_image(image), channels_of(image)]
        inputs += [self.kind, self.delta, threads]
        wp.launch(pointwise_sums, dim=threads, inputs=inputs, outputs=[sums], device=image.device)
        return ratio(sums)


class L2(PointwiseLoss):
    """Mean of half the squared difference."""

    def __init__(self, weight: np.ndarray | None = None) -> None:
        super().__init__(weight)


class L1(PointwiseLoss):
    """Mean absolute difference; the derivative at zero is taken as zero."""

    kind = int(ABSOLUTE)

    def __init__(self, weight: np.ndarray | None = None) -> None:
        super().__init__(weight)


class Huber(PointwiseLoss):
    """Square inside ``delta``, linear outside (Huber 1964). ``delta`` is in the units of the image."""

    kind = int(HUBER)


class Charbonnier(PointwiseLoss):
    """Smooth absolute difference, sqrt(r^2 + delta^2) - delta (Charbonnier et al. 1994)."""

    kind = int(CHARBONNIER)
