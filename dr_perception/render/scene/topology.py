"""Arrays of a scene that stay while its parameters change.

Faces, edges and smoothing groups of all instances together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh, face_normals
from dr_perception.geometry.mesh_surface import MeshSurface, faces_in_mesh, mesh_surface
from dr_perception.geometry.mesh_topology import edges_of_faces
from dr_perception.render.scene.mesh_size import MeshSize
from dr_perception.render.scene.scene import Instance
from dr_perception.render.scene.self_crossing import passes_through_itself

EDGE_JUMPS = 1
EDGE_CLOSED = 2

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class MeshTopology:
    """The surface of one mesh: its edges, and what the corners of its faces have.

    Vertices of edges and faces are places of the surface; see `dr_perception.geometry.mesh_surface`.
    """

    surface: MeshSurface
    """Places and faces."""
    edges: Ints
    """Places and faces, shape (E, 4); the second face is -1 where the edge is open."""
    opposite: Ints
    """The third place of both faces, shape (E, 2)."""
    flags: Ints
    """`EDGE_JUMPS` and `EDGE_CLOSED`, shape (E,)."""
    neighbors: Ints
    """Face beyond the edge from corner i to corner i + 1 of each face, -1 where it is open, shape (F, 3)."""
    corner_group: Ints
    """Smoothing group of each face corner, shape (F, 3)."""
    group_start: Ints
    """Where each group's faces start in `group_faces`, shape (G + 1,)."""
    group_faces: Ints
    """Faces of the groups, one after the other."""
    corner_vertex: Ints
    """Vertex of the mesh at each face corner, which has the colour, shape (F, 3)."""
    corner_uv: NDArray[np.float32]
    """Texture coordinates of the face corners, zero without a texture, shape (F, 3, 2)."""

    @classmethod
    def of(cls, mesh: Mesh, crease_angle_rad: float) -> MeshTopology:
        """Analyse a mesh; edges with a larger dihedral angle than given are creases."""
        surface = mesh_surface(mesh)
        flat = Mesh(surface.positions, surface.faces)
        found = edges_of_faces(surface.faces, surface.positions)
        first, second = found.faces[:, 0], found.faces[:, 1]
        opposite = np.stack(
            [_third_vertex(flat, found.vertices, first), _third_vertex(flat, found.vertices, second)], 1
        )
        corner_vertex = surface.corners(mesh.faces)
        uv = np.zeros((len(mesh.faces), 3, 2), np.float32) if mesh.corner_uv is None else mesh.corner_uv
        corner_uv = surface.corners(uv)
        creases = _creases(flat, found.faces, crease_angle_rad)
        seams = _seams(flat, found.vertices, found.faces, corner_uv)
        if mesh.vertex_colors is not None:
            colors = mesh.vertex_colors[corner_vertex].astype(np.float32)
            seams |= _seams(flat, found.vertices, found.faces, colors)
        if mesh.vertex_attributes is not None:
            seams |= _seams(flat, found.vertices, found.faces, mesh.vertex_attributes[corner_vertex])
        closed = bool((second >= 0).all()) and _signed_volume(flat) > 0.0
        flags = EDGE_JUMPS * (creases | seams) + EDGE_CLOSED * closed
        corner_group, start, members = _smoothing_groups(flat, found.vertices, found.faces, creases)
        return cls(
            surface,
            np.hstack([found.vertices, found.faces]).astype(np.int32),
            opposite.astype(np.int32),
            flags.astype(np.int32),
            _neighbors(flat, found.vertices, found.faces),
            corner_group,
            start,
            members,
            corner_vertex,
            corner_uv,
        )


def _third_vertex(mesh: Mesh, pairs: Ints, face: Ints) -> Ints:
    """Vertex of each face that is not in its pair; arbitrary where the face is -1."""
    corners = mesh.faces[face]
    return (corners.sum(axis=1) - pairs.sum(axis=1)).clip(0, len(mesh.vertices) - 1)


def _signed_volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)))


def _creases(mesh: Mesh, faces: Ints, angle: float) -> NDArray[np.bool_]:
    normals = face_normals(mesh)
    cosine = np.einsum("ij,ij->i", normals[faces[:, 0]], normals[faces[:, 1]])
    # Faces that lie in one plane are never told apart, whatever the angle.
    return (faces[:, 1] < 0) | ((cosine < np.cos(angle)) & (cosine < 1.0 - 1e-9))


def _corner_of(mesh: Mesh, face: Ints, vertex: Ints) -> NDArray[np.intp]:
    return np.argmax(mesh.faces[face] == vertex[:, None], axis=1)


