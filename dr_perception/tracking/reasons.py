"""Why an object could not be measured, in words that are true."""

from __future__ import annotations

from dr_perception.geometry.camera import Camera
from dr_perception.hypothesis.start_check import LEAST_PX
from dr_perception.tracking.health import Agreement

Extent = tuple[float, float, float, float]
"""Smallest and largest pixels (u, v, u, v) of a predicted surface, inside the image or not."""


def share_in_view(extent: Extent, camera: Camera) -> float:
    """Share of the box around an object that lies in the image."""
    u0, v0, u1, v1 = extent
    width = min(u1, camera.width - 0.5) - max(u0, -0.5)
    height = min(v1, camera.height - 0.5) - max(v0, -0.5)
    return max(width, 0.0) * max(height, 0.0) / max((u1 - u0) * (v1 - v0), 1e-9)


def is_too_small(extent: Extent) -> bool:
    """Whether a surface spans too few pixels to be measured, whatever seems to agree."""
    u0, v0, u1, v1 = extent
    return max(u1 - u0, v1 - v0) < LEAST_PX


def why_unseen(agreement: Agreement, extent: Extent, camera: Camera) -> str:
    """Why next to nothing of an object was measured: out of view, too small, hidden."""
    u0, v0, u1, v1 = extent
    if share_in_view(extent, camera) == 0.0:
        return _out_of_view(extent, camera)
    if is_too_small(extent):
        return f"too small or thin in the image to be measured: it spans {u1 - u0:.1f} x {v1 - v0:.1f} pixels"
    if agreement.samples == 0:
        return f"too thin, or nothing of its known surface shows, on {u1 - u0:.1f} x {v1 - v0:.1f} pixels"
    return f"only {100.0 * agreement.visible_fraction:.0f} % of the visible side is not hidden"


def why_unlikely(agreement: Agreement, extent: Extent, camera: Camera, least_samples: int) -> str:
    """Why a pose that was measured is not believed."""
    if agreement.support >= least_samples:
        return f"{agreement.describe()}, which makes the pose {100.0 * agreement.score:.0f} % likely"
    inside = share_in_view(extent, camera)
    if inside == 0.0:
        return _out_of_view(extent, camera)
    reason = f"only {agreement.support:.0f} samples agree, {least_samples} are needed"
    if inside < 0.95:
        return f"{reason}: {100.0 * inside:.0f} % of it is in view"
    return f"{reason}: {agreement.describe()}"


def _out_of_view(extent: Extent, camera: Camera) -> str:
    u0, v0, u1, v1 = extent
    return (
        f"out of view: it is expected at columns {u0:.0f} to {u1:.0f} and rows {v0:.0f} to {v1:.0f} of "
        f"{camera.width} x {camera.height} pixels"
    )
