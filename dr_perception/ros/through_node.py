"""A sequence through the real node: player and node as processes, what is published recorded here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from dr_perception.config import Config
from dr_perception.data.source import FrameSource
from dr_perception.ros.frames import COLOR, DEPTH
from dr_perception.ros.playback import make_playback
from dr_perception.ros.processes import ChildProcess, private_graph
from dr_perception.ros.recorder import PoseRecorder

__all__ = ["NodeRun", "node_parameters", "run_through_node"]

WINDOW = 4
TIMEOUT_S = 180.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NodeRun:
    """What came out of the node."""

    recorder: PoseRecorder
    """All that was published."""
    config: Config
    """The node's configuration."""
    seconds: float
    """Wall-clock time from the first to the last frame that the node finished [s]."""


def run_through_node(
    source: FrameSource,
    path: Path,
    models_dir: Path,
    poses: Mapping[str, np.ndarray | None],
    out: Path,
    *,
    config: Config | None = None,
    rate: float = 1.0,
    progress: Progress | None = None,
) -> NodeRun:
    """Play a sequence to the node and record what it publishes.

    Args:
        source: The sequence.
        path: Where it is, for the player's process.
        models_dir: Folder of the models, for the node's process.
        poses: Objects to track with T_cam_obj (4, 4) in the first frame, None to search.
        out: Folder for the parameter file and the logs.
        config: Settings; models, poses and transport are filled in.
        rate: Multiple of the recorded speed; 0 for as fast as the node can.
        progress: Called with (frames done, frames in all).

    Raises:
        RuntimeError: A process failed; the message holds what it wrote.
        TimeoutError: The node did not come up or stood still.
    """
    out.mkdir(parents=True, exist_ok=True)
    topics = make_playback(source).topics
    settings = node_parameters(config or Config(), models_dir, poses, topics)
    parameters = out / "node.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": _parameter_tree(settings)}}))
    environment = private_graph()
    os.environ.update(environment)
    context = Context()
    rclpy.init(context=context, domain_id=int(environment["ROS_DOMAIN_ID"]))
    listener = rclpy.create_node("pose_recorder", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    remaps = [part for role, (topic, _) in topics.items() for part in ("-r", f"{role}:={topic}")]
    arguments = ["--ros-args", "--params-file", str(parameters), *remaps]
    play = [str(path), "--rate", str(rate), "--window", str(WINDOW)]
    try:
        recorder = PoseRecorder(listener, poses)
        start_node = ChildProcess("dr_perception.ros.tracker_node", arguments, environment, out / "node.log")
        with start_node as node:
            _spin(executor, lambda: recorder.connected, "the node", node)
            start_player = ChildProcess("dr_perception.ros.bag_player", play, environment, out / "player.log")
            with start_player as player:
                seconds = _follow(executor, recorder, len(source), progress, node, player)
            node.stop()
            node.check()
    finally:
        executor.shutdown()
        listener.destroy_node()
        rclpy.shutdown(context=context)
    return NodeRun(recorder, settings, seconds)


def node_parameters(
    config: Config,
    models_dir: Path,
    poses: Mapping[str, np.ndarray | None],
    topics: Mapping[str, tuple[str, type]],
) -> Config:
    """The configuration of a node that tracks these objects in every frame of a playback."""
    given = {name: np.asarray(T).ravel().tolist() for name, T in poses.items() if T is not None}
    compressed = {role: kind.__name__ == "CompressedImage" for role, (_, kind) in topics.items()}
    tree = config.model_dump()
    tree["models"] |= {"directory": str(models_dir.resolve()), "names": list(poses)}
    tree["init"]["poses"] = given
    tree["node"] |= {
        "compressed_color": compressed[COLOR],
        "compressed_depth": compressed[DEPTH],
        "process_every_frame": True,
        "queue_depth": 50,
        "diagnostics_period_s": 0.0,
        "auto_start": True,
    }
    return Config.model_validate(tree)


def _parameter_tree(config: Config) -> dict[str, object]:
    """Flat parameters that differ from the defaults, as a ROS parameter file takes them."""
    from dr_perception.ros.parameters import node_leaves, ros_value

    defaults = {name: value for name, value, _ in node_leaves(Config())}
    return {
        name: ros_value(name, value)
        for name, value, _ in node_leaves(config)
        if name not in defaults or value != defaults[name]
    }


def _follow(
    executor: SingleThreadedExecutor,
    recorder: PoseRecorder,
    total: int,
    progress: Progress | None,
    node: ChildProcess,
    player: ChildProcess,
) -> float:
    """Spin until the player is through and the last frame is recorded; return the time of the frames."""
    seen, begin, end = 0, 0.0, 0.0
    last_news = time.monotonic()
    while player.status is None or not (recorder.frames and recorder.complete(recorder.frames[-1])):
        executor.spin_once(timeout_sec=0.02)
        node.check()
        player.check()
        done = len(set(recorder.frames))
        if done > seen:
            end = last_news = time.monotonic()
            begin = begin or end
            seen = done
            if progress is not None:
                progress(done, total)
        if time.monotonic() - last_news > TIMEOUT_S:
            raise TimeoutError(f"the node has finished {seen} of {total} frames and stands still")
    return end - begin


def _spin(
    executor: SingleThreadedExecutor, condition: Callable[[], bool], what: str, node: ChildProcess
) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        executor.spin_once(timeout_sec=0.05)
        node.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {TIMEOUT_S:.0f} s for {what}")
