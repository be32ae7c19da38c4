"""One pose in one frame has one score, whether a fit, a search or a tracker says it."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import CAMERA, make_model, poses, render

import dr_perception as drp
from dr_perception.geometry import Frame
from dr_perception.hypothesis.region import Where
from dr_perception.hypothesis.search import search_poses


def scores(model: drp.ObjectModel, frame: Frame, T: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Score of a pose (4, 4) by every route that ends there."""
    tracker = drp.Tracker({"it": model}, config=drp.TrackerConfig(threads=1))
    tracker.start(frame, {"it": T})
    tracked = tracker.track(frame).objects["it"]
    found = {
        "fit": drp.fit_pose(model, frame, T),
        "search": search_poses(model, frame, Where(mask=mask))[0],
        "track": tracked,
    }
    for name, one in found.items():
        shift = np.linalg.norm((one.T_cam_obj - T) @ [*model.center, 1.0])
        assert shift < 0.002, f"{name} ends {1e3 * shift:.1f} mm off"
    return {name: float(one.score) for name, one in found.items()}


@pytest.mark.parametrize("hidden", [0.0, 0.45])
@pytest.mark.parametrize("without_color", [False, True])
def test_every_route_gives_the_same_score(hidden: float, without_color: bool) -> None:
    model, T = make_model("mug"), poses("mug", 1)[0]
    frame = render({"mug": (model.mesh, T)})
    assert frame.depth is not None
    mask = np.isfinite(frame.depth) & (frame.depth > 0.0) & _near(frame, model, T)
    depth, color = frame.depth.copy(), None if without_color else frame.color
    _, x = np.nonzero(mask)
    edge = int(np.quantile(x, hidden))
    if hidden > 0.0:  # a board before a part of it
        depth[:, x.min() - 4 : edge] = 0.8 * T[2, 3]
        mask[:, x.min() - 4 : edge] = False
        if color is not None:
            color = color.copy()
            color[:, x.min() - 4 : edge] = 128
    seen = Frame(color, depth, CAMERA, stamp_ns=frame.stamp_ns)
    found = scores(model, seen, T, mask)
    assert max(found.values()) - min(found.values()) < 0.03, found
    assert min(found.values()) > 0.5, found


def _near(frame: Frame, model: drp.ObjectModel, T: np.ndarray) -> np.ndarray:
    """Pixels (H, W) whose measured point lies within the model's bounding sphere."""
    assert frame.depth is not None
    points = np.concatenate([CAMERA.rays() * frame.depth[..., None], frame.depth[..., None]], axis=-1)
    center = T[:3, :3] @ model.center + T[:3, 3]
    return np.asarray(np.linalg.norm(points - center, axis=-1) < 1.02 * model.radius_m)
