"""The turn of a body of revolution about its axis, read off its label.

Depth and outlines do not show it, colours do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting.search_model import SearchModel
from dr_perception.fitting.search_rank import explained, image_colors, texture_value
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import exp_so3, make_transform

_LEAST_GAIN = 0.05
_FEWEST = 24


def spin_by_color(
    search: SearchModel,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
    reach_rad: float,
    steps: int,
) -> NDArray[np.float64]:
    """Turn a pose (4, 4) of the centre frame about the axis of revolution to where its colours fit best.

    Args:
        search: The model; one without such an axis, or without colours, is left alone.
        camera: Calibration of the image.
        image: RGB (H, W, 3).
        depth: Depth [m] (H, W), 0 for none; what it shows to be hidden is left out.
        T: The pose.
        tau_m: A measurement nearer than the model by twice this hides it.
        reach_rad: Largest turn to either side.
        steps: Turns that are tried.

    Returns:
        The turned pose; the same one where no turn is clearly better.
    """
    if search.axis is None or search.colors is None:
        return T
    direction, middle = search.axis
    p, normals, seen = image_colors(search, camera, image, depth, T, tau_m)
    if len(seen) < _FEWEST:
        return T
    angles = np.append(np.linspace(-reach_rad, reach_rad, steps), 0.0)
    # The surface stays where it is, so the same pixels are compared with the colours that each turn brings
    # there.
    R = exp_so3(-angles[:, None] * direction)
    turned = np.einsum("aij,nj->ani", R, p - middle) + middle
    colors = search.color_at(turned.reshape(-1, 3)).reshape(turned.shape)
    values = np.array([texture_value(*explained(one, normals, seen)) for one in colors])
    chosen = int(np.argmax(values[:-1]))
    if values[chosen] < values[-1] + _LEAST_GAIN:
        return T
    angle = angles[chosen] + _peak(values[:-1], chosen) * (angles[1] - angles[0])
    S = exp_so3(angle * direction)
    return T @ make_transform(S, middle - S @ middle)


def _peak(values: NDArray[np.float64], i: int) -> float:
    """Offset in steps of the top of the parabola through a maximum and its neighbours."""
    if i == 0 or i == len(values) - 1:
        return 0.0
    bend = values[i - 1] - 2.0 * values[i] + values[i + 1]
    return float(np.clip(0.5 * (values[i - 1] - values[i + 1]) / bend, -0.5, 0.5)) if bend < 0.0 else 0.0
