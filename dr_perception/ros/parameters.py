"""ROS parameters, declared from the one configuration tree.

Every leaf of `dr_perception.config.Config` that the node uses is a read-only parameter with its dotted path
as name, so a parameter file has the groups of the tree (config/tracker.yaml). What a file or the command line
gives is validated by the tree itself; an unknown name, or one that the node would ignore, ends the node with
a sentence.
"""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from dr_perception.config import Config, is_used, leaves, load_config, require_used

__all__ = ["declare_config", "node_leaves", "ros_value"]

FOREIGN_PREFIXES = ("use_sim_time", "qos_overrides.", "start_type_description_service")
"""Parameters that rclpy itself reads."""


def declare_config(node: Node) -> Config:
    """Declare the whole tree on a node and return it with the node's overrides applied.

    Args:
        node: A node made without ``automatically_declare_parameters_from_overrides``.

    Raises:
        ValueError: An override is unknown or not acceptable; the message names it.
    """
    overrides = {
        name: _tree_value(parameter.value)
        for name, parameter in node._parameter_overrides.items()
        if not name.startswith(FOREIGN_PREFIXES)
    }
    config = load_config(None, overrides)
    require_used(overrides, "tracker_node")
    for name, value, description in node_leaves(config):
        descriptor = ParameterDescriptor(description=description, read_only=True, dynamic_typing=True)
        node.declare_parameter(name, ros_value(name, value), descriptor, ignore_override=True)
    return config


def node_leaves(config: Config) -> list[tuple[str, Any, str]]:
    """Leaves of the tree that the node uses, as (dotted name, value, description)."""
    return [leaf for leaf in leaves(config) if is_used(leaf[0], "tracker_node")]


def _tree_value(value: Any) -> Any:
    """A parameter's value as the tree takes it; a list of groups comes as strings of YAML mappings."""
    if isinstance(value, list) and value and all(isinstance(v, str) and v.startswith("{") for v in value):
        return [yaml.safe_load(item) for item in value]
    return value


def ros_value(name: str, value: Any) -> Any:
    """A value as rclpy stores it: a scalar or a list of one scalar type, groups as strings of JSON.

    Raises:
        TypeError: ROS parameters cannot hold the value.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [item.model_dump_json() if isinstance(item, BaseModel) else item for item in value]
        if any(isinstance(item, float) for item in items):
            items = [float(item) for item in items]
        if len({type(item) for item in items}) <= 1:
            return items if items else Parameter("empty", Parameter.Type.STRING_ARRAY, []).value
    raise TypeError(f"parameter {name} = {value!r} cannot be a ROS parameter")
