"""Overlay pictures of the frames that tell most about a run."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.source import FrameSource
from dr_perception.evaluation.records import PoseRecord
from dr_perception.evaluation.result import Metrics
from dr_perception.evaluation.scoring import instances
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.viz.overlay import draw_overlay

__all__ = ["Picture", "background", "overlay_frames", "telling_pictures"]

JPEG_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """A picture of the report."""

    title: str
    caption: str
    uri: str
    """Data URI of a JPEG."""


def telling_pictures(
    metrics: Metrics, source: FrameSource, models: Mapping[str, ObjectModel]
) -> list[Picture]:
    """Overlays of the frames whose worst object is best, in the middle, and worst; fewer for short runs."""
    frames, severity = _severity(metrics)
    order = np.argsort(severity, kind="stable")
    picks = {"Best frame": order[0], "Median frame": order[len(order) // 2], "Worst frame": order[-1]}
    wanted = {int(frames[position]): title for title, position in reversed(picks.items())}
    tracked = instances(metrics.objects, models)
    pictures = {
        index: Picture(wanted[index], _caption(metrics, index), _data_uri(image))
        for index, image in overlay_frames(metrics, source, tracked, set(wanted))
    }
    return sorted(pictures.values(), key=lambda p: list(picks).index(p.title))


def overlay_frames(
    metrics: Metrics,
    source: FrameSource,
    models: Mapping[str, ObjectModel],
    wanted: set[int] | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Overlays of scored frames in order: (frame index, (H, W, 3) uint8 RGB)."""
    rows: dict[int, dict[str, int]] = {}
    for name, errors in metrics.objects.items():
        for row, index in enumerate(errors.frame):
            rows.setdefault(int(index), {})[name] = row
    last = max(rows if wanted is None else wanted)
    for index, frame in enumerate(source):
        if index in rows and (wanted is None or index in wanted):
            states = {name: _state(metrics, name, row) for name, row in rows[index].items()}
            shown = {name: state for name, state in states.items() if state is not None}
            poses = {name: state.T_cam_obj for name, state in shown.items()}
            yield index, draw_overlay(background(frame), models, poses, frame.camera, shown)
        if index >= last:
            return


def background(frame: Frame) -> NDArray[np.uint8]:
    """What an overlay is drawn on: the colour image, or the depth in greys where there is no colour."""
    if frame.color is not None:
        return frame.color
    depth = frame.depth_m()
    seen = depth > 0
    if not seen.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    near, far = np.percentile(depth[seen], (2, 98))
    grey = np.where(seen, 230 - 190 * np.clip((depth - near) / max(far - near, 1e-6), 0, 1), 0)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _state(metrics: Metrics, name: str, row: int) -> PoseRecord | None:
    errors = metrics.objects[name]
    status = errors.status[row]
    if status is None:
        return None
    return PoseRecord(
        int(errors.stamp_ns[row]), name, errors.T_est[row], status=status, score=float(errors.score[row])
    )


def _severity(metrics: Metrics) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames and the largest error of any object in them, as a share of its diameter."""
    worst: dict[int, float] = {}
    for errors in metrics.objects.values():
        for index, share in zip(errors.frame, errors.add / errors.diameter_m, strict=True):
            worst[int(index)] = max(worst.get(int(index), 0.0), float(share))
    return np.array(list(worst), dtype=np.int64), np.array(list(worst.values()))


def _caption(metrics: Metrics, index: int) -> str:
    parts = []
    for name, errors in metrics.objects.items():
        for add in errors.add[errors.frame == index]:
            parts.append(f"{name} {1e3 * add:.2f} mm" if np.isfinite(add) else f"{name} no pose")
    return f"frame {index}: ADD " + ", ".join(parts)


def _data_uri(image: NDArray[np.uint8]) -> str:
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
