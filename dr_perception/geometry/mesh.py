"""Triangle meshes as arrays: validation, welding, and the cheap quantities of faces and vertices.

Positions are welded (one vertex per place), so that edges know both of their faces and outlines can be found;
texture coordinates live on face corners, hence seams of the texture do not split vertices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Mesh",
    "drop_degenerate_faces",
    "face_areas",
    "face_normals",
    "merge_places",
    "seen_part",
    "validate_mesh",
    "vertex_normals",
    "weld",
]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh with optional colours; arrays are converted, validated and read-only.

    Raises:
        ValueError: See `validate_mesh`.
    """

    vertices: NDArray[np.float64]
    """Positions in the object frame [m], shape (V, 3)."""
    faces: NDArray[np.int32]
    """Vertex indices, counter-clockwise seen from outside, shape (F, 3)."""
    vertex_colors: NDArray[np.uint8] | None = None
    """sRGB colours of the vertices, shape (V, 3)."""
    corner_uv: NDArray[np.float32] | None = None
    """Texture coordinates of the face corners, v up as in OBJ and OpenGL, shape (F, 3, 2)."""
    texture: NDArray[np.uint8] | None = None
    """sRGB texture, first row at v = 1, shape (H, W, 3)."""
    unseen_faces: NDArray[np.bool_] | None = None
    """Which faces nobody ever saw, so that their place is a guess, shape (F,); None: all were seen.

    They hide what is behind them and belong to the size of the object, but neither support nor contradict a
    pose.
    """
    vertex_attributes: NDArray[np.float32] | None = None
    """Whatever else the vertices have, n numbers each, shape (V, n); interpolated by the renderer."""

    def __post_init__(self) -> None:
        """Convert to the promised types and validate."""
        faces = np.asarray(self.faces)
        if faces.size and not np.issubdtype(faces.dtype, np.integer):
            raise TypeError(f"faces must be integers, got {faces.dtype}")
        _store(self, "vertices", _as_array(self.vertices, np.float64))
        _store(self, "corner_uv", _as_array(self.corner_uv, np.float32))
        _store(self, "vertex_attributes", _as_array(self.vertex_attributes, np.float32))
        for name in ("vertex_colors", "texture"):
            image = getattr(self, name)
            if image is not None and np.asarray(image).dtype != np.uint8:
                raise TypeError(f"{name} must be uint8 RGB, got {np.asarray(image).dtype}")
            _store(self, name, _as_array(image, np.uint8))
        unseen = self.unseen_faces
        if unseen is not None and np.asarray(unseen).dtype != np.bool_:
            raise TypeError(f"unseen_faces must be bool, got {np.asarray(unseen).dtype}")
        _store(self, "unseen_faces", _as_array(unseen, np.bool_))
        _store(self, "faces", faces.astype(np.int64, copy=False))
        validate_mesh(self)
        _store(self, "faces", _as_array(faces, np.int32))

    @classmethod
    def from_trimesh(cls, mesh: Any) -> Mesh:
        """A ``trimesh.Trimesh`` in metres with its looks; see `dr_perception.geometry.mesh_trimesh`."""
        from dr_perception.geometry.mesh_trimesh import mesh_from_trimesh

        return mesh_from_trimesh(mesh)

    @property
    def has_texture(self) -> bool:
        """Whether a texture and its coordinates are there."""
        return self.texture is not None


def _as_array(values: Any, dtype: Any) -> Any:
    return None if values is None else np.ascontiguousarray(values, dtype=dtype)


def _store(mesh: Mesh, name: str, array: Any) -> None:
    if array is not None:
        array = array.view()
        array.flags.writeable = False
    object.__setattr__(mesh, name, array)


