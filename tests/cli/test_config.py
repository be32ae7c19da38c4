"""The configuration tree: defaults, files in both forms, overrides, and errors that help."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dr_perception.config import Config, load_config, parse_assignment


def test_works_with_no_file():
    assert load_config() == Config()


def test_bare_and_ros_form_say_the_same(tmp_path):
    bare, ros, flat = tmp_path / "bare.yaml", tmp_path / "ros.yaml", tmp_path / "flat.yaml"
    bare.write_text("node:\n  queue_depth: 3\nmodels:\n  names: [mug, box]\n")
    ros.write_text(
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    node:\n      queue_depth: 3\n"
        "    models:\n      names: [mug, box]\n"
    )
    flat.write_text(
        "tracker_node:\n  ros__parameters:\n    node.queue_depth: 3\n    models.names: [mug, box]\n"
    )
    expected = load_config(bare)
    assert expected.node.queue_depth == 3 and expected.models.names == ("mug", "box")
    assert load_config(ros) == expected and load_config(flat) == expected


def test_overrides_win_and_are_typed(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("node: {queue_depth: 3, publish_tf: true}\n")
    config = load_config(path, ["node.queue_depth=7", "node.publish_tf=false", "models.names=[mug]"])
    assert (config.node.queue_depth, config.node.publish_tf, config.models.names) == (7, False, ("mug",))
    assert load_config(None, {"node.queue_depth": 5}).node.queue_depth == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("node: {queue_dept: 3}", r"unknown key 'queue_dept' in group 'node'; did you mean 'queue_depth'\?"),
        (
            "nodes: {queue_depth: 3}",
            r"unknown key 'nodes' in the top level; did you mean 'node' or 'models'\?",
        ),
        ("zzz: 1", "unknown key 'zzz' in the top level; known there: camera, init, models, node, tracker"),
        ("node: {queue_depth: many}", "'node.queue_depth' = 'many'"),
        ("node: {queue_depth: 0}", "'node.queue_depth' = 0: .*greater than or equal to 1"),
        ("init: {method: magic}", "'init.method' = 'magic'"),
        ("[1, 2]", "must hold a mapping, got list"),
        ("node: {", "is not YAML"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, text, sentence):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as error:
        load_config(path)
    assert "c.yaml" in str(error.value)


def test_other_mistakes_are_named():
    with pytest.raises(FileNotFoundError, match="no_such"):
        load_config("no_such.yaml")
    with pytest.raises(ValueError, match=r"group\.key=value"):
        parse_assignment("node.queue_depth")
    with pytest.raises(ValueError, match="cannot be set"):
        load_config(None, ["node=3", "node.queue_depth=3"])


def test_the_tree_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Config().node.queue_depth = 4
