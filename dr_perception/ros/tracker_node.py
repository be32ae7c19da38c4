"""The executable ``tracker_node``: runs the node until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dr_perception.ros.node import TrackerNode

__all__ = ["main", "run"]

NO_ROS = (
    "tracker_node: ROS 2 is not installed in this Python: install `dr_perception[ros]` (Linux, x86_64), "
    "or source a ROS 2 Jazzy installation"
)


def main(args: list[str] | None = None) -> int:
    """Run the node; Ctrl-C or SIGTERM ends it, however often it comes.

    Args:
        args: Command line with ROS arguments; that of the process by default.

    Returns:
        0 after an ordinary end.
    """

    def make() -> TrackerNode:
        from dr_perception.ros.node import TrackerNode

        return TrackerNode()

    return run(make, args)


def run(make: Callable[[], TrackerNode], args: list[str] | None = None) -> int:
    """Make a node and spin it until a signal comes.

    Raises:
        SystemExit: ROS is absent, or the parameters or models are not usable; with one sentence.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions
    except ImportError as error:
        raise SystemExit(f"{NO_ROS} ({error})") from error
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make()
    except (ValueError, TypeError, FileNotFoundError) as error:
        rclpy.try_shutdown()
        raise SystemExit(f"tracker_node: {error}") from error
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok() and not stop.is_set():
        executor.spin_once(timeout_sec=0.1)
    node.close()
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
