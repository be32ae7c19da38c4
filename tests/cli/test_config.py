"""The configuration tree: defaults, files in both forms, overrides, and errors that help."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dr_perception.config import (
    USED_BY,
    Config,
    is_used,
    leaves,
    load_config,
    parse_assignment,
    require_used,
)
from dr_perception.hypothesis.search_config import FitConfig, SearchConfig
from dr_perception.measure.config import SensorConfig, SystematicConfig
from dr_perception.tracking.config import TrackerConfig

NOISY = SensorConfig(depth={"sigma_per_m2": 0.007})
REPEATED = {
    **dict.fromkeys(SystematicConfig.model_fields, "usual and gross errors of the same things"),
    "device": "where two jobs run",
    "stages": "what three jobs do",
    "render_size_px": "how finely three jobs sample",
    "surface_stride_px": "the same",
    "contour_spacing_px": "the same",
    "max_contour_samples": "the same",
    "finalists": "how many two searches keep",
    "enough": "when two searches stop",
    "cutoff_sigma": "of depths, of outlines, of patterns",
    "shared_px2": "of depths, of patterns",
}
"""Names that stand at several places, and how the facts differ."""


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
        (
            "zzz: 1",
            "unknown key 'zzz' in the top level; known there: body, camera, fit, init, models, node, "
            "search, sensor, tracker",
        ),
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


def test_every_fact_has_one_place():
    names = [path.rsplit(".", 1)[-1] for path, _, _ in leaves(Config())]
    assert {name for name in names if names.count(name) > 1} == set(REPEATED)
    assert all(description for _, _, description in leaves(Config()))


def test_shared_facts_reach_every_job():
    config = load_config(None, ["sensor.depth.sigma_per_m2=0.007", "body.floor_m=0.001", "search.seed=5"])
    jobs = (config.tracker, config.tracker.search, config.search, config.fit, config.fit.search)
    for job in jobs:
        assert job.sensor == NOISY and job.refiner.sensor == NOISY
        assert job.body.floor_m == job.refiner.body.floor_m == 0.001
    assert config.tracker.search == config.fit.search == config.search and config.search.seed == 5
    assert Config.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("kind", [TrackerConfig, FitConfig])
def test_a_job_hands_its_sensor_to_its_search(kind):
    assert kind().search.sensor == SensorConfig()
    assert kind(sensor=NOISY).search.sensor == NOISY
    assert kind(sensor=NOISY, search=kind().search).search.sensor == NOISY
    assert kind(sensor=NOISY, search={"seed": 3}).search == SearchConfig(seed=3, sensor=NOISY)
    with pytest.raises(ValidationError, match=r"'sensor' is given twice, in .* and differently in Search"):
        kind(search=SearchConfig(sensor=NOISY))
    with pytest.raises(ValidationError, match="'sensor' is given twice, in Config and differently in"):
        Config(**{"tracker" if kind is TrackerConfig else "fit": kind(sensor=NOISY)})


@pytest.mark.parametrize(
    "key", ["tracker.sensor", "tracker.search", "fit.body", "search.sensor", "fit.search"]
)
def test_what_is_shared_is_said_once(key):
    top = key.split(".")[1]
    with pytest.raises(ValueError, match=f"'{key}' stands at the top level, once for all: use '{top}'"):
        load_config(None, [f"{key}={{}}"])


def test_settings_that_a_program_ignores_are_refused():
    assert {program for program in USED_BY} == {"tracker_node", "replay", "track", "fit", "prepare"}
    with pytest.raises(
        ValueError, match=r"replay does not use the setting 'node\.queue_depth'; it uses sensor"
    ):
        require_used({"tracker.threads": 1, "node.queue_depth": 3}, "replay")
    with pytest.raises(ValueError, match=r"replay does not use the setting 'init\.poses\.mug'"):
        require_used({"init": {"poses": {"mug": [1.0]}}}, "replay")
    require_used({"init": {"method": "search"}, "sensor.depth.sigma_m": 0.1}, "replay")
    used = {path for path, _, _ in leaves(Config()) if any(is_used(path, program) for program in USED_BY)}
    assert used == {path for path, _, _ in leaves(Config())}
