"""Colour statistics of an object and of what surrounds it, learned from the frames in which it was tracked.

Histograms of 16 levels a channel (Stoiber et al. 2022) over surface samples and over pixels just outside the
outer contour.
"""

from __future__ import annotations

import warp as wp

from dr_perception.device.device_array import SharedArray
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.poses import Poses, place, pose_of
from dr_perception.device.recording import capture, fill, record
from dr_perception.geometry.camera_warp import project
from dr_perception.measure.contour_lines import NO_OUTLINE, is_inside, line_at
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.measure.images import Images
from dr_perception.measure.region_lines import NUM_BINS, color_bin
from dr_perception.view.contour import INNER, VisibleContour, contour_size
from dr_perception.view.model_view import ModelView
from dr_perception.view.surface_samples import VisibleSurface, surface_size

_FIRST_OUTSIDE_PX = wp.constant(2)
_LAST_OUTSIDE_PX = wp.constant(18)
_HIDDEN_M = wp.constant(0.02)
_FLOOR = wp.constant(1.0e-4)
_LIMIT = wp.constant(3.0)


@wp.func
def _count(
    uv: wp.vec2,
    nearest_m: float,
    images: Images,
    problem: int,
    bins: wp.array2d[float],
    totals: wp.array[float],
):
    """Count the colour at a pixel unless something nearer than a given depth is measured there."""
    x = wp.int32(wp.floor(uv[0] + 0.5))
    y = wp.int32(wp.floor(uv[1] + 0.5))
    if is_inside(x, y, images.lens[0]):
        z = images.depth[y, x]
        hidden = z > 0.0 and z <= nearest_m
        if not hidden:
            wp.atomic_add(bins, problem, color_bin(images.color[y, x]), 1.0)
            wp.atomic_add(totals, problem, 1.0)


@wp.kernel(enable_backward=False)
def count_object_colors(
    surface: VisibleSurface,
    poses: Poses,
    images: Images,
    # output
    bins: wp.array2d[float],
    totals: wp.array[float],
):
    """Count colours at the surface samples that nothing hides."""
    problem, i = wp.tid()
    if i < surface_size(surface, problem):
        p = place(pose_of(poses, problem), surface.samples[problem, i].point)
        if p[2] > 0.0:
            _count(project(images.lens[0], p), p[2] - _HIDDEN_M, images, problem, bins, totals)


@wp.kernel(enable_backward=False)
def count_background_colors(
    contour: VisibleContour,
    poses: Poses,
    images: Images,
    # output
    bins: wp.array2d[float],
    totals: wp.array[float],
):
    """Count colours along lines that leave the outer contour."""
    problem, i = wp.tid()
    if i < contour_size(contour, problem):
        sample = contour.samples[problem, i]
        pose = pose_of(poses, problem)
        line = line_at(sample, pose, images.lens[0], images.depth, _HIDDEN_M)
        if line.variance != 0.0 and line.variance != NO_OUTLINE and sample.kind != INNER:
            nearest = place(pose, sample.point)[2] - _HIDDEN_M
            for k in range(_FIRST_OUTSIDE_PX, _LAST_OUTSIDE_PX):
                uv = line.center + float(k) * line.normal
                _count(uv, nearest, images, problem, bins, totals)


@wp.kernel(enable_backward=False)
def blend(
    rate: wp.array[float],
    # output
    new_object: wp.array2d[float],
    new_background: wp.array2d[float],
    totals: wp.array2d[float],
    mean_object: wp.array2d[float],
    mean_background: wp.array2d[float],
    log_ratio: wp.array2d[float],
):
    """Blend new counts into the running histograms, clear them, and write the clipped log ratio."""
    problem, k = wp.tid()
    r = rate[0]
    old_f = mean_object[problem, k]
    old_b = mean_background[problem, k]
    f = new_object[problem, k]
    b = new_background[problem, k]
    if old_f + old_b + f + b > 0.0:
        # With a rate of 1 exactly the new shares, whatever was there before.
        f = (1.0 - r) * old_f + r * f / wp.max(totals[0, problem], 1.0)
        b = (1.0 - r) * old_b + r * b / wp.max(totals[1, problem], 1.0)
        mean_object[problem, k] = f
        mean_background[problem, k] = b
        new_object[problem, k] = 0.0
        new_background[problem, k] = 0.0
        log_ratio[problem, k] = wp.clamp(wp.log((f + _FLOOR) / (b + _FLOOR)), -_LIMIT, _LIMIT)


class ColorHistograms:
    """Running colour histograms of object and background for a batch of problems.

    Attributes:
        log_ratio: ``log p(color | object) / p(color | background)`` (P, `NUM_BINS`), 0 where nothing was
            learned.
    """

    def __init__(self, view: ModelView, poses: PoseArrays, frame: FrameBuffers, num_problems: int) -> None:
        """Allocate empty histograms."""
        self._frame = frame
        device, shape = frame.device, (num_problems, NUM_BINS)
        self.log_ratio = wp.zeros(shape, dtype=float, device=device)
        self._means = [wp.zeros(shape, dtype=float, device=device) for _ in range(2)]
        new = [wp.zeros(shape, dtype=float, device=device) for _ in range(2)]
        totals = wp.zeros((2, num_problems), dtype=float, device=device)
        self._rate = SharedArray(1, float, device)
        counts = [
            record(kernel, seen.samples.shape, [seen, poses.struct, frame.images], [bins, total], device)
            for kernel, seen, bins, total in (
                (count_object_colors, view.surface, new[0], totals[0]),
                (count_background_colors, view.contour, new[1], totals[1]),
            )
        ]
        launches = [
            fill(totals, 0),
            *counts,
            record(blend, shape, [self._rate.array], [*new, totals, *self._means, self.log_ratio], device),
        ]
        self._launch = capture(launches, device)

    def forget(self) -> None:
        """Know no colours."""
        for array in (*self._means, self.log_ratio):
            array.zero_()

    def take_over(self, other: ColorHistograms) -> None:
        """Know the colours that another one learned, of images of another size."""
        for mine, theirs in zip(
            (*self._means, self.log_ratio), (*other._means, other.log_ratio), strict=True
        ):
            wp.copy(mine, theirs)

    def learn(self, rate: float) -> None:
        """Blend the colours at the current poses in; a weight of 1 starts afresh, less follows changes.

        A frame without a colour image teaches nothing.
        """
        if not self._frame.has_color:
            return
        self._rate.host[0] = rate
        self._rate.push()
        self._launch()
