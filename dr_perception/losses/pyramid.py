"""A loss summed over a resolution pyramid."""

from collections.abc import Sequence

import numpy as np
import warp as wp

from dr_perception.losses.base import Loss, channels_of, check_pair
from dr_perception.losses.reduction import add_scaled


@wp.kernel
def halve(
    image: wp.array4d[wp.float32],
    zero_is_empty: int,
    # output
    half: wp.array4d[wp.float32],
):
    """Average blocks of 2x2 pixels; of filled pixels alone where zero means empty."""
    view, y, x, c = wp.tid()
    total = wp.float32(0.0)
    count = wp.float32(0.0)
    for dy in range(2):
        for dx in range(2):
            value = image[view, 2 * y + dy, 2 * x + dx, c]
            if zero_is_empty == 0 or (wp.isfinite(value) and value != 0.0):
                total += value
                count += 1.0
    if count > 0.0:
        half[view, y, x, c] = total / count


class Pyramid(Loss):
    """Weighted sum of one loss at full, half, quarter ... resolution (2x2 box averages).

    Coarse levels widen the range over which an image pulls (Burt and Adelson 1983). Images whose 0 means
    "nothing there" (``inner.zero_is_empty``) are averaged over the filled pixels alone. Odd rows and columns
    at the end of a level are dropped from the next.

    Args:
        inner: The loss of one level. It must have no weight map of its own, since sizes differ by level.
        levels: Number of levels, 1 is full resolution only.
        weights: Factor of each level, finest first; 1 for all when None.

    Raises:
        ValueError: When ``levels`` or ``weights`` make no sense, or (on call) an image is too small.
    """

    def __init__(self, inner: Loss, levels: int = 4, weights: Sequence[float] | None = None) -> None:
        if levels < 1:
            raise ValueError(f"Pyramid: levels must be at least 1, got {levels}")
        factors = np.ones(levels) if weights is None else np.asarray(weights, dtype=np.float64)
        if factors.shape != (levels,) or not np.all(np.isfinite(factors)) or np.any(factors < 0):
            raise ValueError(f"Pyramid: expected {levels} non-negative weights, got {factors}")
        self.inner = inner
        self.weights = tuple(float(f) for f in factors)
        self.zero_is_empty = inner.zero_is_empty

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the weighted sum over levels, shape (1,) float64."""
        check_pair(image, reference, "Pyramid")
        total = wp.zeros(1, dtype=wp.float64, device=image.device, requires_grad=True)
        for level, factor in enumerate(self.weights):
            if level > 0:
                image, reference = self._halve(image), self._halve(reference)
            if factor > 0.0:
                term = self.inner(image, reference)
                wp.launch(add_scaled, dim=1, inputs=[term, factor], outputs=[total], device=image.device)
        return total

    def _halve(self, image: wp.array) -> wp.array:
        shape = tuple(image.shape)
        if image.ndim not in (2, 3):
            raise ValueError(
                f"Pyramid: expected shape (height, width) or (views, height, width), got {shape}"
            )
        height, width = shape[-2] // 2, shape[-1] // 2
        if height < 1 or width < 1:
            raise ValueError(
                f"Pyramid: {len(self.weights)} levels are too many, an image of {shape} cannot be halved"
            )
        views, channels = (shape[0] if image.ndim == 3 else 1), channels_of(image)
        half = wp.zeros(
            (*shape[:-2], height, width), dtype=image.dtype, device=image.device, requires_grad=True
        )
        source = _as_channels(image, (views, shape[-2], shape[-1], channels))
        target = _as_channels(half, (views, height, width, channels))
        inputs = [source, int(self.zero_is_empty)]
        wp.launch(halve, dim=target.shape, inputs=inputs, outputs=[target], device=image.device)
        return half


def _as_channels(image: wp.array, shape: tuple[int, int, int, int]) -> wp.array:
    flat = image.flatten()
    floats = flat if image.dtype == wp.float32 else flat.view(wp.float32)
    return floats.flatten().reshape(shape)
