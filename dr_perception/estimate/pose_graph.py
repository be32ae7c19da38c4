"""Least squares over the poses of a few cameras and a few objects that they measure.

The unknowns are ``T_world_cam`` and ``T_world_obj``; a measurement is a pose ``T_cam_obj`` with its
information. With the tangent of the project along the axes of the world, and ``d`` the vector from camera to
object, a step moves the predicted measurement by ``(v_o - v_c + d x w_c, w_o - w_c)``, turned into the
camera. The normal matrix is an arrow: cameras meet each other only through objects. Cameras are eliminated by
their Schur complement, which is also what the frame says about the objects alone (Triggs et al., Bundle
Adjustment: A Modern Synthesis, 2000, section 6.1). Measurements beyond a limit get the weight limit / chi^2,
the redescending influence of the t-distribution, so that one wrong object does not pull the cameras along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.se3 import hat, invert

_ITERATIONS = 12
_LAST_STEP = 3.0e-3
"""Metres and radians: the error left after a Gauss-Newton step this short is about its square."""
_SMALL_SINE = 0.1
_NEXT, _AFTER = np.array([1, 2, 0]), np.array([2, 0, 1])
_ARM_ROWS, _ARM_COLUMNS = np.array([0, 0, 1, 1, 2, 2]), np.array([4, 5, 3, 5, 3, 4])
_ARM_SOURCE, _ARM_SIGN = np.array([2, 1, 2, 0, 1, 0]), np.array([-1.0, 1.0, 1.0, -1.0, -1.0, 1.0])
"""Where ``hat(d)`` stands in the derivative by the camera, and what stands there."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measurements:
    """Poses of K objects in C cameras."""

    T_cam_obj: Array
    """Shape (C, K, 4, 4)."""
    information: Array
    """Shape (C, K, 6, 6), along the axes of the camera; zero where there is no measurement."""


@dataclass(frozen=True)
class PosePrior:
    """Gaussian over N poses."""

    mean: Array
    """Shape (N, 4, 4)."""
    information: Array
    """Shape (6 N, 6 N), along the axes of the world."""


@dataclass(frozen=True)
class PoseGraphSolution:
    """Estimate of all poses."""

    T_world_cam: Array
    """Shape (C, 4, 4)."""
    T_world_obj: Array
    """Shape (K, 4, 4)."""
    camera_covariance: Array
    """Shape (6 C, 6 C)."""
    object_covariance: Array
    """Shape (6 K, 6 K)."""
    cross_covariance: Array
    """Cameras with objects, shape (6 C, 6 K)."""
    relative_information: Array
    """What the measurements alone say about the objects (6 K, 6 K).

    Nothing about where all of them are together.
    """
    chi2: Array
    """Squared normalised residual of every measurement, shape (C, K), 0 where there is none."""

    def relative_poses(self) -> tuple[Array, Array]:
        """``T_cam_obj`` (C, K, 4, 4) that follow, with covariances (C, K, 6, 6) along the cameras' axes."""
        C, K = len(self.T_world_cam), len(self.T_world_obj)
        T = invert(self.T_world_cam)[:, None] @ self.T_world_obj
        A = _camera_jacobian(self.T_world_cam, self.T_world_obj)
        cameras = self.camera_covariance.reshape(C, 6, C, 6)[np.arange(C), :, np.arange(C)]
        objects = self.object_covariance.reshape(K, 6, K, 6)[np.arange(K), :, np.arange(K)]
        mixed = A @ self.cross_covariance.reshape(C, 6, K, 6).swapaxes(1, 2)
        along_world = A @ cameras[:, None] @ A.swapaxes(-1, -2) + objects + mixed + mixed.swapaxes(-1, -2)
        B = block_rotation(self.T_world_cam[:, :3, :3].swapaxes(-1, -2))[:, None]
        return T, B @ along_world @ B.swapaxes(-1, -2)


def tangents(T_from: Array, T_to: Array) -> Array:
    """`local` for poses (..., 4, 4) less than half a turn apart, in few array operations."""
    R = T_to[..., :3, :3] @ T_from[..., :3, :3].swapaxes(-1, -2)
    xi = np.empty((*R.shape[:-2], 6))
    xi[..., :3] = T_to[..., :3, 3] - T_from[..., :3, 3]
    w = 0.5 * (R[..., _AFTER, _NEXT] - R[..., _NEXT, _AFTER])
    squared = (w * w).sum(-1, keepdims=True)
    if squared.max(initial=0.0) < _SMALL_SINE**2 and (R[..., 0, 0] > 0.0).all():
        angle_over_sine = 1.0 + squared * (1.0 / 6.0 + squared * (3.0 / 40.0 + squared * (15.0 / 336.0)))
    else:
        sine = np.maximum(np.sqrt(squared), 1.0e-12)
        cosine = 0.5 * (np.trace(R, axis1=-2, axis2=-1)[..., None] - 1.0)
        angle_over_sine = np.arctan2(sine, cosine) / sine
    xi[..., 3:] = w * angle_over_sine
    return xi


