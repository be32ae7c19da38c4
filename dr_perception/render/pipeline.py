"""The forward stages of a render for one chunk of views: which kernel runs on which buffers."""

from __future__ import annotations

from dataclasses import dataclass, fields

import warp as wp

from dr_perception.render import (
    antialias,
    intrinsics,
    outline,
    outline_visibility,
    raster,
    soft_silhouette,
    surface,
    vertex_stage,
)
from dr_perception.render.images import Images, RenderOptions
from dr_perception.render.launcher import Launcher
from dr_perception.render.parameters import SceneParameters
from dr_perception.render.workspace import SceneArrays, Workspace


@dataclass(eq=False)
class Chunk:
    """One chunk of views of one render: inputs, buffers and the images they go to."""

    arrays: SceneArrays
    parameters: SceneParameters
    options: RenderOptions
    work: Workspace
    launcher: Launcher
    images: Images
    """Only the views of the chunk."""
    first_view: int
    views: int

    @property
    def size(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        return self.views, self.work.key.height, self.work.key.width

    @property
    def span(self) -> int:
        """Pixels of a row that one thread works through.

        All on a CPU, where threads run one after the other.
        """
        return self.work.key.width if self.work.device.is_cpu else 1

    def blocks(self, count: int) -> tuple[tuple[int, int], int]:
        """Launch size of kernels that work through blocks of a list in every view, and length of a block."""
        span = max(count, 1) if self.work.device.is_cpu else 1
        return (self.views, -(-count // span)), span

    @property
    def strips(self) -> tuple[int, int, int]:
        """Launch size of kernels that work through strips."""
        return self.views, self.work.key.height, -(-self.work.key.width // self.span)

    @property
    def wants_color(self) -> bool:
        """Whether colour is drawn."""
        return self.images.color is not None

    @property
    def wants_normals(self) -> bool:
        """Whether shading normals are needed."""
        return self.images.color is not None or self.images.normal is not None

    @property
    def wants_outline(self) -> bool:
        """Whether outline pieces are needed."""
        blended = self.options.antialias and (self.images.silhouette is not None or self.wants_normals)
        blended = blended or (self.options.antialias_depth and self.images.depth is not None)
        return blended or self.images.soft_silhouette is not None

    @property
    def distorted(self) -> bool:
        """Whether a lens bends edges, so that coverage is tested at undistorted pixel centres."""
        return self.work.ideal_positions is not None


def pixel_inputs(c: Chunk) -> list:
    """Leading arguments of the kernels that shade pixels."""
    w, a = c.work, c.arrays
    return [w.face_index, w.rays, w.viewports, w.p_cam, w.n_cam, a.faces, a.normal_index]


def material_inputs(c: Chunk) -> list:
    """Arguments of shading that pixels and pieces share."""
    w, a, p = c.work, c.arrays, c.parameters
    return [
        a.face_instance, a.vertex_source, p.vertex_colors, a.corner_uv, p.textures, p.texels, p.albedo,
        p.roughness,
        p.metallic, p.specular, p.ambient, w.light_cam, p.light_colors, p.harmonics, w.R_world_cam,
    ]  # fmt: skip


def draw(c: Chunk) -> None:
    """Run all stages."""
    transform(c)
    rasterize(c)
    resolve(c)
    if c.wants_outline:
        find_outline(c)
        blend(c)


def transform(c: Chunk) -> None:
    """Poses, vertices and normals to camera coordinates."""
    w, a, p, run = c.work, c.arrays, c.parameters, c.launcher.run
    run(
        "compose", vertex_stage.compose_poses, (c.views, a.num_instances),
        [p.R_world_obj, p.t_world_obj, p.pose, p.R_world_cam, p.t_world_cam, p.camera_pose, c.first_view,
         w.R_cam_obj, w.t_cam_obj],
    )  # fmt: skip
    run("cameras", intrinsics.fill_ideal_cameras, (c.views,), [p.intrinsics, w.ideal_cameras])
    size, span = c.blocks(a.num_vertices)
    run(
        "vertices", vertex_stage.transform_vertices, size,
        [p.vertices, a.vertex_source, a.vertex_instance, w.R_cam_obj, w.t_cam_obj, w.ideal_cameras,
         c.options.near,
         span, w.p_cam, w.screen],
    )  # fmt: skip
    if c.wants_normals:
        size, span = c.blocks(a.num_normals)
        run(
            "normals", vertex_stage.rotate_normals, size,
            [w.normals, a.normal_source, a.normal_instance, w.R_cam_obj, span, w.n_cam],
        )  # fmt: skip
        run(
            "lights", vertex_stage.rotate_lights, (w.key.cameras,),
            [p.R_world_cam, p.camera_pose, p.light_directions, w.light_cam, w.R_world_cam],
        )  # fmt: skip


def rasterize(c: Chunk) -> None:
    """Z-buffer of the views."""
    w, a = c.work, c.arrays
    w.keys.fill_(0xFFFFFFFFFFFFFFFF)
    cull = int(w.cull)
    if c.distorted:
        from dr_perception.render.raster_distorted import rasterize_distorted

        c.launcher.run(
            "raster_distorted", rasterize_distorted, (c.views, a.num_faces),
            [w.p_cam, a.faces, w.ideal_cameras, c.parameters.intrinsics, c.parameters.camera_models,
             w.viewports,
             w.ideal_positions, c.options.near, cull, c.first_view, w.keys],
        )  # fmt: skip
        return
    c.launcher.run(
        "raster", raster.rasterize_pinhole, (c.views, a.num_faces),
        [w.p_cam, w.screen, a.faces, w.ideal_cameras, w.viewports, c.options.near, cull, 0, w.keys],
    )  # fmt: skip


def resolve(c: Chunk) -> None:
    """Faces, and the images at pixel centres."""
    w, a, p, images = c.work, c.arrays, c.parameters, c.images
    c.launcher.run(
        "resolve", surface.resolve, c.strips,
        [w.keys, a.face_instance, c.options.far_depth, c.span, w.face_index, w.depth, images.depth,
         images.silhouette, images.instance],
    )  # fmt: skip
    if c.wants_color:
        arguments = [
            *pixel_inputs(c),
            *material_inputs(c),
            p.background,
            c.first_view,
            c.span,
            None,
            images.color,
        ]
        c.launcher.run("color", surface.shade_strips, c.strips, arguments)
    if images.normal is not None:
        arguments = [*pixel_inputs(c), c.first_view, None, images.normal]
        c.launcher.run("normal", surface.shade_normals, c.size, arguments)


def find_outline(c: Chunk) -> None:
    """Pieces of the visible outline; on the CPU, where it costs nothing, the room is checked and grown."""
    w, a, p = c.work, c.arrays, c.parameters
    jumps = c.wants_normals and c.options.antialias
    outline_only = not jumps and not (c.options.antialias_depth and c.images.depth is not None)
    size, span = c.blocks(a.num_edges)
    while True:
        w.piece_count.zero_()
        w.candidate_count.zero_()
        w.heads.fill_(-1)
        c.launcher.run(
            "outline", outline.find_outline, size,
            [a.edges, a.opposite, a.flags, w.p_cam, a.faces, a.neighbors, w.face_index, w.depth, w.rays,
             p.intrinsics, p.camera_models, w.viewports, c.options.near, int(jumps), c.first_view, span,
             w.heads,
             w.candidates, w.candidate_count],
        )  # fmt: skip
        room = w.candidates.shape[0]
        found = int(w.candidate_count.numpy()[0]) if w.device.is_cpu else room
        c.launcher.run(
            "visible", outline_visibility.select_visible, (min(found, room),),
            [w.heads, w.candidates, w.candidate_count, w.face_index, w.depth, p.intrinsics, int(outline_only),
             c.first_view, w.pieces, w.piece_count],
        )  # fmt: skip
        if w.device.is_cpu:
            found = max(found, int(w.piece_count.numpy()[0]))
        if found <= room:
            return
        w.grow_pieces(found + found // 4)


def blend(c: Chunk) -> None:
    """Blend the jumps over the outline into the images."""
    w, images, run = c.work, c.images, c.launcher.run
    room = (w.pieces.shape[0] if not w.device.is_cpu else int(w.piece_count.numpy()[0]),)
    run(
        "scalar_jumps",
        antialias.scalar_jumps,
        room,
        [w.pieces, w.piece_count, w.face_index, w.depth, c.options.far_depth, w.scalar_jumps],
    )
    silhouette = images.silhouette if c.options.antialias else None
    depth = images.depth if c.options.antialias_depth else None
    if silhouette is not None or depth is not None:
        run(
            "blend",
            antialias.blend_scalars,
            room,
            [w.pieces, w.piece_count, w.scalar_jumps, silhouette, depth],
        )
    if c.options.antialias and images.color is not None:
        run("color_jumps", antialias.color_jumps, room, color_jump_arguments(c, images.color))
        run(
            "blend_color",
            antialias.blend_vectors,
            room,
            [w.pieces, w.piece_count, w.color_jumps, images.color],
        )
    if c.options.antialias and images.normal is not None:
        run("normal_jumps", antialias.normal_jumps, room, normal_jump_arguments(c, images.normal))
        run(
            "blend_normal",
            antialias.blend_vectors,
            room,
            [w.pieces, w.piece_count, w.normal_jumps, images.normal],
        )
    if images.soft_silhouette is not None:
        soften(c, room)


def color_jump_arguments(c: Chunk, color: wp.array) -> list:
    """Arguments of `antialias.color_jumps`."""
    w, a = c.work, c.arrays
    leading = [w.pieces, w.piece_count, w.p_cam, w.n_cam, a.faces, a.normal_index]
    return [
        *leading,
        *material_inputs(c),
        c.parameters.background,
        w.viewports,
        c.first_view,
        color,
        w.color_jumps,
    ]


def normal_jump_arguments(c: Chunk, normal: wp.array) -> list:
    """Arguments of `antialias.normal_jumps`."""
    w, a = c.work, c.arrays
    return [w.pieces, w.piece_count, w.p_cam, w.n_cam, a.faces, a.normal_index, normal, w.normal_jumps]


def soften(c: Chunk, room: tuple[int]) -> None:
    """Soft silhouette: nearest piece of every pixel by jump flooding."""
    w = c.work
    buffers = [
        w.scratch("nearest_a", w.face_index, zero=False),
        w.scratch("nearest_b", w.face_index, zero=False),
    ]
    buffers[0].fill_(-1)
    c.launcher.run("seed", soft_silhouette.seed, room, [w.pieces, w.piece_count, w.face_index, buffers[0]])
    reach = 1
    while reach < 0.5 * min(max(c.size[1:]), 16.0 * c.options.soft_silhouette_px):
        reach *= 2
    while reach >= 1:
        c.launcher.run(f"flood_{reach}", soft_silhouette.flood, c.size, [w.pieces, reach, *buffers])
        buffers.reverse()
        reach //= 2
    w.nearest = buffers[0]
    c.launcher.run(
        "soften", soft_silhouette.soften, c.size,
        [w.pieces, w.nearest, w.face_index, c.options.soft_silhouette_px, c.images.soft_silhouette],
    )  # fmt: skip


def slice_views(images: Images, first: int, count: int, total: int) -> Images:
    """The images of some of the views."""
    if count == total:
        return images
    there = {f.name: getattr(images, f.name) for f in fields(images)}
    return Images(**{k: None if a is None else a[first : first + count] for k, a in there.items()})
