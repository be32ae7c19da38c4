"""The node as a process of its own, over DDS on the loopback interface, with a stand-in for the tracker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed (extra `ros`, or a sourced installation)")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is not built (scripts/bootstrap does)")

from camera_publisher import CameraPublisher
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from graph import Graph
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from dr_perception.geometry.se3 import exp_so3, make_transform
from dr_perception.ros.conversions import pose_message, stamp_ns, transform_from_pose

pytestmark = pytest.mark.ros
FAKE_NODE = Path(__file__).with_name("fake_node.py")
EVERY_FRAME = ("node.process_every_frame:=true", "node.queue_depth:=50", "node.diagnostics_period_s:=0.0")


@pytest.fixture(scope="module")
def rig(graph: Graph) -> Iterator[SimpleNamespace]:
    """A running node with a camera and listeners on all that it publishes."""
    process = graph.launch(FAKE_NODE, *EVERY_FRAME)
    camera = CameraPublisher(graph)
    kinds = {"cube/pose": PoseWithCovarianceStamped, "markers": MarkerArray, "overlay": Image}
    heard = {name: graph.listen(kind, f"/tracker_node/{name}") for name, kind in kinds.items()}
    heard["tf"] = graph.listen(TFMessage, "/tf")
    heard["diagnostics"] = graph.listen(DiagnosticArray, "/diagnostics")
    initial_pose = graph.node.create_publisher(PoseStamped, "/tracker_node/initial_pose/cube", 10)
    camera.connect()
    graph.wait_for("a subscriber of the initial pose", initial_pose.get_subscription_count)
    names = ("cube/pose", "markers", "overlay")
    topics = [*(f"/tracker_node/{name}" for name in names), "/tf", "/diagnostics"]
    graph.wait_for("publishers", lambda: all(graph.node.count_publishers(topic) for topic in topics))
    yield SimpleNamespace(graph=graph, camera=camera, heard=heard, process=process, initial_pose=initial_pose)


def hear(rig: SimpleNamespace, name: str, stamp: int) -> Any:
    """The message of that stamp, once it comes."""
    key = (lambda m: stamp_ns(m.transforms[0])) if name == "tf" else None
    key = (lambda m: stamp_ns(m.markers[0])) if name == "markers" else key
    find = key or stamp_ns
    return rig.graph.wait_for(
        f"{name} of {stamp}", lambda: next((m for m in rig.heard[name] if find(m) == stamp), None)
    )


def status_of(message: DiagnosticArray, part: str) -> DiagnosticStatus:
    return next(status for status in message.status if status.name == f"tracker_node: {part}")


def start_tracking(rig: SimpleNamespace) -> None:
    """Bring the node to a state in which the next frame is tracked."""
    rig.graph.call(Trigger, "/tracker_node/start")
    stamp = rig.camera.publish()
    rig.graph.wait_for("the start", lambda: any(stamp_ns(m) == stamp for m in rig.heard["diagnostics"]))


def test_everything_carries_the_stamp_and_frame_of_the_image(rig: SimpleNamespace) -> None:
    start_tracking(rig)
    stamp = rig.camera.publish(depth=np.full((48, 64), 1250, np.uint16))
    pose = hear(rig, "cube/pose", stamp)
    assert pose.header.frame_id == "camera_optical"
    assert transform_from_pose(pose.pose.pose)[2, 3] == pytest.approx(1.25, abs=1e-12)
    assert np.diag(np.reshape(pose.pose.covariance, (6, 6))) == pytest.approx(np.arange(1.0, 7.0) * 1e-6)
    transform = hear(rig, "tf", stamp).transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera_optical", "cube")
    assert transform.transform.translation.z == pose.pose.pose.position.z
    marker = hear(rig, "markers", stamp).markers[0]
    assert marker.pose == pose.pose.pose
    assert len(marker.mesh_file.data) == 84 + 12 * 50
    overlay = hear(rig, "overlay", stamp)
    assert (overlay.width, overlay.height, overlay.encoding) == (64, 48, "rgb8")
    cube = status_of(hear(rig, "diagnostics", stamp), "cube")
    values = {pair.key: pair.value for pair in cube.values}
    assert (values["status"], values["score"]) == ("TRACKING", "0.75")


def test_start_uses_the_initial_pose_that_was_given(rig: SimpleNamespace) -> None:
    T = make_transform(exp_so3(np.array([0.3, -0.2, 0.5])), [0.1, -0.05, 0.9])
    message = PoseStamped(pose=pose_message(T))
    message.header.frame_id = "camera_optical"
    rig.initial_pose.publish(message)
    rig.graph.wait_for(
        "the initial pose",
        lambda: "initial pose given for cube" in rig.graph.call(Trigger, "/tracker_node/start").message,
    )
    rig.camera.publish()
    stamp = rig.camera.publish()
    found = transform_from_pose(hear(rig, "cube/pose", stamp).pose.pose)
    np.testing.assert_allclose(found[:3, :3], T[:3, :3], atol=1e-12)
    np.testing.assert_allclose(found[:2, 3], T[:2, 3], atol=1e-12)


def test_reset_stops_and_start_begins_again(rig: SimpleNamespace) -> None:
    start_tracking(rig)
    assert rig.graph.call(Trigger, "/tracker_node/reset").success
    stamp = rig.camera.publish()
    assert status_of(hear(rig, "diagnostics", stamp), "tracker").message == "waiting for ~/start"
    assert not any(stamp_ns(m) == stamp for m in rig.heard["cube/pose"])
    assert "searching for cube" in rig.graph.call(Trigger, "/tracker_node/start").message
    rig.camera.publish()
    hear(rig, "cube/pose", rig.camera.publish())


BAD_FRAMES = {
    "unknown encoding": (dict(color_encoding="bayer_rggb8"), "bayer_rggb8"),
    "colour encoding as depth": (dict(depth_encoding="rgb8"), "rgb8"),
    "size of colour": (dict(color=np.zeros((24, 32, 3), np.uint8)), "colour image"),
    "size of depth": (dict(depth=np.ones((24, 32), np.uint16)), "depth image"),
    "too few bytes": (dict(depth_height=50), "too few"),
    "failure in the tracker": (dict(color=np.full((48, 64, 3), 13, np.uint8)), "RuntimeError: thirteen"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frames_become_diagnostics_and_the_node_lives_on(rig: SimpleNamespace, case: str) -> None:
    start_tracking(rig)
    changes, named = BAD_FRAMES[case]
    tracker = status_of(hear(rig, "diagnostics", rig.camera.publish(**changes)), "tracker")
    assert tracker.level == DiagnosticStatus.ERROR
    assert named in tracker.message
    hear(rig, "cube/pose", rig.camera.publish())
    assert rig.process.poll() is None


@pytest.mark.parametrize("depth", [np.nan, np.inf, 0.0])
def test_depth_without_a_measurement_is_a_warning(rig: SimpleNamespace, depth: float) -> None:
    start_tracking(rig)
    stamp = rig.camera.publish(depth=np.full((48, 64), depth, np.float32))
    message = hear(rig, "diagnostics", stamp)
    assert status_of(message, "tracker").level == DiagnosticStatus.WARN
    assert "no measurement" in status_of(message, "tracker").message
    assert status_of(message, "cube").level == DiagnosticStatus.ERROR
    assert not any(stamp_ns(t) == stamp for m in rig.heard["tf"] for t in m.transforms)


def test_initial_pose_in_another_frame_is_refused(rig: SimpleNamespace) -> None:
    start_tracking(rig)
    message = PoseStamped(pose=pose_message(np.eye(4)))
    message.header.frame_id = "map"
    rig.initial_pose.publish(message)
    rig.graph.wait_for(
        "the refusal",
        lambda: any("'map'" in s.message for m in rig.heard["diagnostics"] for s in m.status),
    )


def test_frames_without_partners_are_reported(rig: SimpleNamespace) -> None:
    first = len(rig.heard["diagnostics"])
    for _ in range(3):
        rig.camera.topics["camera_info"].publish(_info(rig))
    silent = rig.graph.wait_for(
        "the report of silence",
        lambda: [
            s
            for m in rig.heard["diagnostics"][first:]
            for s in m.status
            if s.name == "tracker_node: input" and s.message.startswith("no complete frame")
        ],
    )
    assert silent[0].level == DiagnosticStatus.WARN


def _info(rig: SimpleNamespace) -> Any:
    from camera_publisher import CAMERA

    from dr_perception.ros.conversions import camera_info_message

    return camera_info_message(rig.camera.header(), CAMERA)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_the_node_without_a_traceback(graph: Graph, times: int) -> None:
    process = graph.launch(FAKE_NODE, "node.camera_frame:=alone")
    child = graph.children[-1][1]
    graph.wait_for("the node", lambda: "ready to track" in child.read_text())
    status, output = graph.interrupt(process, times)
    assert status == 0
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("parameter", "named"),
    [
        ("node.proces_every_frame:=true", "process_every_frame"),
        ("node.queue_depth:=0", "node.queue_depth"),
        ("nonsense:=1", "nonsense"),
    ],
)
def test_unknown_or_bad_parameters_end_the_node_with_a_sentence(
    graph: Graph, parameter: str, named: str
) -> None:
    process = graph.launch(FAKE_NODE, parameter)
    log = graph.children.pop()[1]
    assert process.wait(timeout=60) == 1
    assert named in log.read_text()
    assert "Traceback" not in log.read_text()
