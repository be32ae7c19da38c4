"""Normal loss: one minus the cosine of the angle between surface normals."""

import numpy as np
import warp as wp

from dr_perception.losses.base import Loss, WeightMap, check_pair, chunks, new_sums, ratio
from dr_perception.losses.reduction import CHUNK, weight_at


@wp.kernel
def cosine_sums(
    image: wp.array[wp.vec3],
    reference: wp.array[wp.vec3],
    weights: wp.array[wp.float32],
    threads: int,
    # output
    sums: wp.array[wp.float64],
):
    """Add up one minus the cosine between normals, and the weights, where both images have one."""
    tid = wp.tid()
    cost = wp.float64(0.0)
    mass = wp.float64(0.0)
    for k in range(CHUNK):
        i = tid + k * threads
        if i < image.shape[0]:
            n, m = image[i], reference[i]
            nn, mm = wp.dot(n, n), wp.dot(m, m)
            if nn > 1.0e-8 and mm > 1.0e-8:
                w = weight_at(weights, i)
                cost += wp.float64(w * (1.0 - wp.dot(n, m) / wp.sqrt(nn * mm)))
                mass += wp.float64(w)
    wp.atomic_add(sums, 0, cost)
    wp.atomic_add(sums, 1, mass)


class NormalLoss(Loss):
    """Mean of ``1 - cos(angle)`` over pixels where both images have a normal.

    Near zero it is half the squared angle [rad^2]. Lengths do not matter, so antialiased normals need no
    renormalisation; a zero vector means "no surface".

    Args:
        weight: Optional mask or weights of the pixel shape.
    """

    zero_is_empty = True

    def __init__(self, weight: np.ndarray | None = None) -> None:
        self._weights = WeightMap(weight, "NormalLoss")

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the mean cost of two vec3 normal images, shape (1,) float64."""
        check_pair(image, reference, "NormalLoss")
        if image.dtype != wp.vec3:
            raise ValueError(f"NormalLoss: expected an array of vec3, got {image.dtype}")
        sums = new_sums(image)
        threads = chunks(image.size)
        inputs = [image.flatten(), reference.flatten(), self._weights.for_image(image), threads]
        wp.launch(cosine_sums, dim=threads, inputs=inputs, outputs=[sums], device=image.device)
        return ratio(sums)
