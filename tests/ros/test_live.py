"""The node in its default mode: best effort, newest frame first, and with compressed images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed (extra `ros`, or a sourced installation)")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is not built (scripts/bootstrap does)")

from camera_publisher import CAMERA, CameraPublisher
from geometry_msgs.msg import PoseWithCovarianceStamped
from graph import Graph
from sensor_msgs.msg import CompressedImage

from dr_perception.ros.conversions import (
    camera_info_message,
    compressed_color_message,
    compressed_depth_message,
    stamp_ns,
)

pytestmark = pytest.mark.ros
FAKE_NODE = Path(__file__).with_name("fake_node.py")


def test_poses_follow_a_live_camera(graph: Graph) -> None:
    process = graph.launch(FAKE_NODE)
    poses = graph.listen(PoseWithCovarianceStamped, "/tracker_node/cube/pose")
    camera = CameraPublisher(graph)
    camera.connect()
    stamps: list[int] = []
    graph.wait_for("three poses", lambda: (stamps.append(camera.publish()), len(poses) >= 3)[1])
    received = [stamp_ns(pose) for pose in poses]
    assert set(received) <= set(stamps)
    assert received == sorted(set(received))
    assert graph.interrupt(process)[0] == 0


def test_compressed_images_are_tracked(graph: Graph) -> None:
    settings = (
        "node.compressed_color:=true",
        "node.compressed_depth:=true",
        "node.process_every_frame:=true",
    )
    names = {"color": "color/compressed", "depth": "depth/compressedDepth"}
    remap = [f"{topic}:={name}" for topic, name in names.items()]
    process = graph.launch(FAKE_NODE, *settings, remap=remap)
    poses = graph.listen(PoseWithCovarianceStamped, "/tracker_node/cube/pose")
    camera = CameraPublisher(graph)
    outputs = {topic: graph.node.create_publisher(CompressedImage, n, 100) for topic, n in names.items()}
    outputs["camera_info"] = camera.topics["camera_info"]
    for topic, output in outputs.items():
        graph.wait_for(f"a subscriber of {topic}", output.get_subscription_count)
    graph.wait_for("the pose topic", lambda: graph.node.count_publishers("/tracker_node/cube/pose"))
    first = len(poses)
    for _ in range(2):
        header = camera.header()
        color, depth = np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 1500, np.uint16)
        outputs["color"].publish(compressed_color_message(header, color))
        outputs["depth"].publish(compressed_depth_message(header, depth))
        outputs["camera_info"].publish(camera_info_message(header, CAMERA))
    graph.wait_for("a pose", lambda: len(poses) > first)
    assert stamp_ns(poses[-1]) == camera.stamp_ns
    assert poses[-1].pose.pose.position.z == pytest.approx(1.5, abs=1e-12)
    assert graph.interrupt(process)[0] == 0
