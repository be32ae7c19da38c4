"""Make `.venv` ready: system libraries, Python packages, tf2_msgs, compiled Warp kernels.

Uses the standard library alone. Every step says what it does and is skipped when it is done already, so a
second run takes a moment. What cannot be installed ends the run with one sentence that says what is missing
and how to get it.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "bootstrap.log"

# (Debian package, shared library or command that shows that it is there)
LIBRARIES = {
    "libusb-1.0-0": "libusb-1.0.so.0",
    "libgl1": "libGL.so.1",
    "libegl1": "libEGL.so.1",
    "libx11-6": "libX11.so.6",
    "libgomp1": "libgomp.so.1",
}
COMMANDS = {"cmake": "cmake", "ninja-build": "ninja", "g++": "g++"}


def say(text: str) -> None:
    """Print one line about what happens."""
    print(f"bootstrap: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End with one sentence that says what is wrong and how to mend it."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def clean_environment() -> dict[str, str]:
    """The environment without what the ROS wheels of another virtual environment put into it."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUNBUFFERED="1")
    for name in ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHOME"):
        environment.pop(name, None)
    if has_system_ros():
        environment["LD_LIBRARY_PATH"] = os.environ.get("LD_LIBRARY_PATH", "")
    return environment


def run_step(
    what: str, command: list[str | Path], advice: str, environment: dict[str, str] | None = None
) -> None:
    """Run a command quietly (its output goes to the log) with a clock on a terminal; fail with the advice."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    say(f"{what} ...")
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"\n=== {what}: {' '.join(map(str, command))}\n")
        log.flush()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment or clean_environment(),
        )
        status = wait_with_clock(process, start)
    if status:
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        print("\n".join(f"    {line}" for line in tail), file=sys.stderr)
        fail(f"{what}: failed with status {status}. {advice} The whole output is in {LOG.relative_to(ROOT)}.")
    say(f"{what}: done in {time.monotonic() - start:.0f} s")


def wait_with_clock(process: subprocess.Popen[bytes], start: float) -> int:
    """Wait for a process; on a terminal show the seconds, elsewhere a line every 30 s."""
    terminal = sys.stdout.isatty()
    next_line = 30.0
    while True:
        try:
            status = process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - start
            if terminal:
                print(f"\r  {elapsed:4.0f} s", end="", flush=True)
            elif elapsed > next_line:
                say(f"  still at it after {elapsed:.0f} s")
                next_line += 30.0
            continue
        if terminal:
            print("\r        \r", end="", flush=True)
        return status


# -- system packages -----------------------------------------------------------------------


def has_library(soname: str) -> bool:
    """Whether the dynamic loader finds a shared library."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def missing_system_packages(with_compiler: bool) -> list[str]:
    """Debian packages that are needed and not there."""
    missing = [package for package, soname in LIBRARIES.items() if not has_library(soname)]
    if importlib.util.find_spec("ensurepip") is None:
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    if with_compiler:
        missing += [package for package, command in COMMANDS.items() if shutil.which(command) is None]
        if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
            missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-dev")
    return missing


def install_system_packages(packages: list[str]) -> None:
    """Install Debian packages with apt-get, as root or through sudo.

    Raises:
        SystemExit: There is no apt-get, no right to use it, or it failed.
    """
    listed = " ".join(packages)
    if shutil.which("apt-get") is None:
        fail(f"no apt-get here to install what is missing ({listed}): install it, then run again.")
    root: list[str] = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            fail(f"neither root nor sudo here: ask an administrator to run `apt-get install {listed}`.")
        root = ["sudo"]
        say(f"missing system packages: {listed}: sudo may ask for your password")
        subprocess.run(["sudo", "-v"], check=False)
    environment = dict(clean_environment(), DEBIAN_FRONTEND="noninteractive")
    advice = f"Run `apt-get update && apt-get install {listed}` by hand to see why."
    run_step("reading the package lists (apt-get update)", [*root, "apt-get", "update"], advice, environment)
    install = [
        *root,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
    ]
    run_step(f"installing system packages: {listed}", [*install, *packages], advice, environment)


