"""Build tf2_msgs against the ros-jazzy wheels of this virtual environment.

The Python package index has no tf2_msgs wheel. Its message definitions come with `rosbags`; from them this
script writes an ordinary interface package and builds it with cmake and ninja into the virtual environment
that runs the script.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PACKAGE = "tf2_msgs"
DISTRO = "jazzy"
# The wheels do not declare what they need at build time.
BUILD_WHEELS = (
    "std-msgs",
    "rosidl-default-generators",
    "rosidl-core-generators",
    "rosidl-default-runtime",
    "ament-cmake",
    "ament-cmake-include-directories",
    "ament-cmake-ros",
    "ament-cmake-pytest",
    "ament-cmake-gtest",
    "ament-cmake-gmock",
    "ament-package",
    "python-cmake-module",
)

CMAKE_LISTS = """cmake_minimum_required(VERSION 3.8)
project({package})
find_package(ament_cmake REQUIRED)
find_package(builtin_interfaces REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
rosidl_generate_interfaces(${{PROJECT_NAME}} {files} DEPENDENCIES builtin_interfaces geometry_msgs)
ament_export_dependencies(rosidl_default_runtime)
ament_package()
"""

PACKAGE_XML = """<?xml version="1.0"?>
<package format="3">
  <name>{package}</name>
  <version>0.36.0</version>
  <description>Messages of tf2, built for the ROS wheels.</description>
  <maintainer email="dr_perception@users.noreply.github.com">dr_perception developers</maintainer>
  <license>BSD</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>builtin_interfaces</depend>
  <depend>geometry_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def write_package(directory: Path) -> None:
    """Write the interface package from the definitions that rosbags carries."""
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    names = [name for name in store.types if name.startswith(f"{PACKAGE}/msg/")]
    (directory / "msg").mkdir(parents=True)
    for name in names:
        definition, _ = store.generate_msgdef(name, ros_version=2)
        own_part = definition.split("=" * 80)[0]
        (directory / "msg" / f"{name.rpartition('/')[2]}.msg").write_text(own_part, encoding="utf-8")
    files = " ".join(f'"msg/{name.rpartition("/")[2]}.msg"' for name in names)
    (directory / "CMakeLists.txt").write_text(
        CMAKE_LISTS.format(package=PACKAGE, files=files), encoding="utf-8"
    )
    (directory / "package.xml").write_text(PACKAGE_XML.format(package=PACKAGE), encoding="utf-8")


def repoint_headers(prefix: Path) -> None:
    """Replace the wheel builder's Python and NumPy header folders in the exported CMake files with ours."""
    import numpy

    python_headers = sysconfig.get_paths()["include"]
    python_pattern = re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+")
    numpy_pattern = re.compile(
        r"/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include"
    )
    for path in prefix.glob("share/*/cmake/*.cmake"):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        if "/opt/python/cp" in text:
            text = python_pattern.sub(python_headers, numpy_pattern.sub(numpy.get_include(), text))
            path.write_text(text, encoding="utf-8", errors="surrogateescape")


def build(source: Path, prefix: Path) -> None:
    """Configure, build and install the interface package into the virtual environment."""
    path = os.pathsep.join([str(prefix / "bin"), os.environ.get("PATH", "")])
    environment = dict(os.environ, PATH=path, AMENT_PREFIX_PATH=str(prefix))
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "BUILD_TESTING": "OFF",
        "CMAKE_PREFIX_PATH": str(prefix),
        "CMAKE_INSTALL_PREFIX": str(prefix),
        "Python3_EXECUTABLE": sys.executable,
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    tree = source.parent / "build"
    subprocess.run(["cmake", "-S", source, "-B", tree, "-G", "Ninja", *defines], env=environment, check=True)
    subprocess.run(["cmake", "--build", tree, "--target", "install"], env=environment, check=True)


def main() -> None:
    """Build tf2_msgs unless it can be imported already."""
    if importlib.util.find_spec(PACKAGE) is not None:
        return
    prefix = Path(sys.prefix)
    wheels = [f"ros-{DISTRO}-{name}" for name in BUILD_WHEELS]
    subprocess.run([sys.executable, "-m", "pip", "install", *wheels, "catkin_pkg"], check=True)
    repoint_headers(prefix)
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / PACKAGE
        write_package(source)
        build(source, prefix)


if __name__ == "__main__":
    main()
