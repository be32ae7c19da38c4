"""The backward stages of a render for one chunk of views: image gradients to parameter gradients.

Only what was asked for is computed: no geometry pass for lights alone, no shading pass for depth alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import warp as wp

from dr_perception.render.adjoint import pose_gradient, transport
from dr_perception.render.blending import pull_blended
from dr_perception.render.bundles import jumps, lighting, looks, seen, surfaces
from dr_perception.render.outline import antialias, soft_silhouette
from dr_perception.render.pipeline import Chunk
from dr_perception.render.samples import SAMPLES, pull_samples
from dr_perception.render.scene import intrinsics, vertex_stage
from dr_perception.render.scene.images import Images
from dr_perception.render.shading import surface
from dr_perception.render.shading.inputs import (
    ImageGradients,
    Lighting,
    Looks,
    Poses,
    Pulled,
    Seen,
    Surfaces,
)
from dr_perception.render.supersampling import narrow, spread

GEOMETRY = frozenset({"vertices", "pose", "camera_pose", "intrinsics"})
"""Parameters that move things on the image."""
RIGID = frozenset({"pose", "camera_pose"})
"""Parameters for which gradients need not pass through the vertices."""


@dataclass(eq=False)
class Gradients:
    """Scratch arrays that gradients are gathered in on their way back."""

    cam: wp.array | None
    """With respect to vertices in camera coordinates, (views, V), if anything goes through them."""
    normals: wp.array | None
    """With respect to shading normals in camera axes."""
    rays: wp.array | None
    """With respect to the rays of the pixels, if intrinsics want it."""
    lights: wp.array | None
    R_world_cam: wp.array | None
    intrinsics: wp.array | None
    R: wp.array | None
    """With respect to the orientations in the camera frames, if poses want it."""
    t: wp.array | None


def pull_back(c: Chunk, images: Images, grads: Images) -> None:
    """Add the gradients of a chunk's images to the gradients of the parameters."""
    key = (c.parameters, c.options, images, c.blended, *grads.arrays().values())
    if c.launcher.replay("pull_back", key):
        return
    with c.launcher.remember("pull_back", key):
        if c.target is None:
            _pull_back(c, images, grads)
            return
        fine = spread(c.launcher, c.target, grads, c.images, c.work.face_index, c.options)
        samples = {name: getattr(grads, name) for name in SAMPLES}
        _pull_back(c, c.images, replace(fine, **samples))
        narrow(c.launcher, c.target, c.parameters)


def _pull_back(c: Chunk, images: Images, grads: Images) -> None:
    g = _gather(c, images, grads)
    geometry = bool(c.parameters.requires_grad & GEOMETRY)
    g_depth = _boundary(c, grads, g) if geometry else None
    marks = _transport(c, grads, g_depth, g) if geometry else None
    if grads.depth is not None and c.parameters.requires_grad & GEOMETRY and _rigid(c, RIGID):
        c.launcher.run(
            "depth_to_poses", pose_gradient.pull_depth_to_poses, c.strips,
            [seen(c), surfaces(c), c.span, grads.depth if g_depth is None else g_depth, _poses(c, g)],
        )  # fmt: skip
    elif geometry and grads.depth is not None:
        c.launcher.run(
            "resolve_adjoint", surface.resolve_adjoint, c.size,
            [seen(c), surfaces(c), grads.depth if g_depth is None else g_depth, g.cam, g.rays],
        )  # fmt: skip
    if geometry and grads.soft_silhouette is not None:
        _soft_adjoint(c, grads.soft_silhouette, g)
    if grads.color is not None and images.color is not None:
        if _rigid(c, frozenset({"pose"})):
            _color_to_poses(c, images.color, grads.color, marks, g)
        else:
            _color_adjoint(c, images.color, grads.color, marks, g)
    if geometry and grads.normal is not None and images.normal is not None:
        _normal_adjoint(c, images.normal, grads.normal, marks, g)
    pull_samples(c, grads, g.cam if geometry else None, g.rays)
    if c.blended is not None:
        pull_blended(c, c.blended, g if geometry else replace(g, cam=None))
    if g.rays is not None:
        p, w = c.parameters, c.work
        c.launcher.run(
            "rays_adjoint", intrinsics.pull_rays_to_intrinsics, w.rays.shape,
            [w.rays, g.rays, p.intrinsics, p.camera_models, g.intrinsics],
        )  # fmt: skip
    _parameters_adjoint(c, g)