def _moved(T: Array, xi: Array) -> Array:
    """`retract` of poses (N, 4, 4) along (N, 6), in few array operations (Rodrigues' formula)."""
    w = xi[:, 3:]
    angle = np.maximum(np.sqrt((w * w).sum(-1)), 1.0e-12)[:, None, None]
    W = hat(w)
    out = T.copy()
    R = T[:, :3, :3]
    WR = W @ R
    half = np.sin(0.5 * angle) / angle
    out[:, :3, :3] = R + (np.sin(angle) / angle) * WR + (2.0 * half * half) * (W @ WR)
    out[:, :3, 3] += xi[:, :3]
    return out


def block_rotation(R: Array) -> Array:
    """``diag(R, R)`` of rotations (..., 3, 3), shape (..., 6, 6)."""
    B = np.zeros((*R.shape[:-2], 6, 6))
    B[..., :3, :3] = R
    B[..., 3:, 3:] = R
    return B


def inverse(A: Array) -> Array:
    """Inverse of matrices (..., n, n)."""
    return np.asarray(np.linalg.inv(A), dtype=np.float64)


def block_diagonal(blocks: Array) -> Array:
    """Matrix (6 N, 6 N) of blocks (N, 6, 6)."""
    N = len(blocks)
    out = np.zeros((N, 6, N, 6))
    out[np.arange(N), :, np.arange(N)] = blocks
    return out.reshape(6 * N, 6 * N)


def _camera_jacobian(X: Array, O: Array) -> Array:
    """Derivative (C, K, 6, 6) of measurements by their cameras, along the axes of the world."""
    A = np.zeros((len(X), len(O), 6, 6))
    A[..., range(6), range(6)] = -1.0
    d = O[None, :, :3, 3] - X[:, None, :3, 3]
    A[..., _ARM_ROWS, _ARM_COLUMNS] = d[..., _ARM_SOURCE] * _ARM_SIGN
    return A


class _Graph:
    """The problem: measurements and priors, linearised wherever it is asked for.

    Unknowns stand in one array, cameras first. Residuals of all measurements and priors are formed in one go.
    """

    def __init__(
        self, measured: Measurements, cameras: PosePrior, objects: Sequence[PosePrior], outlier_chi2: float
    ) -> None:
        self.limit = outlier_chi2
        self.measured = measured
        self.cameras, self.objects = cameras, objects
        self.C, self.K = measured.T_cam_obj.shape[:2]
        self.object_information = sum(prior.information for prior in objects)
        self.means = np.concatenate([cameras.mean, *(prior.mean for prior in objects)])
        repeats = [np.arange(self.C, self.C + self.K)] * self.C
        self.sources = np.concatenate(
            [*repeats, np.arange(self.C), *([np.arange(self.C, self.C + self.K)] * len(objects))]
        )

    def residuals(self, T: Array) -> tuple[Array, Array]:
        """Of the measurements (C, K, 6), along the axes of the world, and of the priors, flat."""
        measured = (T[: self.C, None] @ self.measured.T_cam_obj).reshape(-1, 4, 4)
        e = tangents(T[self.sources], np.concatenate([measured, self.means]))
        n = self.C * self.K
        return e[:n].reshape(self.C, self.K, 6), e[n:].reshape(-1)

    def linearise(self, T: Array) -> None:
        """Set up the normal equations at poses (C + K, 4, 4)."""
        C, K = self.C, self.K
        e, self.prior_residuals = self.residuals(T)
        B = block_rotation(T[:C, None, :3, :3])
        H = B @ self.measured.information @ B.swapaxes(-1, -2)
        He = (H @ e[..., None])[..., 0]
        self.chi2 = (e * He).sum(-1)
        if self.chi2.max(initial=0.0) > self.limit:
            weight = self.limit / np.maximum(self.chi2, self.limit)
            H, He = H * weight[..., None, None], He * weight[..., None]
        A = _camera_jacobian(T[:C], T[C:]).reshape(C, 6 * K, 6)
        HA = (H @ A.reshape(C, K, 6, 6)).reshape(C, 6 * K, 6)
        HA_T = HA.swapaxes(-1, -2)
        self.cc_measured = HA_T @ A
        self.co = HA_T.reshape(6 * C, 6 * K)
        self.oo_measured = block_diagonal(H.sum(0))
        self.cc = self.cameras.information + (
            self.cc_measured[0] if C == 1 else block_diagonal(self.cc_measured)
        )
        self.oo = self.object_information + self.oo_measured
        self.gc = (HA_T @ e.reshape(C, 6 * K, 1)).reshape(
            -1
        ) + self.cameras.information @ self.prior_residuals[: 6 * C]
        self.go = He.sum(0).reshape(-1)
        for i, prior in enumerate(self.objects):
            first = 6 * (C + i * K)
            self.go = self.go + prior.information @ self.prior_residuals[first : first + 6 * K]

    def step(self) -> Array:
        """Gauss-Newton step (C + K, 6), with the cameras eliminated."""
        self.cc_inverse = inverse(self.cc)
        self.Y = self.cc_inverse @ self.co
        self.S_inverse = inverse(self.oo - self.co.T @ self.Y)
        step_o = self.S_inverse @ (self.go - self.Y.T @ self.gc)
        step_c = self.cc_inverse @ self.gc - self.Y @ step_o
        return np.concatenate([step_c, step_o]).reshape(-1, 6)

    def robust_cost(self) -> float:
        """Twice the negative logarithm of the probability at the newest linearisation."""
        far = np.maximum(self.chi2, self.limit) / self.limit
        cost = float(np.sum(np.minimum(self.chi2, self.limit) + self.limit * np.log(far)))
        first = 0
        for prior in (self.cameras, *self.objects):
            e = self.prior_residuals[first : first + len(prior.information)]
            cost += float(e @ prior.information @ e)
            first += len(prior.information)
        return cost

    def relative_information(self) -> Array:
        """Information about the objects from the measurements, with nothing known of the cameras."""
        weak = self.cc_measured + np.eye(6)
        cc_inverse = inverse(weak)
        co = self.co.reshape(self.C, 6, -1)
        return self.oo_measured - (co.swapaxes(-1, -2) @ cc_inverse @ co).sum(0)