def _seams(mesh: Mesh, pairs: Ints, faces: Ints, corners: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Edges whose two faces disagree about what their corners (F, 3, k) have there."""
    different = np.zeros(len(pairs), dtype=bool)
    for i in range(2):
        found = [corners[faces[:, j], _corner_of(mesh, faces[:, j], pairs[:, i])] for j in range(2)]
        different |= np.abs(found[0] - found[1]).max(axis=1) > 1e-5
    return different & (faces[:, 1] >= 0)


def _neighbors(mesh: Mesh, pairs: Ints, faces: Ints) -> Ints:
    """Faces beyond the three edges of every face."""
    found = np.full((len(mesh.faces), 3), -1, dtype=np.int32)
    both = faces[:, 1] >= 0
    for i in range(2):
        face, beyond = faces[both, i], faces[both, 1 - i]
        first = _corner_of(mesh, face, pairs[both, 0])
        second = _corner_of(mesh, face, pairs[both, 1])
        found[face, np.where((first + 1) % 3 == second, first, second)] = beyond
    return found


def _smoothing_groups(
    mesh: Mesh, pairs: Ints, faces: Ints, creases: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """Corners of one vertex whose faces are joined by smooth edges share a normal."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = 3 * len(mesh.faces)
    smooth = ~creases & (faces[:, 1] >= 0)
    links = []
    for i in range(2):
        vertex = pairs[smooth, i]
        links.append([3 * faces[smooth, j] + _corner_of(mesh, faces[smooth, j], vertex) for j in range(2)])
    rows = np.concatenate([links[0][0], links[1][0]])
    columns = np.concatenate([links[0][1], links[1][1]])
    graph = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(count, count))
    number, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], np.arange(number + 1))
    return (
        group.reshape(-1, 3).astype(np.int32),
        start.astype(np.int32),
        (order // 3).astype(np.int32),
    )


@dataclass(frozen=True, eq=False)
class SceneTopology:
    """All instances in one set of arrays. Every mesh is stored once; instances refer to it."""

    meshes: tuple[Mesh, ...]
    """The distinct meshes."""
    mesh_of_instance: tuple[int, ...]
    """Index of each instance's mesh."""
    faces: Ints
    """Vertex indices (over all instances), shape (F, 3). A vertex here is a place of a mesh's surface."""
    face_instance: Ints
    neighbors: Ints
    """Faces beyond the edges of each face, shape (F, 3)."""
    vertex_source: Ints
    """Place of the meshes (one after the other) of each vertex of the instances, shape (V,)."""
    vertex_instance: Ints
    normal_index: Ints
    """Normal of each face corner, over all instances, shape (F, 3)."""
    normal_source: Ints
    normal_instance: Ints
    mesh_faces: Ints
    """Faces of the meshes, one after the other, with indices into their places."""
    member_start: Ints
    """Where each place's vertices start in `members`; empty if every vertex of every mesh is a place."""
    members: Ints
    """Vertices of the meshes (one after the other) by their places."""
    group_start: Ints
    group_faces: Ints
    edges: Ints
    opposite: Ints
    flags: Ints
    corner_uv: NDArray[np.float32]
    corner_vertex: Ints
    """Vertex of the meshes (one after the other) at each face corner, shape (F, 3)."""
    vertex_offset: tuple[int, ...]
    """First vertex of each mesh, and the number of all."""
    radius: tuple[float, ...]
    """Largest distance of a vertex from the origin of each instance's mesh [m]."""
    closed: bool
    """Whether every mesh is closed with outward faces, so that back faces are never seen."""
    surfaces: tuple[MeshSurface, ...]
    """Surfaces of the distinct meshes."""

    @cached_property
    def rest(self) -> NDArray[np.float32]:
        """Vertices of the meshes as they are given, one after the other, shape (V, 3)."""
        vertices = [m.vertices for m in self.meshes]
        return np.concatenate(vertices).astype(np.float32) if vertices else np.zeros((0, 3), np.float32)

    @cached_property
    def sizes(self) -> tuple[MeshSize, ...]:
        """Lengths of the distinct meshes."""
        return tuple(MeshSize.of(m, s) for m, s in zip(self.meshes, self.surfaces, strict=True))

    @cached_property
    def passes_through_itself(self) -> bool:
        """Whether the surface of a mesh, as it is given, passes through itself."""
        return any(passes_through_itself(s.positions, s.faces) for s in self.surfaces)

    @cached_property
    def in_mesh(self) -> tuple[Ints, NDArray[np.float32]]:
        """Face of its instance's mesh that each face is, (F,), and where its corners are there, (F, 3, 3).

        In barycentric coordinates.
        """
        parts = [faces_in_mesh(s, m) for s, m in zip(self.surfaces, self.meshes, strict=True)]
        if not self.mesh_of_instance:
            return np.zeros(0, np.int32), np.zeros((0, 3, 3), np.float32)
        faces, weights = (np.concatenate([parts[k][i] for k in self.mesh_of_instance]) for i in range(2))
        return faces, weights

    @classmethod
    def of(cls, instances: Sequence[Instance]) -> SceneTopology:
        """Analyse the meshes and join the instances."""
        return _join(instances)


def _distinct(instances: Sequence[Instance]) -> tuple[list[tuple[Mesh, float]], list[int]]:
    """Distinct pairs of mesh and crease angle, and which one each instance has."""
    keys: dict[tuple[int, float], int] = {}
    pairs: list[tuple[Mesh, float]] = []
    index = []
    for instance in instances:
        key = (id(instance.mesh), instance.material.crease_angle_rad)
        if key not in keys:
            keys[key] = len(pairs)
            pairs.append((instance.mesh, instance.material.crease_angle_rad))
        index.append(keys[key])
    return pairs, index


def _offsets(counts: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _stack(parts: list[NDArray], width: int, dtype: type = np.int32) -> NDArray:
    shape = (0, width) if width else (0,)
    return np.concatenate([np.asarray(p, dtype=dtype) for p in parts]) if parts else np.zeros(shape, dtype)


def _members(surfaces: list[MeshSurface], first_vertex: NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Vertices of each place of all meshes; nothing if places are vertices."""
    if all(s.is_plain for s in surfaces):
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    starts, members, before = [], [], 0
    for s, offset in zip(surfaces, first_vertex, strict=False):
        order = np.argsort(s.place, kind="stable")[int((s.place < 0).sum()) :]
        starts.append(before + np.searchsorted(s.place[order], np.arange(len(s.positions))))
        members.append(order + offset)
        before += len(order)
    return _stack([*starts, np.asarray([before])], 0), _stack(members, 0)


def _join(instances: Sequence[Instance]) -> SceneTopology:
    pairs, index = _distinct(instances)
    parts = [MeshTopology.of(mesh, angle) for mesh, angle in pairs]
    surfaces = [part.surface for part in parts]
    meshes = [mesh for mesh, _ in pairs]
    mesh_v = _offsets([len(m.vertices) for m in meshes])
    mesh_p = _offsets([len(s.positions) for s in surfaces])
    mesh_f = _offsets([len(s.faces) for s in surfaces])
    mesh_g = _offsets([len(p.group_start) - 1 for p in parts])
    mesh_m = _offsets([len(p.group_faces) for p in parts])
    v = _offsets([len(surfaces[k].positions) for k in index])
    f = _offsets([len(surfaces[k].faces) for k in index])
    g = _offsets([len(parts[k].group_start) - 1 for k in index])
    numbers = range(len(index))

    def moved_edges(i: int) -> Ints:
        e = parts[index[i]].edges
        return np.hstack([e[:, :2] + v[i], np.where(e[:, 2:] >= 0, e[:, 2:] + f[i], -1)])

    def moved_neighbors(i: int) -> Ints:
        n = parts[index[i]].neighbors
        return np.where(n >= 0, n + f[i], -1)

    starts = [parts[k].group_start[:-1] + mesh_m[k] for k in range(len(parts))]
    member_start, members = _members(surfaces, mesh_v)
    return SceneTopology(
        meshes=tuple(meshes),
        mesh_of_instance=tuple(index),
        faces=_stack([surfaces[k].faces + v[i] for i, k in enumerate(index)], 3),
        face_instance=_stack([np.full(len(surfaces[k].faces), i) for i, k in enumerate(index)], 0),
        neighbors=_stack([moved_neighbors(i) for i in numbers], 3),
        vertex_source=_stack([np.arange(mesh_p[k], mesh_p[k + 1]) for k in index], 0),
        vertex_instance=_stack([np.full(len(surfaces[k].positions), i) for i, k in enumerate(index)], 0),
        normal_index=_stack([parts[k].corner_group + g[i] for i, k in enumerate(index)], 3),
        normal_source=_stack([np.arange(mesh_g[k], mesh_g[k + 1]) for k in index], 0),
        normal_instance=_stack([np.full(mesh_g[k + 1] - mesh_g[k], i) for i, k in enumerate(index)], 0),
        mesh_faces=_stack([s.faces + mesh_p[k] for k, s in enumerate(surfaces)], 3),
        member_start=member_start,
        members=members,
        group_start=_stack([*starts, np.asarray([mesh_m[-1]])], 0),
        group_faces=_stack([p.group_faces + mesh_f[k] for k, p in enumerate(parts)], 0),
        edges=_stack([moved_edges(i) for i in numbers], 4),
        opposite=_stack([parts[k].opposite + v[i] for i, k in enumerate(index)], 2),
        flags=_stack([parts[k].flags for k in index], 0),
        corner_uv=np.concatenate([parts[k].corner_uv for k in index])
        if index
        else np.zeros((0, 3, 2), np.float32),
        corner_vertex=_stack([parts[k].corner_vertex + mesh_v[k] for k in index], 3),
        vertex_offset=tuple(int(n) for n in mesh_v),
        radius=tuple(float(np.linalg.norm(surfaces[k].positions, axis=1).max()) for k in index),
        surfaces=tuple(surfaces),
        closed=bool(parts) and all(bool((p.flags & EDGE_CLOSED).all()) for p in parts),
    )
