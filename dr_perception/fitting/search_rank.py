"""From what poses show to one number: how well depth, outline, mask and colour agree, and the probability of being right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting import search_kernels as k
from dr_perception.fitting.search_model import SearchModel
from dr_perception.geometry.camera import Camera

_SLOPE, _MIDDLE = 6.0, 1.2
_COLOR_SIGMA = 0.08
_COLOR_LARGEST = 0.3


def summarise(features: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Shares between 0 and 1 from the counts of `judge_poses` (P, F)."""
    f = features.astype(np.float64)
    tested = np.maximum(f[:, k.TESTED], 1.0)
    # An object mostly hidden must not be judged by the two points left of it.
    visible = np.maximum(f[:, k.TESTED] - f[:, k.HIDDEN], 0.3 * tested)
    return {
        "agree": f[:, k.AGREE] / visible,
        "beyond": f[:, k.BEYOND] / visible,
        "off_mask": f[:, k.OFF_MASK] / visible,
        "hidden": f[:, k.HIDDEN] / tested,
        "edge": np.where(f[:, k.EDGE_TESTED] > 4, f[:, k.EDGE_SEEN] / np.maximum(f[:, k.EDGE_TESTED], 1.0), 0.5),
        "in_mask": f[:, k.EDGE_IN_MASK] / np.maximum(f[:, k.EDGE_TESTED], 1.0),
        "points": np.where(f[:, k.POINTS] > 0, f[:, k.POINTS_AGREE] / np.maximum(f[:, k.POINTS], 1.0), 0.0),
        "unmeasured": f[:, k.UNMEASURED] / visible,
        "in_view": f[:, k.TESTED] / np.maximum(f[:, k.TESTED].max(initial=1.0), 1.0),
    }


def rank(shares: dict[str, NDArray[np.float64]], color: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """One number for each pose, larger is better; weights are of the order of what each share is worth."""
    value = shares["agree"] - 1.5 * shares["beyond"] - shares["off_mask"] - 0.5 * shares["hidden"]
    value = value + 0.4 * shares["edge"] - 0.4 * shares["in_mask"] + 0.8 * shares["points"] + 0.5 * shares["in_view"]
    return value if color is None else value + 0.6 * color


def probability(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that poses of these ranks are right: a logistic curve through the outcomes of the benchmark."""
    return 1.0 / (1.0 + np.exp(-_SLOPE * (value - _MIDDLE)))


def color_agreement(
    search: SearchModel,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
) -> NDArray[np.float64]:
    """How well the model's colours explain the image at each pose (P, 4, 4) of the centre frame; 0 to 1.

    One gain and one offset for all channels take up exposure and light; what they leave unexplained is compared with the noise
    and with what a uniform colour would leave.
    """
    if search.colors is None:
        return np.zeros(len(T))
    return np.array([_color_agreement(search, camera, image, depth, one, tau_m) for one in T])


def _color_agreement(
    search: SearchModel,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
) -> float:
    assert search.colors is not None
    eye = -T[:3, :3].T @ T[:3, 3]
    view = int(np.argmax(search.directions @ (eye / np.linalg.norm(eye))))
    count = search.counts[view]
    p = search.points[view, :count] @ T[:3, :3].T + T[:3, 3]
    front = p[:, 2] > 0.01
    uv = np.full((count, 2), -1.0)
    uv[front] = camera.project(p[front])
    x, y = (np.floor(np.nan_to_num(uv, nan=-1.0) + 0.5).astype(int)).T
    inside = front & (x >= 1) & (y >= 1) & (x < camera.width - 1) & (y < camera.height - 1)
    x, y = np.where(inside, x, 1), np.where(inside, y, 1)
    z = depth[y, x]
    seen = inside & ((z <= 0.0) | (z > p[:, 2] - 2.0 * tau_m))
    if np.count_nonzero(seen) < 12:
        return 0.0
    x, y = x[seen], y[seen]
    patch = sum(image[y + dy, x + dx].astype(np.float64) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / (9.0 * 255.0)
    return _explained(search.colors[view, :count][seen].astype(np.float64), patch)


def _explained(model: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """How small the difference is that one gain and one offset on the model's colours leave; 1 where there is none."""
    a, b = model.ravel() - model.mean(), image.ravel() - image.mean()
    gain = np.clip(a @ b / max(a @ a, 1e-9), 0.2, 2.5)
    left = np.mean(np.minimum((b - gain * a) ** 2, _COLOR_LARGEST**2))
    return float(_COLOR_SIGMA**2 / (_COLOR_SIGMA**2 + left))
