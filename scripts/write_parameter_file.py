"""Write config/tracker.yaml from the configuration tree, so that file, node and API cannot drift apart.

`make params` runs it after a change of a default; a test compares the file with the tree.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from dr_perception.config import Config

TARGET = Path(__file__).resolve().parent.parent / "config" / "tracker.yaml"
HEAD = """\
# Parameters of tracker_node with their defaults. Copy this file and keep the lines that you change:
#   ros2 run dr_perception tracker_node --ros-args --params-file my.yaml
# `dr-perception replay --config my.yaml` reads the same file. Written by scripts/write_parameter_file.py.
/**:
  ros__parameters:
"""
WIDTH = 105


def lines(group: BaseModel, indent: int) -> Iterator[str]:
    """YAML lines of a group, with the descriptions as comments."""
    blank = " " * indent
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            yield f"{blank}{name}:"
            yield from lines(value, indent + 2)
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
    # Groups without any setting would be empty mappings, which ROS does not read.
    filled = [n for n in type(groups).model_fields if any(True for _ in lines(getattr(groups, n), 0))]
    body = []
    for name in filled:
        group = list(lines(getattr(groups, name), 6))
        commented = all(line.lstrip().startswith("#") for line in group)
        body += [f"    {'# ' if commented else ''}{name}:", *group]
    return HEAD + "\n".join(body) + "\n"


if __name__ == "__main__":
    TARGET.write_text(parameter_file(), encoding="utf-8")
