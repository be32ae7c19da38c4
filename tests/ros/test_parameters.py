"""The configuration tree as ROS parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed (extra `ros`, or a sourced installation)")

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from dr_perception.config import Config
from dr_perception.ros.parameters import declare_config, node_leaves
from dr_perception.ros.publishers import topic_names

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    made = Context()
    rclpy.init(context=made)
    yield made
    rclpy.shutdown(context=made)


def node_with(context: Context, **options: object) -> Node:
    return Node("tracker_node", context=context, **options)


def test_every_leaf_of_the_tree_is_a_described_read_only_parameter(context: Context) -> None:
    node = node_with(context)
    assert declare_config(node) == Config()
    for name, _, description in node_leaves(Config()):
        descriptor = node.describe_parameter(name)
        assert descriptor.read_only, name
        assert descriptor.description == description
    assert not node.set_parameters([Parameter("node.queue_depth", value=3)])[0].successful
    node.destroy_node()


def test_settings_that_the_node_would_ignore_are_refused(context: Context) -> None:
    for name, value in (("fit.starts", 3), ("init.method", "search")):
        node = node_with(context, parameter_overrides=[Parameter(name, value=value)])
        with pytest.raises(ValueError, match=f"tracker_node does not use the setting '{name}'"):
            declare_config(node)
        node.destroy_node()


def test_overrides_reach_the_tree(context: Context) -> None:
    overrides = [
        Parameter("node.queue_depth", value=7),
        Parameter("node.sync_tolerance_ms", value=2),
        Parameter("models.names", value=["a", "b"]),
        Parameter("tracker.stages", value=[Config().tracker.stages[0].model_dump_json()]),
        Parameter("init.poses.a", value=[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
    ]
    node = node_with(context, parameter_overrides=overrides)
    config = declare_config(node)
    assert config.node.queue_depth == 7
    assert config.node.sync_tolerance_ms == 2.0
    assert config.models.names == ("a", "b")
    assert config.init.poses["a"][2] == 1.0
    assert config.tracker.stages == Config().tracker.stages[:1]
    assert node.get_parameter("node.queue_depth").value == 7
    assert list(node.get_parameter("init.poses.a").value) == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    node.destroy_node()


def test_the_shipped_parameter_file_is_read_by_ros(context: Context) -> None:
    arguments = ["--ros-args", "--params-file", str(ROOT / "config" / "tracker.yaml")]
    node = node_with(context, cli_args=arguments)
    assert declare_config(node) == Config()
    node.destroy_node()


def test_parameters_of_rclpy_are_left_alone(context: Context) -> None:
    name = "qos_overrides./color.subscription.reliability"
    overrides = [Parameter("use_sim_time", value=True), Parameter(name, value="reliable")]
    node = node_with(context, parameter_overrides=overrides)
    assert declare_config(node) == Config()
    node.destroy_node()


def test_object_names_become_topic_names() -> None:
    names = ["mug", "003_cracker_box", "a-b c", "obj_000001"]
    assert list(topic_names(names).values()) == ["mug", "object_003_cracker_box", "a_b_c", "obj_000001"]
    with pytest.raises(ValueError, match="share the topic ~/a_b/pose"):
        topic_names(["a-b", "a b"])