def _rigid(c: Chunk, kinds: frozenset[str]) -> bool:
    """Whether nothing but the named poses is asked for."""
    return c.parameters.requires_grad <= kinds


def _wanted(c: Chunk, name: str) -> wp.array | None:
    return getattr(c.parameters, name).grad if name in c.parameters.requires_grad else None


def _moves_outline(c: Chunk, grads: Images) -> bool:
    """Whether a gradient reaches the outline."""
    o = c.options
    blended = any(a is not None for a in (grads.silhouette, grads.color, grads.normal))
    return (o.antialias and blended) or (o.antialias_depth and grads.depth is not None)


def _gather(c: Chunk, images: Images, grads: Images) -> Gradients:
    w = c.work
    shaded = images.color is not None or images.normal is not None
    wants_intrinsics = "intrinsics" in c.parameters.requires_grad
    posed = bool(c.parameters.requires_grad & RIGID)
    short = images.normal is None and _rigid(c, frozenset({"pose"}))
    direct = _rigid(c, RIGID) and not _moves_outline(c, grads) and grads.soft_silhouette is None
    direct = direct and c.blended is None and all(getattr(grads, name) is None for name in SAMPLES)
    lit = images.color is not None and not short
    return Gradients(
        cam=None if direct and (short or not shaded) else c.scratch("g_cam", w.p_cam),
        normals=c.scratch("g_normals", w.n_cam) if shaded and not short else None,
        rays=c.scratch("g_rays", w.rays) if wants_intrinsics else None,
        lights=c.scratch("g_lights", w.light_cam) if lit else None,
        R_world_cam=c.scratch("g_R_world_cam", w.R_world_cam) if lit else None,
        intrinsics=_wanted(c, "intrinsics"),
        R=c.scratch("g_R", w.R_cam_obj) if posed else None,
        t=c.scratch("g_t", w.t_cam_obj) if posed else None,
    )


def _boundary(c: Chunk, grads: Images, g: Gradients) -> wp.array | None:
    """Motion of the outline. Returns the gradient of depth at pixel centres if blending changed it."""
    w, o = c.work, c.options
    silhouette = grads.silhouette if o.antialias else None
    color = grads.color if o.antialias else None
    normal = grads.normal if o.antialias else None
    depth = grads.depth if o.antialias_depth else None
    if not _moves_outline(c, grads):
        return None
    sampled = None
    if depth is not None:
        sampled = c.scratch("g_depth", w.depth, zero=False)
        c.launcher.copy(sampled, depth)
    found = w.bundle("jumps", antialias.JumpsOfImages, [w.scalar_jumps, w.color_jumps, w.normal_jumps])
    images = w.bundle("boundary", ImageGradients, [silhouette, depth, color, normal])
    c.launcher.run_list(
        "boundary_adjoint", antialias.boundary_adjoint, c.room,
        [w.pieces, w.piece_count, found, images, surfaces(c), seen(c), _pulled(c, g, sampled)],
    )  # fmt: skip
    return sampled


def _transport(c: Chunk, grads: Images, g_depth: wp.array | None, g: Gradients) -> wp.array | None:
    """Slopes of colour, normals and antialiased depth next to outlines. Returns the pixels done that way."""
    w, o = c.work, c.options
    color = grads.color if o.antialias else None
    normal = grads.normal if o.antialias else None
    depth = grads.depth if o.antialias_depth else None
    if color is None and normal is None and depth is None:
        return None
    marks = c.scratch("marks", w.face_index)
    c.launcher.run_list(
        "mark_outline", transport.mark_outline, c.room,
        [w.pieces, w.piece_count, seen(c), surfaces(c), marks],
    )  # fmt: skip
    images = w.bundle("transport", ImageGradients, [None, depth, color, normal])
    c.launcher.run(
        "transport", transport.pull_transport, c.strips,
        [marks, seen(c), surfaces(c), looks(c), lighting(c), c.span, images, _pulled(c, g, g_depth)],
    )  # fmt: skip
    return marks


