"""Joints in front of the renderer: angles of a kinematic tree to the poses of its links."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from dr_perception.device.tape import active_tape
from dr_perception.geometry import kinematics_warp as kernels
from dr_perception.geometry.kinematics import KinematicTree
from dr_perception.geometry.se3 import check_transform
from dr_perception.render.scene.parameters import SceneParameters

__all__ = ["JointMap"]

_KINDS = {"fixed": 0, "revolute": 1, "continuous": 1, "prismatic": 2}


class JointMap:
    """A `ParameterMap` from joint values and the pose of the base to the poses of the instances.

    Its unknowns are ``"joints"``, values in the order of ``tree.names`` (H, n) [rad or m], and ``"base"``,
    tangents (v, w) about the base poses, zero at first (H,) of 6. Poses pass as matrices: no turn of any
    number of joints is singular.

    Args:
        tree: The joints.
        links: The link that each instance of the scene is, None where it is none and keeps its pose.
        q: First joint values, (n,) or (H, n).
        T_world_base: Pose of the root link, (4, 4) or (H, 4, 4).
        device: Where it lies.

    Raises:
        ValueError: An unknown link, joint values or poses of another shape, or a pose that is not rigid.
    """

    fills = ("pose",)

    def __init__(
        self,
        tree: KinematicTree,
        links: Sequence[str | None],
        q: ArrayLike,
        T_world_base: ArrayLike | None = None,
        device: wp.DeviceLike = None,
    ) -> None:
        if unknown := sorted({link for link in links if link is not None} - set(tree.links)):
            raise ValueError(f"unknown links {unknown}; the tree has {list(tree.links)}")
        values = np.atleast_2d(np.asarray(q, dtype=np.float32))
        if values.ndim != 2 or values.shape[1] != len(tree.names):
            raise ValueError(f"q must have shape (H, {len(tree.names)}), got {np.shape(q)}")
        T = np.eye(4) if T_world_base is None else np.asarray(T_world_base, dtype=np.float64)
        if T.shape not in ((4, 4), (len(values), 4, 4)):
            raise ValueError(f"T_world_base must have shape (4, 4) or ({len(values)}, 4, 4), got {T.shape}")
        T = np.array([check_transform(one, "T_world_base") for one in T.reshape(-1, 4, 4)])
        T = np.broadcast_to(T, (len(values), 4, 4))
        self.tree, self.device = tree, wp.get_device(device)
        self._arrays = tree_arrays(tree, self.device)
        self._links = link_arrays(len(values), len(tree.links), self.device)
        place = {link: k for k, link in enumerate(tree.links)}
        self._link_of = self._array([-1 if link is None else place[link] for link in links], wp.int32)
        self._base = self._array(T[:, :3, :3], wp.mat33), self._array(T[:, :3, 3], wp.vec3)
        self.theta = {
            "joints": wp.array(values, dtype=wp.float32, device=self.device, requires_grad=True),
            "base": wp.zeros(len(values), dtype=kernels.vec6, device=self.device, requires_grad=True),
        }

    def _array(self, values: ArrayLike, dtype: object) -> wp.array:
        kind = np.int32 if dtype is wp.int32 else np.float32
        return wp.array(np.ascontiguousarray(values, dtype=kind), dtype=dtype, device=self.device)

    def fill(self, parameters: SceneParameters) -> None:
        """Place the instances that are links.

        Raises:
            ValueError: Another number of hypotheses or instances than the map was made for.
        """
        q, base = self.theta["joints"], self.theta["base"]
        expected = (q.shape[0], self._link_of.shape[0])
        if parameters.pose.shape != expected:
            raise ValueError(
                f"the map is for {expected[0]} hypotheses of {expected[1]} instances, the parameters are for "
                f"{parameters.pose.shape[0]} of {parameters.pose.shape[1]}"
            )
        inputs = [self._arrays, q, *self._base, base, self._links]
        wp.launch(kernels.pose_links, q.shape[0], inputs, device=self.device, record_tape=False)
        p = parameters
        inputs = [self._links, self._link_of, p.R_world_obj, p.t_world_obj, p.pose]
        wp.launch(kernels.place_links, expected, inputs, device=self.device, record_tape=False)
        tape = active_tape()
        if tape is not None:
            tape.record_func(lambda: self._pull(parameters), [p.pose, q, base])

    def _pull(self, parameters: SceneParameters) -> None:
        q, base = self.theta["joints"], self.theta["base"]
        inputs = [self._arrays, self._links, self._link_of, base, parameters.pose.grad, q.grad, base.grad]
        wp.launch(kernels.pull_to_joints, q.shape[0], inputs, device=self.device, record_tape=False)


def tree_arrays(tree: KinematicTree, device: wp.Device) -> kernels.TreeArrays:
    """A tree on a device."""
    joints = tree.joints
    none = np.eye(4)
    T = np.array([none, *(joint.T_parent_joint for joint in joints)])
    axes = np.array([[1.0, 0.0, 0.0], *(joint.axis for joint in joints)])
    arrays = kernels.TreeArrays()

    def upload(values: ArrayLike, kind: type, dtype: object) -> wp.array:
        return wp.array(np.ascontiguousarray(values, dtype=kind), dtype=dtype, device=device)

    arrays.parents = upload(tree.parents, np.int32, wp.int32)
    arrays.kinds = upload([0, *(_KINDS[joint.kind] for joint in joints)], np.int32, wp.int32)
    arrays.values = upload(np.maximum(tree.values_of, 0), np.int32, wp.int32)
    followed = np.array([(1.0, 0.0), *(tree.follows(k) for k in range(1, len(tree.links)))])
    arrays.gains, arrays.offsets = (upload(column, np.float32, wp.float32) for column in followed.T)
    arrays.R, arrays.t = upload(T[:, :3, :3], np.float32, wp.mat33), upload(T[:, :3, 3], np.float32, wp.vec3)
    arrays.axes = upload(axes, np.float32, wp.vec3)
    return arrays


def link_arrays(hypotheses: int, links: int, device: wp.Device) -> kernels.LinkArrays:
    """Room for the poses of all links."""
    arrays, shape = kernels.LinkArrays(), (hypotheses, links)
    arrays.R = wp.zeros(shape, dtype=wp.mat33, device=device)
    arrays.t, arrays.axes, arrays.origins = (wp.zeros(shape, dtype=wp.vec3, device=device) for _ in range(3))
    return arrays