# -- what is to be installed ---------------------------------------------------------------


def has_system_ros() -> bool:
    """Whether a ROS 2 installation is sourced, as its set-up script tells the shell."""
    return bool(os.environ.get("ROS_DISTRO")) and bool(os.environ.get("AMENT_PREFIX_PATH"))


def has_ros_wheels() -> bool:
    """Whether the ROS wheels exist for this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def digest(paths: list[Path], extra: str = "") -> str:
    """Hash of files by their paths and contents."""
    total = hashlib.sha256(f"{sys.version} {platform.platform()} {ROOT} {extra}".encode())
    for path in sorted(path for path in paths if path.is_file()):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def stamp_is(name: str, key: str) -> bool:
    """Whether a step was finished with this key, in this environment, before."""
    path = VENV / f".stamp-{name}"
    return path.exists() and path.read_text(encoding="utf-8") == key


def write_stamp(name: str, key: str) -> None:
    """Remember that a step is finished."""
    (VENV / f".stamp-{name}").write_text(key, encoding="utf-8")


def install_packages(extras: str, wheels: bool) -> None:
    """Make the virtual environment and install the package into it, editable, with its extras."""
    network = "Check that the network and the Python package index can be reached."
    if not PYTHON.exists():
        run_step("making .venv", [sys.executable, "-m", "venv", VENV], "Is the `venv` module complete?")
    what = f"installing the Python packages ({extras}; about 1 GB with Open3D and Warp)"
    run_step(what, [PYTHON, "-m", "pip", "install", "--editable", f"{ROOT}[{extras}]"], network)
    if wheels:
        script = [PYTHON, ROOT / "scripts" / "build_tf2_msgs.py"]
        run_step("building tf2_msgs for the ROS wheels", script, "It needs cmake, ninja and g++.")


def compile_kernels() -> None:
    """Compile the Warp kernels into the user's cache, so that the first frame does not wait."""
    key = digest(list((ROOT / "dr_perception").rglob("*.py")))
    if not (ROOT / "dr_perception" / "cli.py").exists() or stamp_is("kernels", key):
        return
    command = [str(PYTHON), "-m", "dr_perception.cli", "doctor", "--compile"]
    say("compiling the Warp kernels (a minute the first time, then seconds) ...")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=ROOT, env=clean_environment(), check=False)
    if done.returncode:
        fail("compiling the kernels failed: `.venv/bin/dr-perception --debug doctor --compile` says why.")
    write_stamp("kernels", key)


def main() -> None:
    """Bring `.venv` up to date with this checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-kernels", action="store_true", help="leave the Warp kernels to the first use")
    parser.add_argument("--need-ros", action="store_true", help="fail where no ROS 2 can be had")
    arguments = parser.parse_args()
    ros, wheels = has_system_ros(), has_ros_wheels() and not has_system_ros()
    if arguments.need_ros and not (ros or wheels):
        fail(
            f"the demo runs a ROS 2 node, and ROS wheels exist for Linux on x86_64 only (this is "
            f"{platform.system()} on {platform.machine()}): source a ROS 2 Jazzy installation and run again, "
            "or use `dr-perception replay`."
        )
    extras = "ros,test" if wheels else "test"
    sources = [ROOT / name for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml")]
    sources += list((ROOT / "scripts").iterdir())
    key = digest(sources, extras)
    if not (PYTHON.exists() and stamp_is("packages", key)):
        say("the set-up has changed" if PYTHON.exists() else "first run: this takes a few minutes")
        if ros:
            say(f"ROS 2 {os.environ['ROS_DISTRO']} is sourced: using it instead of the ROS wheels")
        elif not wheels:
            say("no ROS 2 here (wheels exist for Linux on x86_64 only): the node and its tests are left out")
        missing = missing_system_packages(with_compiler=wheels)
        if missing:
            install_system_packages(missing)
        install_packages(extras, wheels)
        write_stamp("packages", key)
    if not arguments.no_kernels:
        compile_kernels()


if __name__ == "__main__":
    main()
