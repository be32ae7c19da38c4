"""Skinned bodies in front of the renderer: joint values to the vertices of a mesh that bends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from dr_perception.device.tape import active_tape
from dr_perception.geometry import kinematics_warp, skinning
from dr_perception.geometry.kinematics import KinematicTree
from dr_perception.render.maps.joints import link_arrays, tree_arrays
from dr_perception.render.scene.parameters import SceneParameters

__all__ = ["SkinMap"]

_MOST = 4


class SkinMap:
    """A `ParameterMap` from the joints of a skeleton to the vertices of a mesh, by linear blend skinning.

    Its unknown is ``"joints"``, values in the order of ``tree.names`` (1, n) [rad or m]. The skeleton lies in
    the frame of the mesh, whose pose stays a parameter of the scene.

    Args:
        tree: The skeleton; its links are the bones.
        vertices: Of the mesh at rest (V, 3) [m].
        weights: Weight of every bone for every vertex (V, B) in the order of ``tree.links``, not negative;
            rows are made to sum to one, and the four largest count.
        q_rest: Joint values at which the mesh was made (n,); zeros if None.
        q: First joint values (n,); those at rest if None.
        first_vertex: Where the mesh begins among the vertices of the scene.
        device: Where it lies.

    Raises:
        ValueError: Shapes that do not fit, or a vertex that no bone moves.
    """

    fills = ("vertices",)

    def __init__(
        self,
        tree: KinematicTree,
        vertices: ArrayLike,
        weights: ArrayLike,
        q_rest: ArrayLike | None = None,
        q: ArrayLike | None = None,
        first_vertex: int = 0,
        device: wp.DeviceLike = None,
    ) -> None:
        rest = np.asarray(vertices, dtype=np.float64)
        bones, shares = four_largest(np.asarray(weights, dtype=np.float64), (len(rest), len(tree.links)))
        none = np.zeros(len(tree.names))
        q_rest = none if q_rest is None else np.asarray(q_rest, dtype=np.float64)
        values = np.asarray(q_rest if q is None else q, dtype=np.float32)
        T = tree.link_poses(q_rest)
        if values.shape != none.shape:
            raise ValueError(f"q must have shape {none.shape}, got {values.shape}")
        self.tree, self.device, self._first = tree, wp.get_device(device), first_vertex
        self._tree = tree_arrays(tree, self.device)
        self._links = link_arrays(1, len(tree.links), self.device)

        def upload(array: ArrayLike, kind: type, dtype: object) -> wp.array:
            return wp.array(np.ascontiguousarray(array, kind), dtype=dtype, device=self.device)

        self._skin = skinning.Skin()
        self._skin.rest = upload(rest, np.float32, wp.vec3)
        self._skin.bones = upload(bones, np.int32, wp.vec4i)
        self._skin.weights = upload(shares, np.float32, wp.vec4)
        self._skin.R_rest = upload(T[:, :3, :3], np.float32, wp.mat33)
        self._skin.t_rest = upload(T[:, :3, 3], np.float32, wp.vec3)
        self._base = (
            upload(np.eye(3)[None], np.float32, wp.mat33),
            upload(np.zeros((1, 3)), np.float32, wp.vec3),
        )
        self._still = wp.zeros(1, dtype=kinematics_warp.vec6, device=self.device)
        self._unused = wp.zeros(1, dtype=kinematics_warp.vec6, device=self.device)
        self._every = upload(np.arange(len(tree.links)), np.int32, wp.int32)
        self._g_bones = wp.zeros((1, len(tree.links)), dtype=kinematics_warp.vec6, device=self.device)
        self.theta = {
            "joints": wp.array(values[None], dtype=wp.float32, device=self.device, requires_grad=True)
        }

    def fill(self, parameters: SceneParameters) -> None:
        """Bend the mesh.

        Raises:
            ValueError: The scene has fewer vertices.
        """
        count, room = len(self._skin.rest), len(parameters.vertices) - self._first
        if count > room:
            raise ValueError(f"the skin has {count} vertices, the scene has {room} from {self._first} on")
        q = self.theta["joints"]
        inputs = [self._tree, q, *self._base, self._still, self._links]
        wp.launch(kinematics_warp.pose_links, 1, inputs, device=self.device, record_tape=False)
        inputs = [self._skin, self._links.R, self._links.t, self._first, parameters.vertices]
        wp.launch(skinning.skin_vertices, count, inputs, device=self.device, record_tape=False)
        tape = active_tape()
        if tape is not None:
            tape.record_func(lambda: self._pull(parameters), [parameters.vertices, q])

    def _pull(self, parameters: SceneParameters) -> None:
        self._g_bones.zero_()
        g_vertices, q = parameters.vertices.grad, self.theta["joints"]
        inputs = [self._skin, self._links.R, self._links.t, self._first, g_vertices, self._g_bones]
        wp.launch(skinning.pull_to_bones, len(self._skin.rest), inputs, device=self.device, record_tape=False)
        inputs = [self._tree, self._links, self._every, self._still, self._g_bones, q.grad, self._unused]
        wp.launch(kinematics_warp.pull_to_joints, 1, inputs, device=self.device, record_tape=False)


def four_largest(
    weights: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The four bones (V, 4) with the largest weights of each vertex, -1 for none, and their shares (V, 4).

    Raises:
        ValueError: Another shape, weights that are negative or not finite, or a vertex without any.
    """
    if weights.shape != shape:
        raise ValueError(
            f"weights must have shape {shape}, one for every vertex and bone, got {weights.shape}"
        )
    if not np.isfinite(weights).all() or (weights < 0.0).any():
        raise ValueError(f"weights must be finite and not negative, got {weights.min()} at least")
    if len(free := np.flatnonzero(weights.sum(axis=1) <= 0.0)):
        raise ValueError(f"every vertex must be moved by a bone; {len(free)} are not, the first is {free[0]}")
    padded = np.concatenate([weights, np.zeros((shape[0], max(_MOST - shape[1], 0)))], axis=1)
    chosen = np.argsort(-padded, axis=1, kind="stable")[:, :_MOST]
    shares = np.take_along_axis(padded, chosen, axis=1)
    bones = np.where(shares > 0.0, chosen, -1).astype(np.int32)
    return bones, shares / shares.sum(axis=1, keepdims=True)


def smooth_weights(distances: Sequence[NDArray[np.float64]], reach: float) -> NDArray[np.float64]:
    """Weights (V, B) that fall with the distance of each vertex from each bone (B of (V,)) over ``reach``."""
    d = np.stack([np.asarray(one, dtype=np.float64) for one in distances], axis=1)
    return np.exp(-0.5 * (d / reach) ** 2) + 1e-12
