"""The package as pip, colcon and `make` see it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dr_perception.config import Config, load_config

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()


def clean_environment(**changes: str) -> dict[str, str]:
    """An environment for the Python of another virtual environment."""
    dropped = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in dropped} | changes


def test_the_version_is_stated_once_and_the_same_everywhere() -> None:
    import dr_perception

    version = MANIFEST.findtext("version")
    assert importlib.metadata.version("dr_perception") == version
    assert dr_perception.__version__ == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_parameter_file_is_up_to_date() -> None:
    """`make params` writes it."""
    script = ROOT / "scripts" / "write_parameter_file.py"
    namespace: dict[str, object] = {"__file__": str(script), "__name__": "write_parameter_file"}
    exec(compile(script.read_text(), str(script), "exec"), namespace)
    assert (ROOT / "config" / "tracker.yaml").read_text() == namespace["parameter_file"]()  # type: ignore[operator]
    assert load_config(ROOT / "config" / "tracker.yaml") == Config()


def test_every_file_is_of_one_concern_and_of_a_readable_length() -> None:
    long = {
        str(path.relative_to(ROOT)): length
        for path in (ROOT / "dr_perception").rglob("*.py")
        if (length := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_heavy_packages_are_not_imported_with_the_package() -> None:
    code = "import sys, dr_perception; print(*sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"open3d", "matplotlib", "rosbags", "cv2", "torch", "rclpy", "warp", "scipy"}
    assert not heavy & set(output.split())


def test_mypy_is_lenient_with_the_modules_that_define_warp_kernels_and_no_others() -> None:
    """The list in pyproject.toml is complete and has no strangers."""
    defines = re.compile(r"^\s*@wp\.(?:kernel|func|struct)\b|\bwp\.(?:kernel|func)\(", re.MULTILINE)
    kernels = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "dr_perception").rglob("*.py")
        if defines.search(path.read_text())
    }
    section = (ROOT / "pyproject.toml").read_text().split("# Modules with Warp kernels")[1].split("]\n")[1]
    listed = set(re.findall(r'"(dr_perception[\w.]*)"', section))
    assert listed == kernels


def test_nothing_of_this_machine_is_in_the_tracked_files() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pattern = re.compile(r"(?:^|[\s\"'=(])/(?:work|root|home/\w+)/")
    found = []
    for name in listed.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix in (".py", ".md", ".yaml", ".toml", ".cfg", ".xml", ".sh", ""):
            text = path.read_text(errors="ignore")
            found += [f"{name}: {match.group().strip()}" for match in pattern.finditer(text)]
    assert not found


def test_the_ros_wheels_are_an_extra_and_never_required() -> None:
    requirements = importlib.metadata.requires("dr_perception") or []
    ros = [line for line in requirements if line.startswith("ros-")]
    assert ros
    assert all("extra ==" in line and "linux" in line for line in ros)
    assert all(line.startswith("ros-jazzy-") for line in ros)


@pytest.fixture
def source_copy(tmp_path: Path) -> Path:
    """The package in a folder of its own, so that no build leaves anything in the checkout."""
    left_out = (".venv", ".git", "out", "build", "install", "log", "*.egg-info", "__pycache__", ".*_cache")
    return Path(
        shutil.copytree(ROOT, tmp_path / "ws" / "dr_perception", ignore=shutil.ignore_patterns(*left_out))
    )


def test_a_plain_install_holds_what_ros_looks_up(tmp_path: Path, source_copy: Path) -> None:
    """`pip install .` into a fresh prefix: console scripts, share folder, resource index."""
    prefix = tmp_path / "prefix"
    # Without --ignore-installed pip would uninstall the package from the environment of the tests.
    options = ["-q", "--no-deps", "--ignore-installed", "--prefix", prefix]
    command = [sys.executable, "-m", "pip", "install", *options, source_copy]
    subprocess.run(command, check=True, cwd=tmp_path)
    share = prefix / "share"
    assert (share / "ament_index" / "resource_index" / "packages" / "dr_perception").is_file()
    for name in ("package.xml", "launch/tracker.launch.py", "config/tracker.yaml", "config/fastdds_shm.xml"):
        assert (share / "dr_perception" / name).is_file(), name
    assert {"dr-perception", "tracker_node"} <= {path.name for path in (prefix / "bin").iterdir()}
    installed = next(prefix.glob("lib/python*/site-packages/dr_perception"))
    shipped = {p.relative_to(installed) for p in installed.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    written = {
        p.relative_to(ROOT / "dr_perception") for p in (ROOT / "dr_perception").rglob("*") if p.is_file()
    }
    assert {p for p in written if p.suffix != ".pyc"} == shipped


@pytest.mark.colcon
def test_colcon_builds_what_ros2_run_and_launch_look_for(tmp_path: Path, source_copy: Path) -> None:
    """The layout of a workspace: executable in lib/<package>, launch and config in share/<package>."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "colcon-common-extensions", "setuptools"]
    if subprocess.run(install, env=clean_environment()).returncode:
        pytest.skip("colcon cannot be installed (is there a network?)")
    path = os.pathsep.join([str(tmp_path / "venv" / "bin"), os.environ["PATH"]])
    workspace = source_copy.parent
    subprocess.run(["colcon", "build"], cwd=workspace, check=True, env=clean_environment(PATH=path))
    prefix = workspace / "install" / "dr_perception"
    assert os.access(prefix / "lib" / "dr_perception" / "tracker_node", os.X_OK)
    assert (prefix / "share" / "dr_perception" / "launch" / "tracker.launch.py").is_file()
    assert (prefix / "share" / "dr_perception" / "config" / "tracker.yaml").is_file()
    assert (prefix / "share" / "ament_index" / "resource_index" / "packages" / "dr_perception").is_file()
