"""One run of `honesty.py`: a sequence tracked with what it is told, against the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from honesty_errors import ACCEPTED, Error, Told
from scenes import RIGHT, evaluation_points
from takes import Take

import dr_perception as drp
from dr_perception.estimate.finding import Finding
from dr_perception.evaluation.consistency import observable_basis, pose_nees
from dr_perception.evaluation.metrics import add_symmetric
from dr_perception.tracking.result import ObjectState, Status, TrackResult

WITHIN = 30
"""Frames in which an error should be named, and after which covariances should be true."""
_BELIEVED = 0.5


@dataclass(frozen=True)
class FrameRow:
    """One object in one frame."""

    object: str
    frame: int
    add_m: float
    right: bool
    status: str
    score: float
    nees: float
    """A degree of freedom."""
    sigma_m: float
    """Root of the trace of the claimed covariance of the origin's place."""

    @property
    def believed(self) -> bool:
        """Whether a user would rely on the pose."""
        return self.status == Status.TRACKING.value and self.score > _BELIEVED


@dataclass(frozen=True)
class Found:
    """The first time that a finding was reported."""

    frame: int
    finding: Finding


@dataclass
class Run:
    """A sequence tracked with one error."""

    take: str
    error: str
    seed: int
    objects: list[str]
    """Those concerned: all, or those whose model is another one."""
    bystanders: list[str]
    rows: list[FrameRow] = field(default_factory=list)
    findings: list[Found] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    """Milliseconds of each frame and object."""
    refused: str = ""
    """What was raised, which ended the run."""

    @classmethod
    def read(cls, content: dict[str, Any]) -> Run:
        """A run of a JSON file."""
        rows = [FrameRow(**row) for row in content["rows"]]
        findings = [Found(f["frame"], Finding(**f["finding"])) for f in content["findings"]]
        return cls(**{**content, "rows": rows, "findings": findings})

    def names(self, found: Found) -> bool:
        """Whether a finding is the error, or a family that holds it."""
        return any(kind in found.finding.kind for kind in ACCEPTED[self.error])

    def named(self, name: str) -> bool:
        """Whether the error was named in time for an object, or refused."""
        others = {*self.objects, *self.bystanders} - {name}
        timely = [f for f in self.findings if f.frame <= WITHIN and f.finding.subject not in others]
        return bool(self.refused) or any(self.names(f) for f in timely)

    def false_findings(self) -> list[Found]:
        """Findings, at any time, that are not the error."""
        return [f for f in self.findings if not self.names(f)]


def follow(take: Take, told: Told, error: Error, seed: int) -> Run:
    """Track a sequence from the true poses of its first frame; what is raised ends it."""
    models, frames = told
    changed = [name for name in models if models[name] is not take.models[name]] or list(models)
    run = Run(take.name, error.name, seed, changed, [name for name in models if name not in changed])
    points = {name: evaluation_points(model) for name, model in take.models.items()}
    try:
        tracker = drp.Tracker(models, drp.TrackerConfig(threads=1, sensor=take.sensor))
        tracker.start(frames[0], dict(take.truth[0]))
        for k in range(1, len(frames)):
            result = tracker.track(frames[k])
            run.ms.append(result.timing_ms["total"] / len(models))
            run.rows += [row(take, points, k, name, state) for name, state in result.objects.items()]
            note(run, k, result)
    except ValueError as error_raised:
        run.refused = str(error_raised)
    return run


def row(take: Take, points: dict[str, Any], k: int, name: str, state: ObjectState) -> FrameRow:
    """Errors of an object in a frame."""
    model, truth, T = take.models[name], take.truth[k][name], state.T_cam_obj
    add_m = add_symmetric(T, truth, points[name], model.symmetries)
    return FrameRow(
        name,
        k,
        add_m,
        add_m < RIGHT * model.diameter_m,
        state.status.value,
        state.score,
        pose_nees(T, truth, state.covariance, model.symmetries) / len(observable_basis(T, model.symmetries)),
        float(np.sqrt(np.trace(state.covariance[:3, :3]))),
    )


def note(run: Run, k: int, result: TrackResult) -> None:
    """Keep the findings that are new."""
    known = {(found.finding.subject, found.finding.kind) for found in run.findings}
    run.findings += [Found(k, f) for f in result.diagnosis if (f.subject, f.kind) not in known]