def validate_mesh(mesh: Mesh, name: str = "mesh") -> None:
    """Check the arrays of a mesh against each other.

    Args:
        mesh: The mesh.
        name: What to call it in an error.

    Raises:
        ValueError: Empty arrays, wrong shapes, non-finite values, vertex indices out of range, zero area, or
            a texture without coordinates (and the reverse); the message names the value and where it is.
    """
    V, F = mesh.vertices, mesh.faces
    for what, array in (("vertices", V), ("faces", F)):
        if array.ndim != 2 or array.shape[1] != 3:
            raise ValueError(f"{what} of {name} must have shape (N, 3), got {array.shape}")
        if len(array) == 0:
            raise ValueError(f"{name} is empty: it has no {what}")
    _require_finite(V, f"vertices of {name}")
    if F.min() < 0 or F.max() >= len(V):
        row = int(np.argmax(np.any((F < 0) | (F >= len(V)), axis=1)))
        raise ValueError(
            f"face {row} of {name} has vertex indices {F[row].tolist()}, expected 0 to {len(V) - 1}"
        )
    if not float(np.sum(face_areas(mesh))) > 0.0:
        raise ValueError(f"{name} has zero surface area: all {len(F)} faces are degenerate")
    if mesh.unseen_faces is not None and mesh.unseen_faces.shape != (len(F),):
        raise ValueError(f"unseen_faces of {name} must have shape {(len(F),)}, got {mesh.unseen_faces.shape}")
    _validate_colors(mesh, name)
    _validate_attributes(mesh, name)


def _require_finite(array: NDArray[Any], what: str) -> None:
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{what} must be finite, got {array[row].tolist()} at index {row} ({int(bad.sum())} such)"
        )


def _validate_colors(mesh: Mesh, name: str) -> None:
    if mesh.vertex_colors is not None and mesh.vertex_colors.shape != mesh.vertices.shape:
        raise ValueError(
            f"vertex_colors of {name} must have shape {mesh.vertices.shape}, got {mesh.vertex_colors.shape}"
        )
    if (mesh.texture is None) != (mesh.corner_uv is None):
        there, missing = ("corner_uv", "texture") if mesh.texture is None else ("texture", "corner_uv")
        raise ValueError(f"{name} has {there} but no {missing}: give both or neither")
    if mesh.texture is None or mesh.corner_uv is None:
        return
    if mesh.texture.ndim != 3 or mesh.texture.shape[2] != 3 or mesh.texture.size == 0:
        raise ValueError(f"texture of {name} must have shape (H, W, 3), got {mesh.texture.shape}")
    if mesh.corner_uv.shape != (len(mesh.faces), 3, 2):
        raise ValueError(
            f"corner_uv of {name} must have shape {(len(mesh.faces), 3, 2)}, got {mesh.corner_uv.shape}"
        )
    _require_finite(mesh.corner_uv, f"corner_uv of {name}")


def _validate_attributes(mesh: Mesh, name: str) -> None:
    given = mesh.vertex_attributes
    if given is None:
        return
    if given.ndim != 2 or len(given) != len(mesh.vertices) or given.shape[1] == 0:
        raise ValueError(
            f"vertex_attributes of {name} must have shape ({len(mesh.vertices)}, n), got {given.shape}"
        )
    _require_finite(given, f"vertex_attributes of {name}")


def _corner_cross(mesh: Mesh) -> NDArray[np.float64]:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def seen_part(mesh: Mesh) -> Mesh:
    """The faces of a mesh that were seen, with their looks; the mesh itself if all were.

    Raises:
        ValueError: Nobody ever saw any of them.
    """
    if mesh.unseen_faces is None:
        return mesh
    seen = ~mesh.unseen_faces
    if not seen.any():
        raise ValueError(f"all {len(seen)} faces of the mesh are marked as unseen")
    corner_uv = None if mesh.corner_uv is None else mesh.corner_uv[seen]
    return replace(mesh, faces=mesh.faces[seen], corner_uv=corner_uv, unseen_faces=None)


def face_areas(mesh: Mesh) -> NDArray[np.float64]:
    """Areas of the faces [m^2], shape (F,)."""
    return 0.5 * np.linalg.norm(_corner_cross(mesh), axis=1)


def face_normals(mesh: Mesh) -> NDArray[np.float64]:
    """Outward unit normals of the faces, shape (F, 3); zero for degenerate faces."""
    return _normalised(_corner_cross(mesh))


