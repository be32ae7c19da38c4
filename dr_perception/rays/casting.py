"""`cast`: the scene of the renderer, drawn by rays, with gradients of everything on the tape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from dr_perception.device.tape import active_tape
from dr_perception.device.threads import separate_threads
from dr_perception.rays import film as film_kernels
from dr_perception.rays import jumps, shadow_edges
from dr_perception.rays.film import CastImages, Film
from dr_perception.rays.hits import RayGeometry
from dr_perception.rays.jumps import CastEdges, EdgeDraw, EdgePoints
from dr_perception.rays.look import CastLights, CastSurface
from dr_perception.rays.patterns import pixel_pattern
from dr_perception.render.scene import vertex_stage
from dr_perception.render.scene.checks import check_type
from dr_perception.render.scene.images import Images
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.scene.topology import EDGE_JUMPS

__all__ = ["CastOptions", "cast"]

_IMAGES = {"depth": wp.float32, "silhouette": wp.float32, "normal": wp.vec3, "color": wp.vec3}
_MATERIAL = ("vertex_colors", "textures", "texels", "albedo", "roughness", "metallic", "specular")
_DIFFERENTIABLE = {
    film_kernels.average,
    jumps.edge_motion,
    shadow_edges.shadow_motion,
    vertex_stage.compose_poses,
    vertex_stage.rotate_lights,
}
_Call = tuple[Any, list[Any], list[Any]]
"""A kernel, its inputs and its outputs."""


@dataclass(frozen=True)
class CastOptions:
    """How a scene is cast.

    Raises:
        ValueError: Numbers of samples that are not positive.
    """

    samples: int = 16
    """Rays a pixel."""
    pattern: str = "grid"
    """One of `patterns.PIXEL_PATTERNS`. All but ``"grid"`` shift it anew from pixel to pixel."""
    seed: int = 0
    """Seed of the random patterns, and of the samples on edges."""
    shadows: bool = False
    """Whether surfaces block the lights that have a direction; the renderer draws none."""
    far_depth: float = 0.0
    """Depth [m] of samples that see nothing."""
    edge_samples: int = 4096
    """Points on edges of each view, and as many on edges of shadows, for the derivative."""

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("samples", "edge_samples"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)!r}")


def cast(parameters: SceneParameters, options: CastOptions | None = None) -> Images:
    """Draw every view of a scene by rays: what the renderer integrates over pixels, sampled.

    The images are those of `render` with ``antialias_depth``, up to the noise of the samples; with
    ``shadows`` surfaces block directional lights. On a ``wp.Tape`` gradients of the images go to the
    parameters that require them: inside surfaces by the derivative of the mean over samples, at outlines,
    creases and edges of shadows by samples on these. What is missing are curves where surfaces pass through
    each other, and under shadows the moment when a face that is shaded smooth turns from a light and is dark
    at once. Nothing is kept from one call to the next.

    Args:
        parameters: What to draw, from `make_parameters`.
        options: How.

    Raises:
        TypeError: Parameters or options of another type.
        ValueError: There is no instance, or a pattern cannot have that many samples.
    """
    check_type(parameters, SceneParameters, "parameters")
    options = options or CastOptions()
    check_type(options, CastOptions, "options")
    if not parameters.topology.mesh_of_instance:
        raise ValueError("cast: the scene has no instances")
    separate_threads()
    scene = _Cast(parameters, options)
    images = scene.draw()
    tape = active_tape()
    if tape is not None and parameters.requires_grad:
        tape.record_func(lambda: scene.pull_edges(images), [getattr(images, name) for name in _IMAGES])
    return images


class _Cast:
    """One scene on the device, ready to be looked at; launches are recorded by the tape that is active."""

    def __init__(self, parameters: SceneParameters, options: CastOptions) -> None:
        self.parameters, self.options = parameters, options
        self.device = parameters.vertices.device
        self.views = parameters.num_views
        places = self._places()
        self.surface = self._surface(places, self._normals(places))
        self.geometry = self._geometry(places)
        self.lights = self._lights()
        self.film = self._film()

    def draw(self) -> Images:
        """The images, by the samples of all pixels."""
        height, width = self.film.height, self.film.width
        shape = (self.views, height, width)
        face = wp.empty((*shape, self.options.samples), dtype=int, device=self.device)
        self._launch(film_kernels.find_faces, face.shape, [self.geometry, self.surface, self.film], [face])
        out = CastImages()
        for name, dtype in _IMAGES.items():
            setattr(out, name, wp.zeros(shape, dtype=dtype, device=self.device, requires_grad=True))
        inputs = [self.geometry, self.surface, self.lights, self.film, face]
        self._launch(film_kernels.average, face.shape, inputs, [out])
        instance = wp.empty(shape, dtype=int, device=self.device)
        self._launch(film_kernels.frequent_instance, shape, [face, self.surface.face_instance], [instance])
        return Images(instance=instance, **{name: getattr(out, name) for name in _IMAGES})

    def pull_edges(self, images: Images) -> None:
        """Add what edges do to the gradients of parameters, from those of the images."""
        grads = CastImages()
        for name in _IMAGES:
            setattr(grads, name, getattr(images, name).grad)
        table, topology = CastEdges(), self.parameters.topology
        if not len(topology.edges):
            return
        table.edges = self._array(topology.edges, wp.vec4i)
        table.opposite = self._array(topology.opposite, wp.vec2i)
        table.jumps = self._array(topology.flags & EDGE_JUMPS, int)
        scene = [self.geometry, self.surface, self.lights, self.film]
        draw = self._drawing(len(topology.edges), jumps.weigh_edges, [*scene, table])
        points = self._points(jumps.sample_edges, [*scene, table, draw, grads])
        self._pull(jumps.edge_motion, [self.geometry, self.surface, self.film, table, points])
        count = self.parameters.light_colors.shape[0]
        if self.options.shadows and count:
            inputs = [self.geometry, self.surface, self.lights, table]
            draw = self._drawing(count * len(topology.edges), shadow_edges.weigh_shadow_edges, inputs)
            points = self._points(shadow_edges.sample_shadow_edges, [*scene, table, draw, grads])
            self._pull(shadow_edges.shadow_motion, [*scene, table, points])

    def _drawing(self, rows: int, kernel: wp.Kernel, inputs: list[Any]) -> EdgeDraw:
        shape, draw = (self.views, rows), EdgeDraw()
        draw.kind = wp.zeros(shape, dtype=int, device=self.device)
        draw.weight = wp.zeros(shape, dtype=wp.float64, device=self.device)
        draw.span = wp.zeros(shape, dtype=wp.vec2, device=self.device)
        draw.cumulative = wp.zeros(shape, dtype=wp.float64, device=self.device)
        draw.seed = self.options.seed
        self._launch(kernel, shape, inputs, [draw])
        self._launch(jumps.accumulate, self.views, [draw], [draw.cumulative])
        return draw

    def _points(self, kernel: wp.Kernel, inputs: list[Any]) -> EdgePoints:
        shape, points = (self.views, self.options.edge_samples), EdgePoints()
        types = {"row": int, "along": float, "across": wp.vec2, "value": float, "receiver": int}
        for name, dtype in types.items():
            setattr(points, name, wp.zeros(shape, dtype=dtype, device=self.device))
        self._launch(kernel, shape, inputs, [points])
        return points

    def _pull(self, kernel: wp.Kernel, inputs: list[Any]) -> None:
        total = wp.zeros(1, dtype=wp.float64, device=self.device, requires_grad=True)
        with wp.Tape() as tape:
            self._launch(kernel, (self.views, self.options.edge_samples), inputs, [total])
        tape.backward(grads={total: wp.ones(1, dtype=wp.float64, device=self.device)})

    def _places(self) -> wp.array:
        p, topology = self.parameters, self.parameters.topology
        if not len(topology.members):
            return p.vertices
        start, members = self._array(topology.member_start, int), self._array(topology.members, int)
        places = self._new(len(topology.member_start) - 1, wp.vec3, "vertices" in p.requires_grad)
        self._by_hand(
            (vertex_stage.join_vertices, [p.vertices, start, members], [places]),
            (vertex_stage.join_vertices_adjoint, [start, members, places.grad], [p.vertices.grad]),
        )
        return places

    def _normals(self, places: wp.array) -> wp.array:
        topology = self.parameters.topology
        groups = [
            self._array(topology.mesh_faces, wp.vec3i),
            self._array(topology.group_start, int),
            self._array(topology.group_faces, int),
        ]
        normals = self._new(len(topology.group_start) - 1, wp.vec3, places.grad is not None)
        self._by_hand(
            (vertex_stage.smooth_normals, [places, *groups], [normals]),
            (vertex_stage.smooth_normals_adjoint, [places, *groups, normals.grad], [places.grad]),
        )
        return normals

    def _by_hand(self, forward: _Call, backward: _Call) -> None:
        """Launch a kernel whose adjoint is another kernel, over the rows of the forward one's output."""
        made = forward[2][0]
        wp.launch(forward[0], made.shape[0], forward[1], forward[2], device=self.device, record_tape=False)
        tape = active_tape()
        if tape is not None and made.grad is not None:
            tape.record_func(
                lambda: wp.launch(
                    backward[0],
                    made.shape[0],
                    backward[1],
                    backward[2],
                    device=self.device,
                    record_tape=False,
                ),
                [made],
            )

    def _surface(self, places: wp.array, normals: wp.array) -> CastSurface:
        p, topology, s = self.parameters, self.parameters.topology, CastSurface()
        counts = [len(topology.surfaces[k].faces) for k in topology.mesh_of_instance]
        s.faces = self._array(topology.faces, wp.vec3i)
        s.face_instance = self._array(topology.face_instance, int)
        s.first_face = self._array(np.cumsum([0, *counts[:-1]]), int)
        s.vertex_source = self._array(topology.vertex_source, int)
        s.normal_index = self._array(topology.normal_index, wp.vec3i)
        s.normal_source = self._array(topology.normal_source, int)
        s.corner_vertex = self._array(topology.corner_vertex, wp.vec3i)
        s.corner_uv = self._array(topology.corner_uv, wp.vec2)
        s.places, s.normals = places, normals
        for name in _MATERIAL:
            setattr(s, name, getattr(p, name))
        return s

    def _geometry(self, places: wp.array) -> RayGeometry:
        """Poses of all instances, and a tree for the faces of each mesh, built anew."""
        p, topology, geometry = self.parameters, self.parameters.topology, RayGeometry()
        shape = (self.views, len(topology.mesh_of_instance))
        moves = bool(p.requires_grad & {"pose", "camera_pose"})
        geometry.R_cam_inst = self._new(shape, wp.mat33, moves)
        geometry.t_cam_inst = self._new(shape, wp.vec3, moves)
        inputs = [p.R_world_obj, p.t_world_obj, p.pose, p.R_world_cam, p.t_world_cam, p.camera_pose, 0]
        outputs = [geometry.R_cam_inst, geometry.t_cam_inst]
        self._launch(vertex_stage.compose_poses, shape, inputs, outputs)
        first, self.meshes = 0, []
        for surface in topology.surfaces:
            points = wp.empty(len(surface.positions), dtype=wp.vec3, device=self.device)
            wp.launch(
                film_kernels.copy_points,
                len(points),
                [places, first],
                [points],
                device=self.device,
                record_tape=False,
            )
            self.meshes.append(wp.Mesh(points, self._array(surface.faces.ravel(), int)))
            first += len(points)
        geometry.mesh_ids = self._array([self.meshes[k].id for k in topology.mesh_of_instance], wp.uint64)
        return geometry

    def _lights(self) -> CastLights:
        p, lights = self.parameters, CastLights()
        cameras, moves = p.camera_pose.shape[0], bool(p.requires_grad & {"camera_pose", "light_directions"})
        lights.ambient, lights.light_colors, lights.harmonics = p.ambient, p.light_colors, p.harmonics
        lights.light_cam = self._new((cameras, p.light_directions.shape[0]), wp.vec3, moves)
        lights.R_world_cam = self._new(cameras, wp.mat33, moves)
        inputs = [p.R_world_cam, p.camera_pose, p.light_directions]
        self._launch(vertex_stage.rotate_lights, cameras, inputs, [lights.light_cam, lights.R_world_cam])
        lights.shadows = int(self.options.shadows)
        return lights

    def _film(self) -> Film:
        p, options, film = self.parameters, self.options, Film()
        pattern = pixel_pattern(options.pattern, options.samples, np.random.default_rng(options.seed))
        film.intrinsics, film.models, film.background = p.intrinsics, p.camera_models, p.background
        film.width, film.height = p.image_size
        film.offsets = self._array(pattern, wp.vec2)
        film.shift = -1 if options.pattern == "grid" else int(options.seed)
        film.far_depth = float(options.far_depth)
        return film

    def _new(self, shape: int | tuple[int, ...], dtype: type, requires_grad: bool) -> wp.array:
        return wp.zeros(shape, dtype=dtype, device=self.device, requires_grad=requires_grad)

    def _array(self, values: ArrayLike, dtype: type) -> wp.array:
        return wp.array(np.asarray(values), dtype=dtype, device=self.device)

    def _launch(self, kernel: wp.Kernel, dim: Any, inputs: list[Any], outputs: list[Any]) -> None:
        """Launch a kernel, on the tape that is active if it has an adjoint."""
        recorded = kernel in _DIFFERENTIABLE
        wp.launch(kernel, dim, inputs, outputs, device=self.device, record_tape=recorded)