def _iterate(graph: _Graph, T: Array) -> Array:
    """Poses at the optimum; the graph stays linearised just before the last step."""
    for _ in range(_ITERATIONS):
        graph.linearise(T)
        step = graph.step()
        T = _moved(T, step)
        if np.abs(step).max() < _LAST_STEP:
            break
    return T


def solve_pose_graph(
    T_world_cam: Array,
    T_world_obj: Array,
    measured: Measurements,
    cameras: PosePrior,
    objects: Sequence[PosePrior],
    outlier_chi2: float = np.inf,
) -> PoseGraphSolution:
    """Most probable poses, by Gauss-Newton steps with relinearisation.

    Args:
        T_world_cam: Where to start, shape (C, 4, 4).
        T_world_obj: Where to start, shape (K, 4, 4).
        measured: Poses of objects in cameras.
        cameras: Prior of the cameras; its information must be regular.
        objects: Priors of the objects, multiplied with each other; together they must be regular.
        outlier_chi2: Squared normalised residual beyond which a measurement loses weight.

    Returns:
        The estimate. Where a measurement is beyond the limit and there is one camera, the solution is also
        looked for from the camera pose that each object alone implies, and the one of least robust cost is
        taken.
    """
    graph = _Graph(measured, cameras, objects, outlier_chi2)
    C = graph.C
    T = _iterate(graph, np.concatenate([T_world_cam, T_world_obj]))
    if C == 1 and graph.chi2.max(initial=0.0) > outlier_chi2:
        T = _try_every_object(graph, T, T_world_obj)
    return PoseGraphSolution(
        T_world_cam=T[:C],
        T_world_obj=T[C:],
        camera_covariance=graph.cc_inverse + graph.Y @ graph.S_inverse @ graph.Y.T,
        object_covariance=graph.S_inverse,
        cross_covariance=-graph.Y @ graph.S_inverse,
        relative_information=graph.relative_information(),
        chi2=graph.chi2,
    )


def _try_every_object(graph: _Graph, T: Array, T_world_obj: Array) -> Array:
    """The best of an optimum and those reached from the camera poses that the objects imply one by one."""
    outcomes = [(graph.robust_cost(), T)]
    for i in np.flatnonzero(graph.measured.information[0].any(axis=(1, 2))):
        X = T_world_obj[i] @ invert(graph.measured.T_cam_obj[0, i])
        T = _iterate(graph, np.concatenate([X[None], T_world_obj]))
        outcomes.append((graph.robust_cost(), T))
    T = min(outcomes, key=lambda outcome: outcome[0])[1]
    graph.linearise(T)
    return _moved(T, graph.step())
