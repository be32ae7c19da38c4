"""What a search knows of a model before it sees an image.

Views from all around, a distance field and colours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from dr_perception.body.content import model_key
from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.body.nearest import Surface
from dr_perception.body.prepared import body_arrays
from dr_perception.body.store import Arrays, Store, default_store
from dr_perception.body.surface_colors import has_colors, surface_colors
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.shared_tables import SharedTables
from dr_perception.geometry.mesh import Mesh, seen_part
from dr_perception.geometry.mesh_measure import sample_surface
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import angle_between, exp_so3
from dr_perception.hypothesis.judge_kernels import DistanceField, ViewTable
from dr_perception.hypothesis.looks_kernels import PATCHES
from dr_perception.hypothesis.turn_table import TurnTable, unroll
from dr_perception.view.contour import INNER
from dr_perception.view.model_view import ModelView, ViewSettings

NUM_VIEWS = 320
"""Directions from which a model is known: about 12 degrees apart."""
SAMPLES_PER_VIEW = 256
CONTOUR_PER_VIEW = 48
_BATCH = 40
_DISTANCE_RADII = 7.0
_FIELD_SIZE = 40
_FIELD_HALF_RADII = 1.3
_COLOR_NEIGHBOURS = 6
_COLOR_SPREAD = 0.012
_AXIS_POINTS = 30_000
_TWIN_POINTS = 3000
_TWIN_STEPS = 24
TWIN_DISTANCE = 0.035
"""Distance from the surface, of the diameter, within which nine points in ten of a twin lie."""
_TWIN_KNOWN = 0.5
"""Share of what was seen that a turn must take to where somebody looked: less is too little to compare."""

_ROOMS = ("geometry", "device", "body", "raster", "view", "hypothesis")
_LABEL = "label_"


@dataclass(frozen=True)
class SearchModel:
    """Tables of one model on one device; everything is relative to the centre of its bounding sphere."""

    views: ViewTable
    field: DistanceField
    directions: NDArray[np.float64]
    """From the model to the camera of every view (V, 3)."""
    points: NDArray[np.float32]
    """Surface points of every view [m] (V, S, 3), those that nobody ever saw included, unlike in ``views``.

    They tell where to look, not whether a pose is right.
    """
    counts: NDArray[np.int32]
    """Points of every view (V,)."""
    middles: NDArray[np.float64]
    """Their means [m] (V, 3)."""
    has_colors: bool
    """Whether the views know colours."""
    twins: NDArray[np.float64]
    """Motions of the centre frame (K, 4, 4) that hardly change the shape but may change the looks."""
    axis: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Direction (3,) and point (3,) of the axis of revolution of the shape, unless declared a symmetry."""
    label: TurnTable | None
    """Colours around that axis; None without one or without colours."""


_models: SharedTables[Mesh, SearchModel] = SharedTables()


def search_model(model: ObjectModel, mesh_error: float, device: wp.Device) -> SearchModel:
    """Tables of a model; made once, or read if they were made before; kept as long as its mesh lives."""
    key = (model.symmetries, mesh_error, str(device))
    return _models.get(model.mesh, key, lambda: _upload(search_arrays(model, mesh_error), device))


def search_arrays(model: ObjectModel, mesh_error: float, store: Store | None = None) -> Arrays:
    """What `search_model` uploads, from a store or made (some seconds) and stored."""
    key = model_key(model, (mesh_error,), _ROOMS)
    return (store or default_store()).get("search", key, lambda: _build(model, mesh_error, store))


def provide_search_model(model: ObjectModel, mesh_error: float, device: wp.Device) -> None:
    """Make sure that `search_model` answers soon: from the disk, else from memory."""
    arrays = search_arrays(model, mesh_error)
    if not default_store().has("search", model_key(model, (mesh_error,), _ROOMS)):
        key = (model.symmetries, mesh_error, str(device))
        _models.get(model.mesh, key, lambda: _upload(arrays, device))


def sphere_directions(count: int) -> NDArray[np.float64]:
    """Evenly spread unit vectors (count, 3) on a Fibonacci lattice (Gonzalez 2010)."""
    k = np.arange(count) + 0.5
    z = 1.0 - 2.0 * k / count
    phi = np.pi * (1.0 + 5.0**0.5) * k
    r = np.sqrt(1.0 - z * z)
    return np.column_stack([r * np.cos(phi), r * np.sin(phi), z])


