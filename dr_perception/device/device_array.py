"""Small arrays that the host writes and kernels read, or the other way round."""

from __future__ import annotations

from typing import Any

import warp as wp
from numpy.typing import NDArray

from dr_perception.device.threads import WARP_LOCK


class SharedArray:
    """A device array with a NumPy view that stands for it on the host.

    On the CPU both are the same memory and `push` and `pull` do nothing. On CUDA the view is pinned host
    memory and they copy; `pull` waits for the copy.

    Attributes:
        array: On the device.
        staging: The host's memory as a Warp array, for kernels that run on the CPU.
        host: The same memory as a NumPy array.
    """

    def __init__(self, shape: int | tuple[int, ...], dtype: Any, device: wp.DeviceLike) -> None:
        """Allocate zeros."""
        self.device = wp.get_device(device)
        self.array = wp.zeros(shape, dtype=dtype, device=self.device)
        self.staging = self.array
        if self.device.is_cuda:
            self.staging = wp.zeros(shape, dtype=dtype, device="cpu", pinned=True)
        # NumPy reads the layout of a struct with the parser of CPython 3.11, whose depth counter all
        # threads share: two at once raise "AST constructor recursion depth mismatch".
        with WARP_LOCK:
            self.host: NDArray[Any] = self.staging.numpy()

    def push(self) -> None:
        """Make what the host wrote visible to kernels."""
        if self.staging is not self.array:
            wp.copy(self.array, self.staging)

    def pull(self) -> None:
        """Make what kernels wrote visible to the host."""
        if self.staging is not self.array:
            wp.copy(self.staging, self.array)
            wp.synchronize_device(self.device)
