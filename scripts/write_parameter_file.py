"""Write config/tracker.yaml, what the node uses of the tree, so that file, node and API cannot drift apart.

`make params` runs it after a change of a default; a test compares the file with the tree.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from dr_perception.config import Config, is_used

TARGET = Path(__file__).resolve().parent.parent / "config" / "tracker.yaml"
HEAD = """\
# Parameters of tracker_node with their defaults. Copy this file and keep the lines that you change:
#   ros2 run dr_perception tracker_node --ros-args --params-file my.yaml
# `dr-perception replay --config my.yaml` reads the same file. Written by scripts/write_parameter_file.py.
/**:
  ros__parameters:
"""
WIDTH = 105


def lines(group: BaseModel, indent: int, path: str = "") -> Iterator[str]:
    """YAML lines of a group, with the descriptions as comments."""
    blank = " " * indent
    for name, field in type(group).model_fields.items():
        value, key = getattr(group, name), f"{path}.{name}".lstrip(".")
        if field.exclude:
            continue
        if isinstance(value, BaseModel):
            inner = list(lines(value, indent + 2, key))
            yield from [f"{blank}{name}:", *inner] if inner else []
            continue
        if not is_used(key, "tracker_node"):
            continue
        if field.description:
            yield from textwrap.wrap(
                field.description, WIDTH, initial_indent=f"{blank}# ", subsequent_indent=f"{blank}# "
            )
        if isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            # Neither has it lists of groups; the node takes them as strings.
            yield f"{blank}# {name}:"
            yield from (f"{blank}#   - '{item.model_dump_json()}'" for item in value)
        elif value is None or (isinstance(value, Mapping | tuple | list) and not value):
            # A ROS parameter file has no empty list, mapping or null.
            yield f"{blank}# {name}: (empty)"
        else:
            yield f"{blank}{name}: {scalar(value)}"


def scalar(value: Any) -> str:
    """A value in YAML's one-line form."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


def parameter_file() -> str:
    """The whole file as text."""
    groups = Config()
    body = []
    for name in type(groups).model_fields:
        group = list(lines(getattr(groups, name), 6, name))
        # A group without any setting would be an empty mapping, which ROS does not read.
        commented = all(line.lstrip().startswith("#") for line in group)
        body += [f"    {'# ' if commented else ''}{name}:", *group] if group else []
    return HEAD + "\n".join(body) + "\n"


if __name__ == "__main__":
    TARGET.write_text(parameter_file(), encoding="utf-8")
