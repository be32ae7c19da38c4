"""Texels on a body without colours, for brightness that is learned: where they lie, not what they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from dr_perception.body.appearance import lay_texels
from dr_perception.body.store import Arrays
from dr_perception.body.texel_gradient import gradient_stencil
from dr_perception.geometry.mesh import Mesh

_COARSENESS = 1.5
"""Texels are larger than those of given textures, by which learning them is cheaper."""


@dataclass(frozen=True)
class BlankTexels:
    """Texels of a body on a device, read by all its instances."""

    layout: wp.array
    """Grid of each face (F,) of ``wp.vec4i``, see `TexelGrid`."""
    points: wp.array
    """Places (T,) of ``wp.vec3`` [m]."""
    normals: wp.array
    """Smooth unit normals (T,) of ``wp.vec3``; zero for texels that are not used, see `TexelGrid`."""
    neighbour: wp.array
    """Texels (T, K) that a gradient follows from, see `GradientStencil`."""
    weight: wp.array
    """Their weights (T, K) of ``wp.vec3`` [1/m]."""


def lay_blank_texels(body: Arrays, diameter_m: float) -> dict[str, NDArray[Any]]:
    """Arrays of the fields of `BlankTexels` on the faces of a body (see `mesh_arrays`).

    Its diameter sets their spacing.
    """
    unseen = body["unseen"].astype(bool) if "unseen" in body else None
    mesh = Mesh(vertices=body["vertices"], faces=body["faces"], unseen_faces=unseen)
    grid = lay_texels(mesh, diameter_m, _COARSENESS)
    stencil = gradient_stencil(grid.points, grid.normals, grid.used, grid.spacing_m)
    corners = body["corner_normals"].reshape(-1, 3, 3)[grid.face]
    normals = np.einsum("tk,tkc->tc", grid.barycentric, corners)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    unused = np.ones(len(normals), dtype=bool)
    unused[grid.used] = False
    normals[unused] = 0.0  # faces no camera, so that it is never learned
    return {
        "layout": grid.layout,
        "points": grid.points.astype(np.float32),
        "normals": normals.astype(np.float32),
        "neighbour": stencil.neighbour,
        "weight": stencil.weight,
    }


def upload_blank_texels(arrays: Arrays, device: wp.DeviceLike) -> BlankTexels:
    """Copy the arrays of `lay_blank_texels` to a device."""
    types = {"layout": wp.vec4i, "points": wp.vec3, "normals": wp.vec3, "neighbour": int, "weight": wp.vec3}
    return BlankTexels(**{name: wp.array(arrays[name], dtype=t, device=device) for name, t in types.items()})
