"""Sums over images: a thread adds up a strided chunk of pixels in float64, then issues one atomic."""

import warp as wp

#: Items one thread sums before its atomic. Constant so that kernels of all losses agree on their launch size.
CHUNK = wp.constant(64)


@wp.func
def weight_at(weights: wp.array[wp.float32], index: int) -> float:
    """Weight of one pixel; an empty array means one everywhere."""
    if weights.shape[0] > 0:
        return weights[index]
    return 1.0


@wp.kernel
def finish_ratio(
    sums: wp.array[wp.float64],
    # output
    value: wp.array[wp.float64],
):
    """Mean from a sum and its weight; 0 where the weight is 0."""
    if sums[1] > wp.float64(0.0):
        value[0] = sums[0] / sums[1]


@wp.kernel
def add_scaled(
    term: wp.array[wp.float64],
    scale: wp.float64,
    # output
    total: wp.array[wp.float64],
):
    """Add a scalar times a factor to a total."""
    wp.atomic_add(total, 0, scale * term[0])
