"""The node, as a process fed over DDS, publishes the very poses of the offline replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed (extra `ros`, or a sourced installation)")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is not built (scripts/bootstrap does)")

from dr_perception.data.models import load_models
from dr_perception.data.source import open_sequence
from dr_perception.evaluation.replay import replay_sequence, starting_poses
from dr_perception.ros.conversions import pose_with_covariance_message
from dr_perception.ros.through_node import run_through_node

pytestmark = pytest.mark.ros
DEMO = Path(__file__).resolve().parent.parent.parent / "models" / "demo"
MODELS = DEMO / "models"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """The same recording through the replay and through the node."""
    source, models = open_sequence(DEMO / "tabletop"), load_models(MODELS)
    poses = starting_poses(source, models, "ground-truth")
    out = tmp_path_factory.mktemp("node")
    return replay_sequence(source, models), run_through_node(
        source, source.path, MODELS, poses, out, rate=0.0
    )


def test_every_pose_and_covariance_is_equal_to_the_last_bit(both: tuple) -> None:
    offline, node = both
    expected = {
        (r.stamp_ns, r.name): pose_with_covariance_message(r.T_cam_obj, r.covariance) for r in offline.records
    }
    published = {key: message.pose for key, message in node.recorder.poses.items()}
    assert published.keys() == expected.keys()
    assert len(expected) == 47 * 3
    assert published == expected


def test_status_and_score_are_the_same_and_nothing_went_wrong(both: tuple) -> None:
    offline, node = both
    assert not node.recorder.problems
    recorded = {(r.stamp_ns, r.name): r for r in node.recorder.records()}
    for record in offline.records:
        other = recorded[record.stamp_ns, record.name]
        assert other.status is record.status
        assert other.score == pytest.approx(record.score, rel=1e-5)
        np.testing.assert_allclose(other.T_cam_obj, record.T_cam_obj, atol=1e-12)


def test_the_node_reports_a_time_for_every_frame(both: tuple) -> None:
    _, node = both
    times = node.recorder.times_ms()
    assert len(times) == 47
    assert all(time > 0.0 for time in times.values())
