"""The forward stages of a render for one chunk of views: which kernel runs on which buffers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import warp as wp

from dr_perception.device.launcher import STOP, Launcher
from dr_perception.raster.types import EMPTY_KEY
from dr_perception.render import blending
from dr_perception.render.blending import Blended
from dr_perception.render.bundles import candidates, jumps, lighting, looks, seen, surfaces
from dr_perception.render.outline import (
    antialias,
    crossing,
    overflow,
    pieces,
    shares,
    soft_silhouette,
    visibility,
)
from dr_perception.render.outline.piece import PieceList
from dr_perception.render.samples import draw_samples
from dr_perception.render.scene import intrinsics, raster, vertex_stage
from dr_perception.render.scene.images import Images, RenderOptions
from dr_perception.render.scene.parameters import SceneParameters
from dr_perception.render.shading import surface
from dr_perception.render.supersampling import Target, average
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
    target: Target | None = None
    """What the images are averaged into, if there are several samples a pixel."""
    blended: Blended | None = None
    """An image of the user's own that is blended over the outline."""

    @property
    def results(self) -> Images:
        """Images that were asked for, of the views of the chunk."""
        return self.images if self.target is None else self.target.images

    @property
    def asked(self) -> SceneParameters:
        """Parameters that were asked for."""
        return self.parameters if self.target is None else self.target.parameters

    @property
    def size(self) -> tuple[int, int, int]:
        """Views, rows and columns."""
        return self.views, self.work.key.height, self.work.key.width

    @property
    def asked_size(self) -> tuple[int, int, int]:
        """The same of the images that were asked for."""
        factor = 1 if self.target is None else self.target.factor
        return self.views, self.work.key.height // factor, self.work.key.width // factor

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

    def room(self) -> int:
        """Threads for a pass over the pieces: as many as there are, where the host knows, or may be."""
        return self.work.room(self.launcher.capturing)

    def scratch(self, name: str, like: wp.array, zero: bool = True) -> wp.array:
        """A scratch array of the size of another; zeroed by a launch unless told otherwise."""
        found = self.work.scratch(name, like)
        if zero:
            self.launcher.fill(found, 0)
        return found

    @property
    def positions(self) -> wp.array:
        """Where the places of the meshes' surfaces are: their vertices, if each of these is one."""
        return self.parameters.vertices if self.work.places is None else self.work.places

    @property
    def bounded(self) -> bool:
        """Whether the box around what is seen is found.

        One thread must see all vertices for it, and pixels far from the object be of no interest.
        """
        return self.work.device.is_cpu and not self.distorted and self.images.soft_silhouette is None

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
        if self.blended is not None:
            return True
        blended = self.options.antialias and (self.images.silhouette is not None or self.wants_normals)
        blended = blended or (self.options.antialias_depth and self.images.depth is not None)
        return blended or self.images.soft_silhouette is not None

    @property
    def may_cross_itself(self) -> bool:
        """Whether a body may pass through itself: as its mesh is, or since nobody looked at its vertices."""
        return self.work.reshaped or self.arrays.topology.passes_through_itself

    @property
    def may_cross(self) -> bool:
        """Whether surfaces may pass through each other."""
        return self.arrays.num_instances > 1 or self.may_cross_itself

    @property
    def distorted(self) -> bool:
        """Whether a lens bends edges, so that coverage is tested at undistorted pixel centres."""
        return self.work.ideal_positions is not None


def draw(c: Chunk) -> None:
    """Run all stages; the same launches as last time are replayed if they were for the same arrays."""
    key = (c.parameters, c.options, c.images, c.results, c.work.reshaped, c.blended)
    if c.launcher.replay("draw", key):
        return
    with c.launcher.remember("draw", key):
        clear(c)
        transform(c)
        rasterize(c)
        resolve(c)
        draw_samples(c)
        if c.wants_outline:
            find_outline(c)
            blend(c)
            if c.launcher.capturing:
                spoil_overflow(c)
        if c.target is not None:
            average(c.launcher, c.target, c.images, c.work.face_index, c.options)


def clear(c: Chunk) -> None:
    """Nothing in any buffer and image."""
    w, images, fill = c.work, c.images, c.launcher.fill
    fill(w.keys, EMPTY_KEY)
    fill(w.face_index, -1)
    fill(w.depth, c.options.far_depth)
    fill(images.depth, c.options.far_depth)
    fill(images.silhouette, 0)
    fill(images.instance, -1)
    if images.color is not None:
        c.launcher.run(
            "background", surface.fill_background, c.strips,
            [c.parameters.background, w.viewports, c.first_view, c.span, images.color],
        )  # fmt: skip


