"""The command line: what it promises, and one sentence instead of a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import dr_perception as drp
from dr_perception.cli import cli
from dr_perception.hypothesis.result import PoseEstimate

ROOT = Path(__file__).parents[2]
SEQUENCE = ROOT / "models" / "demo" / "tabletop"
MODELS = ROOT / "models" / "demo" / "models"
HEAVY = (
    "warp",
    "open3d",
    "matplotlib",
    "cv2",
    "scipy",
    "torch",
    "rclpy",
    "rosbags",
    "pydantic",
    "rich",
    "numpy",
)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_help_names_every_command():
    text = run("--help")
    for command in ("demo", "fit", "track", "replay", "evaluate", "prepare", "render", "doctor"):
        assert command in text
        assert "Usage" in run(command, "--help")


def test_help_imports_nothing_heavy():
    code = (
        "import sys, dr_perception.cli as c\n"
        "try: c.cli(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert output.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay", "/no/such", "--models", "m", "--out", "o"], "sequence /no/such does not exist"),
        (["replay", ".", "--models", "m", "--out", "o", "--set", "nod.x=1"], "unknown key 'nod'"),
        (["replay", ".", "--models", "m", "--out", "o", "--set", "node"], "expected an assignment"),
        (["replay", ".", "--models", "m", "--out", "o", "--config", "no.yaml"], "no.yaml does not exist"),
        (["fit", "m.obj", ".", "--set", "node.queue_depth=3"], "fit does not use the setting 'node.queue"),
        (["track", ".", "--models", "m", "--set", "init.method=search"], "track does not use the setting"),
        (["evaluate", "p.csv", "/no/such", "--models", "m"], "sequence /no/such does not exist"),
        (["fit", "/no/mesh.obj", ".", "--unit", "m"], "/no/mesh.obj"),
        (["render", "/no/mesh.obj", "--out", "a.png", "--size", "big"], "expected a size like 640x480"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(arguments, sentence):
    text = run(*arguments, code=2)
    assert sentence in text and "Traceback" not in text
    assert text.startswith("dr-perception: ") and text.count("\n") == 1


def test_a_unit_of_depth_that_a_sequence_would_ignore_is_refused(tmp_path):
    (tmp_path / "scene_camera.json").write_text("{}")
    arguments = ["replay", tmp_path, "--models", "m", "--out", "o", "--set", "camera.depth_scale_m=0.001"]
    assert "states the unit of its depths itself" in run(*arguments, code=2)


def test_debug_shows_where_it_happened():
    result = CliRunner().invoke(cli, ["--debug", "replay", "/no/such", "--models", "m", "--out", "o"])
    assert isinstance(result.exception, FileNotFoundError)


def test_doctor_reports_versions_libraries_and_devices():
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code in (0, 1)
    for word in ("numpy", "libGL.so.1", "device cpu", "kernel cache", "rclpy"):
        assert word in result.output


def test_replay_then_evaluate_gives_the_same_figures(tmp_path):
    text = run("replay", SEQUENCE, "--models", MODELS, "--out", tmp_path / "a", "--max-frames", 6)
    assert "report: " in text and "textured_box" in text
    written = {p.name for p in (tmp_path / "a").iterdir()}
    assert written == {"poses.csv", "trajectory.csv", "metrics.json", "frames.csv", "report.html"}
    first = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert first["frames"] == 5 and set(first["objects"]) == {"mug", "bracket", "textured_box"}
    assert first["all"]["recall_10pct"] == 1.0 and first["timing_ms"]["track"]["median"] > 0

    # The same frames give the same poses.
    run("replay", SEQUENCE, "--models", MODELS, "--out", tmp_path / "b", "--max-frames", 6)
    same = [(tmp_path / run_name / "trajectory.csv").read_bytes() for run_name in "ab"]
    assert same[0] == same[1]


def test_missing_models_are_named(tmp_path):
    text = run(
        "replay", SEQUENCE, "--models", MODELS, "--out", tmp_path, "--set", "models.names=[cup]", code=2
    )
    assert "has no models ['cup']; it has" in text


def test_track_prints_one_json_object_a_frame():
    arguments = ["--models", MODELS, "--init", "ground-truth", "--max-frames", 4]
    result = CliRunner().invoke(cli, ["track", str(SEQUENCE), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 3 and lines[0]["stamp_ns"] < lines[1]["stamp_ns"]
    mug = lines[-1]["objects"]["mug"]
    assert np.shape(mug["T_cam_obj"]) == (4, 4) and np.shape(mug["covariance"]) == (6, 6)
    assert mug["status"] == "TRACKING" and 0.0 <= mug["score"] <= 1.0


def test_fit_hands_over_guess_and_mask_and_prints_the_pose(tmp_path, monkeypatch):
    seen = {}

    def fake_fit(model, frame, T_cam_obj=None, mask=None, config=None):
        seen.update(name=model.name, stamp=frame.stamp_ns, guess=T_cam_obj, mask=mask, config=config)
        return PoseEstimate(T_cam_obj, 1e-6 * np.eye(6), 0.75, True, 12, 1.0)

    monkeypatch.setitem(vars(drp), "fit_pose", fake_fit)
    mask = np.zeros((480, 640), np.uint8)
    mask[100:200, 300:400] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    mesh, picture = MODELS / "obj_000001.ply", tmp_path / "fit.png"
    options = [
        "--guess",
        "0 0 0.7 0 0 0 1",
        "--mask",
        tmp_path / "mask.png",
        "--overlay",
        picture,
        "--frame",
        2,
        "--set",
        "sensor.depth.sigma_per_m2=0.002",
    ]
    text = run("fit", mesh, SEQUENCE, *options)
    assert "mug: 0.000000 0.000000 0.700000 0.000000 0.000000 0.000000 1.000000" in text
    assert "sigma 1.00 1.00 1.00 mm" in text and "score 0.75, 12 iterations" in text
    assert seen["config"].sensor.depth.sigma_per_m2 == 0.002
    assert seen["mask"].sum() == 10_000 and seen["stamp"] > 0
    assert cv2.imread(str(picture)).shape == (480, 640, 3)
    assert "seven numbers" in run("fit", mesh, SEQUENCE, "--guess", "1 2 3", code=2)
    assert "has no frame 999" in run("fit", mesh, SEQUENCE, "--frame", 999, code=2)


def test_render_draws_the_model(tmp_path):
    run("render", MODELS / "obj_000001.ply", "--out", tmp_path / "mug.png", "--size", "200x150")
    picture = cv2.imread(str(tmp_path / "mug.png"))
    assert picture.shape == (150, 200, 3)
    covered = (picture != picture[0, 0]).any(axis=2)
    assert 0.15 < covered.mean() < 0.8
    assert not covered[[0, -1]].any() and not covered[:, [0, -1]].any()  # all of it is in view