def vertex_normals(mesh: Mesh) -> NDArray[np.float64]:
    """Unit normals of the vertices, shape (V, 3): face normals weighted by the angle at the vertex.

    Thuermer and Wuethrich 1998, "Computing vertex normals from polygonal facets". Zero for vertices of no
    face.
    """
    normals = face_normals(mesh)
    corners = mesh.vertices[mesh.faces]
    total = np.zeros((len(mesh.vertices), 3))
    for i in range(3):
        e1 = _normalised(corners[:, (i + 1) % 3] - corners[:, i])
        e2 = _normalised(corners[:, (i + 2) % 3] - corners[:, i])
        angle = np.arctan2(np.linalg.norm(np.cross(e1, e2), axis=1), np.sum(e1 * e2, axis=1))
        np.add.at(total, mesh.faces[:, i], angle[:, None] * normals)
    return _normalised(total)


def _normalised(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0.0)


def weld(mesh: Mesh, tolerance_m: float | None = None) -> Mesh:
    """Merge vertices at the same place, drop vertices of no face, and drop the faces that collapse.

    The merged vertex keeps what the first of its group has. Groups are connected through chains of vertices
    nearer to each other than the tolerance, so keep it well below the shortest edge.

    Args:
        mesh: The mesh, e.g. a triangle soup from an STL file.
        tolerance_m: Largest distance [m] of merged vertices; None: 1e-7 of the bounding-box diagonal (float32
            rounding); 0: only equal coordinates.

    Returns:
        The welded mesh. Texture coordinates stay with their corners.

    Raises:
        ValueError: The tolerance is negative, or nothing is left.
    """
    used = np.unique(mesh.faces)
    if tolerance_m is None:
        tolerance_m = 1e-7 * float(np.linalg.norm(np.ptp(mesh.vertices[used], axis=0)))
    if not tolerance_m >= 0.0:
        raise ValueError(f"the tolerance of welding must be 0 or more metres, got {tolerance_m}")
    first, label = merge_places(mesh.vertices[used], tolerance_m)
    index = np.full(len(mesh.vertices), -1, dtype=np.int64)
    index[used] = label
    faces = index[mesh.faces]
    keep = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    if not keep.any():
        raise ValueError(f"welding with a tolerance of {tolerance_m:g} m collapses all {len(faces)} faces")
    kept = used[first]
    return replace(
        mesh,
        vertices=mesh.vertices[kept],
        faces=faces[keep],
        vertex_colors=None if mesh.vertex_colors is None else mesh.vertex_colors[kept],
        vertex_attributes=None if mesh.vertex_attributes is None else mesh.vertex_attributes[kept],
        corner_uv=None if mesh.corner_uv is None else mesh.corner_uv[keep],
        unseen_faces=None if mesh.unseen_faces is None else mesh.unseen_faces[keep],
    )


def merge_places(
    points: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Join points into places, see `weld`.

    Args:
        points: Shape (N, 3).
        tolerance: Largest distance of joined points.

    Returns:
        Indices of the first point of each place, ascending, and the place of each point, shape (N,).
    """
    _, first, label = np.unique(points + 0.0, axis=0, return_index=True, return_inverse=True)
    label = label.reshape(-1)
    if tolerance > 0.0:
        label = _connect(points[first], tolerance)[label]
    _, first, label = np.unique(label, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[label.reshape(-1)]


def _connect(points: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(tolerance, output_type="ndarray")
    graph = coo_matrix(
        (np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points))
    )
    return connected_components(graph, directed=False)[1].astype(np.int64)


def drop_degenerate_faces(mesh: Mesh, relative_height: float = 1e-9) -> Mesh:
    """Drop faces without area; vertices stay.

    Args:
        mesh: The mesh.
        relative_height: A face goes when its smallest height is below this fraction of its longest edge.

    Returns:
        The mesh without them (the same object if there are none).

    Raises:
        ValueError: All faces are degenerate.
    """
    corners = mesh.vertices[mesh.faces]
    longest2 = np.max(np.sum((corners - np.roll(corners, 1, axis=1)) ** 2, axis=2), axis=1)
    keep = 2.0 * face_areas(mesh) > relative_height * longest2
    if keep.all():
        return mesh
    if not keep.any():
        raise ValueError(f"all {len(keep)} faces of the mesh are degenerate")
    return replace(
        mesh,
        faces=mesh.faces[keep],
        corner_uv=None if mesh.corner_uv is None else mesh.corner_uv[keep],
        unseen_faces=None if mesh.unseen_faces is None else mesh.unseen_faces[keep],
    )
