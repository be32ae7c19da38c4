"""Compare recorded poses with the ground truth of a sequence.

The poses may come from the offline replay or from a running node: the evaluator sees records only. Ground
truth is read here and nowhere in the tracker.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dr_perception.data.source import FrameSource
from dr_perception.evaluation import metrics
from dr_perception.evaluation.consistency import observable_basis, pose_nees
from dr_perception.evaluation.records import PoseRecord
from dr_perception.evaluation.result import Metrics, ObjectErrors, Timing
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import local

__all__ = ["evaluate", "instances", "package_versions"]

PACKAGES = ("dr_perception", "numpy", "scipy", "warp-lang", "open3d", "opencv-python-headless")
PROJECTION_POINTS = 1000
Array = NDArray[np.float64]


def evaluate(
    poses: Iterable[PoseRecord],
    source: FrameSource,
    models: Mapping[str, ObjectModel],
    *,
    stamps_ns: Sequence[int] | None = None,
    indices: Sequence[int] | None = None,
    timing: Timing | None = None,
    config: Mapping[str, Any] | None = None,
) -> Metrics:
    """Errors of every tracked object in every scored frame.

    Args:
        poses: Records in any order, matched to frames by their stamps.
        source: The sequence with its ground truth.
        models: Models by name; a repeated instance ``mug_2`` uses the model ``mug``.
        stamps_ns: Stamp of every frame; those of the source when not given.
        indices: Frames to score. By default all from the first one that any record belongs to; a frame in
            between without a record of an object is a miss of that object.
        timing: Times to report.
        config: Resolved configuration to report.

    Returns:
        The errors with all that a report needs.

    Raises:
        ValueError: The source has no ground truth for these models, no record belongs to any of its frames,
            two records describe one object in one frame, or a record names an object that is not there.
    """
    stamps = [int(s) for s in (source.stamps_ns if stamps_ns is None else stamps_ns)]
    records = _by_frame(poses, stamps)
    if indices is None and not records:
        raise ValueError("there are no poses to evaluate")
    scored = list(range(min(records), len(stamps))) if indices is None else list(indices)
    references = {k: source.ground_truth(k) or {} for k in scored}
    present = dict.fromkeys(name for reference in references.values() for name in reference)
    tracked = instances(present, models, strict=False)
    if not tracked:
        raise ValueError(f"'{source.name}' has no ground truth for any of the models {sorted(models)}")
    _check_names(records, tracked, models)
    objects = {}
    for name, model in tracked.items():
        frames = [k for k in scored if name in references[k]]
        found = [records.get(k, {}).get(name) for k in frames]
        truth = np.array([references[k][name] for k in frames])
        objects[name] = _object_errors(name, model, source.camera, frames, stamps, found, truth)
    return Metrics(source.name, len(scored), objects, timing or Timing(), config or {}, package_versions())


def instances(
    names: Iterable[str], models: Mapping[str, ObjectModel], *, strict: bool = True
) -> dict[str, ObjectModel]:
    """Model of each named instance: the model of that name, or for ``mug_2`` the model ``mug``.

    Args:
        names: Instance names, as ground truth gives them.
        models: Models by name.
        strict: Whether a name without a model is an error; otherwise it is left out.

    Raises:
        ValueError: ``strict`` and a name has no model.
    """
    found = {}
    for name in names:
        base = re.sub(r"_\d+$", "", name)
        if name in models:
            found[name] = models[name]
        elif base in models:
            found[name] = models[base].with_name(name)
        elif strict:
            raise ValueError(f"there is no model for object '{name}'; models: {sorted(models)}")
    return found


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        for distribution in (package, f"{package}-cpu"):
            try:
                versions[package] = version(distribution)
            except PackageNotFoundError:
                continue
    return versions


def _by_frame(poses: Iterable[PoseRecord], stamps: Sequence[int]) -> dict[int, dict[str, PoseRecord]]:
    index = {stamp: k for k, stamp in enumerate(stamps)}
    if len(index) != len(stamps):
        raise ValueError("two frames of the sequence carry the same stamp, poses cannot be matched to them")
    frames: dict[int, dict[str, PoseRecord]] = {}
    outside = 0
    for record in poses:
        if record.stamp_ns not in index:
            outside += 1
            continue
        frame = frames.setdefault(index[record.stamp_ns], {})
        if record.name in frame:
            raise ValueError(f"two poses of '{record.name}' carry the stamp {record.stamp_ns}")
        frame[record.name] = record
    if outside and not frames:
        raise ValueError("no pose carries the stamp of any frame of the sequence")
    return frames


def _check_names(
    records: Mapping[int, Mapping[str, PoseRecord]],
    tracked: Mapping[str, ObjectModel],
    models: Mapping[str, ObjectModel],
) -> None:
    named = {name for frame in records.values() for name in frame}
    unknown = sorted(named - set(tracked) - set(models))
    if unknown:
        raise ValueError(f"poses of {unknown}, which neither the ground truth nor the models know")


def _object_errors(
    name: str,
    model: ObjectModel,
    camera: Camera,
    frames: Sequence[int],
    stamps: Sequence[int],
    found: Sequence[PoseRecord | None],
    truth: Array,
) -> ObjectErrors:
    """Errors of one object; rows without a record are inf or NaN."""
    points = metrics.evaluation_points(model.mesh.vertices)
    measure = _Measure(model, camera, points)
    rows = [measure(r, T) for r, T in zip(found, truth, strict=True)]
    return ObjectErrors(
        name=name,
        diameter_m=model.diameter_m,
        symmetric=model.symmetries.is_symmetric,
        dof=len(observable_basis(np.eye(4), model.symmetries)),
        frame=np.array(frames, dtype=np.int64),
        stamp_ns=np.array([stamps[k] for k in frames], dtype=np.int64),
        status=tuple(None if r is None else r.status for r in found),
        score=np.array([np.nan if r is None else r.score for r in found]),
        T_est=np.array([np.full((4, 4), np.nan) if r is None else r.T_cam_obj for r in found]),
        T_ref=truth,
        error=np.array([row[-1] for row in rows]),
        **{key: np.array([row[k] for row in rows]) for k, key in enumerate(_Measure.NAMES)},
    )


class _Measure:
    """All errors of one pose of one model, with what they share kept."""

    NAMES = ("add", "add_s", "rotation", "translation", "mssd", "mspd", "nees")

    def __init__(self, model: ObjectModel, camera: Camera, points: Array) -> None:
        self.model, self.camera, self.points = model, camera, points
        self.tree = cKDTree(points)
        self.hull = metrics.hull_points(points)
        self.projected = metrics.evaluation_points(points, PROJECTION_POINTS)
        self.transforms = model.symmetries.transforms()

    def __call__(self, record: PoseRecord | None, T_ref: Array) -> tuple[Any, ...]:
        if record is None or not np.isfinite(record.T_cam_obj).all():
            return (*[np.inf] * 6, np.nan, np.full(6, np.nan))
        T, symmetries = record.T_cam_obj, self.model.symmetries
        return (
            metrics.add_symmetric(T, T_ref, self.points, symmetries),
            metrics.add_s(T, T_ref, self.points, self.tree),
            metrics.rotation_error(T, T_ref, symmetries),
            metrics.translation_error(T, T_ref, symmetries),
            metrics.mssd(T, T_ref, self.hull, self.transforms),
            metrics.mspd(T, T_ref, self.projected, self.transforms, self.camera),
            pose_nees(T, T_ref, record.covariance, symmetries),
            local(symmetries.closest(T, T_ref), T),
        )
