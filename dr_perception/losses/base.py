"""The common shape of an image loss: a value on the device, and a gradient through ``wp.Tape``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import warp as wp

from dr_perception.device.threads import separate_threads
from dr_perception.losses.reduction import CHUNK, finish_ratio


class Loss(ABC):
    """A scalar function of an image and its reference.

    Images are Warp arrays of any leading shape (usually ``(views, height, width)``) and of dtype float32 or a
    float32 vector. Calling a loss only launches kernels: nothing is copied to the host, so it can be captured
    and taped. The value is a float64 array of one element, because float32 sums over an image lose the digits
    that a line search needs.
    """

    #: Pixels of value 0 in either image mean "nothing there" (depth, normals) and are left out of averages.
    zero_is_empty: bool = False

    @abstractmethod
    def __call__(self, image: wp.array, reference: wp.array) -> wp.array:
        """Return the loss as a float64 array of shape (1,) on the device of ``image``."""

    def value_and_gradient(
        self, image: wp.array | np.ndarray, reference: wp.array | np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Evaluate the loss and its derivative with respect to every number of ``image``.

        Args:
            image: Rendered image, any shape the loss accepts.
            reference: Image to compare with, same shape.

        Returns:
            The value, and the gradient as a NumPy array of the shape of ``image`` (vector channels last).
        """
        separate_threads()
        rendered = to_device(image, requires_grad=True)
        target = to_device(reference, like=rendered)
        tape = wp.Tape()
        with tape:
            value = self(rendered, target)
        tape.backward(loss=value)
        gradient = rendered.grad.numpy()
        return float(value.numpy()[0]), gradient


def to_device(
    image: wp.array | np.ndarray, like: wp.array | None = None, requires_grad: bool = False
) -> wp.array:
    """Return ``image`` as a float32 Warp array; a NumPy image with 3 values last becomes an array of vec3.

    Args:
        image: NumPy array, or a Warp array. A Warp array that has no gradient is copied when one is asked
            for.
        like: Array whose dtype and device the result takes.
        requires_grad: Whether the result carries a gradient.
    """
    device = like.device if like is not None else (image.device if isinstance(image, wp.array) else None)
    if isinstance(image, wp.array):
        if image.requires_grad or not requires_grad:
            return image
        return wp.clone(image, requires_grad=True)
    values = np.ascontiguousarray(image, dtype=np.float32)
    vector = values.ndim == 4 or (
        values.ndim == 3 and values.shape[-1] == 3 and (like is None or like.ndim == 2)
    )
    dtype: Any = wp.vec3 if vector else wp.float32
    if like is not None:
        dtype = like.dtype
    return wp.array(values, dtype=dtype, device=device, requires_grad=requires_grad)


def check_pair(image: wp.array, reference: wp.array, what: str) -> None:
    """Raise ``ValueError`` unless both images have the same shape and dtype and at least one pixel."""
    if not isinstance(image, wp.array) or not isinstance(reference, wp.array):
        raise TypeError(
            f"{what}: expected two Warp arrays, got {type(image).__name__} and {type(reference).__name__}"
        )
    if tuple(image.shape) != tuple(reference.shape):
        raise ValueError(
            f"{what}: image has shape {tuple(image.shape)} but the reference {tuple(reference.shape)}"
        )
    if image.dtype != reference.dtype:
        raise ValueError(f"{what}: image has dtype {image.dtype} but the reference {reference.dtype}")
    if image.size == 0:
        raise ValueError(f"{what}: the image has no pixels, shape {tuple(image.shape)}")


def channels_of(image: wp.array) -> int:
    """Number of floats a pixel of ``image`` holds."""
    return int(wp.types.type_size(image.dtype))


def flat_floats(image: wp.array) -> wp.array:
    """View ``image`` as a one-dimensional float32 array that shares values and gradient."""
    if not image.is_contiguous:
        raise ValueError(
            f"expected a contiguous image, got strides {image.strides} for shape {tuple(image.shape)}"
        )
    flat = image.flatten()
    return flat if image.dtype == wp.float32 else flat.view(wp.float32).flatten()


def chunks(count: int) -> int:
    """Number of threads that reduce ``count`` items, each summing ``CHUNK`` of them before one atomic."""
    return (count + CHUNK - 1) // CHUNK


def ratio(sums: wp.array) -> wp.array:
    """Return ``sums[0] / sums[1]``, the mean of what was summed, or 0 where nothing was."""
    value = wp.zeros(1, dtype=wp.float64, device=sums.device, requires_grad=True)
    wp.launch(finish_ratio, dim=1, inputs=[sums], outputs=[value], device=sums.device)
    return value


def new_sums(image: wp.array, count: int = 2) -> wp.array:
    """Zeroed float64 accumulators on the device of ``image``."""
    return wp.zeros(count, dtype=wp.float64, device=image.device, requires_grad=True)


class WeightMap:
    """Optional per-pixel weights of a loss, uploaded to a device on first use.

    Args:
        weight: Array of the pixel shape of the images (bool mask or non-negative weights), or None for ones.
        what: Name of the loss, for error messages.

    Raises:
        ValueError: When a weight is negative or not finite, or all are zero.
    """

    def __init__(self, weight: np.ndarray | None, what: str) -> None:
        self._what = what
        self._on_device: dict[str, wp.array] = {}
        self._values = None if weight is None else np.ascontiguousarray(weight, dtype=np.float32)
        if self._values is not None and (
            not np.all(np.isfinite(self._values)) or self._values.min(initial=0.0) < 0
        ):
            raise ValueError(f"{what}: weights must be finite and not negative, got min {self._values.min()}")
        if self._values is not None and not np.any(self._values > 0):
            raise ValueError(f"{what}: all weights are zero, nothing would be compared")

    def for_image(self, image: wp.array) -> wp.array:
        """Flat weights for ``image`` on its device; an empty array stands for "all ones"."""
        key = str(image.device)
        if key not in self._on_device:
            values = np.zeros(0, np.float32) if self._values is None else self._values.ravel()
            self._on_device[key] = wp.array(values, dtype=wp.float32, device=image.device)
        if self._values is not None and self._values.size != image.size:
            raise ValueError(
                f"{self._what}: weights have shape {self._values.shape} but the image {tuple(image.shape)}"
            )
        return self._on_device[key]
