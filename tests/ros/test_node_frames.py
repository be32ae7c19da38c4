"""What a node of this process hands to its tracker, and how it asks for images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed (extra `ros`, or a sourced installation)")

import rclpy
from graph import graph_environment
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, ReliabilityPolicy
from std_msgs.msg import Header

from dr_perception.config import Config
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.ros.conversions import camera_info_message, image_message, time_message
from dr_perception.ros.frames import CAMERA_INFO, COLOR, DEPTH
from dr_perception.ros.node import TrackerNode
from dr_perception.ros.qos import image_qos
from dr_perception.tracking.result import TrackResult

CAMERA = Camera(8, 6, 10.0, 10.0, 3.5, 2.5)
CORNERS = 0.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
CONTEXT_DOMAIN = 7


class Seen:
    """Stands in for the tracker and keeps the frames that it was given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def start(self, frame: Frame, poses: object) -> None:
        self.frames.append(frame)

    def track(self, frame: Frame) -> TrackResult:
        self.frames.append(frame)
        return TrackResult({}, frame.stamp_ns)

    def reset(self) -> None:
        pass


@pytest.fixture
def make_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[TrackerNode, Seen]]]:
    for name, value in graph_environment(CONTEXT_DOMAIN).items():
        monkeypatch.setenv(name, value)
    context = Context()
    rclpy.init(context=context, domain_id=CONTEXT_DOMAIN)
    made: list[TrackerNode] = []

    def make(**parameters: object) -> tuple[TrackerNode, Seen]:
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        seen = Seen()
        models = {"thing": ObjectModel("thing", Mesh(CORNERS, FACES))}
        node = TrackerNode(seen, models, context=context, parameter_overrides=overrides)
        made.append(node)
        return node, seen

    yield make
    for node in made:
        node.close()
        node.destroy_node()
    rclpy.shutdown(context=context)


def show(node: TrackerNode, depth: np.ndarray, stamp_ns: int = 1_000_000) -> None:
    """Give a node the three messages of one moment, as its subscriptions do."""
    header = Header(stamp=time_message(stamp_ns), frame_id="camera")
    color = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    messages = {
        COLOR: image_message(header, color),
        DEPTH: image_message(header, depth),
        CAMERA_INFO: camera_info_message(header, CAMERA),
    }
    for topic, message in messages.items():
        node._receive(topic, message)


@pytest.mark.parametrize("scale", [0.001, 0.0001, 0.00025])
def test_integer_depths_have_the_scale_of_the_settings(make_node, scale: float) -> None:
    node, seen = make_node(node__process_every_frame=True, camera__depth_scale_m=scale)
    show(node, np.full((CAMERA.height, CAMERA.width), 4000, np.uint16))
    (frame,) = seen.frames
    np.testing.assert_allclose(frame.depth * frame.depth_scale_m, 4000 * scale)


def test_depths_in_metres_have_no_scale(make_node) -> None:
    node, seen = make_node(node__process_every_frame=True, camera__depth_scale_m=0.0001)
    show(node, np.full((CAMERA.height, CAMERA.width), 0.7, np.float32))
    np.testing.assert_allclose(seen.frames[0].depth * seen.frames[0].depth_scale_m, 0.7)
    assert seen.frames[0].stamp_ns == 1_000_000 and seen.frames[0].frame_id == "camera"


def test_images_are_best_effort_unless_every_frame_is_wanted() -> None:
    """A best-effort subscription hears reliable publishers too; a reliable one hears no camera driver."""
    default = image_qos(Config().node.process_every_frame, Config().node.queue_depth)
    assert default.reliability == ReliabilityPolicy.BEST_EFFORT
    assert image_qos(True, 5).reliability == ReliabilityPolicy.RELIABLE
    for every in (True, False):
        profile = image_qos(every, 5)
        assert (profile.depth, profile.history) == (5, HistoryPolicy.KEEP_LAST)


@pytest.mark.parametrize(
    ("every", "policy"), [(False, ReliabilityPolicy.BEST_EFFORT), (True, ReliabilityPolicy.RELIABLE)]
)
def test_a_node_subscribes_to_images_as_it_is_told(make_node, every: bool, policy: ReliabilityPolicy) -> None:
    node, _ = make_node(**({"node__process_every_frame": True} if every else {}))
    profiles = {s.topic_name.rsplit("/", 1)[-1]: s.qos_profile for s in node.subscriptions}
    for topic in (COLOR, DEPTH, CAMERA_INFO):
        assert profiles[topic].reliability == policy, topic
        assert profiles[topic].depth == Config().node.queue_depth


def test_a_subscription_to_images_can_be_made_reliable_alone(make_node) -> None:
    node, _ = make_node(**{"qos_overrides./depth.subscription.reliability": "reliable"})
    profiles = {s.topic_name.rsplit("/", 1)[-1]: s.qos_profile for s in node.subscriptions}
    assert profiles[DEPTH].reliability == ReliabilityPolicy.RELIABLE
    for other in (COLOR, CAMERA_INFO):
        assert profiles[other].reliability == ReliabilityPolicy.BEST_EFFORT
