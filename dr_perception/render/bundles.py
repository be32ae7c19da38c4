"""What a chunk of views hands to kernels of several stages: the structs of `shading.inputs`, filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import warp as wp

from dr_perception.render.outline.antialias import Jumps
from dr_perception.render.outline.piece import Candidates
from dr_perception.render.shading.inputs import Lighting, Looks, Seen, Surfaces

if TYPE_CHECKING:
    from dr_perception.render.pipeline import Chunk


def surfaces(c: Chunk, **grads: wp.array | None) -> Any:
    """Faces in the camera frames as kernels take them; with the named gradients, if there are any."""
    w, a = c.work, c.arrays
    values = [
        w.p_cam, w.n_cam, a.faces, a.neighbors, a.face_instance, a.normal_index, a.corner_vertex, a.corner_uv,
    ]  # fmt: skip
    return _bundle(c, Surfaces, values, grads)


def seen(c: Chunk, **grads: wp.array | None) -> Any:
    """What the centres of pixels show, and the cameras; likewise."""
    w, p = c.work, c.parameters
    values = [
        w.face_index,
        w.depth,
        w.rays,
        w.viewports,
        w.boxes,
        c.first_view,
        p.intrinsics,
        p.camera_models,
    ]
    return _bundle(c, Seen, values, grads)


def looks(c: Chunk, **grads: wp.array | None) -> Any:
    """Colours and materials; likewise."""
    p = c.parameters
    values = [p.vertex_colors, p.textures, p.texels, p.albedo, p.roughness, p.metallic, p.specular]
    return _bundle(c, Looks, values, grads)


def lighting(c: Chunk, **grads: wp.array | None) -> Any:
    """Lights and background; likewise."""
    w, p = c.work, c.parameters
    values = [p.ambient, w.light_cam, p.light_colors, p.harmonics, w.R_world_cam, p.background]
    return _bundle(c, Lighting, values, grads)


def jumps(c: Chunk, name: str, **grads: wp.array | None) -> Any:
    """Room for the jumps of ``"color"`` or ``"normal"``; likewise."""
    values = [getattr(c.work, f"{name}_jumps"), getattr(c.work, f"{name}_changes")]
    return _bundle(c, Jumps, values, grads, name)


def candidates(c: Chunk) -> Any:
    """The list that pieces of outline are added to before it is known whether they are seen."""
    return c.work.bundle("candidates", Candidates, [c.work.heads, c.work.candidates, c.work.candidate_count])


def _bundle(c: Chunk, kind: Any, values: list[Any], grads: dict[str, wp.array | None], name: str = "") -> Any:
    label = f"{kind.key} {name}"
    if not grads:
        return c.work.bundle(label, kind, values)
    return c.work.graded(label, kind, values, grads)
