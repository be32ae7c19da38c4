"""Install metadata of dr_perception, for pip and for ament_python (colcon) alike.

Name, version, description, maintainer and licence are read from package.xml, so that they are stated once.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
NAME = MANIFEST.findtext("name", "")

LINUX_X86_64 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
ROS_WHEELS = (
    "rclpy",
    "rmw-fastrtps-cpp",
    "sensor-msgs",
    "geometry-msgs",
    "visualization-msgs",
    "std-srvs",
    "diagnostic-msgs",
)

REQUIREMENTS = [
    "numpy>=1.26",
    "scipy>=1.11",
    "warp-lang>=1.19",
    f"open3d-cpu>=0.19; {LINUX_X86_64}",
    "open3d>=0.19; sys_platform != 'linux' or platform_machine != 'x86_64'",
    "pydantic>=2.5",
    "pyyaml>=6.0",
    "click>=8.1",
    "rich>=13.0",
    "opencv-python-headless>=4.8",
    "rosbags>=0.10",
    "jinja2>=3.1",
    "matplotlib>=3.8",
]
EXTRAS = {
    "ros": [f"ros-jazzy-{name}; {LINUX_X86_64}" for name in ROS_WHEELS],
    "test": [
        "pytest>=8.0",
        "pytest-xdist>=3.5",
        "hypothesis>=6.90",
        "ruff>=0.6",
        "mypy>=1.10",
        "scipy-stubs",
        "types-PyYAML",
    ],
    "viz": ["rerun-sdk>=0.20"],
    "torch": ["torch>=2.1"],
    "jax": ["jax>=0.4.30"],
    "bench": ["small_gicp>=1.0", "psutil>=5.9"],
}


def share_files() -> list[tuple[str, list[str]]]:
    """Files for share/ as (folder, files), with relative paths: what `ros2 launch` and RViz look up."""
    share = Path("share") / NAME
    files = [
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (str(share), ["package.xml"]),
    ]
    for folder in ("launch", "config", "models"):
        for directory in sorted({path.parent for path in (ROOT / folder).rglob("*") if path.is_file()}):
            inside = directory.relative_to(ROOT)
            names = [str(inside / path.name) for path in sorted(directory.iterdir()) if path.is_file()]
            files.append((str(share / inside), names))
    return files


setup(
    name=NAME,
    version=MANIFEST.findtext("version"),
    description=" ".join(MANIFEST.findtext("description", "").split()),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8")
    if (ROOT / "README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    maintainer=MANIFEST.findtext("maintainer"),
    maintainer_email=MANIFEST.find("maintainer").get("email"),
    license=MANIFEST.findtext("license"),
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.j2", "**/*.css", "**/*.yaml", "**/*.xml"]},
    data_files=share_files(),
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    zip_safe=False,
    entry_points={
        "console_scripts": [
            f"dr-perception = {NAME}.cli:main",
            f"tracker_node = {NAME}.ros.tracker_node:main",
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
