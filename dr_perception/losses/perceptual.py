"""Perceptual losses on fixed features, without learned weights: gradient orientation, soft census."""

import numpy as np
import warp as wp

from dr_perception.losses.base import Loss, WeightMap, check_pair, new_sums, ratio
from dr_perception.losses.reduction import weight_at


@wp.kernel
def to_luminance(
    color: wp.array3d[wp.vec3],
    # output
    gray: wp.array3d[wp.float32],
):
    """Luminance of linear RGB (Rec. 709 weights)."""
    view, y, x = wp.tid()
    gray[view, y, x] = wp.dot(color[view, y, x], wp.vec3(0.2126, 0.7152, 0.0722))


@wp.func
def scharr(gray: wp.array3d[wp.float32], view: int, y: int, x: int) -> wp.vec2:
    """Scharr gradient of an image at an interior pixel, in grey values per pixel."""
    a, b, c = gray[view, y - 1, x - 1], gray[view, y - 1, x], gray[view, y - 1, x + 1]
    d, e = gray[view, y, x - 1], gray[view, y, x + 1]
    f, g, h = gray[view, y + 1, x - 1], gray[view, y + 1, x], gray[view, y + 1, x + 1]
    gx = 3.0 * (c - a) + 10.0 * (e - d) + 3.0 * (h - f)
    gy = 3.0 * (f - a) + 10.0 * (g - b) + 3.0 * (h - c)
    return wp.vec2(gx, gy) / 32.0


@wp.kernel
def orientation_sums(
    image: wp.array3d[wp.float32],
    reference: wp.array3d[wp.float32],
    weights: wp.array[wp.float32],
    softness: float,
    # output
    sums: wp.array[wp.float64],
):
    """Add up half the squared differences of normalised gradients; a thread takes one row."""
    view, row = wp.tid()
    y = row + 1
    cost = wp.float64(0.0)
    mass = wp.float64(0.0)
    for x in range(1, image.shape[2] - 1):
        g = scharr(image, view, y, x)
        h = scharr(reference, view, y, x)
        u = g / wp.sqrt(wp.dot(g, g) + softness * softness)
        v = h / wp.sqrt(wp.dot(h, h) + softness * softness)
        w = weight_at(weights, (view * image.shape[1] + y) * image.shape[2] + x)
        cost += wp.float64(0.5 * w * wp.dot(u - v, u - v))
        mass += wp.float64(w)
    wp.atomic_add(sums, 0, cost)
    wp.atomic_add(sums, 1, mass)


@wp.func
def soft_sign(value: float, softness: float) -> float:
    """Value pressed into (-1, 1) with slope 1/softness at zero."""
    return value / wp.sqrt(value * value + softness * softness)


@wp.kernel
def census_sums(
    image: wp.array3d[wp.float32],
    reference: wp.array3d[wp.float32],
    weights: wp.array[wp.float32],
    radius: int,
    softness: float,
    # output
    sums: wp.array[wp.float64],
):
    """Add up squared differences of soft census signs; a thread takes one row."""
    view, row = wp.tid()
    y = row + radius
    cost = wp.float64(0.0)
    mass = wp.float64(0.0)
    side = 2 * radius + 1
    for x in range(radius, image.shape[2] - radius):
        w = weight_at(weights, (view * image.shape[1] + y) * image.shape[2] + x)
        a = image[view, y, x]
        b = reference[view, y, x]
        for k in range(side * side):
            j = y - radius + k // side
            i = x - radius + k % side
            s = soft_sign(image[view, j, i] - a, softness)
            t = soft_sign(reference[view, j, i] - b, softness)
            cost += wp.float64(w * (s - t) * (s - t) / float(side * side - 1))
        mass += wp.float64(w)
    wp.atomic_add(sums, 0, cost)
    wp.atomic_add(sums, 1, mass)


