from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import honesty
import honesty_errors
import honesty_table
import numpy as np
import pytest
import takes
from honesty_run import Found, FrameRow, Run
from scenes import write_report
from scipy.spatial import cKDTree

from dr_perception.estimate.finding import Finding
from dr_perception.geometry.mesh import face_normals
from dr_perception.geometry.se3 import transform_points


def _row(frame: int, right: bool = True, score: float = 0.9, status: str = "tracking") -> FrameRow:
    return FrameRow(
        "mug", frame, 0.001 if right else 0.05, right, status, score, 1.5 if frame >= 30 else 99.0, 1e-3
    )


def _run(error: str, *kinds: tuple[int, str, str]) -> Run:
    findings = [Found(k, Finding(subject, kind, 1.0, 0.1, "text")) for k, subject, kind in kinds]
    return Run("000005", error, 0, ["mug", "box"], [], [_row(k) for k in range(1, 40)], findings, [1.0])


def test_a_finding_names_an_error_by_kind_time_and_subject() -> None:
    run = _run("mesh+3%", (12, "mug", "model_scale"))
    assert run.named("mug") and not run.named("box")
    assert _run("mesh+3%", (12, "camera", "depth_bias or model_scale")).named("box")
    assert not _run("mesh+3%", (31, "camera", "model_scale")).named("mug")
    assert not _run("mesh+3%", (12, "mug", "depth_delay")).named("mug")
    assert replace(_run("depth_unit"), refused="no").named("mug")


def test_other_findings_are_false() -> None:
    run = _run("none", (40, "mug", "model_scale"))
    assert [f.finding.kind for f in run.false_findings()] == ["model_scale"]
    assert not _run("mesh+3%", (40, "mug", "model_scale")).false_findings()
    assert _run("mesh+3%", (40, "mug", "depth_delay")).false_findings()


@pytest.mark.parametrize(
    ("right", "score", "status", "share"),
    [
        (False, 0.9, "tracking", 50.0),
        (False, 0.4, "tracking", 0.0),
        (False, 0.9, "lost", 0.0),
        (True, 0.9, "tracking", 0.0),
    ],
)
def test_wrong_poses_count_when_they_are_believed(
    right: bool, score: float, status: str, share: float
) -> None:
    run = replace(_run("none"), rows=[_row(1), _row(2, right, score, status)])
    assert honesty_table.figures([run])["wrong_believed_percent"] == share


def test_covariances_count_once_settled() -> None:
    assert honesty_table.figures([_run("none")], "mug")["nees_mean"] == pytest.approx(1.5)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = _run("mesh+3%", (12, "mug", "model_scale"))
    write_report(tmp_path / "a.json", runs=[asdict(run)])
    assert honesty.read([tmp_path / "a.json"]) == [run]
    assert json.loads((tmp_path / "a.json").read_text())["machine"]["cores"] >= 1


def test_every_error_says_what_names_it() -> None:
    assert set(honesty_errors.MAIN) | set(honesty_errors.UNNAMED) <= set(honesty_errors.ERRORS)
    nameable = set(honesty_errors.ERRORS) - set(honesty_errors.UNNAMED)
    assert all(honesty_errors.ACCEPTED[name] for name in nameable)


def test_flange_has_the_symmetry_that_it_declares_and_no_more() -> None:
    model = takes.flange()
    vertices = model.mesh.vertices
    tree = cKDTree(vertices)
    for S in model.symmetries.discrete:
        assert tree.query(transform_points(S, vertices))[0].max() < 1e-9
    half = transform_points(takes.turned(np.pi / 6.0), vertices)
    assert tree.query(half)[0].max() > 0.001
    up = face_normals(model.mesh)[:, 2]
    height = vertices[model.mesh.faces].mean(axis=1)[:, 2]
    assert np.all(height[up > 0.9] >= 0.010 - 1e-9)  # faces look outward
    assert np.all(height[up < -0.9] <= 0.008 + 1e-9)
    assert np.hypot(*vertices[:, :2].T).max() == pytest.approx(0.045)


def test_a_flange_turns_to_and_fro_by_less_than_half_of_its_fold() -> None:
    poses = takes.turning(30, *takes.FLANGES["flange_to_and_fro"])
    R = np.array(poses)[:, :3, :3]
    turns = np.degrees(np.arcsin((R[:-1].swapaxes(1, 2) @ R[1:])[:, 0, 1]))
    np.testing.assert_allclose(np.abs(turns), 12.0)
    assert np.abs(np.diff(turns)).max() == pytest.approx(24.0) and np.abs(np.diff(turns)).max() < 30.0
    assert np.sum(np.abs(np.diff(turns)) > 1.0) == 4
