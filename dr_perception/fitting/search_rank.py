"""From what poses show to one number.

How well depth, outline, mask and colour agree, and the probability of being right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dr_perception.fitting import search_kernels as k
from dr_perception.fitting.search_model import SearchModel
from dr_perception.geometry.camera import Camera

Shares = dict[str, NDArray[np.float64]]
"""Features of a batch of poses by name, each (P,)."""

_WEIGHTS = {
    "agree": 1.0, "beyond": -1.0, "off_mask": -0.7, "hidden": -0.6, "edge": 1.6, "in_mask": -0.5,
    "points": 0.8,
    "unmeasured": -0.1, "in_view": 0.3, "color": 2.5, "texture": 4.0, "depth_inliers": 1.0,
    "depth_chi2": -0.4,
    "lines": 3.5,
}  # fmt: skip
"""Fitted to choose the right pose among the finalists of the benchmark (conditional logit), then rounded."""
_CURVES = {
    (True, True): (2.7, 6.5),
    (False, True): (3.0, 4.6),
    (False, False): (3.0, 2.6),
    (True, False): (2.7, 4.5),
}
"""Slope and middle by whether the model has colours and whether outlines were seen."""
_COLOR_SIGMA = 0.08
_COLOR_LARGEST = 0.3
_USUAL_GAIN = 0.8
_LIGHT_PRIOR = 0.003
_FEWEST_COLORS = 12
_PATCH_X = np.tile([-1, 0, 1], 3)
_PATCH_Y = np.repeat([-1, 0, 1], 3)


def summarise(features: NDArray[np.float32]) -> Shares:
    """Shares between 0 and 1 from the counts of `judge_poses` (P, F)."""
    f = features.astype(np.float64)
    tested = np.maximum(f[:, k.TESTED], 1.0)
    # An object mostly hidden must not be judged by the two points left of it.
    visible = np.maximum(f[:, k.TESTED] - f[:, k.HIDDEN], 0.3 * tested)
    measured = np.maximum(f[:, k.MEASURED], 0.5 * visible)
    return {
        "agree": f[:, k.AGREE] / measured,
        "beyond": f[:, k.BEYOND] / measured,
        "off_mask": f[:, k.OFF_MASK] / visible,
        "hidden": f[:, k.HIDDEN] / tested,
        "edge": np.where(
            f[:, k.EDGE_TESTED] > 4, f[:, k.EDGE_SEEN] / np.maximum(f[:, k.EDGE_TESTED], 1.0), 0.5
        ),
        "in_mask": f[:, k.EDGE_IN_MASK] / np.maximum(f[:, k.EDGE_TESTED], 1.0),
        "points": np.where(f[:, k.POINTS] > 0, f[:, k.POINTS_AGREE] / np.maximum(f[:, k.POINTS], 1.0), 0.0),
        "unmeasured": f[:, k.UNMEASURED] / visible,
        "in_view": np.minimum(f[:, k.TESTED] / np.maximum(f[:, k.TESTED].max(initial=1.0), 1.0), 1.0),
    }


def rank(shares: Shares) -> NDArray[np.float64]:
    """One number for each pose, larger is better; missing shares count nothing."""
    return sum((weight * shares[name] for name, weight in _WEIGHTS.items() if name in shares), np.zeros(1))


def probability(shares: Shares) -> NDArray[np.float64]:
    """Probability that poses are right: a logistic curve of their rank.

    Fitted to the first answers of searches for objects that are there and for objects that are not, in every
    tenth frame of the
    benchmark; one curve for each set of features that a frame and a model allow.
    """
    slope, middle = _CURVES[("texture" in shares, bool(np.any(shares.get("lines", np.zeros(1)) > 0.0)))]
    return 1.0 / (1.0 + np.exp(-slope * (rank(shares) - middle)))


def color_shares(
    search: SearchModel,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
    samples: int = 256,
) -> Shares:
    """How well the model's colours explain the image at each pose (P, 4, 4) of the centre frame.

    ``color`` and ``texture`` are those of `explained`; both are absent for a model without colours.
    """
    if search.colors is None:
        return {}
    pairs = np.array(
        [_color_agreement(search, camera, image, depth, one, tau_m, samples) for one in T]
    ).reshape(-1, 2)
    return {"color": pairs[:, 0], "texture": pairs[:, 1]}


def _color_agreement(
    search: SearchModel,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
    samples: int,
) -> tuple[float, float]:
    assert search.colors is not None
    view, ids, normals, seen = _visible(search, camera, image, depth, T, tau_m, samples)
    if len(seen) < _FEWEST_COLORS:
        return 0.0, 0.0
    return explained(search.colors[view, ids].astype(np.float64), normals, seen)


def _visible(
    search: SearchModel,
    camera: Camera,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    T: NDArray[np.float64],
    tau_m: float,
    samples: int,
) -> tuple[int, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Nearest view, its points that nothing hides, their normals in the camera frame and mean colours."""
    eye = -T[:3, :3].T @ T[:3, 3]
    view = int(np.argmax(search.directions @ (eye / np.linalg.norm(eye))))
    count = min(int(search.counts[view]), samples)
    p = search.points[view, :count] @ T[:3, :3].T + T[:3, 3]
    front = p[:, 2] > 0.01
    uv = np.full((count, 2), -1.0)
    uv[front] = camera.project(p[front])
    x, y = (np.floor(np.nan_to_num(uv, nan=-1.0) + 0.5).astype(int)).T
    inside = front & (x >= 1) & (y >= 1) & (x < camera.width - 1) & (y < camera.height - 1)
    x, y = np.where(inside, x, 1), np.where(inside, y, 1)
    z = depth[y, x]
    ids = np.flatnonzero(inside & (~(z > 0.0) | (z > p[:, 2] - 2.0 * tau_m)))
    x, y = x[ids][:, None] + _PATCH_X, y[ids][:, None] + _PATCH_Y
    normals = search.normals[view, ids] @ T[:3, :3].T
    return view, ids, normals, image[y, x].mean(axis=1) / 255.0


def explained(
    model: NDArray[np.float64], normals: NDArray[np.float64], image: NDArray[np.float64]
) -> tuple[float, float]:
    """How well lit model colours explain image colours, both (N, 3), 0 to 1.

    Light is a gain linear in the normal (the first two orders of spherical harmonics, Basri and Jacobs 2003)
    and one offset, fitted.

    Returns:
        Closeness to the noise (1 is perfect), and the share that the model explains better than its mean
        colour would: what its texture is worth, negative where it contradicts.
    """
    left = _left_over(model, normals, image)
    plain = _left_over(np.broadcast_to(model.mean(axis=0), model.shape), normals, image)
    noise = _COLOR_SIGMA**2
    return float(noise / (noise + left)), float((plain - left) / (max(plain, left) + 0.2 * noise))


def _left_over(model: NDArray[np.float64], normals: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """Robust mean square of what a gain linear in the normal and an offset leave."""
    lit = model[:, :, None] * np.concatenate([np.ones((len(normals), 1)), normals], axis=1)[:, None, :]
    A = np.concatenate([lit.reshape(-1, 4), np.ones((model.size, 1))], axis=1)
    b = image.ravel()
    weak = _LIGHT_PRIOR * len(b) * np.diag([1.0, 1.0, 1.0, 1.0, 4.0])
    theta = np.linalg.solve(A.T @ A + weak, A.T @ b + weak @ [_USUAL_GAIN, 0.0, 0.0, 0.0, 0.0])
    return float(np.mean(np.minimum((b - A @ theta) ** 2, _COLOR_LARGEST**2)))