def _gray(image: wp.array, what: str) -> wp.array:
    """Luminance (views, height, width) float32 of a grey or linear RGB image."""
    if image.ndim not in (2, 3):
        raise ValueError(
            f"{what}: expected shape (height, width) or (views, height, width), got {tuple(image.shape)}"
        )
    stack = image if image.ndim == 3 else image.reshape((1, *image.shape))
    if stack.dtype == wp.float32:
        return stack
    if stack.dtype != wp.vec3:
        raise ValueError(f"{what}: expected float32 or vec3 pixels, got {image.dtype}")
    gray = wp.zeros(stack.shape, dtype=wp.float32, device=stack.device, requires_grad=True)
    wp.launch(to_luminance, dim=stack.shape, inputs=[stack], outputs=[gray], device=stack.device)
    return gray


class _FeatureLoss(Loss):
    """Shared by the feature losses: grey images in, mean over interior pixels out."""

    def __init__(self, weight: np.ndarray | None, softness: float) -> None:
        if not (np.isfinite(softness) and softness > 0):
            raise ValueError(f"{type(self).__name__}: softness must be a positive number, got {softness!r}")
        self.softness = float(softness)
        self._weights = WeightMap(weight, type(self).__name__)

    def _interior(
        self, image: wp.array, reference: wp.array, border: int
    ) -> tuple[wp.array, wp.array, tuple[int, int]]:
        name = type(self).__name__
        check_pair(image, reference, name)
        gray, gray_reference = _gray(image, name), _gray(reference, name)
        views, height, width = gray.shape
        if height <= 2 * border or width <= 2 * border:
            raise ValueError(
                f"{name}: an image of {tuple(image.shape)} has no pixel {border} px from its border"
            )
        return gray, gray_reference, (views, height - 2 * border)


class GradientOrientation(_FeatureLoss):
    """Half the squared difference of normalised image gradients, averaged over interior pixels.

    The feature is ``g / sqrt(|g|^2 + softness^2)`` with the Scharr gradient g: its direction where there is
    an edge, zero where there is none (normalised gradient fields, Haber and Modersitzki 2006). It does not
    change with brightness offset, and hardly with contrast, so it compares a CAD rendering with a photograph.

    Args:
        weight: Optional mask or weights of the pixel shape.
        softness: Gradient [grey value per pixel] below which a pixel counts as flat.
    """

    def __init__(self, weight: np.ndarray | None = None, *, softness: float = 0.02) -> None:
        super().__init__(weight, softness)

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the mean cost of two grey or linear RGB images, shape (1,) float64."""
        gray, gray_reference, dim = self._interior(image, reference, 1)
        sums = new_sums(image)
        inputs = [gray, gray_reference, self._weights.for_image(image), self.softness]
        wp.launch(orientation_sums, dim=dim, inputs=inputs, outputs=[sums], device=image.device)
        return ratio(sums)


class Census(_FeatureLoss):
    """Mean squared difference of a soft census transform over a square window.

    The census transform (Zabih and Woodfill 1994) keeps the sign of each neighbour minus the centre; here the
    sign is ``d / sqrt(d^2 + softness^2)`` so that it has a derivative, as flow networks do (Meister et al.
    2018).

    Args:
        weight: Optional mask or weights of the pixel shape.
        radius: Half width of the window [px]; 1 compares 8 neighbours.
        softness: Difference of grey values that counts as a clear sign.
    """

    def __init__(self, weight: np.ndarray | None = None, *, radius: int = 1, softness: float = 0.05) -> None:
        super().__init__(weight, softness)
        if radius < 1:
            raise ValueError(f"Census: radius must be at least 1 pixel, got {radius}")
        self.radius = int(radius)

    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the mean cost of two grey or linear RGB images, shape (1,) float64."""
        gray, gray_reference, dim = self._interior(image, reference, self.radius)
        sums = new_sums(image)
        inputs = [gray, gray_reference, self._weights.for_image(image), self.radius, self.softness]
        wp.launch(census_sums, dim=dim, inputs=inputs, outputs=[sums], device=image.device)
        return ratio(sums)
