"""The set-up script says in one sentence what it cannot do; its steps are not run here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with its virtual environment in a folder of the test."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / "venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / "venv" / "bin" / "python")
    monkeypatch.setattr(module, "LOG", ROOT / "out" / "bootstrap-test.log")
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    for name in ("ROS_DISTRO", "AMENT_PREFIX_PATH"):
        monkeypatch.delenv(name, raising=False)
    return module


def sentence(captured: pytest.CaptureFixture[str]) -> str:
    """The one line on the error stream."""
    lines = captured.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_without_apt_the_missing_packages_are_named(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as end:
        bootstrap.install_system_packages(["libegl1", "g++"])
    assert end.value.code == 1
    assert "libegl1 g++" in sentence(capsys)


def test_without_root_and_sudo_the_command_for_the_administrator_is_given(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        bootstrap.shutil, "which", lambda name: None if name == "sudo" else f"/usr/bin/{name}"
    )
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit):
        bootstrap.install_system_packages(["cmake"])
    assert "apt-get install cmake" in sentence(capsys)


def test_the_demo_says_that_ros_cannot_be_had_here(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--need-ros"])
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "aarch64")
    with pytest.raises(SystemExit):
        bootstrap.main()
    assert re.search("aarch64.*source a ROS 2 Jazzy", sentence(capsys))


def test_missing_libraries_and_commands_are_found_out(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "has_library", lambda soname: soname != "libEGL.so.1")
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None if name == "ninja" else name)
    assert {"libegl1", "ninja-build"} <= set(bootstrap.missing_system_packages(with_compiler=True))
    assert "ninja-build" not in bootstrap.missing_system_packages(with_compiler=False)
    assert "libgl1" not in bootstrap.missing_system_packages(with_compiler=True)


def test_a_sourced_ros_installation_is_used_instead_of_the_wheels(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[object] = []
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    monkeypatch.setattr(bootstrap, "missing_system_packages", lambda with_compiler: [])
    monkeypatch.setattr(bootstrap, "install_packages", lambda *arguments: steps.append(arguments))
    monkeypatch.setattr(bootstrap, "compile_kernels", lambda: steps.append("kernels"))
    bootstrap.VENV.mkdir()
    bootstrap.main()
    assert steps == [("test", False), "kernels"]


def test_a_second_run_has_nothing_to_install_until_the_setup_changes(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[object] = []
    monkeypatch.setattr(bootstrap, "missing_system_packages", lambda with_compiler: [])
    monkeypatch.setattr(bootstrap, "install_packages", lambda *arguments: installed.append(arguments))
    monkeypatch.setattr(bootstrap, "compile_kernels", lambda: None)
    bootstrap.PYTHON.parent.mkdir(parents=True)
    bootstrap.PYTHON.touch()
    bootstrap.main()
    bootstrap.main()
    assert len(installed) == 1
    monkeypatch.setattr(bootstrap, "digest", lambda paths, extra="": "changed")
    bootstrap.main()
    assert len(installed) == 2


def test_a_step_that_fails_shows_the_end_of_its_output(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "bootstrap.log")
    with pytest.raises(SystemExit):
        bootstrap.run_step("the step", ["sh", "-c", "echo why it failed; exit 3"], "Try again.")
    error = capsys.readouterr().err
    assert "why it failed" in error
    assert "the step: failed with status 3. Try again." in error


def test_make_lists_its_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "lint", "types", "bench", "clean", "build"):
        assert f"make {target} " in listed
