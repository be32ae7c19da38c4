"""Everything that can be made of a model before the first image, put where later processes find it."""

from __future__ import annotations

from dr_perception.body.prepared import body_arrays, texel_arrays
from dr_perception.body.store import Arrays, Store
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.pairs import pair_arrays
from dr_perception.hypothesis.tables import search_arrays


def prepare_model(model: ObjectModel, mesh_error: float, store: Store) -> dict[str, Arrays]:
    """Tables of a model by kind, read or made and stored.

    Args:
        model: The model.
        mesh_error: Error of the simplified mesh, as a share of the diameter.
        store: Where they are kept.
    """
    tables = {"body": body_arrays(model, mesh_error, store)}
    if "brightness" not in tables["body"]:  # what the model brings is not learned
        tables["texels"] = texel_arrays(model, mesh_error, store)
    tables["search"] = search_arrays(model, mesh_error, store)
    tables["pairs"] = pair_arrays(model, store)
    return tables
