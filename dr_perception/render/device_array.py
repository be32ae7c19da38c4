"""Small arrays that the host writes and kernels read, or the other way round."""

from __future__ import annotations

from typing import Any

import warp as wp
from numpy.typing import NDArray


class SharedArray:
    """A device array with a NumPy view that stands for it on the host.

    On the CPU both are the same memory and `push` and `pull` do nothing. On CUDA the view is pinned host
    memory and they copy; `pull` waits for the copy.
    """

    def __init__(self, shape: int | tuple[int, ...], dtype: Any, device: wp.DeviceLike) -> None:
        """Allocate zeros."""
        self.device = wp.get_device(device)
        self.array = wp.zeros(shape, dtype=dtype, device=self.device)
        self._staging = self.array
        if self.device.is_cuda:
            self._staging = wp.zeros(shape, dtype=dtype, device="cpu", pinned=True)
        self.host: NDArray[Any] = self._staging.numpy()

    def push(self) -> None:
        """Make what the host wrote visible to kernels."""
        if self._staging is not self.array:
            wp.copy(self.array, self._staging)

    def pull(self) -> None:
        """Make what kernels wrote visible to the host."""
        if self._staging is not self.array:
            wp.copy(self._staging, self.array)
            wp.synchronize_device(self.device)
