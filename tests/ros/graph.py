"""A ROS graph of the test's own on the loopback interface: processes, topics, and waiting for conditions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 120.0


def graph_environment(domain: int) -> dict[str, str]:
    """Settings that keep a graph on this machine and to itself."""
    return {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "fastdds_shm.xml"),
        "PYTHONUNBUFFERED": "1",
    }


class Graph:
    """A node in this process, with a log of what it heard, and child processes beside it."""

    def __init__(self, domain: int, log_dir: Path) -> None:
        self.environment = {**os.environ, **graph_environment(domain)}
        os.environ.update(graph_environment(domain))
        self.log_dir = log_dir
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("tester", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = {}
        self.children: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.launched = 0

    def close(self) -> None:
        for process, _ in self.children:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def listen(self, kind: type, topic: str) -> list[Any]:
        """Subscribe; return the list that messages are appended to."""
        log = self.heard.setdefault(topic, [])
        self.node.create_subscription(kind, topic, log.append, QoSProfile(depth=100))
        return log

    def wait_for(self, what: str, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
        """Spin until the condition holds and return its value; fail with what was waited for."""
        end = time.monotonic() + timeout_s
        while not (value := condition()):
            dead = [log for process, log in self.children if process.poll() not in (None, 0)]
            assert not dead, f"a process ended while waiting for {what}:\n{dead[0].read_text()}"
            assert time.monotonic() < end, f"waited {timeout_s} s for {what} in vain:\n{self.logs()}"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def call(self, kind: type, service: str) -> Any:
        """Call a service without fields and return the response."""
        client = self.node.create_client(kind, service)
        self.wait_for(f"service {service}", client.service_is_ready)
        future = client.call_async(kind.Request())
        self.wait_for(f"response of {service}", future.done)
        return future.result()

    def launch(self, script: Path, *parameters: str, remap: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a Python script with ROS parameters ``name:=value`` and remappings ``topic:=topic``."""
        self.launched += 1
        log = self.log_dir / f"process{self.launched}.log"
        arguments = [part for parameter in parameters for part in ("-p", parameter)]
        arguments += [part for topic in remap for part in ("-r", topic)]
        command = [sys.executable, str(script), "--ros-args", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=ROOT,
            )
        self.children.append((process, log))
        return process

    def interrupt(self, process: subprocess.Popen[bytes], times: int = 1) -> tuple[int, str]:
        """Send Ctrl-C; return the exit status and everything the process wrote."""
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        status = process.wait(timeout=TIMEOUT_S)
        log = next(log for child, log in self.children if child is process)
        self.children = [(child, path) for child, path in self.children if child is not process]
        return status, log.read_text()

    def logs(self) -> str:
        return "\n".join(log.read_text() for _, log in self.children)
