"""Bodies of models ready to be drawn: simplified, with their looks, from the disk if made before."""

from __future__ import annotations

from dataclasses import replace

import warp as wp

from dr_perception.body.appearance import bake
from dr_perception.body.blank_texels import BlankTexels, lay_blank_texels, upload_blank_texels
from dr_perception.body.content import content_key
from dr_perception.body.lod import simplify
from dr_perception.body.model_buffers import ModelBuffers, mesh_arrays
from dr_perception.body.store import Arrays, Store, default_store
from dr_perception.device.shared_tables import SharedTables
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel

_ROOMS = ("geometry", "body")
_buffers: SharedTables[Mesh, ModelBuffers] = SharedTables()
_texels: SharedTables[Mesh, BlankTexels] = SharedTables()


def model_buffers(model: ObjectModel, mesh_error: float, device: wp.DeviceLike) -> ModelBuffers:
    """Simplified mesh of a model with its baked brightness on a device, about the bounding sphere's centre.

    Made once, kept as long as the mesh lives, and shared by all instances. ``mesh_error`` is the error of the
    simplification as a share of the diameter.
    """
    return _buffers.get(
        model.mesh,
        (mesh_error, str(wp.get_device(device))),
        lambda: ModelBuffers.from_arrays(body_arrays(model, mesh_error), device),
    )


def blank_texels(model: ObjectModel, mesh_error: float, device: wp.DeviceLike) -> BlankTexels:
    """Places on the simplified mesh of a model where brightness can be learned; shared like the mesh."""
    return _texels.get(
        model.mesh,
        (mesh_error, str(wp.get_device(device))),
        lambda: upload_blank_texels(texel_arrays(model, mesh_error), device),
    )


def body_arrays(model: ObjectModel, mesh_error: float, store: Store | None = None) -> Arrays:
    """What `model_buffers` uploads, from a store or made and stored; see `mesh_arrays`."""

    def make() -> Arrays:
        mesh = simplify(model.mesh, mesh_error * model.diameter_m)
        appearance = bake(model.mesh, mesh, model.diameter_m)
        return mesh_arrays(replace(mesh, vertices=mesh.vertices - model.center), appearance)

    key = content_key(model.mesh, (mesh_error,), _ROOMS)
    return (store or default_store()).get("body", key, make)


def texel_arrays(model: ObjectModel, mesh_error: float, store: Store | None = None) -> Arrays:
    """What `blank_texels` uploads, from a store or made and stored."""
    key = content_key(model.mesh, (mesh_error,), _ROOMS)

    def make() -> Arrays:
        return lay_blank_texels(body_arrays(model, mesh_error, store), model.diameter_m)

    return (store or default_store()).get("texels", key, make)
