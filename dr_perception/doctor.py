"""What is installed and what is missing: versions, system libraries, Warp devices, compiled kernels, ROS."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Check", "Level", "checks", "compile_kernels", "kernel_modules"]

REQUIRED = (
    "numpy",
    "scipy",
    "warp-lang",
    "open3d",
    "pydantic",
    "pyyaml",
    "click",
    "rich",
    "rosbags",
    "jinja2",
)
LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
}
OPTIONAL = {
    "rclpy": "the ROS 2 node",
    "tf2_msgs": "TF",
    "rerun": "the live view",
    "torch": "the PyTorch bridge",
}


class Level(Enum):
    """How bad the result of a check is."""

    OK = "ok"
    MISSING_OPTIONAL = "optional"
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    what: str
    level: Level
    detail: str


def checks() -> Iterator[Check]:
    """All checks in the order in which they are worth reading."""
    yield from (_package(name) for name in REQUIRED)
    yield from (_library(name, package) for name, package in LIBRARIES.items())
    yield from _warp()
    yield _ros_distribution()
    yield from (_optional(name, use) for name, use in OPTIONAL.items())


def kernel_modules() -> list[str]:
    """Names of all modules of the package that define Warp kernels, imported."""
    import warp as wp

    names = []
    for name in _modules_using_warp():
        module = _imported(name)
        values = vars(module).values() if module is not None else ()
        # A kernel that another module defines is compiled there.
        if any(isinstance(v, wp.Kernel) and v.module.name == name for v in values):
            names.append(name)
    return names


def _modules_using_warp() -> Iterator[str]:
    """Names of the modules whose source imports Warp, by the text alone: nothing is imported."""
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        if "import warp" in path.read_text("utf-8"):
            parts = path.relative_to(root.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def compile_kernels(device: str = "cpu") -> Iterator[tuple[int, int, str, float]]:
    """Compile every kernel, or load it from the cache: (number, of how many, module, seconds) one by one."""
    import warp as wp

    _silence(wp)
    names = kernel_modules()
    for number, name in enumerate(names, 1):
        begin = time.perf_counter()
        wp.load_module(name, device=device)
        yield number, len(names), name, time.perf_counter() - begin


def _imported(name: str) -> ModuleType | None:
    """The module; None where it needs an optional package that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OPTIONAL:
            return None
        raise


def _package(name: str) -> Check:
    for distribution in (name, f"{name}-cpu"):
        try:
            return Check(name, Level.OK, version(distribution))
        except PackageNotFoundError:
            continue
    return Check(name, Level.MISSING, f"pip install {name}")


def _library(name: str, package: str) -> Check:
    try:
        ctypes.CDLL(name)
    except OSError:
        return Check(name, Level.MISSING, f"apt-get install {package}")
    return Check(name, Level.OK, package)


def _warp() -> Iterator[Check]:
    import warp as wp

    _silence(wp)
    wp.init()
    for device in wp.get_devices():
        yield Check(f"device {device.alias}", Level.OK, device.name)
    cache = Path(wp.config.kernel_cache_dir or "")
    modules = len(list(cache.glob("wp_dr_perception*"))) if cache.is_dir() else 0
    size = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) if cache.is_dir() else 0
    yield Check(
        "kernel cache", Level.OK, f"{modules} modules of this package, {size / 1e6:.0f} MB in {cache}"
    )


def _silence(wp: Any) -> None:
    """Keep Warp from announcing itself; its errors still show."""
    wp.config.log_level = wp.LOG_ERROR


def _ros_distribution() -> Check:
    distribution = os.environ.get("ROS_DISTRO", "")
    if distribution:
        return Check("ROS 2", Level.OK, f"{distribution} is sourced")
    return Check("ROS 2", Level.MISSING_OPTIONAL, "no distribution is sourced")


def _optional(name: str, use: str) -> Check:
    if importlib.util.find_spec(name) is None:
        return Check(name, Level.MISSING_OPTIONAL, f"not installed; {use} needs it")
    return Check(name, Level.OK, _file_of(importlib.util.find_spec(name)))


def _file_of(spec: Any) -> str:
    return str(spec.origin or "namespace package")
