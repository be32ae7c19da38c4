"""Where a search looks: masks, boxes and clicks turned into pixels, after their mistakes are named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.frame import Frame, without_masked
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform
from dr_perception.hypothesis.scene import Region

Prior = tuple[NDArray[np.float64], NDArray[np.float64]]
"""A pose T_cam_obj (4, 4) and its covariance (6, 6)."""

_CLICK_WINDOW_PX = 6
_MIN_DEPTH_PIXELS = 12


@dataclass(frozen=True)
class Where:
    """What is known of where an object is: at most one of these; with none it may be anywhere."""

    mask: NDArray[np.bool_] | None = None
    """Pixels that show it (H, W)."""
    box: tuple[float, float, float, float] | None = None
    """Pixels that hold it, (x0, y0, x1, y1)."""
    click: tuple[float, float] | None = None
    """A pixel (x, y) on it."""
    prior: Prior | None = None
    """A pose and its covariance."""


def check_mask(frame: Frame, mask: Any) -> NDArray[np.bool_]:
    """Check that a mask (H, W) fits the frame and shows something.

    Raises:
        TypeError: It is no boolean array.
        ValueError: Its size is another, it is empty, or no depth was measured inside it.
    """
    mask = without_masked(mask)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"the mask must be a boolean NumPy array, got {kind}")
    if mask.shape != (frame.camera.height, frame.camera.width):
        raise ValueError(
            f"the mask has shape {mask.shape}, the camera's images have "
            f"{(frame.camera.height, frame.camera.width)}"
        )
    if not mask.any():
        raise ValueError(f"the mask is empty: none of its {mask.size} pixels is set")
    if frame.depth is not None and not _has_depth(frame, mask):
        raise ValueError(f"no depth is measured at any of the {int(mask.sum())} pixels of the mask")
    return mask


def _has_depth(frame: Frame, mask: NDArray[np.bool_]) -> bool:
    assert frame.depth is not None
    z = frame.depth[mask]
    return bool(np.any(np.isfinite(z) & (z > 0)))


def check_size(model: ObjectModel, frame: Frame, mask: NDArray[np.bool_]) -> None:
    """Compare a model with the extent of what was measured inside a mask.

    Raises:
        ValueError: The model is more than twenty times larger than what is seen, or less than a third of it.
    """
    if frame.depth is None:
        return
    depth = np.where(mask, frame.depth_m(), 0.0)
    y, x = np.nonzero(depth)
    z = depth[y, x]
    low, high = np.percentile(z, [5, 95])
    width = float(np.ptp(x)) * float(np.median(z)) / frame.camera.fx
    height = float(np.ptp(y)) * float(np.median(z)) / frame.camera.fy
    extent = float(np.linalg.norm([width, height, min(high - low, max(width, height))]))
    if model.diameter_m > 20.0 * extent or model.diameter_m < extent / 3.0:
        raise ValueError(
            f"{model.name!r} has a diameter of {model.diameter_m:.4g} m but the mask shows something of "
            f"{extent:.4g} m;"
            " is the mesh in the wrong unit, or the depth scale wrong?"
        )


def check_region(frame: Frame, where: Where) -> None:
    """Check that at most one region is given and that it makes sense.

    Raises:
        ValueError: Two regions, or one that is empty, outside the image, or without depth where depth is
        needed.
    """
    given = [name for name, value in vars(where).items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"give at most one of mask, box, click and prior, got {' and '.join(given)}")
    if where.mask is not None:
        check_mask(frame, where.mask)
    elif where.prior is not None:
        _check_prior(where.prior)
    else:
        _check_depth(frame, where.box, where.click)


def _check_prior(prior: Any) -> None:
    check_transform(prior[0], "pose of the prior")
    covariance = np.asarray(prior[1], dtype=np.float64)
    if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
        raise ValueError(f"the covariance of the prior must be a finite (6, 6) array, got {covariance.shape}")
    if not np.allclose(covariance, covariance.T) or np.linalg.eigvalsh(covariance)[0] < -1e-12:
        raise ValueError("the covariance of the prior must be symmetric and positive semi-definite")


def _check_depth(frame: Frame, box: Any, click: Any) -> None:
    if frame.depth is None:
        what = "a box" if box is not None else "a click" if click is not None else "the whole frame"
        raise ValueError(f"searching {what} needs a depth image; without one give a mask or a prior pose")
    camera = frame.camera
    if box is not None:
        x0, y0, x1, y1 = box
        if not (x1 > x0 and y1 > y0):
            raise ValueError(f"the box (x0, y0, x1, y1) must have x0 < x1 and y0 < y1, got {tuple(box)}")
        if x1 <= 0 or y1 <= 0 or x0 >= camera.width or y0 >= camera.height:
            raise ValueError(
                f"the box {tuple(box)} lies outside the image of {camera.width} x {camera.height}"
            )
    if click is not None and not (0 <= click[0] < camera.width and 0 <= click[1] < camera.height):
        raise ValueError(
            f"the click {tuple(click)} lies outside the image of {camera.width} x {camera.height}"
        )
    depth = frame.depth_m()
    if np.count_nonzero(depth) < _MIN_DEPTH_PIXELS:
        raise ValueError(
            f"the depth image has {np.count_nonzero(depth)} measured pixels: nothing can be found in it"
        )


def region_of(model: ObjectModel, frame: Frame, where: Where) -> Region:
    """Pixels that a search looks at.

    Raises:
        ValueError: There is no depth around the click.
    """
    if where.mask is not None:
        return Region(without_masked(where.mask), True)
    if where.click is not None:
        x, y = where.click
        return Region(_around_click(model, frame, where.click), False, (round(x), round(y)))
    allowed = None
    if where.box is not None:
        allowed = np.zeros((frame.camera.height, frame.camera.width), bool)
        x0, y0, x1, y1 = (round(v) for v in where.box)
        allowed[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return Region(allowed, False)


def _around_click(model: ObjectModel, frame: Frame, click: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels measured within a diameter of the clicked one, and those without depth near by."""
    depth = frame.depth_m()
    x, y = round(click[0]), round(click[1])
    w = _CLICK_WINDOW_PX
    near = depth[max(y - w, 0) : y + w + 1, max(x - w, 0) : x + w + 1]
    if not (near > 0.0).any():
        raise ValueError(f"no depth is measured within {w} pixels of the click {tuple(click)}")
    z = float(np.median(near[near > 0.0]))
    if depth[y, x] > 0.0:
        z = float(depth[y, x])
    rays = frame.camera.rays()
    point = np.array([*(rays[y, x] * z), z], np.float32)
    where = np.where(depth > 0.0, depth, z)
    offset = np.concatenate([rays * where[..., None], where[..., None]], axis=-1) - point
    return np.sum(offset**2, axis=-1) < model.diameter_m**2
