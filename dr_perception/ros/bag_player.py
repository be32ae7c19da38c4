"""Plays a recorded sequence over DDS, as a process of its own, with the stamps of the recording.

``python -m dr_perception.ros.bag_player SEQUENCE --rate 1 --window 4`` waits until all topics have a
subscriber, then publishes at the given multiple of the recorded speed. With a window it never runs more
than that many frames ahead of the tracker, whose diagnostics tell which frame it has finished
(``node.diagnostics_period_s:=0``); so a replay through the node is complete and repeatable however slow the
machine is.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.utilities import remove_ros_args

from dr_perception.data.source import open_sequence
from dr_perception.ros.conversions import stamp_ns
from dr_perception.ros.frames import COLOR
from dr_perception.ros.playback import Playback, make_playback
from dr_perception.ros.qos import RESULTS
from dr_perception.ros.share import share_file

__all__ = ["BagPlayer", "main"]

QUEUE_DEPTH = 100
TIMEOUT_S = 120.0


class BagPlayer(Node):
    """Publishes a playback at a rate, held back by the tracker's progress."""

    def __init__(self, playback: Playback, rate: float = 1.0, window: int = 0) -> None:
        """Advertise the topics of the playback.

        Args:
            playback: The messages.
            rate: Multiple of the recorded speed; 0 for as fast as the window allows.
            window: Frames to be ahead of the tracker at most; 0 for no limit.

        Raises:
            ValueError: A negative rate or window, or neither of them given.
        """
        if rate < 0.0 or window < 0 or (rate == 0.0 and window == 0):
            raise ValueError(f"need a rate or a window, neither negative; got rate {rate}, window {window}")
        super().__init__("bag_player")
        self._playback, self._rate, self._window = playback, rate, window
        profile = QoSProfile(depth=QUEUE_DEPTH)
        self._outputs = {
            role: self.create_publisher(kind, topic, profile)
            for role, (topic, kind) in playback.topics.items()
        }
        self._in_flight: deque[int] = deque()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        if window:
            self.create_subscription(DiagnosticArray, "/diagnostics", self._finished, RESULTS)

    def play(self) -> int:
        """Publish everything; return the number of frames.

        Raises:
            TimeoutError: Nobody subscribes, or the tracker stands still.
        """
        for role, output in self._outputs.items():
            topic = self._playback.topics[role][0]
            self._wait(f"a subscriber of {topic}", output.get_subscription_count)
        if self._window:
            self._wait("the diagnostics of the tracker", lambda: self.count_publishers("/diagnostics") > 0)
        frames, begin, first = 0, time.monotonic(), None
        for message in self._playback:
            first = message.stamp_ns if first is None else first
            self._pace(begin, 1e-9 * (message.stamp_ns - first))
            if message.role == COLOR:
                begin += self._hold_back(self._window)
                if self._window:
                    self._in_flight.append(message.stamp_ns)
                frames += 1
            self._outputs[message.role].publish(message.payload)
        self._hold_back(min(self._window, 1))
        return frames

    def _pace(self, begin: float, recorded_s: float) -> None:
        """Wait until a moment of the recording is due."""
        while self._rate and (left := begin + recorded_s / self._rate - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)

    def _hold_back(self, window: int) -> float:
        """Wait until fewer frames than the window are unfinished; return how long that took [s]."""
        if not window or len(self._in_flight) < window:
            return 0.0
        begin = time.monotonic()
        self._wait("the tracker to go on", lambda: len(self._in_flight) < window)
        return time.monotonic() - begin

    def _finished(self, message: DiagnosticArray) -> None:
        """The tracker is done with all frames up to this stamp."""
        done = stamp_ns(message)
        while self._in_flight and self._in_flight[0] <= done:
            self._in_flight.popleft()

    def _wait(self, what: str, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {TIMEOUT_S:.0f} s for {what}")
            self._executor.spin_once(timeout_sec=0.05)


def main(args: list[str] | None = None) -> int:
    """Play a sequence; returns 0 when all of it went out."""
    parser = argparse.ArgumentParser(description="Play a recorded sequence to tracker_node.")
    parser.add_argument("sequence", help="rosbag2 folder or file, BOP scene or plain folder")
    parser.add_argument("--rate", type=float, default=1.0, help="multiple of the recorded speed; 0: no limit")
    parser.add_argument("--window", type=int, default=0, help="frames ahead of the tracker; 0: no limit")
    options = parser.parse_args(remove_ros_args(args)[1:])
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(share_file("config/fastdds_shm.xml")))
    rclpy.init(args=args)
    try:
        player = BagPlayer(make_playback(open_sequence(options.sequence)), options.rate, options.window)
        count = player.play()
        player.get_logger().info(f"played {count} frames")
        player.destroy_node()
    except (ValueError, OSError) as error:
        raise SystemExit(f"bag_player: {error}") from error
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
