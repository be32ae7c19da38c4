"""One fit or search in a real frame, judged against the nearest of the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from real_cases import Instance
from scenes import RIGHT, about, evaluation_points

from dr_perception.estimate.finding import Finding
from dr_perception.evaluation.consistency import observable_basis, pose_nees
from dr_perception.evaluation.metrics import add_s, add_symmetric
from dr_perception.geometry.se3 import covariance_about, local, move_origin
from dr_perception.hypothesis.result import PoseEstimate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """One row of the report. Errors are infinite where nothing was found."""

    set: str
    reference: str
    is_truth: bool
    frame: str
    object: str
    part: str
    visible: float
    """Share of the silhouette in the mask."""
    score: float
    right: bool
    add_m: float
    """ADD, or ADD-S of objects that bop_toolkit counts as symmetric."""
    diameter_m: float
    wall_s: float
    reason: str
    converged: bool = False
    iterations: int = 0
    nees: float = np.nan
    """Of the observable directions, divided by their number; the covariance of the reference is added."""
    nees_alone: float = np.nan
    """The same without the covariance of the reference."""
    deviation_m: float = np.nan
    deviation_rad: float = np.nan
    sigma_m: float = np.nan
    """Root of the trace of the claimed covariance of the centre's place."""
    sigma_rad: float = np.nan
    error: tuple[float, ...] = ()
    """Tangent vector (v, w) from the nearest reference to the found pose of the model's centre."""
    covariance: tuple[float, ...] = ()
    """Claimed, of the model's centre, row by row (36)."""
    T_cam_obj: tuple[float, ...] = ()
    """Row by row (16)."""
    findings: tuple[Finding, ...] = ()
    certain: bool = True
    judged: bool = True
    level: str = ""
    masked: bool = False
    seed: int = 0


def judge(
    group: Sequence[Instance], part: str, found: PoseEstimate | None, reason: str, wall_s: float
) -> Trial:
    """Compare with the nearest of some instances of one model in one frame."""
    if found is None:
        i, error = group[0], np.inf
    else:
        errors = [pose_error(i, found.T_cam_obj) for i in group]
        i, error = group[int(np.argmin(errors))], min(errors)
    case = i.case
    return Trial(
        i.set,
        i.reference.name,
        i.reference.is_truth,
        i.frame_name,
        case.name,
        part,
        i.visible,
        found.score if found else 0.0,
        error < RIGHT * case.model.diameter_m,
        error,
        case.model.diameter_m,
        wall_s,
        found.reason if found else reason,
        certain=i.certain,
        **(uncertainty(i, found) if found else {}),
    )


def pose_error(i: Instance, T: Array) -> float:
    """ADD over what looks alike [m], or ADD-S where bop_toolkit does not tell turns apart."""
    points = evaluation_points(i.case.model)
    return add_s(T, i.case.T_cam_obj, points) if i.listed else add_symmetric(
        T, i.case.T_cam_obj, points, i.alike
    )  # fmt: skip


def uncertainty(i: Instance, found: PoseEstimate) -> dict[str, object]:
    """Claimed covariance and deviation of the centre, over the directions that can be observed."""
    center = i.case.model.center
    T, T_ref = (move_origin(pose, center) for pose in (found.T_cam_obj, i.case.T_cam_obj))
    C = covariance_about(found.T_cam_obj[:3, :3] @ center, found.covariance)
    alike = about(i.alike, center)
    basis = observable_basis(T, alike)
    seen = basis.T @ basis
    error, claimed = seen @ local(alike.closest(T, T_ref), T), seen @ C @ seen
    variances = np.diag(claimed).reshape(2, 3).sum(axis=1)
    summed = C + i.reference.covariance
    return {
        "converged": bool(found.converged),
        "iterations": int(found.iterations),
        "nees": pose_nees(T, T_ref, summed, alike) / len(basis),
        "nees_alone": pose_nees(T, T_ref, C, alike) / len(basis),
        "deviation_m": float(np.linalg.norm(error[:3])),
        "deviation_rad": float(np.linalg.norm(error[3:])),
        "sigma_m": float(np.sqrt(variances[0])),
        "sigma_rad": float(np.sqrt(variances[1])),
        "findings": found.findings,
        "error": tuple(error),
        "covariance": tuple(C.ravel()),
        "T_cam_obj": tuple(found.T_cam_obj.ravel()),
    }
