"""The node and the player as child processes, in a ROS graph of their own on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from dr_perception.ros.share import share_file

__all__ = ["ChildProcess", "private_graph"]


def private_graph(domain: int | None = None) -> dict[str, str]:
    """Environment of a graph that stays on this machine and meets no other.

    Args:
        domain: The ROS domain; by default one that depends on the process.
    """
    return {
        "ROS_DOMAIN_ID": str(10 + os.getpid() % 90 if domain is None else domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(share_file("config/fastdds_shm.xml")),
    }


class ChildProcess:
    """A Python module as a child process that writes to a log file and ends with the context."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        """Start it.

        Args:
            module: Module to run, as after ``python -m``.
            arguments: Its command line.
            environment: Variables beside those of this process.
            log: File for everything it writes.
        """
        self.module, self.log = module, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C reaches the children through stop(), once
            )

    def __enter__(self) -> ChildProcess:
        """The process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise if it failed.

        Raises:
            RuntimeError: It ended with a status other than 0; the message holds the end of its log.
        """
        if self.status not in (None, 0):
            tail = self.log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise RuntimeError(f"{self.module} ended with status {self.status}: {tail}")

    def stop(self, timeout_s: float = 20.0) -> int:
        """Interrupt it as Ctrl-C does and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout_s)
