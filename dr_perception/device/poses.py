"""Poses as kernels take them: one struct of the arrays of a batch, one of a single pose."""

import warp as wp


@wp.struct
class Poses:
    """Poses of a batch, which `dr_perception.device.pose_arrays.PoseArrays` owns.

    Rotations ``R`` and translations ``t`` [m] (P, 1) from the model's frame to the camera's; ``active`` (P,)
    is not 0 where a pose is still being moved.
    """

    R: wp.array2d[wp.mat33]
    t: wp.array2d[wp.vec3]
    active: wp.array[int]


@wp.struct
class Pose:
    """One of them: it takes points of the model's frame to the camera's, ``R p + t``."""

    R: wp.mat33
    t: wp.vec3


@wp.func
def pose_of(poses: Poses, problem: int) -> Pose:
    """Pose of a problem."""
    pose = Pose()
    pose.R = poses.R[problem, 0]
    pose.t = poses.t[problem, 0]
    return pose


@wp.func
def place(pose: Pose, point: wp.vec3) -> wp.vec3:
    """Where a point of the model's frame is in the camera's [m]."""
    return pose.R * point + pose.t
