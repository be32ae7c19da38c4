"""The stored view nearest to a direction is found in a band of the lattice."""

import numpy as np
import pytest
import warp as wp

from dr_perception.hypothesis.judge_kernels import ViewTable, nearest_view
from dr_perception.hypothesis.tables import NUM_VIEWS, sphere_directions


@wp.kernel
def look_up(
    views: ViewTable,
    directions: wp.array[wp.vec3],
    # output
    found: wp.array[int],
):
    """Nearest view of every direction."""
    i = wp.tid()
    found[i] = nearest_view(views, directions[i])


@pytest.mark.parametrize("count", [20, NUM_VIEWS, 1000])
def test_no_view_outside_of_the_band_is_nearer(count: int) -> None:
    lattice = sphere_directions(count)
    views = ViewTable()
    views.directions = wp.array(lattice.astype(np.float32), dtype=wp.vec3, device="cpu")
    rng = np.random.default_rng(0)
    asked = rng.normal(size=(20000, 3))
    asked[:2] = [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    found = wp.zeros(len(asked), dtype=int, device="cpu")
    wp.launch(
        look_up,
        len(asked),
        [views, wp.array(asked.astype(np.float32), dtype=wp.vec3, device="cpu")],
        [found],
        device="cpu",
    )
    cosines = asked @ lattice.T
    np.testing.assert_allclose(
        cosines[np.arange(len(asked)), found.numpy()], cosines.max(axis=1), rtol=0.0, atol=1e-6
    )
