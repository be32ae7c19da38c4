"""From records to metrics.json."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dr_perception.evaluation.records import PoseRecord, read_records, write_records
from dr_perception.evaluation.scoring import evaluate, instances
from dr_perception.tracking.result import Status

S = {"mean", "median", "p95", "max"}
ENTRY = {
    "add_mm",
    "add_s_mm",
    "rotation_deg",
    "translation_mm",
    "recall_10pct",
    "auc_add_2cm",
    "auc_add_10cm",
    "lost_frames",
    "symmetric",
}


def test_metrics_json_has_the_promised_schema(records, source, models, tmp_path):
    evaluate(records, source, models).write(tmp_path / "metrics.json")
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert set(content) == {"sequence", "frames", "objects", "all", "timing_ms", "config", "versions"}
    assert content["sequence"] == "synthetic/000001" and content["frames"] == 40
    for entry in (*content["objects"].values(), content["all"]):
        assert set(entry) == ENTRY
        assert all(set(entry[k]) == S for k in ("add_mm", "add_s_mm", "rotation_deg", "translation_mm"))
    assert set(content["timing_ms"]) == {"track", "per_object", "load"}
    assert [content["objects"][n]["symmetric"] for n in ("box", "can")] == [False, True]


def test_perfect_poses_have_no_error(source, models):
    perfect = [
        PoseRecord(f.stamp_ns, n, T) for k, f in enumerate(source) for n, T in source.ground_truth(k).items()
    ]
    entry = evaluate(perfect, source, models).to_dict()["all"]
    assert entry["add_mm"]["max"] == pytest.approx(0.0, abs=1e-6)
    assert entry["rotation_deg"]["max"] == pytest.approx(0.0, abs=1e-5)
    assert entry["recall_10pct"] == 1.0 and entry["lost_frames"] == 0


def test_true_covariances_are_found_consistent(records, source, models):
    metrics = evaluate(records, source, models)
    assert metrics.objects["box"].dof == 6 and metrics.objects["can"].dof == 5
    assert metrics.objects["box"].nees.mean() == pytest.approx(6.0, abs=2.0)
    assert metrics.objects["can"].nees.mean() == pytest.approx(5.0, abs=2.0)


def test_a_missing_pose_is_a_miss_and_not_left_out(records, source, models):
    stamps = [f.stamp_ns for f in source]
    kept = [r for r in records if not (r.name == "box" and r.stamp_ns in stamps[30:])]
    entry = evaluate(kept, source, models).to_dict()["objects"]["box"]
    assert entry["lost_frames"] == 10
    assert entry["recall_10pct"] == pytest.approx(0.75)
    assert entry["auc_add_10cm"] < 0.76
    assert entry["add_mm"]["max"] < 10.0


def test_lost_frames_are_those_reported_or_far_off(records, source, models):
    changed = list(records)
    changed[0] = dataclasses.replace(changed[0], status=Status.LOST)
    far = changed[2].T_cam_obj.copy()
    far[2, 3] += 0.5
    changed[2] = dataclasses.replace(changed[2], T_cam_obj=far)
    errors = evaluate(changed, source, models).objects["box"]
    assert errors.reported_lost.sum() == 1 and errors.far_off.sum() == 1
    assert errors.lost.sum() == 2


def test_records_survive_the_file(records, tmp_path):
    write_records(tmp_path / "trajectory.csv", records)
    for back, record in zip(read_records(tmp_path / "trajectory.csv"), records, strict=True):
        assert (back.stamp_ns, back.name, back.status) == (record.stamp_ns, record.name, record.status)
        np.testing.assert_allclose(back.T_cam_obj, record.T_cam_obj, atol=1e-12)
        np.testing.assert_array_equal(back.covariance, record.covariance)


def test_a_damaged_file_is_named_with_its_line(records, tmp_path):
    path = tmp_path / "trajectory.csv"
    write_records(path, records[:3])
    path.write_text(path.read_text().replace("TRACKING", "SLEEPING", 1))
    with pytest.raises(ValueError, match=r"trajectory\.csv:2: cannot read the row"):
        read_records(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"columns \['stamp_ns'"):
        read_records(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_records(tmp_path / "absent.csv")


def test_contradictory_records_are_refused(records, source, models):
    with pytest.raises(ValueError, match="two poses of 'box'"):
        evaluate([*records, records[0]], source, models)
    with pytest.raises(ValueError, match="no pose carries the stamp"):
        evaluate([dataclasses.replace(records[0], stamp_ns=5)], source, models)
    with pytest.raises(ValueError, match=r"poses of \['teapot'\]"):
        evaluate([*records, dataclasses.replace(records[0], name="teapot")], source, models)
    with pytest.raises(ValueError, match=r"no ground truth for any of the models \['cup'\]"):
        evaluate(records, source, {"cup": models["box"]})


def test_repeated_instances_share_a_model(models):
    found = instances(["box", "box_2", "lid"], models, strict=False)
    assert found["box_2"].mesh is models["box"].mesh and found["box_2"].name == "box_2"
    assert "lid" not in found
    with pytest.raises(ValueError, match="no model for object 'lid'"):
        instances(["lid"], models)
