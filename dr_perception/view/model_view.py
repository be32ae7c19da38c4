"""One model seen from close by: a small render at the current pose and the visible points that it yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.appearance import BakedBrightness
from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.device.device_array import SharedArray
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import Launch, fill, record
from dr_perception.raster.project import SPHERE_MARGIN, IdealCamera, aim_cameras, transform_vertices
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import DEFAULT_NEAR_M, EMPTY_KEY, Viewport
from dr_perception.raster.zbuffer import rasterize_pinhole
from dr_perception.view.contour import ContourRules, ContourSample, VisibleContour, sample_contour
from dr_perception.view.others import OtherBodies, PosedBody
from dr_perception.view.surface_samples import SampleGrid, SurfaceSample, VisibleSurface, sample_surface_grid

_CONTOUR_STEP_PX = 1.5


@dataclass(frozen=True)
class ViewSettings:
    """How a model view is rendered and sampled."""

    size_px: int = 128
    """Width and height of the render, into which the bounding sphere just fits."""
    surface_stride_px: int = 3
    """Distance of surface samples in rendered pixels."""
    surface_margin_px: int = 2
    """Surface samples keep this distance from outlines and depth steps, less on what is too thin for it."""
    max_relative_step: float = 0.02
    """Difference of inverse depth over the margin, relative, above which it counts as a step."""
    contour_spacing_px: float = 2.0
    """Distance of contour samples in rendered pixels."""
    contour_inner_tolerance: float = 0.03
    """How much nearer, relative, the surface just inside a contour point may be."""
    contour_outer_gap: float = 0.006
    """How much farther, relative, the model just outside must be."""
    max_contour_samples: int = 320
    """Room for contour samples."""


class ModelView:
    """Renders a batch of poses of one model, each in a frame of its own, and samples surface and contour.

    The camera is an ideal pinhole with the real one's position and axes, zoomed so that the bounding sphere
    fills the render: cost does not depend on distance, and lens distortion does not enter, since only visible
    points in the model's frame are wanted.

    Attributes:
        surface: Samples of the visible surface, as kernels take them.
        contour: Samples of the visible contour, as kernels take them.
        renders: The z-buffers and their cameras, as kernels take them.
        covered: Grid pixels on faces of the model that were seen (P,), those next to an outline included.
        counts: The three counts as rows (3, P).
    """

    def __init__(
        self,
        buffers: ModelBuffers,
        radius_m: float,
        poses: PoseArrays,
        num_problems: int,
        settings: ViewSettings,
        brightness: BakedBrightness | None = None,
    ) -> None:
        """Allocate buffers; the model's bounding sphere is centred on its origin.

        Surface samples carry ``brightness``, or that of the model if None.
        """
        self.buffers = buffers
        self._brightness = buffers.baked if brightness is None else brightness
        self.device = buffers.device
        self.radius_m = radius_m
        self.settings = settings
        self._poses = poses
        size, device, n = settings.size_px, self.device, num_problems
        grid = -(-size // settings.surface_stride_px)
        self.renders = Renders()
        self.renders.keys = wp.zeros((n, size, size), dtype=wp.uint64, device=device)
        self.renders.cameras = wp.zeros(n, dtype=IdealCamera, device=device)
        self._viewports = SharedArray(n, Viewport, device)
        self._viewports.host["width"] = size
        self._viewports.host["height"] = size
        self._viewports.push()
        self.renders.viewports = self._viewports.array
        self.counts = SharedArray((3, n), int, device)
        self.surface, self.contour = VisibleSurface(), VisibleContour()
        self.surface.count, self.contour.count, self.covered = (self.counts.array[k] for k in range(3))
        self.surface.cameras = self.contour.cameras = self.renders.cameras
        self.surface.samples = wp.zeros((n, grid * grid), dtype=SurfaceSample, device=device)
        room = settings.max_contour_samples
        self.contour.samples = wp.zeros((n, room), dtype=ContourSample, device=device)
        aimed = [poses.t.array, radius_m, float(size)]
        aim = record(aim_cameras, n, aimed, [self.renders.cameras], device)
        self._begin = [fill(self.renders.keys, EMPTY_KEY), fill(self.counts.array, 0), aim]
        self._draw = self._record_draw(buffers, poses)
        self._sample = self._record_sampling(n, grid)
        self._others = OtherBodies(self.renders, buffers.num_faces)

    def _record_draw(self, buffers: ModelBuffers, poses: PoseArrays) -> list[Launch]:
        n = self.renders.keys.shape[0]
        shape = (n, buffers.num_vertices)
        p_cam = wp.zeros(shape, dtype=wp.vec3, device=self.device)
        screen = wp.zeros(shape, dtype=wp.vec2, device=self.device)
        inputs = [buffers.vertices, buffers.vertex_instance, poses.R.array, poses.t.array]
        inputs += [self.renders.cameras, DEFAULT_NEAR_M]
        transform = record(transform_vertices, shape, inputs, [p_cam, screen], self.device)
        inputs = [p_cam, screen, buffers.faces, DEFAULT_NEAR_M, int(buffers.closed), 0]
        raster = record(rasterize_pinhole, (n, buffers.num_faces), inputs, [self.renders], self.device)
        return [transform, raster]

    def _record_sampling(self, n: int, grid: int) -> list[Launch]:
        s, b = self.settings, self.buffers
        where = [self._poses.struct, self.renders]
        pixels = SampleGrid()
        pixels.stride, pixels.reach = s.surface_stride_px, self._margin_px()
        pixels.max_relative_step = s.max_relative_step
        inputs = [b.mesh, self._brightness, *where, pixels]
        outputs = [self.surface, self.covered]
        surface = record(sample_surface_grid, (n, grid, grid), inputs, outputs, self.device)
        rules = ContourRules()
        rules.spacing_px, rules.step_px = s.contour_spacing_px, _CONTOUR_STEP_PX
        rules.inner_tolerance, rules.outer_gap = s.contour_inner_tolerance, s.contour_outer_gap
        rules.near = DEFAULT_NEAR_M
        inputs = [b.mesh, *where, rules]
        contour = record(sample_contour, (n, b.num_edges), inputs, [self.contour], self.device)
        return [surface, contour]

    def draw_others(self, bodies: Sequence[PosedBody]) -> None:
        """Draw other bodies, where they were placed, into the z-buffers."""
        self._others.draw(bodies)

    def _margin_px(self) -> int:
        """Distance of surface samples from outlines, such that a rod keeps a row of the sampled pixels."""
        s, points = self.settings, self.buffers.vertices.numpy()
        # By its middle extent: the smallest of a sheet is not what is seen of it.
        _, axes = np.linalg.eigh(np.cov(points.T))
        width_m = np.sort(np.ptp(points @ axes, axis=0))[1]
        width_px = s.size_px * width_m / (2.0 * SPHERE_MARGIN * self.radius_m)
        return int(np.clip((width_px - s.surface_stride_px) / 2.0, 0, s.surface_margin_px))

    def draw_launches(self) -> list[Launch]:
        """Launches that aim at the object and draw it into an empty z-buffer."""
        return [*self._begin, *self._draw]

    def sample_launches(self) -> list[Launch]:
        """Launches that sample what is visible in the z-buffer."""
        return list(self._sample)

    def render(self) -> None:
        """Draw and sample at once."""
        for launch in (*self._begin, *self._draw, *self._sample):
            launch()

    def pull_counts(self) -> NDArray[np.int32]:
        """Rows of surface, contour and covered counts (3, P); waits for the device."""
        self.counts.pull()
        return self.counts.host