def _soft_adjoint(c: Chunk, g_soft: wp.array, g: Gradients) -> None:
    w = c.work
    middles = c.scratch("g_middles", w.scalar_jumps)
    c.launcher.run(
        "soften_adjoint", soft_silhouette.soften_adjoint, c.size,
        [w.pieces, w.nearest, w.face_index, c.options.soft_silhouette_px, g_soft, middles],
    )  # fmt: skip
    c.launcher.run_list(
        "middles_adjoint", soft_silhouette.middles_adjoint, c.room,
        [w.pieces, w.piece_count, middles, surfaces(c), seen(c), _pulled(c, g, None)],
    )  # fmt: skip


def _shading_structs(c: Chunk, g: Gradients) -> list[Any]:
    """What colour is made of, with the gradients that are wanted: faces, looks and lights."""
    names = ("vertex_colors", "texels", "albedo", "roughness", "metallic", "specular")
    lit = {"ambient", "light_colors", "harmonics"}
    return [
        surfaces(c, p_cam=g.cam, n_cam=g.normals),
        looks(c, **{name: _wanted(c, name) for name in names}),
        lighting(
            c, light_cam=g.lights, R_world_cam=g.R_world_cam, **{name: _wanted(c, name) for name in lit}
        ),
    ]


def _poses(c: Chunk, g: Gradients) -> Any:
    """Poses with the sums that their gradients are gathered in."""
    return c.work.bundle("poses", Poses, [c.work.R_cam_obj, c.work.t_cam_obj, g.R, g.t])


def _pulled(c: Chunk, g: Gradients, depth_sample: wp.array | None) -> Any:
    """What gradients of the outline are added to."""
    return c.work.bundle("pulled", Pulled, [depth_sample, g.cam, g.intrinsics])


def _color_adjoint(
    c: Chunk, color: wp.array, g_color: wp.array, marks: wp.array | None, g: Gradients
) -> None:
    w = c.work
    sampled = c.scratch("g_color", color, zero=False)
    c.launcher.copy(sampled, g_color)
    mesh, materials, lights = _shading_structs(c, g)
    views = seen(c, rays=g.rays)
    empty = [w.empty(kind) for kind in (Surfaces, Looks, Lighting)]
    if c.options.antialias:
        by_jumps = c.scratch("g_color_jumps", w.color_jumps, zero=False)
        by_changes = c.scratch("g_color_changes", w.color_changes, zero=False)
        arguments = [w.pieces, w.piece_count, w.color_near, g_color, sampled, by_jumps, by_changes]
        c.launcher.run_list("blend_color_adjoint", antialias.blend_vectors_adjoint, c.room, arguments)
        found = jumps(c, "color", jumps=by_jumps, changes=by_changes)
        arguments = [w.pieces, w.piece_count, mesh, materials, lights, views, color, found]
        gradients = [None, None, *empty, w.empty(Seen), sampled, w.empty(antialias.Jumps)]
        c.launcher.run_list("color_jumps_adjoint", antialias.color_jumps, c.room, arguments, gradients)
    arguments = [views, mesh, materials, lights, marks, color]
    gradients = [w.empty(Seen), *empty, None, sampled]
    c.launcher.run_adjoint("color_adjoint", surface.shade_pixels, c.size, arguments, gradients)


def _color_to_poses(
    c: Chunk, color: wp.array, g_color: wp.array, marks: wp.array | None, g: Gradients
) -> None:
    """The same for poses alone, without a detour over vertices and materials."""
    w = c.work
    inputs = [surfaces(c), looks(c), lighting(c)]
    sampled = g_color
    if c.options.antialias:
        sampled = c.scratch("g_color", color, zero=False)
        c.launcher.copy(sampled, g_color)
        blended = w.bundle("blended", pose_gradient.BlendedColor, [w.color_near, g_color, sampled])
        arguments = [w.pieces, w.piece_count, *inputs, seen(c), blended, _poses(c, g)]
        c.launcher.run_list("jumps_to_poses", pose_gradient.pull_jumps_to_poses, c.room, arguments)
    shown = w.bundle("shown", pose_gradient.ShownColor, [marks, sampled])
    arguments = [seen(c), *inputs, c.span, shown, _poses(c, g)]
    c.launcher.run("color_to_poses", pose_gradient.pull_color_to_poses, c.strips, arguments)


