"""What arrays held when they were last looked at: what is made of them is made again when it changed."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray


class Contents:
    """Copies of arrays under names; on the CPU alone, where comparing costs less than a launch.

    On other devices nothing is known, and every question is answered with yes.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._seen: dict[str, tuple[wp.array, NDArray[np.uint32], NDArray[np.uint32]]] = {}
        self._trusted = True

    def changed(self, name: str, array: wp.array) -> bool:
        """Whether an array may hold something else than at the last question under this name, to the bit."""
        if not self._trusted or not array.device.is_cpu:
            return True
        found = self._seen.get(name)
        if found is not None and found[0] is array:
            if np.array_equal(found[1], found[2]):
                return False
            found[2][...] = found[1]
            return True
        words = array.numpy().reshape(-1).view(np.uint32)
        same = found is not None and np.array_equal(words, found[2])
        self._seen[name] = (array, words, words.copy())
        return not same

    def forget(self, name: str) -> None:
        """Say yes to the next question under a name."""
        self._seen.pop(name, None)

    def distrust(self) -> None:
        """Say yes from now on: a graph that somebody else holds makes things of the arrays, unseen."""
        self._trusted = False

    @property
    def trusted(self) -> bool:
        """Whether nobody else makes things of the arrays."""
        return self._trusted