def look_along(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations R_cam_obj (V, 3, 3) of cameras that see the model's centre from directions (V, 3)."""
    forward = -directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    helper = np.where(np.abs(forward[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    right = np.cross(helper, forward)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _build(model: ObjectModel, mesh_error: float, store: Store | None) -> Arrays:
    """All tables on the host; made on the CPU, so that they are the same whatever device uses them."""
    body = body_arrays(model, mesh_error, store)
    buffers = ModelBuffers.from_arrays(body, "cpu")
    directions = sphere_directions(NUM_VIEWS)
    tables: dict[str, NDArray[Any]] = _render_all(model, buffers, directions)
    tables["directions"] = directions
    if has_colors(model.mesh):
        tables["colors"] = _colors(model, tables["points"])
    half_m = _FIELD_HALF_RADII * model.radius_m
    tables["half_m"] = np.array(half_m)
    tables["field"], nearest = _distance_field(buffers, half_m)
    if "unseen" in body:
        tables["known"] = (body["unseen"][nearest] == 0).astype(np.float32)
        guessed = ModelBuffers.from_arrays({k: a for k, a in body.items() if k != "unseen"}, "cpu")
        whole = _render_all(model, guessed, directions)
        tables["whole_points"], tables["whole_counts"] = whole["points"], whole["counts"]
    tables["twins"], axis = _twins(model, tables, half_m)
    if axis is not None:
        tables["axis"] = np.stack(axis)
        label = unroll(model.mesh, model.center, model.diameter_m, *axis)
        tables |= {} if label is None else {_LABEL + f.name: getattr(label, f.name) for f in fields(label)}
    return tables


def _render_all(
    model: ObjectModel, buffers: ModelBuffers, directions: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """Surface and contour points of views from directions (V, 3)."""
    parts = [_render(model, buffers, d) for d in np.array_split(directions, -(-len(directions) // _BATCH))]
    names = ("points", "normals", "counts", "contour", "outward", "contour_counts")
    return {name: np.concatenate(p) for name, p in zip(names, zip(*parts, strict=True), strict=True)}


def _upload(tables: Arrays, device: wp.Device) -> SearchModel:
    views = ViewTable()
    views.directions = wp.array(tables["directions"].astype(np.float32), dtype=wp.vec3, device=device)
    views.points = wp.array(tables["points"], dtype=wp.vec3, device=device)
    views.normals = wp.array(tables["normals"], dtype=wp.vec3, device=device)
    views.count = wp.array(tables["counts"], dtype=int, device=device)
    views.contour = wp.array(tables["contour"], dtype=wp.vec3, device=device)
    views.outward = wp.array(tables["outward"], dtype=wp.vec3, device=device)
    views.contour_count = wp.array(tables["contour_counts"], dtype=int, device=device)
    colors = tables.get("colors", np.zeros((0, 0, 3), np.float32))
    views.colors = wp.array(colors, dtype=wp.vec3, device=device)
    by_patch, patches = sort_by_patch(tables["points"], tables["counts"], tables["directions"])
    views.by_patch, views.patches = (wp.array(a, dtype=int, device=device) for a in (by_patch, patches))
    field = DistanceField()
    field.values = wp.array(tables["field"], dtype=float, device=device)
    known = tables.get("known", np.zeros((0, 0, 0), np.float32))
    field.known = wp.array(known, dtype=float, device=device)
    field.half = float(tables["half_m"])
    field.cells_per_m = _cells_per_m(field.half)
    counts = tables.get("whole_counts", tables["counts"])
    points = tables.get("whole_points", views.points.numpy())  # the same memory on a CPU
    label = {f.name: tables[_LABEL + f.name] for f in fields(TurnTable) if _LABEL + f.name in tables}
    return SearchModel(
        views=views,
        field=field,
        twins=tables["twins"],
        axis=(tables["axis"][0], tables["axis"][1]) if "axis" in tables else None,
        label=TurnTable(**label) if label else None,
        directions=tables["directions"],
        points=points,
        counts=counts,
        middles=np.array(
            [p[:c].mean(axis=0) if c else np.zeros(3) for p, c in zip(points, counts, strict=True)]
        ),
        has_colors="colors" in tables,
    )


def sort_by_patch(
    points: NDArray[np.float32], counts: NDArray[np.int32], directions: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cut what every view shows into patches, a square grid over the bounds of its points.

    Args:
        points: Surface points of every view [m] (V, S, 3).
        counts: How many each has (V,).
        directions: Where each is seen from (V, 3).

    Returns:
        Numbers of each view's points, sorted by patch (V, S), and where its patches begin and end (V, K + 1).
    """
    order = np.zeros(points.shape[:2], np.int32)
    first = np.zeros((len(points), PATCHES**2 + 1), np.int32)
    for v, (p, n, R) in enumerate(zip(points, counts, look_along(directions), strict=True)):
        if n == 0:
            continue
        flat = p[:n] @ R[:2].T
        low = flat.min(axis=0)
        size = max(float(np.ptp(flat, axis=0).max()), 1e-9)
        cell = np.minimum(PATCHES * (flat - low) / size, PATCHES - 1).astype(np.int32)
        patch = PATCHES * cell[:, 0] + cell[:, 1]
        order[v, :n] = np.argsort(patch, kind="stable")
        first[v] = np.searchsorted(np.sort(patch), np.arange(PATCHES**2 + 1))
    return order, first


def _cells_per_m(half_m: float) -> float:
    return float((_FIELD_SIZE - 1) / (2.0 * half_m))


def _render(
    model: ObjectModel, buffers: ModelBuffers, directions: NDArray[np.float64]
) -> tuple[NDArray, ...]:
    """Surface and contour points of some views, in random order so that the first few are spread as well."""
    n = len(directions)
    poses = PoseArrays(n, buffers.device)
    T = np.tile(np.eye(4), (n, 1, 1))
    T[:, :3, :3] = look_along(directions)
    T[:, 2, 3] = _DISTANCE_RADII * model.radius_m
    poses.set(T)
    settings = ViewSettings(size_px=96, surface_stride_px=2, surface_margin_px=1, contour_spacing_px=2.0)
    view = ModelView(buffers, model.radius_m, poses, n, settings)
    view.render()
    counts = view.pull_counts()
    rng = np.random.default_rng(0)
    surface, contour = view.surface.samples.numpy(), view.contour.samples.numpy()
    contour_fields = (contour["point"], contour["outward"])
    points, normals, kept = _pick(
        (surface["point"], surface["normal"]), counts[0], None, SAMPLES_PER_VIEW, rng
    )
    edge, outward, edge_kept = _pick(
        contour_fields, counts[1], contour["kind"] != int(INNER), CONTOUR_PER_VIEW, rng
    )
    return points, normals, kept, edge, outward, edge_kept


def _pick(
    fields: tuple[NDArray, NDArray],
    counts: NDArray[np.int32],
    usable: NDArray[np.bool_] | None,
    room: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    first, second = (np.zeros((len(counts), room, 3), np.float32) for _ in range(2))
    kept = np.zeros(len(counts), np.int32)
    for v, count in enumerate(counts):
        ids = np.arange(min(int(count), fields[0].shape[1]))
        if usable is not None:
            ids = ids[usable[v, : len(ids)]]
        ids = rng.permutation(ids)[:room]
        kept[v] = len(ids)
        first[v, : len(ids)] = fields[0][v, ids]
        second[v, : len(ids)] = fields[1][v, ids]
    return first, second, kept


def _distance_field(buffers: ModelBuffers, half_m: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Unsigned distance to the surface [m] at the nodes of a cube around the model, and to which face.

    Both (N, N, N).
    """
    axis = np.linspace(-half_m, half_m, _FIELD_SIZE, dtype=np.float32)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    surface = Surface(Mesh(vertices=buffers.vertices.numpy(), faces=buffers.faces.numpy()))
    near = surface.nearest(nodes.reshape(-1, 3))
    return near.distance_m.reshape(nodes.shape[:3]), near.face.reshape(nodes.shape[:3])


def _twins(
    model: ObjectModel, tables: Arrays, half_m: float
) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]] | None]:
    """Undeclared turns about principal axes that map the shape onto itself, and the axis of revolution.

    Faces that nobody ever saw have no say: of a shape that is alike, what was seen is so as well.
    """
    points, _, _ = sample_surface(seen_part(model.mesh), _AXIS_POINTS, np.random.default_rng(0))
    points = points - model.center
    middle = points.mean(axis=0)
    axes = np.linalg.svd(points - middle, full_matrices=False)[2]
    points = points[:_TWIN_POINTS]
    angles = np.arange(1, _TWIN_STEPS) * (2.0 * np.pi / _TWIN_STEPS)
    S = np.tile(np.eye(4), (3 * len(angles), 1, 1))
    S[:, :3, :3] = exp_so3((axes[:, None] * angles[:, None]).reshape(-1, 3))
    S[:, :3, 3] = middle - S[:, :3, :3] @ middle
    moved = np.einsum("kij,nj->kni", S[:, :3, :3], points) + S[:, None, :3, 3]
    node = ((moved + half_m) * _cells_per_m(half_m)).reshape(-1, 3).T
    distance = map_coordinates(tables["field"], node, order=1, mode="nearest").reshape(len(S), -1)
    known = np.ones(distance.shape, bool)
    if "known" in tables:
        known = map_coordinates(tables["known"], node, order=1, mode="nearest").reshape(len(S), -1) > 0.5
    told = known.mean(axis=1) >= _TWIN_KNOWN
    distance = np.where(known | ~told[:, None], distance, np.nan)
    alike = told & (np.nanpercentile(distance, 90.0, axis=1) < TWIN_DISTANCE * model.diameter_m)
    if model.symmetries.is_symmetric:
        closest = np.stack([model.symmetries.closest(one, np.eye(4)) for one in S])
        alike &= angle_between(closest[:, :3, :3], S[:, :3, :3]) > 0.05
    round_about = np.flatnonzero(alike.reshape(3, -1).all(axis=1))
    return S[alike], (axes[round_about[0]], middle) if len(round_about) else None


def _colors(model: ObjectModel, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Model colours at surface points, averaged over a neighbourhood so that a small shift changes little."""
    rng = np.random.default_rng(0)
    spread = rng.normal(0.0, _COLOR_SPREAD * model.diameter_m, (_COLOR_NEIGHBOURS, *points.shape))
    queries = (points + spread + model.center).astype(np.float32).reshape(-1, 3)
    mesh = seen_part(model.mesh)
    near = Surface(mesh).nearest(queries)
    colors = surface_colors(mesh, near.face, near.weights)
    assert colors is not None
    return (colors.reshape(_COLOR_NEIGHBOURS, *points.shape).mean(axis=0) / 255.0).astype(np.float32)