def _normal_adjoint(
    c: Chunk, normal: wp.array, g_normal: wp.array, marks: wp.array | None, g: Gradients
) -> None:
    w = c.work
    sampled = c.scratch("g_normal", normal, zero=False)
    c.launcher.copy(sampled, g_normal)
    mesh, views = surfaces(c, p_cam=g.cam, n_cam=g.normals), seen(c, rays=g.rays)
    if c.options.antialias:
        by_jumps = c.scratch("g_normal_jumps", w.normal_jumps, zero=False)
        by_changes = c.scratch("g_normal_changes", w.normal_changes, zero=False)
        arguments = [w.pieces, w.piece_count, None, g_normal, None, by_jumps, by_changes]
        c.launcher.run_list("blend_normal_adjoint", antialias.blend_vectors_adjoint, c.room, arguments)
        found = jumps(c, "normal", jumps=by_jumps, changes=by_changes)
        arguments = [w.pieces, w.piece_count, mesh, views, normal, found]
        gradients = [None, None, w.empty(Surfaces), w.empty(Seen), sampled, w.empty(antialias.Jumps)]
        c.launcher.run_list("normal_jumps_adjoint", antialias.normal_jumps, c.room, arguments, gradients)
    arguments = [views, mesh, marks, normal]
    gradients = [w.empty(Seen), w.empty(Surfaces), None, sampled]
    c.launcher.run_adjoint("normal_adjoint", surface.shade_normals, c.size, arguments, gradients)


def _parameters_adjoint(c: Chunk, g: Gradients) -> None:
    """Camera coordinates and light directions to vertices, poses and lights."""
    w, a, p = c.work, c.arrays, c.parameters
    want = p.requires_grad
    if g.lights is not None and (want & {"camera_pose", "light_directions"}):
        c.launcher.run_adjoint(
            "lights_adjoint", vertex_stage.rotate_lights, (w.key.cameras,),
            [p.R_world_cam, p.camera_pose, p.light_directions, w.light_cam, w.R_world_cam],
            [None, _wanted(c, "camera_pose"), _wanted(c, "light_directions"), g.lights, g.R_world_cam],
        )  # fmt: skip
    if not want & {"vertices", "pose", "camera_pose"}:
        return
    R_grad, t_grad = g.R, g.t
    g_positions = _wanted(c, "vertices")
    if w.places is not None and g_positions is not None:
        g_positions = c.scratch("g_places", w.places)
    block = vertex_stage.VERTEX_BLOCK
    if g.cam is not None:
        c.launcher.run(
            "reduce_vertices", vertex_stage.reduce_vectors, (c.views, -(-a.num_vertices // block)),
            [c.positions, a.vertex_source, a.vertex_instance, w.R_cam_obj, g.cam, R_grad, t_grad,
             g_positions],
        )  # fmt: skip
    if g.normals is not None:
        _normals_adjoint(c, g.normals, R_grad, g_positions)
    if w.places is not None and g_positions is not None:
        arguments = [a.member_start, a.members, g_positions, _wanted(c, "vertices")]
        c.launcher.run("join_adjoint", vertex_stage.join_vertices_adjoint, (a.num_places,), arguments)
    if R_grad is not None:
        c.launcher.run_adjoint(
            "compose_adjoint", vertex_stage.compose_poses, (c.views, a.num_instances),
            [p.R_world_obj, p.t_world_obj, p.pose, p.R_world_cam, p.t_world_cam, p.camera_pose, c.first_view,
             w.R_cam_obj, w.t_cam_obj],
            [None, None, _wanted(c, "pose"), None, None, _wanted(c, "camera_pose"), 0, R_grad, t_grad],
        )  # fmt: skip


def _normals_adjoint(
    c: Chunk, g_normals: wp.array, R_grad: wp.array | None, g_positions: wp.array | None
) -> None:
    w, a = c.work, c.arrays
    wants_vertices = g_positions is not None
    g_mesh = c.scratch("g_mesh_normals", w.normals) if wants_vertices else None
    unused = c.scratch("g_t_unused", w.t_cam_obj) if R_grad is not None else None
    block = vertex_stage.VERTEX_BLOCK
    c.launcher.run(
        "reduce_normals", vertex_stage.reduce_vectors, (c.views, -(-a.num_normals // block)),
        [w.normals, a.normal_source, a.normal_instance, w.R_cam_obj, g_normals, R_grad, unused, g_mesh],
    )  # fmt: skip
    if wants_vertices:
        c.launcher.run(
            "smooth_adjoint", vertex_stage.smooth_normals_adjoint, (a.num_mesh_normals,),
            [c.positions, a.mesh_faces, a.group_start, a.group_faces, g_mesh, g_positions],
        )  # fmt: skip