def join_vertices(c: Chunk) -> None:
    """Places of the surfaces, where vertices share one."""
    if c.work.places is not None:
        a = c.arrays
        arguments = [c.parameters.vertices, a.member_start, a.members, c.work.places]
        c.launcher.run("join", vertex_stage.join_vertices, (a.num_places,), arguments)


def smooth_normals(c: Chunk) -> None:
    """Normals of the surfaces where they are shaded smoothly."""
    a = c.arrays
    arguments = [c.positions, a.mesh_faces, a.group_start, a.group_faces, c.work.normals]
    c.launcher.run("smooth", vertex_stage.smooth_normals, (a.num_mesh_normals,), arguments)


def transform(c: Chunk) -> None:
    """Poses, vertices and normals to camera coordinates."""
    w, a, p, run = c.work, c.arrays, c.parameters, c.launcher.run
    run(
        "compose", vertex_stage.compose_poses, (c.views, a.num_instances),
        [p.R_world_obj, p.t_world_obj, p.pose, p.R_world_cam, p.t_world_cam, p.camera_pose, c.first_view,
         w.R_cam_obj, w.t_cam_obj],
    )  # fmt: skip
    c.launcher.fill(w.cull, int(a.topology.closed))
    run("cameras", intrinsics.fill_ideal_cameras, (c.views,), [p.intrinsics, w.ideal_cameras])
    size, span = c.blocks(a.num_vertices)
    poses = [c.positions, a.vertex_source, a.vertex_instance, w.R_cam_obj, w.t_cam_obj]
    posed = w.bundle("posed", vertex_stage.Posed, poses)
    run(
        "vertices", vertex_stage.transform_vertices, size,
        [posed, w.ideal_cameras, w.viewports, c.options.near, int(c.bounded), span, w.seen, w.extent],
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
    if c.distorted:
        c.launcher.fill(w.facing, 0)
        from dr_perception.render.scene.raster_distorted import rasterize_distorted

        c.launcher.run(
            "raster_distorted", rasterize_distorted, (c.views, a.num_faces),
            [w.p_cam, a.faces, seen(c), w.ideal_positions, c.options.near, w.cull, w.renders],
        )  # fmt: skip
        return
    size, span = c.blocks(a.num_faces)
    c.launcher.run(
        "raster", raster.rasterize_scene, size,
        [w.seen, a.faces, c.options.near, w.cull, span, w.renders, w.facing if c.wants_outline else None],
    )  # fmt: skip


def resolve(c: Chunk) -> None:
    """Faces, and the images at pixel centres."""
    w, a, images = c.work, c.arrays, c.images
    c.launcher.run(
        "resolve", surface.resolve, c.strips,
        [w.keys, a.face_instance, seen(c), c.span, images.depth, images.silhouette, images.instance],
    )  # fmt: skip
    if c.wants_color:
        arguments = [seen(c), surfaces(c), looks(c), lighting(c), c.span, None, images.color]
        c.launcher.run("color", surface.shade_strips, c.strips, arguments)
    if images.normal is not None:
        arguments = [seen(c), surfaces(c), None, images.normal]
        c.launcher.run("normal", surface.shade_normals, c.size, arguments)


def find_outline(c: Chunk) -> None:
    """Pieces of the visible outline; their room is checked and grown, but for a graph, which cannot wait."""
    while True:
        _list_pieces(c)
        if c.launcher.capturing or not c.work.overflows():
            c.launcher.do(lambda: STOP if c.work.overflows() else None)
            return
        c.work.grow_pieces()


def _list_pieces(c: Chunk) -> None:
    w, a, fill = c.work, c.arrays, c.launcher.fill
    creases = (c.wants_normals or c.blended is not None) and c.options.antialias
    outline_only = not creases and not (c.options.antialias_depth and c.images.depth is not None)
    size, span = c.blocks(a.num_edges)
    fill(w.piece_count, 0)
    fill(w.candidate_count, 0)
    fill(w.heads, -1)
    found = w.bundle("pieces", PieceList, [w.first_piece, w.pieces, w.piece_count])
    edges = w.bundle("edges", pieces.Edges, [a.edges, a.opposite, a.flags, w.facing])
    c.launcher.run(
        "outline", pieces.find_outline, size,
        [edges, surfaces(c), seen(c), c.options.near, int(creases), span, candidates(c)],
    )  # fmt: skip
    if creases and c.may_cross:
        c.launcher.run("crossings", crossing.find_crossings, c.strips, crossing_arguments(c))
    c.launcher.run_list(
        "visible", visibility.select_visible, lambda: w.candidate_room(c.launcher.capturing),
        [candidates(c), seen(c), int(outline_only), found],
    )  # fmt: skip
    c.launcher.run_list(
        "shares", shares.share_pixels, lambda: w.candidate_room(c.launcher.capturing),
        [w.heads, w.candidates, w.candidate_count, w.face_index, w.first_piece, w.pieces],
    )  # fmt: skip


def crossing_arguments(c: Chunk) -> list:
    """Arguments of `crossing.find_crossings`."""
    return [
        surfaces(c),
        seen(c),
        c.span,
        int(c.may_cross_itself),
        candidates(c),
    ]


def blend(c: Chunk) -> None:
    """Blend the jumps over the outline into the images."""
    w, images, run, room = c.work, c.images, c.launcher.run_list, c.room
    silhouette = images.silhouette if c.options.antialias else None
    depth = images.depth if c.options.antialias_depth else None
    if silhouette is not None or depth is not None:
        arguments = [w.pieces, w.piece_count, w.face_index, w.depth, c.options.far_depth]
        run("blend", antialias.blend_scalars, room, [*arguments, w.scalar_jumps, silhouette, depth])
    if c.options.antialias and images.color is not None:
        run("color_jumps", antialias.color_jumps, room, color_jump_arguments(c, images.color))
        arguments = [w.pieces, w.piece_count, w.color_jumps, images.color, w.color_changes, w.color_near]
        run("follow_slopes", antialias.follow_slopes, room, arguments)
        arguments = [w.pieces, w.piece_count, w.color_changes, images.color]
        run("blend_color", antialias.blend_vectors, room, arguments)
    if c.options.antialias and images.normal is not None:
        run("normal_jumps", antialias.normal_jumps, room, normal_jump_arguments(c, images.normal))
        arguments = [w.pieces, w.piece_count, w.normal_changes, images.normal]
        run("blend_normal", antialias.blend_vectors, room, arguments)
    if images.soft_silhouette is not None:
        soften(c)
    if c.blended is not None:
        blending.blend(c, c.blended)


def spoil_overflow(c: Chunk) -> None:
    """Let a graph tell by its images that the outline outgrew its room."""
    w, images, blended = c.work, c.images, c.options.antialias
    depth = images.depth if c.options.antialias_depth else None
    silhouette, color, normal = (
        image if blended else None for image in (images.silhouette, images.color, images.normal)
    )
    made = [silhouette, images.soft_silhouette, depth, color, normal]
    spoiled = w.bundle("spoiled", overflow.Spoiled, made)
    c.launcher.run(
        "spoil", overflow.spoil, c.strips,
        [w.candidate_count, w.piece_count, w.room(True), c.span, spoiled],
    )  # fmt: skip


def color_jump_arguments(c: Chunk, color: wp.array) -> list:
    """Arguments of `antialias.color_jumps`."""
    inputs = [surfaces(c), looks(c), lighting(c), seen(c), color]
    return [c.work.pieces, c.work.piece_count, *inputs, jumps(c, "color")]


def normal_jump_arguments(c: Chunk, normal: wp.array) -> list:
    """Arguments of `antialias.normal_jumps`."""
    return [c.work.pieces, c.work.piece_count, surfaces(c), seen(c), normal, jumps(c, "normal")]


def soften(c: Chunk) -> None:
    """Soft silhouette: nearest piece of every pixel by jump flooding."""
    w = c.work
    buffers = [c.scratch(f"nearest_{k}", w.face_index, zero=False) for k in range(2)]
    c.launcher.fill(buffers[0], -1)
    arguments = [w.pieces, w.piece_count, w.face_index, buffers[0]]
    c.launcher.run_list("seed", soft_silhouette.seed, c.room, arguments)
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
    return replace(images, **{k: a[first : first + count] for k, a in images.arrays().items()})
