"""Images of samples: what the surface has at the centre of each pixel, never mixed with another surface.

They are what a shader of the user's own works on. A shader is not linear: of the mean of two texture
coordinates or positions, which belong to neither surface, it makes a colour that is nowhere. So samples are
taken as they are, shaded, and the shaded image is blended over the outline by `Renderer.antialias`, which
has the derivative by the motion of the outline too. Inside a surface the derivative of the samples is exact.

A channel is a field of `Images` and an entry in `SAMPLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import warp as wp

from dr_perception.render.bundles import seen, surfaces
from dr_perception.render.shading import samples as kernels
from dr_perception.render.shading.inputs import Seen, Surfaces

if TYPE_CHECKING:
    from dr_perception.render.pipeline import Chunk
    from dr_perception.render.scene.images import Images


@dataclass(frozen=True)
class Sample:
    """How one kind of sample is drawn."""

    kernel: wp.Kernel
    """Arguments: faces and weights of the pixels, `inputs`, and the image."""
    inputs: Callable[[Chunk], list[Any]]
    """What is interpolated."""
    gradients: Callable[[Chunk, wp.array | None], list[Any]] | None = None
    """Where the gradients of the inputs go, given that of the vertices in camera coordinates."""


def _gradient(c: Chunk, name: str) -> wp.array | None:
    return getattr(c.parameters, name).grad if name in c.parameters.requires_grad else None


SAMPLES: dict[str, Sample] = {
    "position": Sample(
        kernels.sample_position, lambda c: [c.work.p_cam, c.arrays.faces], lambda c, g_cam: [g_cam, None]
    ),
    "uv": Sample(kernels.sample_corners_2, lambda c: [c.arrays.corner_uv], lambda c, g_cam: [None]),
    "barycentric": Sample(
        kernels.sample_corners_3, lambda c: [c.arrays.mesh_weights], lambda c, g_cam: [None]
    ),
    "face": Sample(kernels.sample_index, lambda c: [c.arrays.mesh_face]),
    "attributes": Sample(
        kernels.sample_vertices,
        lambda c: [c.arrays.corner_vertex, c.parameters.attributes],
        lambda c, g_cam: [None, _gradient(c, "attributes")],
    ),
}
"""Kinds of samples by the names of their images."""


def draw_samples(c: Chunk) -> None:
    """Take the samples that were asked for."""
    asked = {name: image for name in SAMPLES if (image := getattr(c.results, name)) is not None}
    if not asked:
        return
    face, weights = _surface(c)
    arguments = _surface_arguments(c, seen(c), surfaces(c))
    c.launcher.run("sample_surface", kernels.sample_surface, c.asked_size, arguments)
    for name, image in asked.items():
        sample = SAMPLES[name]
        arguments = [face, weights, *sample.inputs(c), image]
        c.launcher.run(f"sample_{name}", sample.kernel, c.asked_size, arguments)


def pull_samples(c: Chunk, grads: Images, g_cam: wp.array | None, g_rays: wp.array | None) -> None:
    """Add the gradients of samples to those of vertices in camera coordinates, rays and attributes."""
    asked = {name: g for name in SAMPLES if (g := getattr(grads, name)) is not None}
    if not asked:
        return
    face, weights = _surface(c)
    moves = g_cam is not None or g_rays is not None
    g_weights = c.scratch("g_sample_weights", weights) if moves else None
    for name, g in asked.items():
        sample = SAMPLES[name]
        assert sample.gradients is not None
        used_up = c.scratch(f"g_sample_{name}", g, zero=False)
        c.launcher.copy(used_up, g)
        c.launcher.run_adjoint(
            f"sample_{name}_adjoint", sample.kernel, c.asked_size,
            [face, weights, *sample.inputs(c), getattr(c.results, name)],
            [None, g_weights, *sample.gradients(c, g_cam), used_up],
        )  # fmt: skip
    if moves:
        c.launcher.run_adjoint(
            "sample_surface_adjoint", kernels.sample_surface, c.asked_size,
            _surface_arguments(c, seen(c, rays=g_rays), surfaces(c, p_cam=g_cam)),
            [c.work.empty(Seen), c.work.empty(Surfaces), 0, None, g_weights],
        )  # fmt: skip


def _surface(c: Chunk) -> tuple[wp.array, wp.array]:
    """Faces and weights of the pixels of the images asked for."""
    return c.work.lazy("sample_face", c.asked_size, wp.int32), c.work.lazy(
        "sample_weights", c.asked_size, wp.vec3
    )


def _surface_arguments(c: Chunk, views: Any, mesh: Any) -> list[Any]:
    factor = 1 if c.target is None else c.target.factor
    return [views, mesh, factor, *_surface(c)]
