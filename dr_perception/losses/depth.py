"""Depth loss in units of the sensor's standard deviation."""

from dataclasses import dataclass

import numpy as np
import warp as wp

from dr_perception.losses.base import Loss, WeightMap, check_pair, chunks, flat_floats, new_sums, ratio
from dr_perception.losses.reduction import CHUNK, weight_at
from dr_perception.losses.robust import ABSOLUTE, CHARBONNIER, HUBER, SQUARE, rho

_KINDS = {"l2": int(SQUARE), "l1": int(ABSOLUTE), "huber": int(HUBER), "charbonnier": int(CHARBONNIER)}


@wp.struct
class Cost:
    """What a difference of depth costs, in standard deviations."""

    kind: int
    """Kind of the robust function."""
    delta: float
    """Its threshold."""
    occluder_sigmas: float
    """Differences from which on a measurement is taken for an occluder."""
    missing: float
    """Cost of a measured pixel that the model leaves uncovered."""


@wp.kernel
def depth_sums(
    image: wp.array[wp.float32],
    reference: wp.array[wp.float32],
    weights: wp.array[wp.float32],
    noise: wp.vec3,
    cost: Cost,
    threads: int,
    # output
    sums: wp.array[wp.float64],
):
    """Add up weighted robust costs of depth differences, and the weights, of measured pixels."""
    tid = wp.tid()
    total = wp.float64(0.0)
    mass = wp.float64(0.0)
    for k in range(CHUNK):
        i = tid + k * threads
        if i < image.shape[0]:
            z_ref = reference[i]
            if wp.isfinite(z_ref) and z_ref > 0.0:
                w = weight_at(weights, i)
                mass += wp.float64(w)
                z = image[i]
                if z > 0.0:
                    r = (z - z_ref) / (noise[0] + z_ref * (noise[1] + z_ref * noise[2]))
                    if r < cost.occluder_sigmas:
                        total += wp.float64(w * rho(cost.kind, cost.delta, r))
                    else:
                        total += wp.float64(w * rho(cost.kind, cost.delta, cost.occluder_sigmas))
                else:
                    total += wp.float64(w * cost.missing)
    wp.atomic_add(sums, 0, total)
    wp.atomic_add(sums, 1, mass)


@dataclass(frozen=True)
class DepthNoise:
    """Standard deviation of a depth measurement, ``constant + linear z + quadratic z^2`` [m], z in metres.

    The quadratic term is that of a triangulating sensor (Khoshelham and Elberink 2012); the default is of the
    size of a structured-light or active-stereo camera.
    """

    constant: float = 0.0005
    linear: float = 0.0
    quadratic: float = 0.002

    def __post_init__(self) -> None:
        """Refuse a model that is not positive in front of the camera."""
        values = np.array([self.constant, self.linear, self.quadratic])
        if not np.all(np.isfinite(values)) or np.any(values < 0) or not np.any(values > 0):
            raise ValueError(
                f"depth noise needs finite, non-negative coefficients, one positive; got {values}"
            )

    def sigma(self, z: np.ndarray) -> np.ndarray:
        """Standard deviation [m] at depth ``z`` [m]."""
        return np.asarray(self.constant + z * (self.linear + z * self.quadratic))


class DepthLoss(Loss):
    """Mean robust cost of the depth difference in standard deviations, over pixels with a measurement.

    Pixels without a measurement (0, NaN, inf in the reference) do not count. Pixels the model does not cover
    (image 0) cost ``missing_cost`` each and have no derivative: what moves the outline is a silhouette loss,
    or an image rendered with a background depth. A measurement nearer than the model by more than
    ``occluder_sigmas`` is taken for an occluder: its cost is capped and it pulls nothing.

    Args:
        noise: Standard deviation as a function of the measured depth.
        mask: Optional mask or weights of the pixel shape.
        kind: ``"l2"``, ``"l1"``, ``"huber"`` or ``"charbonnier"``.
        delta: Threshold of the robust function, in standard deviations.
        occluder_sigmas: Cap for measurements in front of the model, in standard deviations.
        missing_cost: Cost of a measured pixel that the model leaves uncovered.
    """

    zero_is_empty = True

    def __init__(
        self,
        noise: DepthNoise | None = None,
        mask: np.ndarray | None = None,
        *,
        kind: str = "huber",
        delta: float = 2.0,
        occluder_sigmas: float = float("inf"),
        missing_cost: float = 0.0,
    ) -> None:
        if kind not in _KINDS:
            raise ValueError(f"DepthLoss: kind must be one of {sorted(_KINDS)}, got {kind!r}")
        if not delta > 0 or not occluder_sigmas > 0:
            raise ValueError(
                f"DepthLoss: delta and occluder_sigmas must be positive, got {delta}, {occluder_sigmas}"
            )
        self.noise = noise or DepthNoise()
        self._cost = Cost()
        self._cost.kind, self._cost.delta = _KINDS[kind], float(delta)
        self._cost.occluder_sigmas = float(min(occluder_sigmas, 1e6))
        self._cost.missing = float(missing_cost)
        self._weights = WeightMap(mask, "DepthLoss")

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the mean cost of two depth images [m], shape (1,) float64."""
        check_pair(image, reference, "DepthLoss")
        if image.dtype != wp.float32:
            raise ValueError(f"DepthLoss: expected float32 depth in metres, got {image.dtype}")
        sums = new_sums(image)
        threads = chunks(image.size)
        noise = wp.vec3(self.noise.constant, self.noise.linear, self.noise.quadratic)
        inputs = [flat_floats(image), flat_floats(reference), self._weights.for_image(image), noise]
        inputs += [self._cost, threads]
        wp.launch(depth_sums, dim=threads, inputs=inputs, outputs=[sums], device=image.device)
        return ratio(sums)
