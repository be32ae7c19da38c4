"""The command line: what it promises, and one sentence instead of a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dr_perception.cli import cli

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
    for command in ("demo", "fit", "track", "replay", "evaluate", "render", "doctor"):
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
        (["evaluate", "p.csv", "/no/such", "--models", "m"], "sequence /no/such does not exist"),
        (["fit", "/no/mesh.obj", ".", "--unit", "m"], "/no/mesh.obj"),
        (["render", "/no/mesh.obj", "--out", "a.png", "--size", "big"], "expected a size like 640x480"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(arguments, sentence):
    text = run(*arguments, code=2)
    assert sentence in text and "Traceback" not in text
    assert text.startswith("dr-perception: ") and text.count("\n") == 1


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
