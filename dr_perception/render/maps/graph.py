"""Deformation graphs in front of the renderer: nodes that move and turn to the vertices of a mesh."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry import deformation_graph as kernels
from dr_perception.render.scene.parameters import SceneParameters

__all__ = ["GraphMap", "GraphRigidity"]

Array = NDArray[np.float64]
_NEAREST = 4


class GraphMap:
    """A `ParameterMap` from the motions of a graph's nodes to the vertices of a mesh.

    Its unknown is ``"nodes"``, motions (v [m], w [rad]) of the nodes about where they rest, zero at first
    (N,) of 6. With `rigidity` as a regulariser of the fit neighbouring nodes agree.

    Args:
        vertices: Of the mesh at rest (V, 3) [m].
        spacing_m: Distance of neighbouring nodes, which are chosen among the vertices.
        first_vertex: Where the mesh begins among the vertices of the scene.
        device: Where it lies.

    Raises:
        ValueError: Vertices of another shape, or a spacing that leaves fewer than five nodes.
    """

    fills = ("vertices",)

    def __init__(
        self, vertices: ArrayLike, spacing_m: float, first_vertex: int = 0, device: wp.DeviceLike = None
    ) -> None:
        rest = np.asarray(vertices, dtype=np.float64)
        if rest.ndim != 2 or rest.shape[1] != 3:
            raise ValueError(f"vertices must have shape (V, 3), got {rest.shape}")
        nodes = rest[spread(rest, spacing_m)]
        if len(nodes) <= _NEAREST:
            raise ValueError(
                f"spacing_m {spacing_m} leaves {len(nodes)} nodes, expected at least {_NEAREST + 1}"
            )
        chosen, weights = nearest_nodes(rest, nodes)
        self.device, self._first = wp.get_device(device), first_vertex

        def upload(array: ArrayLike, kind: type, dtype: object) -> wp.array:
            return wp.array(np.ascontiguousarray(array, kind), dtype=dtype, device=self.device)

        self._nodes, self._rest = upload(nodes, np.float32, wp.vec3), upload(rest, np.float32, wp.vec3)
        self._chosen, self._weights = upload(chosen, np.int32, wp.vec4i), upload(weights, np.float32, wp.vec4)
        self._pairs = upload(pairs_of(chosen), np.int32, wp.vec2i)
        self.theta = {
            "nodes": wp.zeros(len(nodes), dtype=kernels.vec6, device=self.device, requires_grad=True)
        }

    @property
    def num_nodes(self) -> int:
        """How many there are."""
        return len(self._nodes)

    def fill(self, parameters: SceneParameters) -> None:
        """Deform the mesh.

        Raises:
            ValueError: The scene has fewer vertices.
        """
        count, room = len(self._rest), len(parameters.vertices) - self._first
        if count > room:
            raise ValueError(f"the graph moves {count} vertices, the scene has {room} from {self._first} on")
        inputs = [self.theta["nodes"], self._nodes, self._rest, self._chosen, self._weights, self._first]
        wp.launch(kernels.deform, count, inputs, [parameters.vertices], device=self.device)

    @property
    def rigidity(self) -> GraphRigidity:
        """What neighbouring nodes disagree by, as a regulariser of `ImageFit`."""
        return GraphRigidity(self.theta["nodes"], self._nodes, self._pairs)


class GraphRigidity:
    """Mean squared distance [m^2] between nodes and where their neighbours would carry them."""

    def __init__(self, motions: wp.array, nodes: wp.array, pairs: wp.array) -> None:
        """Keep the arrays of a graph."""
        self._arrays = motions, nodes, pairs

    def __call__(self, _: SceneParameters) -> wp.array:
        """The mean, (1,) on the device, differentiable through the tape."""
        motions, nodes, pairs = self._arrays
        total = wp.zeros(1, dtype=wp.float64, device=nodes.device, requires_grad=True)
        inputs = [motions, nodes, pairs, 0.5 / len(pairs)]
        wp.launch(kernels.add_disagreement, len(pairs), inputs, [total], device=nodes.device)
        return total


def spread(points: Array, spacing_m: float) -> NDArray[np.intp]:
    """Indices of points that lie at least a distance apart and leave none farther than it from all of them.

    The farthest point is added as long as there is one that far (Gonzalez 1985).

    Raises:
        ValueError: A distance that is not positive.
    """
    if not spacing_m > 0.0:
        raise ValueError(f"spacing_m must be positive, got {spacing_m}")
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while distance.max() > spacing_m:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.intp)


def nearest_nodes(points: Array, nodes: Array) -> tuple[NDArray[np.int32], Array]:
    """The four nearest nodes of every point (V, 4), and their weights (V, 4) (Sumner et al. 2007, eq. 6)."""
    from scipy.spatial import cKDTree

    found = cKDTree(nodes).query(points, k=_NEAREST + 1)
    distances, chosen = (np.asarray(one) for one in found)
    weights = (1.0 - distances[:, :_NEAREST] / np.maximum(distances[:, -1:], 1e-12)) ** 2
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(total > 1e-12, weights / np.maximum(total, 1e-12), 1.0 / _NEAREST)
    return chosen[:, :_NEAREST].astype(np.int32), weights


def pairs_of(chosen: NDArray[np.int32]) -> NDArray[np.int32]:
    """Nodes (P, 2) that share a point."""
    first, second = np.triu_indices(chosen.shape[1], 1)
    pairs = np.sort(np.stack([chosen[:, first].ravel(), chosen[:, second].ravel()], axis=1), axis=1)
    return np.unique(pairs, axis=0)
