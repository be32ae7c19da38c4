"""Unbiased derivatives of images that see edges, by sampling the edges (Li et al. 2018).

A pixel is an integral of radiance over its footprint. Its derivative has an interior part, the integral of
the derivative of the radiance, and a boundary part that runs along the edges where the radiance jumps: with
the edge at ``x(theta)``, unit normal ``n`` and radiance ``f-`` behind and ``f+`` in front of the normal (Li
et al. 2018, eq. 5-7)

    d/dtheta integral f dA = integral df/dtheta dA + integral over edges of (f- - f+) n . dx/dtheta ds.

The interior part is a Monte-Carlo pixel integral on a ``wp.Tape`` (`RayCaster.integrate`). For the boundary
part an edge is drawn with probability proportional to its projected length, a point uniformly along it in
3-D, two rays look to either side, and ``n . dx`` is chained through the projection, lens distortion included.
Hidden outlines need no test: both rays see the same surface and the jump
vanishes. A crease counts only when the rays see its own two faces, so that an outline within the step is not
taken for it.

At creases between two faces that both face the camera depth and silhouette are continuous, but normals and
flat shading jump: these are sampled where they are asked for. Without them the derivative of the colours of a
flat ball over a plane was 13 to 40 % off, whatever the number of samples.

What it does not see: curves where two meshes (or a mesh and itself) intersect, since no edge lies there, and
seams of a texture. Edges of shadows move as what casts them does, which no edge of the image tells: colours
under shadows have no gradient here. The two rays leave the edge by ``step_px``, which adds an error of the
order of ``step_px`` times the gradient of the image, and errs where two edges are closer than that. Vertex
normals are held fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.mesh_topology import edges_of_faces
from dr_perception.rays.caster import RayCaster, RayImages, Visibility
from dr_perception.rays.edges import (
    ALL_CREASES,
    FLAT_CREASES,
    NO_CREASES,
    EdgeList,
    boundary_motion,
    sample_edges,
    weigh_edges,
    weigh_jumps,
)
from dr_perception.rays.patterns import line_pattern

#: Images that have derivatives.
IMAGES = ("depth", "silhouette", "normal", "color")
_NEAR_M = 1.0e-3


@dataclass(frozen=True)
class SamplingConfig:
    """How integrals are estimated.

    Attributes:
        pixel_samples: Rays per pixel of the interior term.
        pixel_pattern: One of `patterns.PIXEL_PATTERNS`.
        edge_samples: Points on edges per view.
        edge_pattern: One of `patterns.LINE_PATTERNS`.
        step_px: How far from the edge the two rays look.
        all_edges: Sample creases too, not outlines alone; None: where what is asked for jumps at them, as
            colours and normals of flat faces do.
        seed: Seed of all random numbers.
    """

    pixel_samples: int = 16
    pixel_pattern: str = "grid"
    edge_samples: int = 4096
    edge_pattern: str = "stratified"
    step_px: float = 0.001
    all_edges: bool | None = None
    seed: int = 0


@dataclass(frozen=True)
class SceneGradient:
    """Derivative of a scalar of the images.

    Attributes:
        poses: Tangent (v, w) of each instance in each camera, per metre and radian, shape (views, instances,
            6).
        vertices: Positions in the mesh frames, per metre, shape (total vertices, 3), order of
            `RayCaster.vertex_offsets`.
        cameras: fx, fy, cx, cy, then the eight coefficients of `geometry.camera_warp.CameraParams`, shape
            (views, 12).
        colors: Linear albedo of the vertices, shape (total vertices, 3).
    """

    poses: NDArray[np.float64]
    vertices: NDArray[np.float64]
    cameras: NDArray[np.float64]
    colors: NDArray[np.float64]

    def __add__(self, other: SceneGradient) -> SceneGradient:
        """Sum of two gradients of the same scene."""
        return SceneGradient(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))


@dataclass(frozen=True)
class EdgeSamples:
    """Points on edges, as Warp arrays of shape (views, samples); see `edges.sample_edges`."""

    edge: wp.array
    along: wp.array
    across: wp.array
    pixel: wp.array
    jumps: tuple[wp.array, wp.array, wp.array, wp.array]


class EdgeSampler:
    """Gradients of scalars of images of one scene.

    Args:
        caster: The scene's ray caster.
        config: How integrals are estimated.
    """

    def __init__(self, caster: RayCaster, config: SamplingConfig | None = None) -> None:
        self.caster = caster
        self.config = config or SamplingConfig()
        self._edges = _edge_list(caster)

    def gradient(
        self,
        cameras: Camera | Sequence[Camera],
        T_cam_inst: ArrayLike,
        adjoints: Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
    ) -> SceneGradient:
        """Derivative of ``sum over images and pixels of adjoint * image``.

        Args:
            cameras: Camera of all views or one per view.
            T_cam_inst: Poses, shape (views, instances, 4, 4) or (instances, 4, 4).
            adjoints: Derivative of the scalar with respect to images by name (`IMAGES`), shape (views,
                height, width) and a last axis of 3 for normal and color. Images are linear pixel averages
                over the background.
            seed: Overrides the seed of the configuration.

        Raises:
            ValueError: On an unknown image or an adjoint of the wrong shape, or colours under shadows.
        """
        interior, boundary = self.gradient_terms(cameras, T_cam_inst, adjoints, seed=seed)
        return interior + boundary

    def gradient_terms(
        self,
        cameras: Camera | Sequence[Camera],
        T_cam_inst: ArrayLike,
        adjoints: Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
    ) -> tuple[SceneGradient, SceneGradient]:
        """Interior and boundary term of `gradient` apart; see there."""
        caster, seed = self.caster, self.config.seed if seed is None else int(seed)
        R0, _ = caster.pose_buffers(T_cam_inst)
        first = cameras if isinstance(cameras, Camera) else cameras[0]
        size = (first.height, first.width)
        grads = _check_adjoints(adjoints, (R0.shape[0], *size), caster.device)
        if "color" in grads and caster.casts_shadows:
            raise ValueError(
                "colours under shadows have no gradient: edges of shadows are not sampled; "
                "make the caster with Lighting(..., shadows=False)"
            )
        tangent = wp.zeros((*R0.shape, 6), dtype=wp.float32, device=caster.device, requires_grad=True)
        buffer = caster.camera_buffer(cameras, R0.shape[0], requires_grad=True)
        terms = []
        for record in (self._record_interior, self._record_boundary):
            tape = wp.Tape()
            with tape:
                R, t = caster.pose_buffers(T_cam_inst, tangent)
                seeds = record(R, t, buffer, size, grads, seed)
            tape.backward(grads=seeds)
            terms.append(self._collect(tangent, buffer))
            tape.zero()
            for array in (tangent, caster.surfaces.vertices, caster.surfaces.colors, buffer):
                array.grad.zero_()
        return terms[0], terms[1]

    def variance_per_sample(
        self,
        cameras: Camera | Sequence[Camera],
        T_cam_inst: ArrayLike,
        adjoints: Mapping[str, ArrayLike],
        replicates: int = 16,
    ) -> NDArray[np.float64]:
        """Variance of the boundary term of the pose gradient times the number of edge samples.

        Measured over independent repetitions, so that it holds for patterns whose samples are not
        independent. For random samples it does not depend on their number; what a pattern gains shows as a
        smaller number.

        Returns:
            Variances, shape (views, instances, 6).
        """
        if replicates < 2:
            raise ValueError(f"variance needs at least 2 replicates, got {replicates}")
        seeds = self.config.seed + 1 + np.arange(replicates)
        runs = [self.gradient_terms(cameras, T_cam_inst, adjoints, seed=int(s))[1].poses for s in seeds]
        return np.var(np.stack(runs), axis=0, ddof=1) * self.config.edge_samples

    def sample(
        self, R: wp.array, t: wp.array, cameras: wp.array, seed: int, creases: int = NO_CREASES
    ) -> EdgeSamples:
        """Draw points on the outlines of all views, and on ``creases``, and look to either side of each."""
        caster, config = self.caster, self.config
        views, count, device = R.shape[0], config.edge_samples, caster.device
        weight = wp.zeros((views, len(self._edges.instance)), dtype=wp.float64, device=device)
        crease = wp.zeros(weight.shape, dtype=wp.int32, device=device)
        span = wp.zeros(weight.shape, dtype=wp.vec2, device=device)
        inputs = [self._edges, caster.surfaces, R, t, cameras, creases, _NEAR_M]
        wp.launch(weigh_edges, dim=weight.shape, inputs=inputs, outputs=[weight, crease, span], device=device)
        cumulative = wp.array(np.cumsum(weight.numpy(), axis=1), dtype=wp.float64, device=device)
        rng = np.random.default_rng(seed)
        rows = [line_pattern(config.edge_pattern, count, rng) for _ in range(views)]
        points = wp.array(np.stack(rows), dtype=wp.float64, device=device)
        kinds = (wp.int32, wp.float32, wp.vec2, wp.vec2i, wp.float32, wp.float32, wp.vec3, wp.vec3)
        out = [wp.zeros((views, count), dtype=kind, device=device) for kind in kinds]
        inputs = [
            caster.posed(R, t),
            caster.surfaces,
            caster.lights,
            self._edges,
            cameras,
            weight,
            crease,
            cumulative,
            span,
        ]
        inputs += [points, config.step_px, caster.background.depth_m, wp.vec3(*caster.background.color)]
        wp.launch(sample_edges, dim=(views, count), inputs=inputs, outputs=out, device=device)
        return EdgeSamples(out[0], out[1], out[2], out[3], tuple(out[4:]))

    def _record_boundary(
        self,
        R: wp.array,
        t: wp.array,
        cameras: wp.array,
        size: tuple[int, int],
        grads: dict[str, wp.array],
        seed: int,
    ) -> dict[wp.array, wp.array]:
        device = self.caster.device
        samples = self.sample(R, t, cameras, seed, self._creases(grads))
        value = wp.zeros(samples.edge.shape, dtype=wp.float32, device=device)
        order = [_or_empty(grads, name, device) for name in IMAGES]
        inputs = [samples.edge, samples.pixel, *samples.jumps, *order]
        wp.launch(weigh_jumps, dim=value.shape, inputs=inputs, outputs=[value], device=device)
        total = wp.zeros(1, dtype=wp.float64, device=device, requires_grad=True)
        inputs = [
            self._edges,
            samples.edge,
            samples.along,
            samples.across,
            value,
            self.caster.surfaces,
            R,
            t,
            cameras,
        ]
        wp.launch(boundary_motion, dim=value.shape, inputs=inputs, outputs=[total], device=device)
        return {total: wp.ones(1, dtype=wp.float64, device=device)}

    def _creases(self, asked: Mapping[str, wp.array]) -> int:
        """Which creases what is asked for jumps at."""
        if self.config.all_edges is not None:
            return int(ALL_CREASES if self.config.all_edges else NO_CREASES)
        return int(FLAT_CREASES if asked.keys() & {"color", "normal"} else NO_CREASES)

    def _record_interior(
        self,
        R: wp.array,
        t: wp.array,
        cameras: wp.array,
        size: tuple[int, int],
        grads: dict[str, wp.array],
        seed: int,
    ) -> dict[wp.array, wp.array]:
        config = self.config
        visible: Visibility = self.caster.visibility(
            R, t, cameras, size, config.pixel_samples, config.pixel_pattern, seed
        )
        images: RayImages = self.caster.integrate(R, t, cameras, visible)
        return {getattr(images, name): grad for name, grad in grads.items()}

    def _collect(self, tangent: wp.array, cameras: wp.array) -> SceneGradient:
        rows = cameras.grad.numpy()
        lens = np.stack([rows[name] for name in ("fx", "fy", "cx", "cy")], axis=1)
        return SceneGradient(
            poses=tangent.grad.numpy().astype(np.float64),
            vertices=self.caster.surfaces.vertices.grad.numpy().astype(np.float64),
            cameras=np.concatenate([lens, rows["k"].reshape(len(rows), 8)], axis=1).astype(np.float64),
            colors=self.caster.surfaces.colors.grad.numpy().astype(np.float64),
        )


def _edge_list(caster: RayCaster) -> EdgeList:
    """Edges of all instances; an edge of three or more faces appears once, as open."""
    offsets = caster.vertex_offsets
    first_face = caster.surfaces.first_face.numpy()
    instance, vertices, faces = [], [], []
    tables = []
    for surface in caster.mesh_surfaces:
        topology = edges_of_faces(surface.faces, surface.positions)
        vertex = np.zeros(len(surface.positions), dtype=np.int64)
        there = np.flatnonzero(surface.place >= 0)[::-1]
        vertex[surface.place[there]] = there  # the first one at each place
        pairs, row, count = np.unique(topology.vertices, axis=0, return_index=True, return_counts=True)
        beside = np.where((count > 1)[:, None], [[0, -1]], topology.faces[row])
        tables.append((vertex[pairs], beside))
    for k, slot in enumerate(caster.instance_slots):
        pairs, beside = tables[slot]
        instance.append(np.full(len(pairs), k))
        vertices.append(pairs + offsets[slot])
        faces.append(np.where(beside >= 0, beside + first_face[k], -1))
    out = EdgeList()
    out.instance = wp.array(np.concatenate(instance), dtype=wp.int32, device=caster.device)
    out.vertices = wp.array(np.concatenate(vertices), dtype=wp.vec2i, device=caster.device)
    out.faces = wp.array(np.concatenate(faces), dtype=wp.vec2i, device=caster.device)
    return out


def _check_adjoints(
    adjoints: Mapping[str, ArrayLike], shape: tuple[int, ...], device: wp.Device
) -> dict[str, wp.array]:
    if not adjoints:
        raise ValueError(f"adjoints: expected at least one of {IMAGES}, got none")
    out = {}
    for name, values in adjoints.items():
        if name not in IMAGES:
            raise ValueError(f"adjoints: unknown image {name!r}, expected one of {IMAGES}")
        array = np.asarray(values, dtype=np.float32)
        vector = name in ("normal", "color")
        expected = (*shape, 3) if vector else shape
        if array.shape != expected:
            raise ValueError(f"adjoints[{name!r}]: expected shape {expected}, got {array.shape}")
        out[name] = wp.array(array, dtype=wp.vec3 if vector else wp.float32, device=device)
    return out


def _or_empty(grads: dict[str, wp.array], name: str, device: wp.Device) -> wp.array:
    kind = wp.vec3 if name in ("normal", "color") else wp.float32
    return grads.get(name, wp.zeros((0, 0, 0), dtype=kind, device=device))
