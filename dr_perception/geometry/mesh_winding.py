"""Which faces of a surface are turned the wrong way: unlike their neighbours, or inwards all around."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh, drop_degenerate_faces, weld

__all__ = ["turn_outwards", "weld_outwards", "wrongly_turned"]

_NO_VOLUME = 1e-9
"""Volume over area times size of a part below which it is rounding, of either sign."""

_POINTS = 8
"""Points of a part to look around from: more than one, since it may touch another part at some."""

Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]


def wrongly_turned(positions: NDArray[np.float64], faces: Ints, written: Ints | None = None) -> Flags:
    """Faces to turn over so that each part of a surface is turned one way, and closed parts outwards.

    A part is what hangs together over edges of two faces, before or after welding. One that cannot be turned
    one way (a Moebius strip) stays. An open part is turned as most of its area is. A closed one whose faces
    enclose a negative volume is turned inside out, unless it lies inside an odd number of others: then it is
    a hollow.

    Args:
        positions: Corners [m], shape (P, 3).
        faces: Their indices, shape (F, 3), no index twice in a face.
        written: The same faces by the vertices that they had before welding, which may keep bodies apart that
            touch; None: no others.

    Returns:
        Whether to turn each face, shape (F,).
    """
    a, b, c = (positions[faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    ways = [faces] if written is None else [faces, written]
    part, turned = _agree(ways, 0.5 * np.linalg.norm(normals, axis=1))
    center = positions.mean(axis=0)
    volumes = np.einsum("ij,ij->i", a - center, normals) * np.where(turned, -1.0, 1.0)
    rounding = _NO_VOLUME * float(np.linalg.norm(np.ptp(positions, axis=0))) * np.linalg.norm(normals, axis=1)
    negative = np.bincount(part, weights=volumes + rounding) < 0.0
    closed = _closed(faces, part, turned)
    inward = np.flatnonzero(closed & negative)
    if len(inward):
        around = np.flatnonzero(closed)
        hollow = [p for p in inward.tolist() if _depth(positions, faces, part, p, around) % 2 == 1]
        turned ^= np.isin(part, np.setdiff1d(inward, hollow))
    return turned


def weld_outwards(mesh: Mesh) -> Mesh:
    """Weld a mesh, drop its degenerate faces and turn the rest outwards: so edges have both of their faces.

    Raises:
        ValueError: Nothing is left.
    """
    return turn_outwards(drop_degenerate_faces(weld(mesh)))


def turn_outwards(mesh: Mesh) -> Mesh:
    """Turn over the faces of a welded mesh that `wrongly_turned` names; the mesh itself if there are none."""
    turned = wrongly_turned(mesh.vertices, mesh.faces)
    if not turned.any():
        return mesh
    faces = np.where(turned[:, None], mesh.faces[:, ::-1], mesh.faces)
    uv = mesh.corner_uv
    if uv is not None:
        uv = np.where(turned[:, None, None], uv[:, ::-1], uv)
    return replace(mesh, faces=faces, corner_uv=uv)


def _halves(faces: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64], Flags]:
    """Of the three edges of all faces: their ends as one number, the face, whether the smaller is first."""
    start = faces.reshape(-1).astype(np.int64)
    end = np.roll(faces, -1, axis=1).reshape(-1).astype(np.int64)
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    return key, np.repeat(np.arange(len(faces)), 3), start < end


def _links(faces: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64], Flags]:
    """Pairs of faces at edges of two, and whether they disagree about which way they are turned."""
    key, owner, forward = _halves(faces)
    order = np.argsort(key, kind="stable")
    key, owner, forward = key[order], owner[order], forward[order]
    new = np.concatenate([[True], key[1:] != key[:-1]])
    first = np.flatnonzero(new)
    first = first[np.diff(np.concatenate([first, [len(key)]])) == 2]
    return owner[first], owner[first + 1], forward[first] == forward[first + 1]


def _agree(ways: list[Ints], areas: NDArray[np.float64]) -> tuple[NDArray[np.int64], Flags]:
    """Part of each face, and whether to turn it so that its part is turned as most of its area is.

    Every face is there twice, as it is and turned over; what agrees over an edge of two faces, in any of the
    ways to number their corners, hangs together.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    f, g, unlike = (np.concatenate(found) for found in zip(*map(_links, ways), strict=True))
    count = len(areas)
    rows = np.concatenate([f, f + count])
    columns = np.concatenate([g + unlike * count, g + ~unlike * count])
    graph = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(2 * count, 2 * count))
    label = connected_components(graph, directed=False)[1].astype(np.int64)
    as_is, over = label[:count], label[count:]
    area = np.bincount(as_is, weights=areas, minlength=int(label.max()) + 1)
    # Of equal halves the one of the first face stays as it is.
    turned = (area[over] > area[as_is]) | ((area[over] == area[as_is]) & (over < as_is))
    return np.unique(np.minimum(as_is, over), return_inverse=True)[1].reshape(-1), turned


def _closed(faces: Ints, part: NDArray[np.int64], turned: Flags) -> Flags:
    """Whether each part has as many faces along every edge one way as the other."""
    key, owner, forward = _halves(faces)
    sense = np.where(forward ^ turned[owner], 1.0, -1.0)
    order = np.lexsort((key, part[owner]))
    key, at, sense = key[order], part[owner][order], sense[order]
    new = np.concatenate([[True], (key[1:] != key[:-1]) | (at[1:] != at[:-1])])
    balance = np.add.reduceat(sense, np.flatnonzero(new))
    return np.bincount(at[new], weights=balance != 0.0) == 0.0


def _depth(
    positions: NDArray[np.float64],
    faces: Ints,
    part: NDArray[np.int64],
    inner: int,
    closed: NDArray[np.int64],
) -> int:
    """How many of the closed parts a part lies in: those that are all around most of its points."""
    own = np.flatnonzero(part == inner)
    points = positions[faces[own[:: max(len(own) // _POINTS, 1)]]].mean(axis=1)
    count = 0
    for outer in closed[closed != inner]:
        corners = positions[faces[part == outer]]
        around = [abs(_solid_angle(corners - point)) for point in points]
        count += float(np.mean(around)) > 2.0 * np.pi
    return count


def _solid_angle(triangles: NDArray[np.float64]) -> float:
    """Solid angle of triangles (F, 3, 3) seen from the origin.

    Van Oosterom and Strackee 1983, "The solid angle of a plane triangle".
    """
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    triple = np.einsum("ij,ij->i", a, np.cross(b, c))
    ab, bc, ca = (np.einsum("ij,ij->i", p, q) for p, q in ((a, b), (b, c), (c, a)))
    return float(2.0 * np.arctan2(triple, la * lb * lc + ab * lc + bc * la + ca * lb).sum())
